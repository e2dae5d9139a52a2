"""Measure how fast stacks train, and how close that is to what the machine can do.

    python -m studies.bench_training                         # mlp, cnn1, cnn2; P = 1, 4, 16, 64
    python -m studies.bench_training --networks mlp --trials 16 --threads 1 2
    python -m studies.bench_training --threads 1 2 --profiles-only    # of what is measured already

Measured side by side, in turns, in one process: a large float32 matrix product (the peak), the
plain loop of `studies.reference_trainer` with one trial, and a stack of P trials of Co-teaching,
two networks each, batches of 128. Of each the fastest turn counts; all turns are in the JSON
file. The share of the peak is the counted work (products and convolutions forward and backward,
without the gradient of the images, which nobody needs) divided by time and peak.

A profile tells what the time goes to: of one epoch of one shard, in the main thread, where the
profiler sees it.

Results go to ``studies/results/bench_training/``: a folder for each machine with one JSON file a
setting and a figure, and README.md over all of them (`studies.bench_training_page`). What is there
already of this machine is not measured again, unless with --again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from s2e_optuna.data import NoisyData, from_arrays
from s2e_optuna.training import StackedModels, TrainConfig, make_network, train, trainer, unstack
from s2e_optuna.training.networks import StackedNetwork
from s2e_optuna.training.shards import runs_in_threads, train_shards
from s2e_optuna.training.stack import Stack
from studies.bench_training_page import PAGE, write_page
from studies.reference_trainer import train_reference

MNIST = Path("data/mnist27k.npz")
BATCH = 128
NETWORKS = 2
PEAK_SIDE = {"cpu": 1536, "cuda": 8192}

STEPS = {"mlp": 160, "cnn1": 32, "cnn2": 1, "cnn3": 1}
"""Steps of a turn with one trial: about a second of a core, or a single step."""

FEWEST_STEPS = 8
REFERENCE_STEPS = 40


@dataclass(frozen=True)
class Case:
    """One setting to be measured."""

    network: str
    trials: int
    threads: int
    device: str
    precision: str
    rounds: int

    @property
    def key(self) -> str:
        """Name of the case's file in the folder of its machine."""
        place = "cuda" if self.kind == "cuda" else f"cpu{self.threads}"
        precision = "" if self.precision == "float32" else f"-{self.precision}"
        return f"{place}{precision}-{self.network}-{self.trials}"

    @property
    def kind(self) -> str:
        """Kind of device, `cpu` or `cuda`."""
        return torch.device(self.device).type

    @property
    def steps(self) -> int:
        """Most steps of a turn: fewer where there are more trials, and many for a GPU."""
        most = STEPS[self.network]
        if self.kind == "cuda":
            return 20 * min(most, 10)
        return min(most, max(FEWEST_STEPS, most // self.trials))


def benchmark_data(network: str, steps: int) -> tuple[NoisyData, str]:
    """Return so many batches of data, or as many as there are, and what they are."""
    size = steps * BATCH
    if network in ("mlp", "cnn1") and MNIST.is_file():
        with np.load(MNIST) as file:
            images, labels = file["x_train"][:size], file["y_train"][:size]
        source = "MNIST"
    else:
        shape = (size, 1, 28, 28) if network in ("mlp", "cnn1") else (size, 3, 32, 32)
        rng = np.random.default_rng(0)
        images, labels = rng.integers(0, 255, shape).astype(np.uint8), np.arange(size) % 10
        source = f"random images of {' x '.join(map(str, shape[1:]))}"
    if len(np.unique(labels)) < 10:
        labels = np.arange(len(labels)) % 10
    few = slice(0, 20)
    return from_arrays(images, labels, images[few], labels[few], n_classes=10), source


def steps_of(data: NoisyData) -> int:
    """Count the steps of an epoch."""
    return len(data.y_train) // BATCH


def training_config(**options: Any) -> TrainConfig:
    """Return the settings of stack and reference: two epochs, of which the second is timed.

    The first allocates, and records on CUDA. Without a decay both have the same beta1, so that
    nothing is recorded again in the second.
    """
    return TrainConfig(epochs=2, batch_size=BATCH, evaluate_every=2, decay_start=1.0, **options)


def training_flops(network: StackedNetwork) -> int:
    """Count the work of one training step for one sample and network.

    Three times the forward pass, less the gradient of the first layer's input.
    """
    state = network.initial([0])
    images = torch.zeros(1, *network.input_shape)
    module = unstack(StackedModels(network, state), 0).eval()
    with FlopCounterMode(display=False) as counter:
        module(images).sum().backward()
    return int(counter.get_total_flops())


def peak(device: torch.device, precision: str) -> float:
    """Measure the operations a second of a large matrix product."""
    side = PEAK_SIDE[device.type]
    kind = torch.float32 if precision == "float32" else torch.bfloat16
    first, second = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = 0.0
    for _ in range(4):
        seconds = timed(lambda: torch.mm(first, second), device)
        best = max(best, 2 * side**3 / seconds)
    return best


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return what tells the seconds, once the device has done what it was asked to."""
    # With one thread, what other processes take of the machine need not be counted.
    if device.type == "cpu":
        return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def timed(action: Callable[[], object], device: torch.device) -> float:
    clock = clock_of(device)
    start = clock()
    action()
    return clock() - start


def train_stack(case: Case, data: NoisyData) -> None:
    """Train a stack for two epochs."""
    config = training_config(network=case.network, device=case.device, precision=case.precision)
    train("coteaching", [[1.0, 0.5]] * case.trials, data, config)


def stack_epoch(case: Case, data: NoisyData) -> float:
    """Seconds of the second epoch of a stack, without evaluation."""
    seconds: list[float] = []
    device = torch.device(case.device)

    def watched(*arguments: Any, **options: Any) -> Any:
        found: list[Any] = []
        seconds.append(timed(lambda: found.append(train_shards(*arguments, **options)), device))
        return found[0]

    with patch.object(trainer, "train_shards", watched):
        train_stack(case, data)
    return seconds[1]


def reference_epoch(case: Case, data: NoisyData) -> float:
    """Seconds of the second epoch of the plain loop with one trial."""
    device = torch.device(case.device)
    architecture = make_network(case.network, data.input_shape, 10)
    stacked = StackedModels(architecture, architecture.initial(range(NETWORKS)))
    modules = [unstack(stacked, i).to(device) for i in range(NETWORKS)]
    times: list[float] = []
    clock = clock_of(device)
    train_reference(
        modules,
        data,
        [0.7, 0.7],
        training_config(),
        evaluate=False,
        on_epoch=lambda: times.append(clock()),
    )
    return times[1] - times[0]


def busy_cores(seconds: float = 1.0) -> float:
    """Cores that are busy while this process sleeps; 0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0

    def busy_ticks() -> int:
        user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split()[1:9])
        return user + nice + system + irq + softirq

    before = busy_ticks()
    time.sleep(seconds)
    return (busy_ticks() - before) / (seconds * os.sysconf("SC_CLK_TCK"))


def measure(case: Case) -> dict[str, Any]:
    """Measure one case in turns."""
    torch.set_num_threads(case.threads)
    device = torch.device(case.device)
    if device.type == "cpu" and case.threads > 1 and (busy := busy_cores()) > 0.25:
        raise SystemExit(
            f"other processes keep {busy:.1f} cores busy: wall-clock time of {case.threads} "
            "threads would mean nothing. Wait, or measure with --threads 1."
        )
    data, source = benchmark_data(case.network, case.steps)
    flops = training_flops(make_network(case.network, data.input_shape, 10))
    steps = steps_of(data)
    wanted = max(steps, min(STEPS[case.network], REFERENCE_STEPS))
    reference_data, _ = benchmark_data(case.network, wanted)
    reference_steps = steps_of(reference_data)
    turns: list[dict[str, float]] = []
    for _ in range(case.rounds):
        turns.append(
            {
                "peak": peak(device, case.precision),
                "reference": reference_epoch(case, reference_data),
                "stack": stack_epoch(case, data),
            }
        )
    best_peak = max(turn["peak"] for turn in turns)
    stack = min(turn["stack"] for turn in turns)
    reference = min(turn["reference"] for turn in turns)
    speed = steps * BATCH * NETWORKS * case.trials / stack
    reference_speed = reference_steps * BATCH * NETWORKS / reference
    return {
        "network": case.network,
        "trials": case.trials,
        "threads": case.threads,
        "precision": case.precision,
        "kind": case.kind,
        "device": hardware(case.device),
        "host": hardware("cpu"),
        "data": source,
        "batch_size": BATCH,
        "steps": steps,
        "reference_steps": reference_steps,
        "flops_a_sample": flops,
        "peak_gflops": best_peak / 1e9,
        "speed": speed,
        "reference_speed": reference_speed,
        "ratio": speed / reference_speed,
        "share": speed * flops / best_peak,
        "reference_share": reference_speed * flops / best_peak,
        "turns": turns,
        "load": os.getloadavg()[0],
        "profile": profile_of(case, data),
        "versions": {name: version(name) for name in ("torch", "numpy")},
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


KINDS = {
    "products": ("bmm", "mm", "addmm", "baddbmm", "sgemm", "gemm", "cutlass"),
    "convolutions": ("conv", "cudnn", "wgrad", "dgrad"),
    "pooling": ("pool",),
    "optimiser": ("_fused_adam_", "adam", "foreach"),
    "normalisation": ("batch_norm",),
}


class _Over(Exception):
    """The epoch that was to be profiled is over."""


def profile_of(case: Case, data: NoisyData) -> dict[str, Any]:
    """Profile one shard of a case, as large as there, in the second of its epochs.

    The profiler sees the operations of the main thread alone, where a single shard trains. It has
    as many threads as in the case: one, where every thread trains shards of its own.

    Returns
    -------
    dict
        ``trials`` of the shard, ``threads`` it may use, and ``shares``: what part of the time in
        operations (on CUDA in kernels) each kind of them takes.
    """
    activities = [ProfilerActivity.CPU]
    if case.kind == "cuda":
        activities.append(ProfilerActivity.CUDA)
    found: dict[str, Any] = {}

    def first_shard(shards: list[Stack], *arguments: Any, **options: Any) -> Any:
        if not found:
            found["threads"] = _threads_of_a_shard(shards)
            torch.set_num_threads(found["threads"])
            return train_shards(shards[:1], *arguments, **options)
        with profile(activities=activities) as recorded:
            train_shards(shards[:1], *arguments, **options)
            if case.kind == "cuda":
                torch.cuda.synchronize()
        found.update(trials=len(shards[0].trials), shares=_shares(recorded, case.kind))
        raise _Over

    torch.set_num_threads(case.threads)
    try:
        with patch.object(trainer, "train_shards", first_shard):
            train_stack(case, data)
    except _Over:
        pass
    finally:
        torch.set_num_threads(case.threads)
    return found


def _threads_of_a_shard(shards: list[Stack]) -> int:
    threads = torch.get_num_threads()
    if not runs_in_threads(shards[0].setup):
        return threads
    return max(1, threads // len(shards))


def _shares(recorded: profile, kind: str) -> dict[str, float]:
    spent: dict[str, float] = dict.fromkeys((*KINDS, "other"), 0.0)
    # What launches a kernel has the kernel's time, too: on CUDA only the kernels count.
    for event in recorded.key_averages():
        if event.device_type.name != kind.upper():
            continue
        own = event.self_device_time_total if kind == "cuda" else event.self_cpu_time_total
        name = event.key.removeprefix("aten::").lower()
        matching = (k for k, words in KINDS.items() if any(word in name for word in words))
        spent[next(matching, "other")] += own
    total = sum(spent.values())
    return {name: own / total for name, own in spent.items() if own > 0.005 * total}


def hardware(device: str) -> str:
    """Name the processor or the GPU."""
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def place_of(case: Case) -> Path:
    """Return the file of a case: each machine has a folder of its own."""
    machine = re.sub(r"[^a-z0-9]+", "-", hardware(case.device).lower()).strip("-")
    return PAGE.parent / machine / f"{case.key}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=STEPS, default=["mlp", "cnn1", "cnn2"])
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--threads", nargs="+", type=int, default=[torch.get_num_threads()])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=4, help="turns; the fastest counts")
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    parser.add_argument(
        "--profiles-only",
        action="store_true",
        help="profile again what is there already, measure nothing",
    )
    options = parser.parse_args()
    console = Console()
    for threads, network, trials in product(options.threads, options.networks, options.trials):
        case = Case(network, trials, threads, options.device, options.precision, options.rounds)
        path = place_of(case)
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        with console.status(case.key):
            if options.profiles_only:
                if found is None:
                    continue
                found["profile"] = profile_of(case, benchmark_data(network, case.steps)[0])
            elif found is None or options.again:
                found = measure(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        console.print(
            f"{case.key}: {found['speed']:,.0f} samples × networks / s, "
            f"{found['share']:.0%} of the peak of {found['peak_gflops']:.0f} GFLOP/s, "
            f"{found['ratio']:.1f} times the reference"
        )
    write_page()


if __name__ == "__main__":
    main()
