"""Multi-layer perceptron of Table 5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from s2e_optuna.training.networks.base import StackedNetwork, TrainingPass
from s2e_optuna.training.networks.layers import linear, shared_linear


class Mlp(StackedNetwork):
    """Input - 256 - C with ReLU; the input is flattened, whatever its size."""

    name = "mlp"
    cpu_threads = "any"
    leaves_out = True
    takes_own_batches = True
    hidden = 256
    # More than fit the cache: with batches of 32 the small operations of a step cost as much as
    # a few models. A third faster than 8 there, level with it with batches of 128.
    models_side_by_side = 32

    def plain(self) -> nn.Module:
        """Build flatten, linear, ReLU, linear."""
        channels, height, width = self.input_shape
        return nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden=nn.Linear(channels * height * width, self.hidden),
                relu=nn.ReLU(),
                output=nn.Linear(self.hidden, self.n_classes),
            )
        )

    def forward(
        self, state: Mapping[str, Tensor], images: Tensor, training: TrainingPass | None = None
    ) -> Tensor:
        """Multiply weights [M, out, in] by activations [M, in, B].

        Images may be each model's own, [M, B, channels, height, width].

        With the samples last, gradients of the weights come out of their products in the layout
        of the weights, and the optimiser needs no copy. One product a model, also for the shared
        input: as fast as one for all (the input stays in the cache), and no model's sums depend
        on how many others there are.
        """
        kept = None if training is None else training.kept
        flat = images.flatten(-3)
        hidden = shared_linear(flat, state, "hidden", kept).relu_()
        return linear(hidden, state, "output").transpose(1, 2)
