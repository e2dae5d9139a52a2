"""Small data, one thread; a machine without a connection."""

from trained_weights import offline  # noqa: F401 - a fixture
from training_data import *  # noqa: F403 - fixtures
