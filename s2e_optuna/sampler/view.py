"""What a process knows of one study, and what follows from it for a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from s2e_optuna.cores import one_thread
from s2e_optuna.sampler.codec import Codec, common_space, draw_uniformly, fits, lie_in, searchable
from s2e_optuna.sampler.commit import next_commit
from s2e_optuna.sampler.draw import (
    conditional_surrogate,
    draw,
    draw_conditionally,
    latest_settings,
    present_surrogate,
)
from s2e_optuna.sampler.features import FeatureFunction, FeaturesError, with_own
from s2e_optuna.sampler.ledger import Chain, Ledger
from s2e_optuna.sampler.options import Options
from s2e_optuna.sampler.surrogate import Surrogate
from s2e_optuna.sampler.tags import Commit, Tag, came_with_params, space_signature

Array = NDArray[np.float64]

_MAX_BATCH = 500  # trial numbers in one commit: some databases limit a value to 64 KB
_N_LISTED = 4  # names in a sentence


@dataclass(frozen=True)
class _Conditional:
    """A model of parameters that not all trials have; they are suggested one by one."""

    codec: Codec
    numbers: tuple[int, ...]
    """The trials that it was fitted to."""
    surrogate: Surrogate | None


@dataclass(eq=False)
class View:
    """What a process knows of one study, and what follows from it for a trial."""

    options: Options
    """The sampler's."""
    features: FeatureFunction | None
    """The user's own."""
    sign: int
    """1 to minimise, -1 to maximise."""
    tell: Callable[[str, str], None]
    """Tells the user something once: the subject and a sentence."""
    ledger: Ledger = field(default_factory=Ledger)
    drawn: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Parameters that were drawn here for trials that still run."""
    _compared: bool = False
    _signed: tuple[Mapping[str, BaseDistribution], str] | None = None
    """The search space that the last trial had, and its ``sig``."""
    _conditional: dict[str, _Conditional] = field(default_factory=dict)

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        """Take in a fresh, complete, ordered list of the study's trials."""
        self.ledger.update(trials)
        running = self.ledger.running
        self.drawn = {n: params for n, params in self.drawn.items() if n in running}

    def decide(self, trial: FrozenTrial, uniform: bool) -> Tag | None:
        """Decide what a new trial draws from, and whether it opens a generation.

        Parameters
        ----------
        trial
            The trial, of which nothing is written yet.
        uniform
            Whether it is one of those that draw from theta^1, whatever theta is.

        Returns
        -------
        Tag or None
            None for a trial that is run again and has its tag.
        """
        ledger = self.ledger
        given = came_with_params(trial)
        if given and Tag.of(trial) is not None:
            return None  # a retry keeps the tag that says what it was drawn from
        self._compare_with_prior()
        if not ledger.space:
            return Tag(trial.number, None, 1, None)
        if self.options.starts_warm(trial.number, ledger.space) and not given:
            return Tag(trial.number, None, 1, None)
        chain = self._chain(ledger.space)
        newest = chain.newest
        m, source = (1, None) if newest is None else (newest.m, newest.number)
        if (
            given
            or len(chain.candidates) < self.options.batch_size
            or not ledger.may_commit(trial.number, chain)
        ):
            return Tag(trial.number, chain.sig, m, None if uniform else source)
        batch = tuple(sorted(chain.candidates)[:_MAX_BATCH])

        def commit(own: FeatureFunction | None) -> Commit:
            return next_commit(
                self.options, chain, trial.number, source, batch, ledger.finished, self.sign, own
            )

        opened = with_own(self.features, commit, self._tell_of_features)
        return Tag(trial.number, chain.sig, m + 1, None if uniform else trial.number, opened)

    def chain_of(self, trial: FrozenTrial) -> Chain | None:
        """Return the chain that the trial draws from; None while the space is not known."""
        if (tag := Tag.of(trial)) is not None:
            # What the tag says holds, also if the space has changed since it was written.
            return self.ledger.known_chain(tag.sig)
        return self._chain(self.ledger.space) if self.ledger.space else None

    def draw_jointly(
        self,
        trial: FrozenTrial,
        chain: Chain,
        asked: Collection[str],
        known: Mapping[str, Any],
        seed: Sequence[int],
    ) -> dict[str, Any]:
        """Draw parameters of a chain, all from one p_theta.

        Parameters
        ----------
        trial, chain
            The trial, and the chain that it draws from.
        asked
            The parameters that are asked for.
        known
            Parameters that have their values already.
        seed
            Of the random numbers.

        Returns
        -------
        dict
            The parameters that are asked for, and their values.
        """
        others = chain.codec.space.keys() - asked - known.keys()
        settings = latest_settings(self.ledger, chain, others) if others else []

        def point(own: FeatureFunction | None) -> Array:
            surrogate = self._surrogate_for(trial, chain, own)
            theta = self._theta_for(trial, chain)
            rng = np.random.default_rng(seed)
            return draw(
                self.options, chain.codec, theta, surrogate, known, settings, chain.rule, rng
            )

        with one_thread():  # once for all of it: setting a limit is not free
            params = chain.codec.decode(with_own(self.features, point, self._tell_of_features))
        return {name: params[name] for name in asked}

    def draw_alone(
        self,
        name: str,
        distribution: BaseDistribution,
        known: Mapping[str, Any],
        seed: Sequence[int],
    ) -> Any:
        """Draw one parameter.

        With a surrogate, by one of the trials that have it (`draw_conditionally`); without, and
        while there are none, uniformly, which is its law under theta^1.

        Parameters
        ----------
        name, distribution
            The parameter.
        known
            Parameters of the trial that have their values already.
        seed
            Of the random numbers.
        """
        rng = np.random.default_rng(seed)
        if self.options.candidates > 1 and searchable(distribution):
            model = self._conditional_model({name: distribution})
            if model is not None:
                codec, surrogate = model.codec, model.surrogate
                return draw_conditionally(self.options, codec, surrogate, known, rng)[name]
        return draw_uniformly(distribution, rng)

    def _chain(self, space: Mapping[str, BaseDistribution]) -> Chain:
        if self._signed is None or self._signed[0] is not space:
            self._signed = space, f"{space_signature(space)}-{self.options.signature()}"
        return self.ledger.chain(self._signed[1], space, self.options.accepts)

    def _theta_for(self, trial: FrozenTrial, chain: Chain) -> Array:
        tag = Tag.of(trial)
        if tag is None or tag.sig != chain.sig:
            return chain.codec.family.uniform() if chain.newest is None else chain.newest.theta
        theta = chain.theta_of(tag.source)
        return chain.codec.family.uniform() if theta is None else theta

    def _surrogate_for(
        self, trial: FrozenTrial, chain: Chain, own: FeatureFunction | None
    ) -> Surrogate | None:
        tag = Tag.of(trial)
        if self.options.candidates == 1 or tag is None or tag.source is None:
            return None
        space = chain.codec.space
        # What this process has drawn may not have been read back yet.
        running = {n: t.params for n, t in self.ledger.running.items() if fits(space, t)}
        running |= {n: params for n, params in self.drawn.items() if lie_in(space, params)}
        running.pop(trial.number, None)
        return present_surrogate(
            chain,
            tag.source,
            self.ledger.finished,
            [running[n] for n in sorted(running)],
            self.sign,
            own,
        )

    def _conditional_model(self, wanted: Mapping[str, BaseDistribution]) -> _Conditional | None:
        """Return a model of the trials that have some parameters, of all that they have in common.

        It is fitted once for all of these. None if there are no such trials.
        """
        finished = self.ledger.finished
        trials = [finished[n] for n in sorted(finished) if fits(wanted, finished[n])]
        if not trials:
            return None
        space = common_space(trials)
        trials = [trial for trial in trials if fits(space, trial)]
        numbers, key = tuple(trial.number for trial in trials), space_signature(space)
        model = self._conditional.get(key)
        if model is None or model.numbers != numbers:
            codec = Codec(space) if model is None else model.codec  # it keeps what features cost
            surrogate = conditional_surrogate(codec, trials, self.sign)
            model = self._conditional[key] = _Conditional(codec, numbers, surrogate)
        return model

    def _compare_with_prior(self) -> None:
        """Say it if the first trials have no parameter of the earlier study."""
        if self._compared or not self.options.prior or not self.ledger.finished:
            return
        self._compared = True
        names = {name for t in self.ledger.finished.values() for name in t.distributions}
        earlier = set().union(*self.options.prior)
        if names and names.isdisjoint(earlier):
            self.tell(
                "prior",
                "the prior study shares no parameter with this one and is not used: "
                f"it has {_listed(earlier)}, this one {_listed(names)}.",
            )

    def _tell_of_features(self, error: FeaturesError) -> None:
        self.tell("features", f"{error}: the surrogate sees the parameters themselves instead.")


def _listed(names: Collection[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:_N_LISTED]) + (", …" if len(listed) > _N_LISTED else "")
