"""Storages that many workers share: `open_storage` and what stands behind it. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.storages.failures import NoTablesError, StorageError, mask_password
    from s2e_optuna.storages.open import open_storage

__all__ = ["NoTablesError", "StorageError", "mask_password", "open_storage"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "s2e_optuna.storages.failures": ("NoTablesError", "StorageError", "mask_password"),
        "s2e_optuna.storages.open": ("open_storage",),
    },
)
