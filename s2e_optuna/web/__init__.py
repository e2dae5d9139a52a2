"""What the browser shows: optuna-dashboard, with what is ours."""
