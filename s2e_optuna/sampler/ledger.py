"""Which theta is the newest? One answer for all workers, from the stored trials alone.

Every trial carries a tag (`s2e_optuna.sampler.tags`), written when it starts and never changed.

A trial that finds at least K finished trials that no commit has used may carry a ``commit``: it
computes theta^(m+1) from them and opens generation m+1. It may do so only if every lower-numbered
trial is finished, tagged, or of another sampler, which shows when it has parameters. Numbers are
given out in an order that everybody sees, and everybody reads after having been given a number; so
of two trials that start at once the later one sees the earlier one untagged and steps back, and no
generation is opened twice. Nobody waits: a trial that steps back draws from the newest theta there
is.

A worker that dies between getting its number and writing its tag would stop all commits. After
`UNTAGGED_PATIENCE` seconds such a trial is passed over, by the clock of whoever reads or since it
was first read, whichever is earlier. Should it then wake and open a generation
a second time, the commit in the lowest-numbered trial counts, for everybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.sampler.codec import Codec, fits, has_places, searchable
from s2e_optuna.sampler.tags import RULE, Commit, Tag, came_with_params, is_count, space_signature
from s2e_optuna.sampler.values import Reported

Array = NDArray[np.float64]

LOST_KEY = "s2e:lost"
"""System attribute of a trial that failed with its worker: nothing is known of its parameters."""

UNTAGGED_PATIENCE = 60.0

_USABLE = (TrialState.COMPLETE, TrialState.PRUNED)


def _age(trial: FrozenTrial) -> float:
    """Seconds for which a trial has run by this machine's clock, which may be another's."""
    started = trial.datetime_start
    if started is None:
        return 0.0
    return max(0.0, (datetime.now(started.tzinfo) - started).total_seconds())


@dataclass(frozen=True)
class History:
    """The trials from which a theta was computed, oldest batch first."""

    trials: Sequence[FrozenTrial] = ()
    """All members of all batches."""
    reported: Reported = field(default_factory=Reported)
    """What they reported."""
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Their numbers, shape [n]."""


@dataclass
class Chain:
    """The generations of one ``sig``."""

    sig: str
    codec: Codec
    accepts: Callable[[Chain, FrozenTrial], bool]
    """Which finished trials that fit the space an estimate can use."""
    commits: dict[int, Commit] = field(default_factory=dict)
    """By the number of the trial that carries it."""
    opened: dict[int, Commit] = field(default_factory=dict)
    """By generation: of several, the one in the lowest-numbered trial."""
    waiting: dict[int, Commit] = field(default_factory=dict)
    """Commits whose parent or batch this process has not seen; by the trial that carries them."""
    misfits: set[int] = field(default_factory=set)
    """Trials whose commit cannot be of this chain: of another space, or out of turn."""
    candidates: dict[int, FrozenTrial] = field(default_factory=dict)
    """Finished trials that the estimate can use and that are in no commit's batch."""
    failed: dict[int, FrozenTrial] = field(default_factory=dict)
    """Trials whose objective failed."""
    used: set[int] = field(default_factory=set)
    """Trials in some commit's batch."""
    latest: int = 1
    """The newest generation."""
    _history: tuple[int | None, History] = (None, History())

    @property
    def finals(self) -> bool:
        """Whether pruned trials count with what they would have ended with (`Origin.finals`)."""
        first = self.opened.get(2)
        return first is None or (first.origin is not None and first.origin.finals)

    @property
    def rule(self) -> int:
        """By which rule theta is computed (`Origin.rule`)."""
        first = self.opened.get(2)
        if first is None:
            return RULE
        return 1 if first.origin is None else first.origin.rule

    @property
    def newest(self) -> Commit | None:
        """The commit that opened the newest generation; None while it is the first."""
        return self.opened.get(self.latest)

    def add_commit(self, commit: Commit, finished: Mapping[int, FrozenTrial]) -> None:
        """Take in a commit; doing so twice changes nothing.

        One whose parent or batch is not known waits for them: a database may show a tag before
        the trials that it names, and a copied tag may name trials that are not there.
        """
        self.waiting[commit.number] = commit
        self.settle(finished)

    def settle(self, finished: Mapping[int, FrozenTrial]) -> None:
        """Take in the waiting commits whose parent and batch are known by now."""
        for number in sorted(self.waiting):
            commit = self.waiting[number]
            if not self._is_possible(commit, finished):
                del self.waiting[number]
                self.misfits.add(number)
                continue
            known = commit.parent is None or commit.parent in self.commits
            if known and all(member in finished for member in commit.batch):
                self._open(self.waiting.pop(number))

    def _is_possible(self, commit: Commit, finished: Mapping[int, FrozenTrial]) -> bool:
        """Whether a commit has a theta and a batch of this space, and follows its parent.

        As far as parent and batch are known.
        """
        if not self.codec.family.admits(commit.theta):
            return False
        batch = [finished[number] for number in commit.batch if number in finished]
        if not all(has_places(self.codec.space, trial) for trial in batch):
            return False
        if commit.parent is None:
            return commit.m == 2
        parent = self.commits.get(commit.parent)
        return parent is None or commit.m == parent.m + 1

    def _open(self, commit: Commit) -> None:
        self.commits[commit.number] = commit
        rival = self.opened.get(commit.m)
        if rival is None or commit.number < rival.number:
            self.opened[commit.m] = commit
            self.latest = max(self.latest, commit.m)
        self.used.update(commit.batch)
        for number in commit.batch:
            self.candidates.pop(number, None)

    def add_finished(self, trial: FrozenTrial) -> None:
        """Take in a finished trial."""
        if trial.number in self.used or not fits(self.codec.space, trial):
            return
        if self.accepts(self, trial):
            self.candidates[trial.number] = trial

    def add_failed(self, trial: FrozenTrial) -> None:
        """Take in a trial whose objective failed."""
        if fits(self.codec.space, trial):
            self.failed[trial.number] = trial

    def was_drawn(self, trial: FrozenTrial) -> bool:
        """Whether the trial's parameters were drawn from a theta of this chain.

        Those of enqueued, added and foreign trials were not.
        """
        tag = Tag.of(trial)
        if tag is None or "fixed_params" in trial.system_attrs:
            return False
        return tag.sig in (None, self.sig) and self.theta_of(tag.source) is not None

    def history(
        self, source: int | None, finished: Mapping[int, FrozenTrial], sign: int
    ) -> History:
        """Return what trial ``source``'s commit and all it builds on were computed from.

        The last answer is kept: the next commit builds on it, and only its batch is new.

        Parameters
        ----------
        source
            The trial with the commit; None for theta^1.
        finished
            Finished trials by number.
        sign
            1 to minimise, -1 to maximise.
        """
        known, history = self._history
        batches = []
        at = source
        while at is not None and at != known:
            commit = self.commits[at]
            batches.append([finished[number] for number in commit.batch])
            at = commit.parent
        if at is None:
            history = History()
        if batches:
            batches.reverse()
            new = [trial for batch in batches for trial in batch]
            history = History(
                [*history.trials, *new],
                history.reported.followed_by(*(Reported.of(batch, sign) for batch in batches)),
                np.concatenate([history.numbers, [trial.number for trial in new]]),
            )
        self._history = (source, history)
        return history

    def theta_of(self, source: int | None) -> Array | None:
        """Theta, shape [d], of the generation that trial ``source`` opened; theta^1 for None."""
        if source is None:
            return self.codec.family.uniform()
        commit = self.commits.get(source)
        return None if commit is None else commit.theta


class Ledger:
    """What one process has read of a study so far; work grows with new trials only.

    Parameters
    ----------
    clock
        Seconds since some moment; replaced in tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.n_seen = 0
        """Number of trials read so far."""
        self.running: dict[int, FrozenTrial] = {}
        """Trials that have not finished, as they were last read."""
        self._untagged_since: dict[int, float] = {}
        self._chains: dict[str, Chain] = {}
        self._orphans: dict[str, dict[int, Commit]] = {}
        self.finished: dict[int, FrozenTrial] = {}
        self._failed: dict[int, FrozenTrial] = {}
        self._repeated: set[int] = set()
        self.any_tag = False
        """Whether an S2ESampler has touched the study."""
        self.space: dict[str, BaseDistribution] | None = None
        """The parameters common to all complete trials; None while there is none."""

    def update(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in a fresh, complete, ordered list of the study's trials."""
        for number in sorted(self.running.keys() | set(range(self.n_seen, len(trials)))):
            self._take_in(trials[number])
        self.n_seen = len(trials)
        for chain in self._chains.values():
            chain.settle(self.finished)

    def _take_in(self, trial: FrozenTrial) -> None:
        number = trial.number
        tag = Tag.of(trial)
        self.any_tag |= tag is not None
        history = trial.system_attrs.get("retry_history")
        for repeated in filter(is_count, history if isinstance(history, Sequence) else ()):
            self._forget_failed(repeated)
        if tag is not None and tag.number == number:
            self.record_tag(tag)
        if trial.state.is_finished():
            self.running.pop(number, None)
            self._untagged_since.pop(number, None)
            if trial.state in _USABLE:
                self._record_finished(trial)
            elif number not in self._repeated and LOST_KEY not in trial.system_attrs:
                self._record_failed(trial)
            return
        self.running[number] = trial
        if trial.state == TrialState.RUNNING and tag is None and not came_with_params(trial):
            self._untagged_since.setdefault(number, self._clock() - _age(trial))
        else:
            self._untagged_since.pop(number, None)

    def record_tag(self, tag: Tag) -> None:
        """Take in the commit of a tag that has been stored; doing so twice changes nothing."""
        if tag.commit is None or tag.sig is None:
            return
        if tag.sig in self._chains:
            self._chains[tag.sig].add_commit(tag.commit, self.finished)
        else:
            self._orphans.setdefault(tag.sig, {})[tag.number] = tag.commit

    def _record_finished(self, trial: FrozenTrial) -> None:
        self.finished[trial.number] = trial
        # A trial may be pruned before it has suggested all that it would have, or be added without
        # its parameters.
        if trial.state == TrialState.COMPLETE and (own := trial.distributions):
            if self.space is None:
                self.space = {n: d for n, d in own.items() if searchable(d)}
            elif any(own.get(n) != d for n, d in self.space.items()):
                self.space = {n: d for n, d in self.space.items() if own.get(n) == d}
        for chain in self._chains.values():
            chain.add_finished(trial)

    def _record_failed(self, trial: FrozenTrial) -> None:
        self._failed[trial.number] = trial
        for chain in self._chains.values():
            chain.add_failed(trial)

    def _forget_failed(self, number: int) -> None:
        """Forget a trial that is run again: it failed with its worker."""
        self._repeated.add(number)
        self._failed.pop(number, None)
        for chain in self._chains.values():
            chain.failed.pop(number, None)

    def chain(
        self,
        sig: str,
        space: Mapping[str, BaseDistribution],
        accepts: Callable[[Chain, FrozenTrial], bool] = Chain.was_drawn,
    ) -> Chain:
        """Return the generations of one ``sig``.

        Parameters
        ----------
        sig, space
            Which must belong together.
        accepts
            Which finished trials an estimate can use, where the chain is new here.
        """
        if sig not in self._chains:
            chain = Chain(sig, Codec(dict(space)), accepts)
            chain.waiting |= self._orphans.pop(sig, {})
            chain.settle(self.finished)
            for trial in self.finished.values():
                chain.add_finished(trial)
            for trial in self._failed.values():
                chain.add_failed(trial)
            self._chains[sig] = chain
        return self._chains[sig]

    def known_chain(self, sig: str | None) -> Chain | None:
        """Return the chain of a ``sig`` whose space this process has met; else None."""
        return None if sig is None else self._chains.get(sig)

    def commits(self) -> dict[str, dict[int, Commit]]:
        """Return the commits of every ``sig``, by the number of the trial that carries them."""
        found = {sig: chain.commits | chain.waiting for sig, chain in self._chains.items()}
        found |= self._orphans
        return {sig: commits for sig, commits in found.items() if commits}

    def newest_signature(self, space: Mapping[str, BaseDistribution]) -> str | None:
        """Return the ``sig`` of the latest commit in a space, whatever the sampler's options."""
        latest = {sig: max(commits) for sig, commits in self.commits().items()}
        matching = [sig for sig in latest if sig.startswith(f"{space_signature(space)}-")]
        return max(matching, key=lambda sig: latest[sig], default=None)

    def space_of(self, sig: str) -> dict[str, BaseDistribution] | None:
        """Return the search space of a ``sig`` that has commits; None if the study does not tell.

        It is the present one, or the first commit names its parameters.
        """
        spaces = [self.space or {}]
        for commit in self.commits().get(sig, {}).values():
            first = self.finished.get(commit.batch[0])
            if commit.origin is not None and first is not None:
                names = set(commit.origin.names) & first.distributions.keys()
                spaces.append({name: first.distributions[name] for name in sorted(names)})
        signed = {space_signature(space): space for space in spaces}
        return signed.get(sig.partition("-")[0])

    def may_commit(self, number: int, chain: Chain) -> bool:
        """Whether every trial before ``number`` is finished, tagged, or given up.

        Not while a commit waits for a trial that still seems to run: the next read shows the
        generation that it has opened.
        """
        if any(not self.running.keys().isdisjoint(c.batch) for c in chain.waiting.values()):
            return False
        now = self._clock()
        return not any(
            other < number and now - since < UNTAGGED_PATIENCE
            for other, since in self._untagged_since.items()
        )
