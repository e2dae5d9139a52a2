"""The page of `studies.bench_training`: a section for each machine that was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

PAGE = Path(__file__).parent / "results" / "bench_training" / "README.md"
COLOURS = {"mlp": "#0072B2", "cnn1": "#D55E00", "cnn2": "#009E73", "cnn3": "#CC79A7"}

Row = dict[str, Any]
"""What was measured of one case."""

INTRODUCTION = """\
`python -m studies.bench_training`. Co-teaching, two networks a trial, batches of 128, Adam. Peak,
reference (one trial, `studies/reference_trainer.py`) and stack took turns in one process; of each
the fastest turn counts. The share of the peak is counted work over time and over the measured peak
of a large matrix product; in brackets the same over the median of the turns' peaks, which vary
with what other processes take. With one thread time is processor time, because other processes had
their share of the machine. They also emptied its caches: see the load averages. The reference is
float32 throughout.

The last column is the profile of one epoch of one shard of trials, its size in brackets, taken in
the main thread. Where several threads train shards, each trains them so, one thread a shard. The
shares are of the time in PyTorch's operations (on a GPU in its kernels), without what Python takes
between them."""

HEADER = (
    "| network | P | samples × networks / s | share of the peak "
    "| reference: samples × networks / s (share) | times the reference | what the time goes to |"
    "\n|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Target:
    """What was to be reached by a network: `goal` of `key`, with so many trials or with any."""

    network: str
    key: str
    goal: float
    trials: int | None = None


TARGETS = {
    "cpu": (
        Target("mlp", "ratio", 5.0),
        Target("mlp", "share", 0.75),
        Target("cnn1", "ratio", 2.0),
        Target("cnn2", "ratio", 2.0),
    ),
    "cuda": (Target("mlp", "ratio", 30.0, trials=16), Target("cnn1", "ratio", 30.0, trials=16)),
}
"""What was to be reached, by kind of device."""

SHOWN = {"ratio": "{:.1f} times the reference", "share": "{:.1%} of the peak"}


def write_page() -> None:
    """Write the page and the figures from all results there are."""
    rows = results()
    for machine, group in by(rows, "device"):
        draw(group, folder_of(machine, group) / "share.png")
    PAGE.write_text(page(rows), encoding="utf-8")


def results() -> list[Row]:
    """Read all results there are, in order."""
    found = []
    for path in sorted(PAGE.parent.glob("*/*.json")):
        found.append(json.loads(path.read_text(encoding="utf-8")) | {"folder": path.parent.name})
    order = list(COLOURS)
    keys = ("device", "threads", "precision")
    found.sort(key=lambda r: (*(r[k] for k in keys), order.index(r["network"]), r["trials"]))
    return found


def by(rows: Sequence[Row], *keys: str) -> Iterator[tuple[Any, list[Row]]]:
    """Split results by what they have in common."""
    for values in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        group = [row for row in rows if tuple(row[key] for key in keys) == values]
        yield values[0] if len(keys) == 1 else values, group


def folder_of(machine: str, rows: Sequence[Row]) -> Path:
    """Return the folder of a machine's results."""
    return PAGE.parent / next(str(row["folder"]) for row in rows if row["device"] == machine)


def page(rows: Sequence[Row]) -> str:
    """Write the results down in Markdown."""
    lines = ["# Speed of the stacked trainer", "", INTRODUCTION]
    for machine, of_machine in by(rows, "device"):
        lines += ["", f"## {machine}"]
        for (threads, precision), group in by(of_machine, "threads", "precision"):
            lines += ["", *_table(machine, threads, precision, group)]
        folder = folder_of(machine, of_machine)
        notes = folder / "notes.md"  # of this machine alone
        if notes.is_file():
            lines += ["", notes.read_text(encoding="utf-8").strip()]
        lines += ["", f"![Share of the peak: {machine}]({folder.name}/share.png)"]
    return "\n".join([*lines, ""])


def _table(machine: str, threads: int, precision: str, group: Sequence[Row]) -> list[str]:
    first, on_cpu = group[0], group[0]["kind"] == "cpu"
    on_threads = f"{threads} thread" if threads == 1 else f"{threads} threads"
    threads_or_host = on_threads if on_cpu else f"host {first['host']}"
    peaks, loads = [r["peak_gflops"] for r in group], [r["load"] for r in group]
    sources = sorted({f"{row['network']}: {row['data']}" for row in group})
    return [
        f"### {machine}: {threads_or_host}, {precision}",
        "",
        f"Peak {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s. torch {first['versions']['torch']}, "
        f"{first['date']}; load average while measuring {min(loads):.1f} to {max(loads):.1f}.",
        "",
        HEADER,
        *(
            f"| {row['network']} | {row['trials']} | {row['speed']:,.0f} "
            f"| {row['share']:.0%} ({share_of_median(row):.0%}) "
            f"| {row['reference_speed']:,.0f} ({row['reference_share']:.0%}) "
            f"| {row['ratio']:.1f} | {_spent(row)} |"
            for row in group
        ),
        "",
        f"Data: {'; '.join(sources)}.",
        "",
        *verdicts(group),
    ]


def share_of_median(row: Row) -> float:
    """Return the share of the peak that the median turn reached."""
    middle = median(turn["peak"] for turn in row["turns"])
    return float(row["share"] * row["peak_gflops"] * 1e9 / middle)


def _spent(row: Row) -> str:
    if "profile" not in row:
        return "not profiled"
    kinds = sorted(row["profile"]["shares"].items(), key=lambda item: -item[1])[:4]
    spent = ", ".join(f"{kind} {share:.0%}" for kind, share in kinds)
    return f"{spent} (shard of {row['profile']['trials']})"


def verdicts(group: Sequence[Row]) -> list[str]:
    """Say which targets are reached, by the P that was asked for or else by the best."""
    lines = []
    for target in TARGETS[group[0]["kind"]]:
        rows = [row for row in group if row["network"] == target.network]
        shown = SHOWN[target.key]
        wanted = "" if target.trials is None else f" at P = {target.trials}"
        asked = f"- {target.network}: {shown.format(target.goal)}{wanted}"
        meant = [row for row in rows if target.trials in (None, row["trials"])]
        if meant:
            best = max(meant, key=lambda row: row[target.key])
            reached = "reached" if best[target.key] >= target.goal else "**not reached**"
            found = f"{shown.format(best[target.key])} with P = {best['trials']}"
            lines.append(f"{asked}: {reached} ({found}).")
        elif rows:
            lines.append(f"{asked}: not measured.")
    return lines


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the share of the peak and the ratio to the reference by number of trials."""
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    share, ratio = figure.subplots(1, 2)
    for i, ((threads, precision), group) in enumerate(by(rows, "threads", "precision")):
        for network, points in by(group, "network"):
            place = "GPU" if points[0]["kind"] == "cuda" else f"{threads} thr."
            short = "" if precision == "float32" else ", bf16"
            look = {
                "color": COLOURS[network],
                "marker": "os^Dv"[i % 5],
                "ls": ("-", "--", ":")[i % 3],
                "label": f"{network}, {place}{short}",
            }
            trials = [row["trials"] for row in points]
            share.plot(trials, [100 * row["share"] for row in points], **look)
            ratio.plot(trials, [row["ratio"] for row in points], **look)
    share.set(ylabel="share of the measured peak [%]", ylim=(0, None))
    ratio.set(ylabel="times the plain loop", ylim=(0, None))
    for ax in (share, ratio):
        ax.set_xscale("log", base=2)
        ticks = sorted({row["trials"] for row in rows})
        ax.set_xticks(ticks, [str(t) for t in ticks])
        ax.set_xlabel("trials side by side, P")
        ax.grid(alpha=0.3)
    figure.legend(*ratio.get_legend_handles_labels(), loc="outside right", fontsize="x-small")
    figure.suptitle(rows[0]["device"], fontsize="small")
    figure.savefig(path, dpi=160)
