"""A whole search: its configuration, its workers, what it leaves behind."""
