"""Networks by name, and a user's own."""

from __future__ import annotations

from s2e_optuna.errors import DataError, unknown_name
from s2e_optuna.own_code import import_function
from s2e_optuna.training.networks.base import InputShape, NetworkFactory, StackedNetwork
from s2e_optuna.training.networks.cnn1 import Cnn1, UnfoldedCnn1
from s2e_optuna.training.networks.cnn2 import Cnn2
from s2e_optuna.training.networks.cnn3 import Cnn3
from s2e_optuna.training.networks.mlp import Mlp
from s2e_optuna.training.networks.modules import ModuleNetwork
from s2e_optuna.training.networks.pretrained import PRETRAINED, PretrainedNetwork
from s2e_optuna.training.networks.torchvision_models import densenet121, resnet18, resnet50

FOLDED: dict[str, type[StackedNetwork]] = {
    network.name: network for network in (Mlp, Cnn1, Cnn2, Cnn3)
}
"""Networks with a stacked forward pass of their own."""

UNFOLDED: dict[str, type[StackedNetwork]] = {UnfoldedCnn1.name: UnfoldedCnn1}
"""Networks that can also unfold their images and multiply: what one channel wants."""

LOOPED_ON_CPU = frozenset({Cnn2.name, Cnn3.name})
"""Wide enough that one network at a time reaches nine tenths of a core's peak. Folded, as measured
with `cnn2`, they take a tenth longer."""

FACTORIES: dict[str, NetworkFactory] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "densenet121": densenet121,
}
"""Networks that are run as any other module."""

NETWORKS = (*FOLDED, *FACTORIES)
"""Names of networks."""

EXECUTIONS = ("auto", "folded", "unfold", "vmap", "loop")
"""How the models of a stack are run.

``folded``: models folded into channels and batched products, for the networks of Table 5.
``unfold``: convolutions as products of matrices, samples last, for `cnn1`.
``vmap``: `torch.func.vmap` over the plain network. ``loop``: one model after the other.
``auto``: what was fastest when measured (`s2e doctor --bench` measures it again).
"""


def make_network(
    network: str | NetworkFactory,
    input_shape: InputShape,
    n_classes: int,
    *,
    execution: str = "auto",
    device_type: str = "cpu",
) -> StackedNetwork:
    """Build a network by name, or from a user's own factory.

    Parameters
    ----------
    network
        A name in `NETWORKS` or `PRETRAINED`; ``"auto"``, which takes cnn1 for colour images it
        fits, else mlp;
        ``"package.module:function"`` or the function itself, called as
        ``function((channels, height, width), n_classes)`` and returning a `torch.nn.Module`.
    input_shape, n_classes
        Channels, height and width of an image; number of outputs.
    execution
        One of `EXECUTIONS`.
    device_type
        Where it will run, for ``execution="auto"``.

    Raises
    ------
    DataError
        The name or the execution is unknown, the network cannot be imported, or the images do
        not fit it.
    """
    if execution not in EXECUTIONS:
        raise unknown_name("execution", execution, EXECUTIONS)
    if network == "auto":
        channels, height, width = input_shape
        colour = channels > 1 and min(height, width) >= Cnn1.smallest_side
        network = Cnn1.name if colour else Mlp.name
    if isinstance(network, str) and network in FOLDED:
        folded = FOLDED[network](input_shape, n_classes)
        if execution == "auto":
            execution = _fastest(network, input_shape[0], device_type)
        if execution == "folded":
            return folded
        if execution == "unfold" and network in UNFOLDED:
            return UNFOLDED[network](input_shape, n_classes)
        _refuse_stacked(network, execution)
        return ModuleNetwork(
            network, lambda *_: folded.plain(), input_shape, n_classes, execution=execution
        )
    name, factory = _factory(network)
    _refuse_stacked(name, execution)
    kind = PretrainedNetwork if name in PRETRAINED else ModuleNetwork
    return kind(
        name,
        factory,
        input_shape,
        n_classes,
        execution=execution,
        device_type=device_type,
        own=name not in FACTORIES and name not in PRETRAINED,
    )


def _fastest(network: str, channels: int, device_type: str) -> str:
    if device_type != "cpu":
        return "folded"
    if network in UNFOLDED and channels == 1:  # see UnfoldedCnn1
        return "unfold"
    return "loop" if network in LOOPED_ON_CPU else "folded"


def _refuse_stacked(name: str, execution: str) -> None:
    """Raise `DataError` for executions that some networks only have a forward pass for."""
    able = {"folded": FOLDED, "unfold": UNFOLDED}.get(execution)
    if able is not None:
        raise DataError(
            f"network {name} has no execution {execution!r} (only {', '.join(able)}): choose "
            f"{', '.join(executions_of(name))}"
        )


def executions_of(network: str) -> tuple[str, ...]:
    """Return the executions that a network can be run with, ``auto`` among them."""
    refused = {
        name for name, able in (("folded", FOLDED), ("unfold", UNFOLDED)) if network not in able
    }
    return tuple(name for name in EXECUTIONS if name not in refused)


def check_network(network: str | NetworkFactory) -> None:
    """Raise `DataError` unless there is such a network; nothing is built."""
    if network != "auto" and network not in FOLDED:
        _factory(network)


def check_execution(network: str | NetworkFactory, execution: str) -> None:
    """Raise `DataError` unless this network can be run so; nothing is built."""
    if execution not in EXECUTIONS:
        raise unknown_name("execution", execution, EXECUTIONS)
    if network != "auto" and execution not in executions_of(name := network_name(network)):
        _refuse_stacked(name, execution)


def network_name(network: str | NetworkFactory) -> str:
    """Return the name of a network, ``"package.module:function"`` for a user's own."""
    if isinstance(network, str):
        return network
    function = getattr(network, "__qualname__", type(network).__qualname__)
    return f"{getattr(network, '__module__', '?')}:{function}"


def own_factory(name: str) -> NetworkFactory:
    """Import the function that builds a user's own network, ``"package.module:function"``.

    Raises
    ------
    DataError
        It cannot be imported.
    """
    return _factory(name)[1]


def _factory(network: str | NetworkFactory) -> tuple[str, NetworkFactory]:
    if not isinstance(network, str):
        if not callable(network):
            raise DataError(
                f"network {network!r} is neither a name nor a function that builds a module"
            )
        return network_name(network), network
    if network in FACTORIES or network in PRETRAINED:
        return network, (FACTORIES | PRETRAINED)[network]
    if ":" not in network:
        raise unknown_name(
            "network", network, ["auto", *NETWORKS, *PRETRAINED, "package.module:function"]
        )
    return network, import_function(network, "network", "builds a torch.nn.Module")
