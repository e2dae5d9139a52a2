"""What the paper's studies cost at the paper's scale: counted work, and hours by measured epochs.

    python -m studies.estimate                    # hours of one core of this machine
    python -m studies.estimate --device cuda      # hours of this GPU

Counts the networks that each study trains at the scale ``paper`` and the floating-point operations
of that, and measures short epochs of each network where it runs. Writes
``studies/results/estimate/``: DEVICE.json and, over all devices, README.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from s2e_optuna.data import from_arrays
from s2e_optuna.training import TrainConfig, get_method, make_network, train
from studies import figure1, figure3, figure6, method_comparison, table3, table7
from studies.bench_training import clock_of, training_flops
from studies.pages import Table, write_text
from studies.settings import Setting, commit, hardware

RESULTS = Path(__file__).parent / "results" / "estimate"

SIZES = {"mnist": 60_000, "cifar10": 50_000, "cifar100": 50_000}
"""Training images (Table 4). Validation and test have 5,000 each."""

CLEAN = 10_000

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar100": (3, 32, 32)}

BATCH = 128

IMAGES = {"mlp": 5120, "cnn1": 2048, "resnet18": 128, "densenet121": 128, "cnn2": 64, "cnn3": 32}
"""Images of a measured epoch on a CPU, the fewer the larger the network; less than a batch of 128
are one batch, which costs a large network as much an image."""

GPU_STEPS = 40
"""Batches of 128 of a measured epoch on a GPU."""

RATE = 5.0
"""TFLOP/s at which the counted work is turned into hours, for want of a GPU to measure."""


@dataclass(frozen=True)
class Work:
    """So many networks trained in a setting; a network that is trained twice counts twice."""

    setting: Setting
    networks: float


def networks_of(method: str) -> float:
    """Count the networks that a method trains, by the passes that it takes."""
    passes = {
        "f_correction": 2.0,
        "reweight": 3.0,
    }  # two trainings; two batches, one of them twice
    name = method.split(":")[0]
    return get_method(method).networks * passes.get(name, 1.0)


def methods() -> Iterator[Work]:
    """Yield the work of Figures 3, 4, 5 and 9."""
    scale = method_comparison.SCALES["paper"]
    entries = [method_comparison.ENTRIES[key].method for key in figure3.ENTRIES]
    each = figure3.SCALES["paper"] * sum(map(networks_of, entries))
    for setting in scale.settings.values():
        yield Work(setting, each + 2 * scale.trials)


def schedules() -> Iterator[Work]:
    """Yield the work of Figures 1 and 8."""
    scale = figure1.SCALES["paper"]
    for setting in {setting for *_, setting in figure1.plain(scale)}:
        yield Work(setting, scale.seeds)
    yield Work(scale.main, 2 * ((figure1.RANDOM + 3) * scale.seeds + scale.trials))


def spaces() -> Iterator[Work]:
    """Yield the work of Table 3 and Figure 7."""
    scale = table3.SCALES["paper"]
    for setting in scale.settings.values():
        yield Work(setting, 2 * len(table3.SPACES) * scale.schedules * scale.seeds)


def algorithms() -> Iterator[Work]:
    """Yield the work of Figure 6."""
    scale = figure6.SCALES["paper"]
    for setting in scale.settings.values():
        yield Work(setting, 2 * len(scale.algorithms) * scale.seeds * scale.budget)


def sharing() -> Iterator[Work]:
    """Yield the work of Table 7: S2E's searches, and as much again for what was found."""
    scale = table7.SCALES["paper"]
    for setting in scale.settings.values():
        yield Work(setting, 2 * scale.seeds * (scale.trials + 4))


STUDIES = {
    "figure1": schedules,
    "figure3, figure4": methods,
    "table3": spaces,
    "figure6": algorithms,
    "table7": sharing,
}
"""Studies that train at the paper's scale; those that share trainings in one line."""


def samples(work: Work) -> float:
    """Forward and backward passes of one image and network; an evaluation is a third of one."""
    setting = work.setting
    steps = SIZES[setting.data] // (setting.batch_size or BATCH)
    trained = steps * (setting.batch_size or BATCH)
    measured = CLEAN / setting.evaluate_every / 3.0
    return work.networks * setting.epochs * (trained + measured)


def flops(network: str, data: str) -> int:
    """Count the operations of a forward and backward pass of one image."""
    classes = 100 if data == "cifar100" else 10
    return training_flops(make_network(network, SHAPES[data], classes, execution=_plain(network)))


def _plain(network: str) -> str:
    return "auto" if network in ("mlp", "cnn1", "cnn2", "cnn3") else "loop"


def image_seconds(network: str, data: str, device: torch.device) -> float:
    """Measure an epoch of Co-teaching on random images; return seconds an image and network."""
    size = BATCH * GPU_STEPS if device.type == "cuda" else IMAGES[network]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (size, *SHAPES[data])).astype(np.uint8)
    labels = np.arange(size) % 10
    few = slice(0, 20)
    parts = from_arrays(images, labels, images[few], labels[few], n_classes=10)
    clock = clock_of(device)
    ends: list[float] = []
    config = TrainConfig(
        epochs=2,
        network=network,
        batch_size=min(BATCH, size),
        decay_start=1.0,  # with another beta1 the second epoch would record its step again
        device=str(device),
    )
    train("coteaching", [[1.0, 0.7]], parts, config, lambda *_: ends.append(clock()))
    # The first epoch allocates, and records on a GPU.
    return float(ends[1] - ends[0]) / (2 * size)


def measure(device: torch.device) -> dict[str, Any]:
    """Count and measure."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    work = {name: list(count()) for name, count in STUDIES.items()}
    pairs = {(one.setting.network, one.setting.data) for some in work.values() for one in some}
    speeds = []
    for network, data in track(sorted(pairs), "networks"):
        seconds, operations = image_seconds(network, data, device), flops(network, data)
        speeds.append({"network": network, "data": data, "flops": operations, "seconds": seconds})
    known = {(row["network"], row["data"]): row for row in speeds}
    rows = []
    for name, some in work.items():
        costs = [(samples(one), known[one.setting.network, one.setting.data]) for one in some]
        rows.append(
            {
                "studies": name,
                "networks": sum(one.networks for one in some),
                "images": sum(count for count, _ in costs),
                "pflop": sum(count * cost["flops"] for count, cost in costs) / 1e15,
                "hours": sum(count * cost["seconds"] for count, cost in costs) / 3600,
            }
        )
    return {
        "device": device.type,
        "speeds": speeds,
        "rows": rows,
        "hardware": hardware(),
        "commit": commit(),
    }


def page(contents: Sequence[dict[str, Any]]) -> str:
    """Write the page over all devices that were measured."""
    lines = [
        "# What the paper's studies cost",
        "",
        "`python -m studies.estimate`; `python -m studies.NAME --scale paper` does the work that",
        "is counted here: networks trained on the paper's data sets for its numbers of epochs,",
        "forward and backward for each image, an evaluation counted as a third of that. The hours",
        "of a device are these passes times the measured seconds of an epoch of Co-teaching on",
        "random images, one trial at a time.",
        f"Only the column of {RATE:g} TFLOP/s assumes a GPU's speed: it is the counted work over",
        "a rate that some GPU may or may not sustain. Small networks keep a large GPU busy",
        "only if many trials run side by side.",
        "",
    ]
    for content in contents:
        cpu = content["device"] == "cpu"
        unit = "hours of one core" if cpu else "hours of this GPU"
        rows = [
            [
                row["studies"],
                f"{row['networks']:,.0f}",
                f"{row['images'] / 1e9:,.2f}",
                f"{row['pflop']:,.0f}",
                f"{row['hours']:,.0f}",
                f"{row['pflop'] / RATE / 3.6:,.1f}",
            ]
            for row in content["rows"]
        ]
        header = ("studies", "networks", "10⁹ images", "PFLOP", unit, f"hours at {RATE:g} TFLOP/s")
        lines += [f"## {'CPU' if cpu else content['hardware'].split(';')[0]}", ""]
        lines += Table(header, rows).markdown()
        speeds = [
            [
                row["network"],
                row["data"],
                f"{row['flops'] / 1e6:,.1f}",
                f"{1e3 * BATCH * row['seconds']:,.2f}",
                f"{row['flops'] / row['seconds'] / 1e9:,.0f}",
            ]
            for row in content["speeds"]
        ]
        lines += ["", "Measured, for one network of the two that Co-teaching trains:", ""]
        header = ("network", "data", "MFLOP an image", "ms a batch of 128", "GFLOP/s")
        lines += [*Table(header, speeds).markdown(), ""]
        lines += [f"{content['hardware']}; commit {content['commit']}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu (one core) or cuda [default: cpu]")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    options = parser.parse_args()
    if not options.page:
        content = measure(torch.device(options.device))
        text = json.dumps(content, indent=1)
        write_text(RESULTS / f"{content['device']}.json", text + "\n")
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))
    ]
    write_text(RESULTS / "README.md", page(found))
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
