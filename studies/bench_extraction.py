"""Features of images: images a second beside a plain loop with the same network, and a second run.

    python -m studies.bench_extraction

JPEG files of 256 x 256 pixels, written for this. The plain loop is what one would write: each file
opened by Pillow, resized, cropped and scaled by the preprocessing of the network, 32 at a time
given to it in inference mode; with one thread and with as many as PyTorch takes, of which the
faster counts. All take turns, and the ratio of each round counts. The second run is another
process that finds all vectors in the cache: what `load_data` takes there, network and digests of
files included, imports not. The network is torchvision's MobileNet v3 (small) with weights drawn
at random, which cost as much as trained ones. Writes
``studies/results/bench_extraction/README.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import models

from s2e_optuna.data import load_data
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "bench_extraction"

NAME = "studies.bench_extraction:mobilenet"
CLASSES, SIDE, BATCH = ("a", "b"), 256, 32

SECOND = """
import sys, time
import studies.bench_extraction
from s2e_optuna.data import load_data
started = time.perf_counter()
load_data(sys.argv[1], features=sys.argv[2], data_root=sys.argv[3], device="cpu")
print(time.perf_counter() - started)
"""


def mobilenet() -> tuple[nn.Module, Callable[[Any], Any]]:
    """Return the network without its classes, and its preprocessing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.mobilenet_v3_small(weights=None)
    network.classifier = nn.Identity()
    return network, models.MobileNet_V3_Small_Weights.DEFAULT.transforms()


def write_images(folder: Path, number: int) -> list[Path]:
    """Write smooth images of two classes."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(number):
        place = folder / CLASSES[i % 2] / f"{i:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        small.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(place, quality=90)
        paths.append(place)
    return paths


def plain_loop(paths: list[Path], threads: int) -> tuple[float, np.ndarray[Any, Any]]:
    """Compute features as one would without a library; return seconds, too."""
    before, started = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(threads)
    network, prepare = mobilenet()
    network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(paths), BATCH):
            images = [
                prepare(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]
            ]
            found.append(network(torch.stack(images)).numpy())
    torch.set_num_threads(before)
    return time.perf_counter() - started, np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    plain, ours, second = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        paths = write_images(images, options.images)
        plain_loop(paths[:BATCH], 1)  # nothing is made for the first time below
        for number in range(options.rounds):
            cache = Path(folder) / f"cache-{number}"
            alone, expected = plain_loop(paths, 1)
            together, _ = plain_loop(paths, torch.get_num_threads())
            between = time.perf_counter()
            data = load_data(images, features=NAME, components=0, data_root=cache, device="cpu")
            plain.append(min(alone, together))
            ours.append(time.perf_counter() - between)
            encoder = data.encoder
            row = [path.relative_to(images).as_posix() for path in paths].index(data.ids[0])
            vector = (expected[row] - encoder.projection.mean) / encoder.projection.scale
            np.testing.assert_allclose(data.x_train[0, 0, 0].numpy(), vector, atol=1e-3)
            words = [sys.executable, "-c", SECOND, str(images), NAME, str(cache)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            second.append(float(done.stdout))
            print(f"{plain[-1]:.1f} s, {ours[-1]:.1f} s, {second[-1]:.2f} s", flush=True)
    ratios = np.array(plain) / np.array(ours)
    page = [
        "# Extraction of features",
        "",
        f"`python -m studies.bench_extraction`: {options.images:,} JPEG files of {SIDE} x {SIDE}, "
        f"MobileNet v3 (small) at 224 x 224, {options.rounds} rounds in which a plain loop (the "
        "faster of one thread and all) and `load_data(features=)` take turns. Ratios are those of "
        "each round: what else the machine did meets both.",
        "",
        "| | median | lowest | highest |",
        "|---|---|---|---|",
        _row("plain loop, images/s", options.images / np.array(plain)),
        _row("`--features`, images/s", options.images / np.array(ours)),
        _row("ratio", ratios, 2),
        _row("second run from the cache, s", np.array(second), 2),
        "",
        f"{hardware()}; commit {commit()}",
        "",
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "README.md").write_text("\n".join(page), encoding="utf-8")


def _row(name: str, values: np.ndarray[Any, Any], digits: int = 1) -> str:
    numbers = (np.median(values), values.min(), values.max())
    return f"| {name} | {' | '.join(f'{number:.{digits}f}' for number in numbers)} |"


if __name__ == "__main__":
    main()
