"""Measure how fast stacks train, and how close that is to what the machine can do.

    python -m studies.bench_training                         # mlp, cnn1, cnn2; P = 1, 4, 16, 64
    python -m studies.bench_training --networks mlp --trials 16 --threads 1 2

Measured side by side, in turns, in one process: a large float32 matrix product (the peak), the
plain loop of `studies.reference_trainer` with one trial, and a stack of P trials of Co-teaching,
two networks each, batches of 128. Of each the fastest turn counts; all turns are in the JSON
file. The share of the peak is the counted work (products and convolutions forward and backward,
without the gradient of the images, which nobody needs) divided by time and peak.

Results go to ``studies/results/bench_training/``: one JSON file a device and setting, README.md
(with notes.md in it) and a figure over all of them. What is there already is not measured again,
unless with --again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from s2e_optuna.training import (
    NoisyData,
    StackedModels,
    TrainConfig,
    from_arrays,
    make_network,
    train,
    unstack,
)
from s2e_optuna.training.networks import StackedNetwork
from studies.reference_trainer import train_reference

RESULTS = Path(__file__).parent / "results" / "bench_training"
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
        """Name of the case's file."""
        place = "cuda" if self.device != "cpu" else f"cpu{self.threads}"
        precision = "" if self.precision == "float32" else f"-{self.precision}"
        return f"{place}{precision}-{self.network}-{self.trials}"

    @property
    def steps(self) -> int:
        """Steps of a turn: fewer where there are more trials, as many as there are for a GPU."""
        most = STEPS[self.network]
        if self.device != "cpu":
            return 20 * min(most, 10)
        return min(most, max(FEWEST_STEPS, most // self.trials))


def benchmark_data(network: str, steps: int) -> tuple[NoisyData, str]:
    """Return so many batches of data and what they are."""
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


def stack_epochs(case: Case, data: NoisyData, epochs: int) -> list[float]:
    """Seconds of each epoch of a stack, without evaluation."""
    from s2e_optuna.training import trainer

    seconds: list[float] = []
    original = trainer.train_blocks
    device = torch.device(case.device)

    def watched(*arguments: Any, **options: Any) -> Any:
        found: list[Any] = []
        seconds.append(timed(lambda: found.append(original(*arguments, **options)), device))
        return found[0]

    trainer.train_blocks = watched
    try:
        config = TrainConfig(
            epochs=epochs,
            network=case.network,
            batch_size=BATCH,
            device=case.device,
            evaluate_every=epochs,
            precision=case.precision,
        )
        train("coteaching", [np.linspace(1.0, 0.5, epochs)] * case.trials, data, config)
    finally:
        trainer.train_blocks = original
    return seconds


def reference_epoch(case: Case, data: NoisyData) -> float:
    """Seconds of the second epoch of the plain loop with one trial; the first allocates."""
    device = torch.device(case.device)
    architecture = make_network(case.network, data.input_shape, 10)
    stacked = StackedModels(architecture, architecture.initial(range(NETWORKS)))
    modules = [unstack(stacked, i).to(device) for i in range(NETWORKS)]
    config = TrainConfig(epochs=2, batch_size=BATCH)
    times: list[float] = []
    clock = clock_of(device)
    train_reference(
        modules, data, [0.7, 0.7], config, evaluate=False, on_epoch=lambda: times.append(clock())
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
    samples = case.steps * BATCH
    reference_steps = max(case.steps, min(STEPS[case.network], REFERENCE_STEPS))
    reference_data, _ = benchmark_data(case.network, reference_steps)
    turns: list[dict[str, float]] = []
    for _ in range(case.rounds):
        turns.append(
            {
                "peak": peak(device, case.precision),
                "reference": reference_epoch(case, reference_data),
                # The first epoch allocates (and records, on CUDA).
                "stack": stack_epochs(case, data, 2)[1],
            }
        )
    best_peak = max(turn["peak"] for turn in turns)
    stack = min(turn["stack"] for turn in turns)
    reference = min(turn["reference"] for turn in turns)
    speed = samples * NETWORKS * case.trials / stack
    reference_speed = reference_steps * BATCH * NETWORKS / reference
    return {
        "network": case.network,
        "trials": case.trials,
        "threads": case.threads,
        "precision": case.precision,
        "device": hardware(case.device),
        "data": source,
        "batch_size": BATCH,
        "steps": case.steps,
        "flops_a_sample": flops,
        "peak_gflops": best_peak / 1e9,
        "speed": speed,
        "reference_speed": reference_speed,
        "ratio": speed / reference_speed,
        "share": speed * flops / best_peak,
        "reference_share": reference_speed * flops / best_peak,
        "turns": turns,
        "load": os.getloadavg()[0],
        "limits": limits(case, data),
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


def limits(case: Case, data: NoisyData) -> dict[str, float]:
    """Share of the time of each kind of operation in a profile of a stack."""
    device = torch.device(case.device)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    few = Case(case.network, min(case.trials, 4), case.threads, case.device, case.precision, 1)
    with profile(activities=activities) as recorded:
        stack_epochs(few, data, 2)
    spent: dict[str, float] = dict.fromkeys((*KINDS, "other"), 0.0)
    for event in recorded.key_averages():
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        name = event.key.removeprefix("aten::").lower()
        kind = next(
            (k for k, words in KINDS.items() if any(word in name for word in words)), "other"
        )
        spent[kind] += own
    total = sum(spent.values())
    return {kind: own / total for kind, own in spent.items() if own > 0.005 * total}


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


def results() -> list[dict[str, Any]]:
    """Read all results there are, in order."""
    found = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))]
    order = {name: i for i, name in enumerate(STEPS)}
    return sorted(
        found,
        key=lambda r: (
            r["device"],
            r["threads"],
            r["precision"],
            order[r["network"]],
            r["trials"],
        ),
    )


HEADER = (
    "| network | P | samples × networks / s | share of the peak "
    "| reference: samples × networks / s (share) | times the reference | what the time goes to |"
    "\n|---|---|---|---|---|---|---|"
)


def page(rows: list[dict[str, Any]]) -> str:
    """Write the results down in Markdown."""
    lines = [
        "# Speed of the stacked trainer",
        "",
        "`python -m studies.bench_training`. Co-teaching, two networks a trial, batches of 128, "
        "Adam. Peak, reference (one trial, `studies/reference_trainer.py`) and stack took turns "
        "in one process; of each the fastest turn counts. The share of the peak is counted work "
        "over time and over the measured peak of a large matrix product. With one thread time is "
        "processor time, because other processes had their share of the machine. They also "
        "emptied its caches: see the load averages. The reference is float32 throughout.",
    ]
    for group in groups(rows):
        first = group[0]
        threads = "" if "cores" not in first["device"] else f", {first['threads']} thread(s)"
        peaks = [row["peak_gflops"] for row in group]
        lines += [
            "",
            f"## {first['device']}{threads}, {first['precision']}",
            "",
            f"Peak {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s. "
            f"torch {first['versions']['torch']}, "
            f"{first['date']}; load average while measuring "
            f"{min(r['load'] for r in group):.1f} to {max(r['load'] for r in group):.1f}.",
            "",
            HEADER,
        ]
        for row in group:
            kinds = sorted(row["limits"].items(), key=lambda item: -item[1])[:4]
            spent = ", ".join(f"{kind} {100 * share:.0f}%" for kind, share in kinds)
            lines.append(
                f"| {row['network']} | {row['trials']} | {row['speed']:,.0f} "
                f"| {100 * row['share']:.0f}% | {row['reference_speed']:,.0f} "
                f"({100 * row['reference_share']:.0f}%) "
                f"| {row['ratio']:.1f} | {spent} |"
            )
        sources = sorted({f"{row['network']}: {row['data']}" for row in group})
        lines += ["", f"Data: {'; '.join(sources)}.", "", *verdicts(group)]
    notes = (RESULTS / "notes.md").read_text(encoding="utf-8").strip()
    return "\n".join([*lines, "", notes, "", "![Share of the peak](share.png)", ""])


TARGETS = {
    "cpu": {"mlp": (5.0, 0.75), "cnn1": (2.0, 0.0), "cnn2": (2.0, 0.0)},
    "cuda": {"mlp": (30.0, 0.0), "cnn1": (30.0, 0.0)},
}
"""What was to be reached: times the reference, and share of the peak."""


def verdicts(group: list[dict[str, Any]]) -> list[str]:
    """Say which targets each network reaches, each by the number of trials that is best there."""
    targets = TARGETS["cpu" if "cores" in group[0]["device"] else "cuda"]
    lines = []
    for network, (ratio, share) in targets.items():
        rows = [row for row in group if row["network"] == network]
        if not rows:
            continue
        for goal, key, shown in (
            (ratio, "ratio", "{:.1f} times the reference"),
            (share, "share", "{:.1%} of the peak"),
        ):
            if goal:
                found = max(row[key] for row in rows)
                reached = "reached" if found >= goal else "**not reached**"
                lines.append(
                    f"- {network}: {shown.format(goal)}: {reached} ({shown.format(found)})."
                )
    return lines


def groups(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Split results by machine, threads and precision."""
    keys = list(dict.fromkeys((r["device"], r["threads"], r["precision"]) for r in rows))
    for key in keys:
        yield [r for r in rows if (r["device"], r["threads"], r["precision"]) == key]


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the share of the peak and the ratio to the reference by number of trials."""
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    share, ratio = figure.subplots(1, 2)
    colours = dict(zip(STEPS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))
    for i, group in enumerate(groups(rows)):
        for network in dict.fromkeys(row["network"] for row in group):
            points = [row for row in group if row["network"] == network]
            place = "GPU" if "cores" not in points[0]["device"] else f"{points[0]['threads']} thr."
            label = f"{network}, {place}" + (
                "" if points[0]["precision"] == "float32" else ", bf16"
            )
            look = {
                "color": colours[network],
                "marker": "os^Dv"[i % 5],
                "ls": ("-", "--", ":")[i % 3],
                "label": label,
            }
            trials = [row["trials"] for row in points]
            share.plot(trials, [100 * row["share"] for row in points], **look)
            ratio.plot(trials, [row["ratio"] for row in points], **look)
    share.set(ylabel="share of the measured peak [%]", ylim=(0, 100))
    ratio.set(ylabel="times the plain loop", ylim=(0, None))
    for ax in (share, ratio):
        ax.set_xscale("log", base=2)
        ticks = sorted({row["trials"] for row in rows})
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.set_xlabel("trials side by side, P")
        ax.grid(alpha=0.3)
    ratio.legend(fontsize="x-small")
    figure.savefig(RESULTS / "share.png", dpi=160)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=STEPS, default=["mlp", "cnn1", "cnn2"])
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--threads", nargs="+", type=int, default=[torch.get_num_threads()])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=4, help="turns; the fastest counts")
    parser.add_argument("--again", action="store_true", help="measure what is there already too")
    options = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    console = Console()
    for threads in options.threads:
        for network in options.networks:
            for trials in options.trials:
                case = Case(
                    network, trials, threads, options.device, options.precision, options.rounds
                )
                path = RESULTS / f"{case.key}.json"
                if not path.exists() or options.again:
                    with console.status(f"{case.key}: measuring"):
                        found = measure(case)
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                found = json.loads(path.read_text(encoding="utf-8"))
                console.print(
                    f"{case.key}: {100 * found['share']:.0f}% of the peak, "
                    f"{found['ratio']:.1f} times the reference"
                )
    rows = results()
    (RESULTS / "README.md").write_text(page(rows), encoding="utf-8")
    draw(rows)


if __name__ == "__main__":
    main()
