"""Multi-layer perceptron of Table 5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from s2e_optuna.training.networks.base import StackedNetwork, TrainingPass
from s2e_optuna.training.networks.by_hand import TwoLayers, of_each
from s2e_optuna.training.networks.layers import linear


class Mlp(StackedNetwork):
    """Input - 256 - C with ReLU; the input is flattened, whatever its size."""

    name = "mlp"
    cpu_threads = "any"
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
        flat, weight = images.flatten(-3), state["hidden.weight"]
        inputs = of_each(flat, weight)
        hidden = torch.baddbmm(state["hidden.bias"].unsqueeze(2), weight, inputs.mT).relu_()
        return linear(hidden, state, "output").transpose(1, 2)

    def begin(self, state: Mapping[str, Tensor], images: Tensor) -> TwoLayers:
        """Compute the outputs for images as in `forward`, and what their gradients need."""
        names = ("hidden.weight", "hidden.bias", "output.weight", "output.bias")
        return TwoLayers.forward({name: state[name] for name in names}, images.flatten(-3))
