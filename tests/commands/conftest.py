"""A small study."""

from made_studies import *  # noqa: F403 - fixtures
