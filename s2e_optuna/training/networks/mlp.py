"""Multi-layer perceptron of Table 5."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from s2e_optuna.training.networks.base import StackedNetwork, TrainingPass
from s2e_optuna.training.networks.layers import linear


class Mlp(StackedNetwork):
    """Input - 256 - C with ReLU; the input is flattened, whatever its size."""

    name = "mlp"
    hidden = 256

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
        """Multiply the shared input with all first layers at once, then one product a model."""
        weight, bias = state["hidden.weight"], state["hidden.bias"]
        models = len(weight)
        hidden = torch.addmm(bias.flatten(), images.flatten(1), weight.flatten(0, 1).t()).relu_()
        by_model = hidden.view(len(images), models, self.hidden).transpose(0, 1)
        return linear(by_model, state, "output")
