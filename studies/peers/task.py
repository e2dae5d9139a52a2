"""The task that all peers of the trainer have in common; needs NumPy alone.

Co-teaching (Han et al., NeurIPS 2018) of P trials, two networks each: input - 256 - 10 with ReLU.
Of a batch each network learns from the B R samples of least loss of the other one. Adam with a
rate of 1e-3. Networks, layout and libraries are the peer's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

HIDDEN = 256
LEARNING_RATE, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-8


class Task:
    """What the command line says, and the data.

    Images are uint8 [N, H, W], their pixels in 0..1 as `x` [N, D], and labels those given.
    """

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("data", help="an .npz of x_train, y_train, x_test, y_test")
        parser.add_argument("--trials", type=int, default=16)
        parser.add_argument("--epochs", type=int, default=4)
        parser.add_argument("--rate", type=float, default=0.5)
        parser.add_argument("--batch-size", type=int, default=128)
        parser.add_argument("--select", choices=("top-k", "masks"), default="top-k")
        said = parser.parse_args()
        self.trials, self.epochs, self.select = said.trials, said.epochs, said.select
        self.batch_size, self.kept = said.batch_size, int(said.rate * said.batch_size + 1e-9)
        with np.load(said.data, allow_pickle=False) as stored:
            self.images, self.test_images = stored["x_train"], stored["x_test"]
            self.x, self.x_test = (
                (stored[name].reshape(len(stored[name]), -1) / np.float32(255)).astype(np.float32)
                for name in ("x_train", "x_test")
            )
            self.y, self.y_test = (stored[name].astype(np.int32) for name in ("y_train", "y_test"))
        self.classes = int(self.y.max()) + 1
        self._rng = np.random.default_rng(0)

    @property
    def models(self) -> int:
        """Networks of all trials."""
        return 2 * self.trials

    def first_weights(self) -> list[NDArray[np.float32]]:
        """Draw weights as torch's `nn.Linear` does, one set a network: W, b, V, c with M first."""
        inputs, found = self.x.shape[1], []
        for rows, columns in ((inputs, HIDDEN), (HIDDEN, self.classes)):
            bound = rows**-0.5
            for shape in ((columns, rows), (columns,)):
                drawn = self._rng.uniform(-bound, bound, (self.models, *shape))
                found.append(drawn.astype(np.float32))
        return found

    def order(self) -> NDArray[np.int32]:
        """Draw the batches of an epoch [S, B]."""
        steps = len(self.x) // self.batch_size
        drawn = self._rng.permutation(len(self.x))[: steps * self.batch_size]
        return drawn.reshape(steps, self.batch_size).astype(np.int32)

    def run(
        self, epoch: Callable[[NDArray[np.int32]], None], accuracy: Callable[[], float]
    ) -> None:
        """Time epochs, the first of which warms up, and print seconds and test accuracy."""
        seconds = []
        for _ in range(self.epochs + 1):
            order = self.order()
            started = time.perf_counter()
            epoch(order)
            seconds.append(time.perf_counter() - started)
        told = {"first": seconds[0], "seconds": seconds[1:], "test_accuracy": accuracy()}
        json.dump(told, sys.stdout)
