"""Wrong labels and accuracy after 0, 50 and 200 decisions of a reviewer, in several orders.

    python -m venv /tmp/cleanlab && /tmp/cleanlab/bin/pip install cleanlab
    python -m studies.corrected_labels --cleanlab /tmp/cleanlab/bin/python

A simulated reviewer, who errs in 2% of the decisions, goes through the labels of 1,000 digits with
`s2e_optuna.review`: by probability, by what teaches most, at random; and in cleanlab's order (its
``self_confidence``), on the out-of-fold probabilities of networks trained plainly, as its users
have them, and on those that our list comes from: with a logistic regression and networks of the
clean part beside them where that is better, as in a search. Counted are the wrong labels
that are left, also if the posterior then decides about the rest (``--posterior 0.5``), and the
test accuracy of plain training on the labels, stopped by the clean part. Writes
``studies/results/corrected_labels/README.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from s2e_optuna.data import NoisyData
from s2e_optuna.labels import CleanPart, LabelQuality, assess_labels, unseen_probabilities
from s2e_optuna.labels.linear import linear_model
from s2e_optuna.labels.out_of_fold import validation_halves
from s2e_optuna.labels.predictors import together
from s2e_optuna.review.cards import NONE, Cards
from s2e_optuna.review.corrected import correct
from s2e_optuna.review.decisions import Decision, DecisionFile
from s2e_optuna.review.session import AT_RANDOM, PROBABILITY, TEACHING, Review, View
from s2e_optuna.scores import reached
from s2e_optuna.search.posterior import choose_predictors, clean_alone, clean_jobs
from s2e_optuna.training import TrainConfig, evaluate_schedules
from s2e_optuna.training.jobs import in_turn
from studies.bench_cleanlab import Places, load, of_cleanlab
from studies.settings import commit, hardware

RESULTS = Path(__file__).parent / "results" / "corrected_labels"
TASKS = {
    "digits, symmetric 50%": ("digits", "symmetric", 0.5),
    "digits, pair 45%": ("digits", "pair", 0.45),
}
DECISIONS, MISTAKES = (0, 50, 200), 0.02
ORDERS = (PROBABILITY, TEACHING, AT_RANDOM)
CLEANLAB = {"networks": "cleanlab", "all": "cleanlab, our probabilities"}

Decided = Mapping[str, Decision]


def judged(
    data: NoisyData, seed: int, epochs: int
) -> tuple[LabelQuality, dict[str, NDArray[np.float32]]]:
    """Return what labels are worth as in a search, and predictions: all, and of networks alone."""
    config = TrainConfig(epochs=epochs, network="mlp", device="cpu", seed=100 + seed)
    linear = linear_model(data, seed).unseen
    networks = unseen_probabilities("standard", None, data, config)
    halves = validation_halves(data, config.seed)
    seeds = [200 + seed, 300 + seed]
    trained = in_turn(clean_jobs(halves, config, seeds), data, lambda *_: None)
    clean = clean_alone(data, halves, trained)
    chosen = together(list(choose_predictors(data, networks, linear, clean).values()))
    assert chosen.clean is not None
    part = CleanPart(data.y_val.numpy(), chosen.clean)
    predicted = {"all": chosen.training, "networks": networks.training}
    return assess_labels(data.y_train.numpy(), chosen.training, part), predicted


def cards_of(data: NoisyData, quality: LabelQuality) -> Cards:
    """Return a list as `s2e review` reads it."""
    given = data.y_train.numpy().astype(np.int32)
    proposed = np.where(quality.proposed == given, NONE, quality.proposed).astype(np.int32)
    scores = quality.wrong_probability.astype(np.float32)
    return Cards(data.ids, given, proposed, scores, True, quality.listed, data.class_names)


class Reviewer:
    """Knows the truth, and errs at times.

    Parameters
    ----------
    data
        With its truth.
    seed
        Of the mistakes: of a sample they are the same in every order.
    """

    def __init__(self, data: NoisyData, seed: int) -> None:
        assert data.y_clean is not None
        rng = np.random.default_rng([seed, 2])
        truth, classes = data.y_clean.numpy(), len(data.class_names)
        others = (truth + rng.integers(1, classes, len(truth))) % classes
        self._said = np.where(rng.random(len(truth)) < MISTAKES, others, truth)
        self._names = data.class_names

    def label(self, row: int) -> str:
        """Decide about a sample."""
        return self._names[self._said[row]]


def by_page(cards: Cards, reviewer: Reviewer, order: str, most: int) -> list[Decision]:
    """Let the reviewer decide about the cards that the page shows, one after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        DecisionFile(Path(folder) / "decisions.jsonl") as file,
    ):
        review, view = Review(cards, file), View(order=order)
        while len(file.decisions) < most and (row := review.next_card(view, "me")) is not None:
            review.decide(row, reviewer.label(row), 0, "me")
        return list(file.decisions)


def in_order(cards: Cards, reviewer: Reviewer, rows: Sequence[int], most: int) -> list[Decision]:
    """Let the reviewer decide about samples in a given order."""
    names = cards.class_names
    return [
        Decision(cards.ids[row], names[cards.given[row]], reviewer.label(row))
        for row in rows[:most]
    ]


def labels_after(
    cards: Cards, decisions: Sequence[Decision], posterior_above: float | None = None
) -> NDArray[np.int64]:
    """Return the labels [N] that `s2e apply` writes."""
    decided = {one.id: one for one in decisions}
    place = {name: number for number, name in enumerate(cards.class_names)}
    rows = correct(cards, decided, posterior_above=posterior_above).rows
    return np.array([place[label] for _, label, _, _ in rows])


def accuracy(
    data: NoisyData, labels: NDArray[np.int64], seeds: Sequence[int], epochs: int
) -> float:
    """Return the mean test accuracy of plain training, stopped by the clean part."""
    config = TrainConfig(epochs=epochs, network="mlp", device="cpu")
    corrected = replace(data, y_train=torch.from_numpy(labels))
    runs = evaluate_schedules({"plain": ("standard", None)}, corrected, config, seeds)["plain"]
    found = [reached(r.curves["test_accuracy"], r.validation_accuracy, "best") for r in runs]
    return float(np.mean(found))


def run(
    task: tuple[str, str, float],
    seed: int,
    python: str | None,
    epochs: int = 60,
    decisions: Sequence[int] = DECISIONS,
) -> tuple[dict[str, list[tuple[float, float, float]]], str]:
    """Return wrong labels left, left with the posterior, and accuracy, by order.

    Beside them cleanlab's version.
    """
    data = load(*task, Places("mnist", ""), seed)
    assert data.y_clean is not None
    truth = data.y_clean.numpy()
    quality, predicted = judged(data, seed, epochs)
    cards, reviewer, most = cards_of(data, quality), Reviewer(data, seed), max(decisions)
    ways: dict[str, Callable[[], list[Decision]]] = {
        order: partial(by_page, cards, reviewer, order, most) for order in ORDERS
    }
    version = ""
    if python is not None:
        version, scores = of_cleanlab(python, data.y_train.numpy(), predicted)
        for name, way in CLEANLAB.items():
            rows = np.argsort(scores[f"{name}/self_confidence/False"], kind="stable").tolist()
            ways[way] = partial(in_order, cards, reviewer, rows, most)
    found: dict[str, list[tuple[float, float, float]]] = {}
    known: dict[bytes, float] = {}
    for way, decide in ways.items():
        decided, lines = decide(), []
        for number in decisions:
            labels = labels_after(cards, decided[:number])
            rest = labels_after(cards, decided[:number], 0.5)
            key = labels.tobytes()
            if key not in known:
                known[key] = accuracy(data, labels, [400 + seed, 500 + seed], epochs)
            lines.append(
                (float((labels != truth).sum()), float((rest != truth).sum()), known[key])
            )
        found[way] = lines
    return found, version


def table(found: Sequence[Mapping[str, list[tuple[float, float, float]]]]) -> list[str]:
    """Write the means over seeds, a row an order."""
    lines = [
        f"| order | {' | '.join(f'{n} decided' for n in DECISIONS)} |",
        "|---|" + "---|" * len(DECISIONS),
    ]
    for way in found[0]:
        means = np.mean([one[way] for one in found], axis=0)
        cells = [f"{wrong:.0f} ({rest:.0f}), {100 * acc:.1f}" for wrong, rest, acc in means]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cleanlab", help="Python of cleanlab's environment")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    page, version = [], ""
    for name, task in TASKS.items():
        found = []
        for seed in range(arguments.seeds):
            one, version = run(task, seed, arguments.cleanlab, arguments.epochs)
            found.append(one)
            print(name, seed, one, flush=True)
        page += [f"## {name}", "", *table(found), ""]
    beside = f" cleanlab {version}." if version else ""
    text = [
        "# Labels after a review",
        "",
        "`python -m studies.corrected_labels`: wrong labels of 1,000 that are left, in brackets "
        "if the posterior then decides about the rest (above .5), and test accuracy in % of plain "
        f"training without the posterior's help. A reviewer with {MISTAKES:.0%} mistakes; means "
        f"over {arguments.seeds} draws of the labels, two trainings each.{beside}",
        "",
        *page,
        f"{hardware()}; commit {commit()}",
        "",
    ]
    print("\n".join(text))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "README.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
