"""Small data, one thread."""

from training_data import *  # noqa: F403 - fixtures
