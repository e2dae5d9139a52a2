"""Every theta of a study again, from its stored trials and from them alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from s2e_optuna.sampler.commit import next_commit
from s2e_optuna.sampler.features import FeatureFunction, with_own
from s2e_optuna.sampler.ledger import Ledger
from s2e_optuna.sampler.options import Options
from s2e_optuna.sampler.tags import Commit

Array = NDArray[np.float64]

_AUDIT_KL = 1e-4  # two recomputations of one theta may differ by so many nats


@dataclass(frozen=True)
class Audit:
    """What a recomputation found.

    Attributes
    ----------
    commits
        Updates of theta in the study.
    checked
        How many of them were recomputed.
    problems
        What does not agree, a sentence each.
    unchecked
        What could not be recomputed, and so may be right or wrong; a sentence each.
    """

    commits: int
    checked: int
    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything that was recomputed agrees."""
        return not self.problems

    @property
    def agrees(self) -> bool:
        """Whether something was recomputed, if there is anything, and all of it agrees."""
        return self.clean and (self.checked > 0 or self.commits == 0)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "commits": self.commits,
            "checked": self.checked,
            "clean": self.clean,
            "problems": list(self.problems),
            "unchecked": list(self.unchecked),
        }


def audit_trials(
    trials: Sequence[FrozenTrial],
    sign: int,
    samplers: Iterable[Options],
    own: FeatureFunction | None = None,
) -> Audit:
    """Recompute every committed theta of a study.

    A study tells the options of the samplers that it was run with; one of an earlier version does
    not.

    Parameters
    ----------
    trials
        All trials of the study, by number.
    sign
        1 to minimise, -1 to maximise.
    samplers
        Options that the study may have been run with, where it does not tell.
    own
        The user's own features, where they were used.
    """
    ledger = Ledger()
    ledger.update(trials)
    given = {options.signature(): options for options in samplers}
    found = ledger.commits()
    total, checked = sum(map(len, found.values())), 0
    problems: list[str] = []
    unchecked: list[str] = []
    for sig, commits in found.items():
        mine = given.get(sig.partition("-")[2])
        options, space = mine or _told_options(commits.values(), sig), ledger.space_of(sig)
        features = None if options is None else options.features
        if options is None:
            reason = "their sampler had options that the study does not tell"
        elif space is None:
            reason = "the trials had another search space then, which the study does not tell"
        elif features is not None and (own is None or mine is None):
            reason = (
                f"their sampler had features of its own, {features}, which no study holds: "
                "S2ESampler(features=…).audit(study) recomputes them"
            )
        else:
            checked += len(commits)
            problems += _problems(ledger, sig, space, options, sign, own)
            continue
        unchecked.append(f"{len(commits)} of {total} updates were not recomputed: {reason}.")
    return Audit(total, checked, tuple(problems), tuple(unchecked))


def _told_options(commits: Iterable[Commit], sig: str) -> Options | None:
    """Return the options that the first of some commits tells."""
    for commit in commits:
        options = None if commit.origin is None else Options.read(commit.origin.options)
        if options is not None and sig.endswith(f"-{options.signature()}"):
            return options
    return None


def _problems(
    ledger: Ledger,
    sig: str,
    space: Mapping[str, BaseDistribution],
    options: Options,
    sign: int,
    own: FeatureFunction | None,
) -> list[str]:
    """Recompute the commits of one ``sig``; say what is wrong, a sentence each."""
    chain, finished = ledger.chain(sig, space, options.accepts), ledger.finished

    def again(commit: Commit) -> Array:
        number, parent, batch = commit.number, commit.parent, commit.batch
        return with_own(
            own,
            lambda function: next_commit(
                options, chain, number, parent, batch, finished, sign, function
            ),
        ).theta

    problems = [
        f"The commit of trial {number} cannot follow the others: it is of other parameters, "
        "or its generation out of turn."
        for number in sorted(chain.misfits)
    ]
    users: dict[int, int] = {}
    generations: dict[int, int] = {}
    for number, commit in sorted((chain.commits | chain.waiting).items()):
        if commit.m in generations:
            first = generations[commit.m]
            problems.append(f"Trials {first} and {number} both open generation {commit.m}.")
        generations.setdefault(commit.m, number)
        for member in commit.batch:
            if member in users:
                problems.append(
                    f"Trial {member} is in the batches of trials {users[member]} and {number}."
                )
            users.setdefault(member, number)
        missing = [member for member in commit.batch if member not in finished]
        if missing:
            problems.append(f"Trial {number} names trials that have not finished: {missing}.")
            continue
        if chain.theta_of(commit.parent) is None:
            problems.append(f"Trial {number} builds on trial {commit.parent}, which has no theta.")
            continue
        # In nats: another machine's linear algebra rounds differently, and a fit amplifies that.
        if chain.codec.family.kl(again(commit), commit.theta) > _AUDIT_KL:
            problems.append(f"The theta in trial {number} is not what its batch gives.")
    return problems
