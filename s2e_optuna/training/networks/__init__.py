"""Networks whose copies stand side by side: one file each, one interface, one registry."""

from s2e_optuna.training.networks.base import (
    Footprint,
    InputShape,
    NetworkFactory,
    Parameters,
    StackedModels,
    StackedNetwork,
    TrainingPass,
    unstack,
)
from s2e_optuna.training.networks.registry import (
    EXECUTIONS,
    NETWORKS,
    check_execution,
    check_network,
    executions_of,
    make_network,
    network_name,
    own_factory,
)

__all__ = [
    "EXECUTIONS",
    "NETWORKS",
    "Footprint",
    "InputShape",
    "NetworkFactory",
    "Parameters",
    "StackedModels",
    "StackedNetwork",
    "TrainingPass",
    "check_execution",
    "check_network",
    "executions_of",
    "make_network",
    "network_name",
    "own_factory",
    "unstack",
]
