"""A small study, and storages of all kinds."""

from made_studies import *  # noqa: F403 - fixtures
from stores import *  # noqa: F403 - fixtures
