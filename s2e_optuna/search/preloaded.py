"""What processes of a search have imported when they are made: all that takes long.

On Linux they are forked from one process that imports this module, once. Nothing that is imported
here may compute or touch a GPU.
"""

import gc
import importlib

from s2e_optuna.storages.private import MAPPED_CLASSES

# What is imported stays: to look again and again for what could be thrown away takes a fifth of
# the time, and later, in every process, copies all of the memory that forked ones share.
_enabled = gc.isenabled()
gc.disable()
try:
    for _name in (
        "alembic.command",
        "alembic.migration",
        MAPPED_CLASSES,
        "s2e_optuna.objective.objective",  # and with it torch, which takes seconds
        "s2e_optuna.search.samplers",
        "s2e_optuna.search.trainings",
        "s2e_optuna.search.worker",
    ):
        importlib.import_module(_name)
    gc.freeze()
finally:
    if _enabled:
        gc.enable()
