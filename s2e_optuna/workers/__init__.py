"""Storages, local worker processes, budgets.

Only `open_storage` and its helpers are imported here: they need no torch. The rest lies in
submodules: `search`, `worker`, `config`.
"""

from s2e_optuna.workers.storage import (
    NoTablesError,
    StorageError,
    mask_password,
    open_storage,
)

__all__ = ["NoTablesError", "StorageError", "mask_password", "open_storage"]
