"""The task that all peers of the trainer have in common; needs NumPy alone.

Co-teaching (Han et al., NeurIPS 2018) of P trials, two networks each. `mlp`: input - 256 - 10 with
ReLU. `cnn1`: convolutions of 5 x 5 with 6 and 16 channels and no padding, each followed by a
maximum over 2 x 2 and ReLU; then 120 - 84 - 10 with ReLU. Of a batch each network learns from the
B R samples of least loss of the other one. Adam with a rate of 1e-3. Networks, layout and
libraries are the peer's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

HIDDEN = 256
CHANNELS, KERNEL, POOL, FULL = (6, 16), 5, 2, (120, 84)
LEARNING_RATE, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-8


class Task:
    """What the command line says, and the data.

    Images are uint8 [N, H, W]; `x` are their pixels in 0..1, [N, D] for `mlp` and [N, 1, H, W]
    for `cnn1`; labels are those given.
    """

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("data", help="an .npz of x_train, y_train, x_test, y_test")
        parser.add_argument("--network", choices=("mlp", "cnn1"), default="mlp")
        parser.add_argument("--trials", type=int, default=16)
        parser.add_argument("--epochs", type=int, default=5, help="at most")
        parser.add_argument("--steps", type=int, help="of an epoch; default: as the images give")
        parser.add_argument("--rate", type=float, default=0.5)
        parser.add_argument("--batch-size", type=int, default=128)
        parser.add_argument("--select", choices=("top-k", "masks"), default="top-k")
        said = parser.parse_args()
        self.network, self.trials, self.epochs = said.network, said.trials, said.epochs
        self.select = said.select
        self.batch_size, self.kept = said.batch_size, int(said.rate * said.batch_size + 1e-9)
        with np.load(said.data, allow_pickle=False) as stored:
            some = slice(None if said.steps is None else said.steps * self.batch_size)
            self.images, self.test_images = stored["x_train"][some], stored["x_test"]
            self.y, self.y_test = stored["y_train"][some], stored["y_test"]
        self.x, self.x_test = map(self._scaled, (self.images, self.test_images))
        self.y, self.y_test = (labels.astype(np.int32) for labels in (self.y, self.y_test))
        self.classes = int(self.y.max()) + 1
        self._rng = np.random.default_rng(0)

    @property
    def models(self) -> int:
        """Networks of all trials."""
        return 2 * self.trials

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.x) // self.batch_size

    def _scaled(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shape = (-1,) if self.network == "mlp" else (1, *images.shape[1:])
        return (images.reshape(len(images), *shape) / np.float32(255)).astype(np.float32)

    def _shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the weights of a network's layers, outputs first."""
        if self.network == "mlp":
            return [(HIDDEN, self.x.shape[1]), (self.classes, HIDDEN)]
        (channels, *sides), found = self.x.shape[1:], []
        for out in CHANNELS:
            found.append((out, channels, KERNEL, KERNEL))
            channels, sides = out, [(side - KERNEL + 1) // POOL for side in sides]
        inputs = channels * sides[0] * sides[1]
        for out in (*FULL, self.classes):
            found.append((out, inputs))
            inputs = out
        return found

    def first_weights(self) -> list[NDArray[np.float32]]:
        """Draw weights as torch's layers do, one set a network: W, b, V, c, ... with M first."""
        found = []
        for layer in self._shapes():
            bound = np.prod(layer[1:]) ** -0.5
            for shape in (layer, layer[:1]):
                drawn = self._rng.uniform(-bound, bound, (self.models, *shape))
                found.append(drawn.astype(np.float32))
        return found

    def order(self) -> NDArray[np.int32]:
        """Draw the batches of an epoch [S, B]."""
        drawn = self._rng.permutation(len(self.x))[: self.steps * self.batch_size]
        return drawn.reshape(self.steps, self.batch_size).astype(np.int32)

    def run(
        self, epoch: Callable[[NDArray[np.int32]], None], accuracy: Callable[[], float]
    ) -> None:
        """Train an epoch whenever asked, in the end another, and tell the test accuracy."""
        for _ in wait_for_turns():
            order = self.order()
            started = time.perf_counter()
            epoch(order)
            tell(seconds=time.perf_counter() - started)
        epoch(self.order())
        tell(test_accuracy=accuracy())


def wait_for_turns() -> Iterator[str]:
    """Yield at each line that comes in; until then other peers have the machine."""
    tell(ready=True)
    yield from sys.stdin


def tell(**what: object) -> None:
    """Print a line of JSON."""
    print(json.dumps(what), flush=True)
