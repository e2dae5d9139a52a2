"""The trainer beside other ways to train many networks at once.

    python -m studies.bench_peers --data data/mnist27k.npz --jax /tmp/jax/bin/python
    python -m studies.bench_peers --data data/mnist27k.npz --rates 0.5 0.3 1

The peers, in `studies/peers/`, are what somebody would write who knows the library: a tidy loop
over tensors, `torch.func`, JAX. Each is a process of its own that trains P trials of Co-teaching
on the same batches of the same labels (MNIST, half of the labels wrong, a share R of each batch
kept, half where none is named) on all cores, in turn, round after round. JAX is not among the
dependencies: make an environment for it (``pip install jax==0.10.2``) and name its Python. Beside
them stands what the products and Adam of a step cost alone.

Writes ``studies/results/bench_peers/``: peers.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studies.pages import Table
from studies.settings import commit, hardware

PEERS = Path(__file__).parent / "peers"
RESULTS = Path(__file__).parent / "results" / "bench_peers"
SAMPLES, TEST, NOISE = 9_984, 2_000, 0.5


@dataclass(frozen=True)
class Peer:
    """A script of `PEERS`, and how it selects; `jax` says whether it needs that."""

    name: str
    script: str
    select: str = "top-k"
    jax: bool = False


OURS = Peer("s2e_optuna", "ours")
FLOOR = Peer("floor: products and Adam alone", "floor")
JAX_TOP_K = Peer("JAX, vmap, jit and scan; top-k", "jax_vmap", jax=True)
JAX_MASKS = Peer("JAX, vmap, jit and scan; masks", "jax_vmap", "masks", jax=True)
ALL = (
    OURS,
    JAX_TOP_K,
    JAX_MASKS,
    Peer("torch.func, vmap; top-k", "torch_func"),
    Peer("torch.func, vmap; masks", "torch_func", "masks"),
    Peer("tidy loop over tensors", "torch_loop"),
    FLOOR,
)


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


def measure(
    peer: Peer, python: str, data: Path, trials: int, rate: float, epochs: int
) -> dict[str, Any]:
    """Run a peer once."""
    told = subprocess.run(
        [
            *(python, f"{peer.script}.py", str(data), "--select", peer.select),
            *("--trials", str(trials), "--rate", str(rate), "--epochs", str(epochs)),
        ],
        cwd=PEERS,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    found: dict[str, Any] = json.loads(told)
    return found


def key_of(trials: int, rate: float) -> str:
    """Name a number of trials and a keep rate, where that is not one half."""
    return str(trials) if rate == 0.5 else f"{trials}, R = {rate:g}"


def write_page(content: dict[str, Any]) -> None:
    """Set the peers side by side, for each number of trials and keep rate (`key_of`)."""
    counts = list(content["seconds"])
    rows = [
        [
            peer.name,
            *(_seconds(content, count, peer) for count in counts),
            *(_ratio(content, count, peer) for count in counts),
            _accuracy(content, counts[-1], peer),
        ]
        for peer in ALL
        if peer.name in content["seconds"][counts[0]]
    ]
    header = [
        *("", *(f"P = {count}: s an epoch" for count in counts)),
        *(f"P = {count}: ours / it" for count in counts),
        "test accuracy, %",
    ]
    lines = [
        "# The trainer and its peers",
        "",
        *(__doc__ or "").split("\n\n")[2].split("\n"),
        "",
        f"{SAMPLES:,} images, batches of 128, `mlp`, two networks a trial; the fastest of "
        f"{content['epochs']} epochs after the first, median of {content['rounds']} rounds. "
        "Compiling is left out. Accuracy is that after the last of these epochs; ours draws its "
        "own batches and weights.",
        "",
        *Table(header, rows).markdown(),
        "",
        f"{content['hardware']}; {content['jax']}; commit {content['commit']}.",
        "",
    ]
    (RESULTS / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _median(content: dict[str, Any], count: str, name: str) -> float:
    return statistics.median(content["seconds"][count][name])


def _seconds(content: dict[str, Any], count: str, peer: Peer) -> str:
    return f"{_median(content, count, peer.name):.2f}"


def _ratio(content: dict[str, Any], count: str, peer: Peer) -> str:
    if peer == OURS:
        return ""
    ratio = _median(content, count, OURS.name) / _median(content, count, peer.name)
    return f"{ratio:.2f}"


def _accuracy(content: dict[str, Any], count: str, peer: Peer) -> str:
    found = content["test_accuracy"][count].get(peer.name)
    return "" if found is None else f"{100 * found:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="MNIST as an .npz file")
    parser.add_argument("--jax", help="Python of an environment with JAX")
    parser.add_argument("--trials", type=int, nargs="+", default=[4, 16, 48])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5], help="keep rates R")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    said = parser.parse_args()
    peers = [peer for peer in ALL if said.jax or not peer.jax]
    cases = {key_of(count, rate): (count, rate) for rate in said.rates for count in said.trials}
    seconds: dict[str, dict[str, list[float]]] = {key: {} for key in cases}
    accuracy: dict[str, dict[str, float]] = {key: {} for key in cases}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "task.npz"
        write_task(said.data, data)
        for key, case in cases.items():
            for number in range(said.rounds):
                for peer in peers:
                    python = said.jax if peer.jax else sys.executable
                    found = measure(peer, python, data, *case, said.epochs)
                    seconds[key].setdefault(peer.name, []).append(min(found["seconds"]))
                    if "test_accuracy" in found:
                        accuracy[key][peer.name] = found["test_accuracy"]
                    print(
                        f"P = {key}, round {number + 1}: {peer.name}: "
                        f"{min(found['seconds']):.2f} s",
                        flush=True,
                    )
    version = "no JAX"
    if said.jax:
        asked = [said.jax, "-c", "import jax; print('JAX', jax.__version__)"]
        version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    content = {
        "seconds": seconds,
        "test_accuracy": accuracy,
        "epochs": said.epochs,
        "rounds": said.rounds,
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
