"""The commands of ``s2e``: one file a command, and what they share."""
