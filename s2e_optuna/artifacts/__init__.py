"""What each trial leaves to look at: a picture of its R(t) and a table of its curves.

Both are artifacts of Optuna, which optuna-dashboard shows on the trial's page. NumPy and Optuna
only: workers write them. `attach.TrialArtifacts` uploads them.
"""
