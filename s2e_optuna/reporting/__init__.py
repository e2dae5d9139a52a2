"""Pictures, tables, text plots and live progress: everything that people look at."""
