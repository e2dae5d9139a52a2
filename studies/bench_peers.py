"""The trainer beside other ways to train many networks at once.

    python -m studies.bench_peers --data data/mnist27k.npz --jax /tmp/jax/bin/python
    python -m studies.bench_peers --data data/mnist27k.npz --networks mlp --trials 4

The peers, in `studies/peers/`, are what somebody would write who knows the library: a tidy loop
over tensors, `torch.func`, JAX. Each is a process of its own that trains P trials of Co-teaching
on the same batches of the same labels (MNIST, half of the labels wrong, half of each batch kept)
on all cores. All wait while one of them trains for a turn, then the next one does, so that what
else the machine is about meets them alike. JAX is not among the dependencies: make an environment
for it (``pip install jax==0.10.2``) and name its Python. Beside them stands what the products and
Adam of a step of `mlp` cost alone. Convolutions have no such floor: they can be many products,
and which of these is fastest is what the peers differ in.

Writes ``studies/results/bench_peers/``: peers.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studies.pages import Table
from studies.settings import commit, hardware

PEERS = Path(__file__).parent / "peers"
RESULTS = Path(__file__).parent / "results" / "bench_peers"
SAMPLES, TEST, NOISE, BATCH = 9_984, 2_000, 0.5, 128
RATE = 0.5
WORK = {"mlp": 320, "cnn1": 80}
"""Trials times steps of a turn, of each network."""

STEPS = 2, 39
"""The fewest and the most steps of a turn."""


@dataclass(frozen=True)
class Peer:
    """A script of `PEERS`, how it selects, and what share it keeps; `jax`: whether it needs it."""

    name: str
    script: str
    select: str = "top-k"
    jax: bool = False
    rate: float = RATE

    @property
    def label(self) -> str:
        """Its name, and its keep rate where that is not one half."""
        return self.name if self.rate == RATE else f"{self.name}, R = {self.rate:g}"


OURS = "s2e_optuna"
FLOOR = "floor: products and Adam alone"
JAX_TOP_K = Peer("JAX, vmap, jit and scan; top-k", "jax_vmap", jax=True)
JAX_MASKS = Peer("JAX, vmap, jit and scan; masks", "jax_vmap", "masks", jax=True)
OTHERS = (
    JAX_TOP_K,
    JAX_MASKS,
    Peer("torch.func, vmap; top-k", "torch_func"),
    Peer("torch.func, vmap; masks", "torch_func", "masks"),
    Peer("tidy loop over tensors", "torch_loop"),
)


def peers_of(network: str, rates: list[float], jax: bool) -> list[Peer]:
    """List who trains a network: ours and the floor with each keep rate, the others with half."""
    ours = [Peer(OURS, "ours", rate=rate) for rate in rates]
    floors = [Peer(FLOOR, "floor", rate=rate) for rate in rates if network == "mlp"]
    return [*ours, *(peer for peer in OTHERS if jax or not peer.jax), *floors]


def steps_of(network: str, trials: int) -> int:
    """Say how many steps a turn has: with more trials fewer."""
    fewest, most = STEPS
    return max(fewest, min(most, WORK[network] // trials))


def write_task(source: Path, target: Path) -> None:
    """Take training images, half of whose labels become another class, and test images."""
    rng = np.random.default_rng(0)
    with np.load(source, allow_pickle=False) as stored:
        labels = stored["y_train"][:SAMPLES].astype(np.int64)
        wrong = rng.random(len(labels)) < NOISE
        labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
        np.savez(
            target,
            x_train=stored["x_train"][:SAMPLES],
            y_train=labels,
            x_test=stored["x_test"][:TEST],
            y_test=stored["y_test"][:TEST],
        )


class Running:
    """A peer's process, which trains when it is asked to."""

    def __init__(self, python: str, peer: Peer, words: list[str]) -> None:
        self._peer = peer
        options = ["--select", peer.select, "--rate", str(peer.rate)]
        self._process = subprocess.Popen(
            [python, f"{peer.script}.py", *words, *options],
            cwd=PEERS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    def hear(self) -> dict[str, Any]:
        """Wait for a line of JSON; RuntimeError where the process has ended without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._peer.label} has ended")
        told: dict[str, Any] = json.loads(line)
        return told

    def turn(self) -> float:
        """Let it train for a turn; return the seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds: float = self.hear()["seconds"]
        return seconds

    def end(self) -> float | None:
        """Let it end; return the test accuracy of what it has trained."""
        told, _ = self._process.communicate()
        return json.loads(told)["test_accuracy"] if told else None


def measure(
    peers: list[Peer], jax: str | None, data: Path, network: str, trials: int, turns: int
) -> dict[str, Any]:
    """Let all peers take turns; return the seconds of a step in each, and accuracies, by label.

    In the first turn, which is left out, they compile and warm up.
    """
    steps = steps_of(network, trials)
    words = [str(data), "--network", network, "--trials", str(trials), "--steps", str(steps)]
    words += ["--epochs", str(turns + 2)]
    with ExitStack() as stack:
        running = {}
        for peer in peers:
            python = jax if peer.jax and jax else sys.executable
            running[peer.label] = stack.enter_context(Running(python, peer, words))
        for one in running.values():
            one.hear()  # that it is ready
        seconds: dict[str, list[float]] = {label: [] for label in running}
        for turn in range(turns + 1):
            for label, one in running.items():
                found = one.turn() / steps
                if turn:
                    seconds[label].append(found)
        accuracy = {label: one.end() for label, one in running.items()}
    for label, found in seconds.items():
        print(f"{network}, P = {trials}: {label}: {1000 * statistics.median(found):.1f} ms")
    return {"steps": steps, "seconds": seconds, "test_accuracy": accuracy}


def ratio(case: dict[str, Any], other: str, ours: str = OURS) -> float:
    """Our time of a step as a share of another's: the median of the turns' ratios."""
    seconds = case["seconds"]
    return statistics.median(
        one / its for one, its in zip(seconds[ours], seconds[other], strict=True)
    )


def write_page(content: dict[str, Any]) -> None:
    """Set the peers side by side: a table for each network, a column for each number of trials."""
    lines = ["# The trainer and its peers", "", *(__doc__ or "").split("\n\n")[2].split("\n"), ""]
    lines += [
        f"Batches of {BATCH}, two networks a trial; medians of {content['turns']} turns after the "
        "first, in which they compile and warm up. Ratios are the medians of those of single "
        "turns. Accuracy is that after one epoch more than there were turns; ours draws its own "
        "batches and weights.",
        "",
    ]
    for network, cases in content["cases"].items():
        lines += [f"## {network}", "", *_table(cases), "", *verdicts(network, cases), ""]
    lines += [f"{content['hardware']}; {content['jax']}; commit {content['commit']}.", ""]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _ours_beside(label: str) -> str:
    """Name ours with the keep rate of a floor; the other peers keep half."""
    return label.replace(FLOOR, OURS) if label.startswith(FLOOR) else OURS


def _table(cases: dict[str, Any]) -> list[str]:
    first = next(iter(cases.values()))
    header = [
        *("", *(f"P = {count}: ms a step" for count in cases)),
        *(f"P = {count}: ours / it" for count in cases),
        *(f"P = {count}: test accuracy, %" for count in cases),
    ]
    rows = []
    for label in first["seconds"]:
        own = _ours_beside(label)
        accuracies = [case["test_accuracy"][label] for case in cases.values()]
        rows.append(
            [
                label,
                *(
                    f"{1000 * statistics.median(case['seconds'][label]):.1f}"
                    for case in cases.values()
                ),
                *(
                    "" if label.startswith(OURS) else f"{ratio(case, label, own):.2f}"
                    for case in cases.values()
                ),
                *("" if found is None else f"{100 * found:.1f}" for found in accuracies),
            ]
        )
    turns = ", ".join(f"{case['steps']} with P = {count}" for count, case in cases.items())
    return [*Table(header, rows).markdown(), "", f"Steps of a turn: {turns}."]


def verdicts(network: str, cases: dict[str, Any]) -> list[str]:
    """Say of each thing that was wanted with which numbers of trials it is reached."""
    first = next(iter(cases.values()))["seconds"]
    wanted = [
        ("ahead of JAX with top-k", [JAX_TOP_K.label], OURS, 1.0),
        ("at most 0.85 of JAX with masks", [JAX_MASKS.label], OURS, 0.85),
    ]
    if network == "cnn1":
        others = [label for label in first if not label.startswith(OURS)]
        wanted = [("ahead of every peer", others, OURS, 1.0)]
    for label in first:
        if label.startswith(FLOOR):
            own = _ours_beside(label)
            kept = label.removeprefix(FLOOR).lstrip(", ") or f"R = {RATE:g}"
            wanted.append((f"within 1.1 of the floor, {kept}", [label], own, 1.1))
    lines = []
    for name, others, own, limit in wanted:
        if not set(others) <= set(first):
            continue
        found = {
            count: max(ratio(case, label, own) for label in others)
            for count, case in cases.items()
        }
        told = ", ".join(
            f"P = {count} {'reached' if value <= limit else '**not reached**'} ({value:.2f})"
            for count, value in found.items()
        )
        lines.append(f"- {name}: {told}.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MNIST as an .npz file")
    parser.add_argument("--jax", help="Python of an environment with JAX")
    parser.add_argument("--networks", nargs="+", choices=list(WORK), default=list(WORK))
    parser.add_argument("--trials", type=int, nargs="+", default=[4, 16, 48])
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[RATE, 0.3], help="ours and the floor's"
    )
    parser.add_argument("--turns", type=int, default=4)
    said = parser.parse_args()
    cases: dict[str, dict[str, Any]] = {network: {} for network in said.networks}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "task.npz"
        write_task(said.data, data)
        for network, found in cases.items():
            peers = peers_of(network, said.rates, said.jax is not None)
            for trials in said.trials:
                asked = peers, said.jax, data, network, trials, said.turns
                found[str(trials)] = measure(*asked)
    version = "no JAX"
    if said.jax:
        words = [said.jax, "-c", "import jax; print('JAX', jax.__version__)"]
        version = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    content = {
        "cases": cases,
        "turns": said.turns,
        "hardware": hardware(),
        "jax": version,
        "commit": commit(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1) + "\n"
    (RESULTS / "peers.json").write_text(text, encoding="utf-8")
    write_page(content)
    print(f"wrote {RESULTS / 'README.md'}")


if __name__ == "__main__":
    main()
