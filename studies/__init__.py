"""Studies: one file a table or figure of the paper, one file a benchmark."""
