"""Storages of all kinds."""

from stores import *  # noqa: F403 - fixtures
