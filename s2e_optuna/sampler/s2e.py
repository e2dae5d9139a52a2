"""The S2E algorithm (Algorithm 2) as an Optuna sampler."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections.abc import Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from s2e_optuna.relaxation import Update
from s2e_optuna.sampler.audit import audit_trials
from s2e_optuna.sampler.codec import searchable
from s2e_optuna.sampler.features import FeatureFunction
from s2e_optuna.sampler.options import Options
from s2e_optuna.sampler.recommend import leading_params
from s2e_optuna.sampler.tags import TAG_KEY, Tag, space_signature
from s2e_optuna.sampler.view import View

_logger = logging.getLogger(__name__)

_N_PRIOR = 6  # trials that start from an earlier study


class S2ESampler(BaseSampler):
    """Sampler that moves a distribution over the search space by Newton steps.

    S2E (ICML 2020) minimises J(theta) = E_{p_theta}[f(x)], eq. (6). p_theta is a product of
    Dirichlet distributions (for weights made by `suggest_simplex`), Betas (floats and ints) and
    categoricals. Theta starts at the uniform distribution; after every ``batch_size`` finished
    trials it takes a step computed from them. Workers that share nothing but the study's storage
    agree on theta (`s2e_optuna.sampler.ledger` says how), any number of them, with the same seed
    or without one.

    It works on any single-objective search space and in both directions. Parameters outside the
    intersection of all complete trials' spaces, conditional ones, are drawn one by one by a model
    of the trials that have them; with score estimates uniformly.

    Pruned trials, penalties and infinite values count as `s2e_optuna.sampler.values` says; failed
    trials, to a surrogate, as the worst.

    Parameters
    ----------
    batch_size
        K: finished trials for one update of theta. By default 3, and 6 for score estimates.
    step_size
        rho: length of a step, eq. (9).
    update
        ``"newton"``, ``"natural"`` (natural gradient) or ``"gradient"``.
    estimator
        ``"surrogate"``: derivatives of J for a Gaussian process fitted to all trials so far, on
        the curve R(t) where trials suggested schedules and on the parameters elsewhere.
        ``"score"``: by the score function from the batch alone, eq. (7) and Proposition 1.
    warm_start
        Whether the first six trials of a study of schedules (`suggest_schedule`) are close to
        Co-teaching's for noise rates from 0.1 to 0.6. Other studies start from theta^1.
    prior
        An earlier study of the same search space, perhaps of another data set: the first six
        trials take parameters of its leading trials, in place of Co-teaching's. All workers of a
        study need the same ones.
    candidates
        Each trial is the one of so many draws of which the surrogate expects most (lower
        confidence bound). 1 draws from p_theta itself, as the paper does. By default 400, and 1
        for score estimates, which need that.
    uniform_share
        Share of the draws that come from theta^1, whatever theta is: they keep one unlucky
        generation from deciding where the search ends. By default 0.5; 0.2 with one candidate,
        and 0 for score estimates.
    features
        Function from a trial's parameters to numbers through which alone the objective depends
        on them; the surrogate then sees these. All workers of a study need the same function.
        By default the curve R(t) where trials suggested schedules, else the parameters; and so
        where the function fails or returns what is not finite, which is told once.
    baseline
        For score estimates: whether each trial's value is compared with the mean of the others
        in its batch, which takes most of the variance out. The paper does not.
    eigenvalue_floor
        Added to the absolute eigenvalues of the Hessian, in standard deviations of f
        (Assumption 3).
    max_kl
        Upper limit of KL(new || old) of one step, in nats. A surrogate takes three an update.
    min_theta
        Lower limit of the Dirichlet parameters.
    seed
        Seed of all random numbers; with the trial's number it decides what is drawn, whichever
        worker draws it.

    Raises
    ------
    ValueError
        If an option is out of range; or, when sampling, if the study has several objectives.

    Examples
    --------
    >>> import optuna
    >>> from s2e_optuna import S2ESampler
    >>> study = optuna.create_study(sampler=S2ESampler(seed=0))
    >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=30)
    >>> study.best_value < 0.05
    True

    See Also
    --------
    S2ESampler.paper : the algorithm as printed.
    """

    def __init__(
        self,
        *,
        batch_size: int | None = None,
        step_size: float = 1.0,
        update: Update = "newton",
        estimator: Literal["surrogate", "score"] = "surrogate",
        warm_start: bool = True,
        prior: Study | None = None,
        candidates: int | None = None,
        uniform_share: float | None = None,
        features: FeatureFunction | None = None,
        baseline: bool = True,
        eigenvalue_floor: float = 0.1,
        max_kl: float = 1.0,
        min_theta: float = 0.3,
        seed: int | None = None,
    ) -> None:
        if batch_size is None:
            batch_size = 6 if estimator == "score" else 3
        if candidates is None:
            candidates = 1 if estimator == "score" else 400
        if uniform_share is None:
            uniform_share = 0.0 if estimator == "score" else 0.2 if candidates == 1 else 0.5
        self._options = Options(
            batch_size=batch_size,
            step_size=step_size,
            update=update,
            estimator=estimator,
            baseline=baseline,
            eigenvalue_floor=eigenvalue_floor,
            max_kl=max_kl,
            min_theta=min_theta,
            warm_start=warm_start,
            prior=() if prior is None else tuple(leading_params(prior, _N_PRIOR)),
            candidates=candidates,
            uniform_share=uniform_share,
            features=None if features is None else _name_of(features),
        )
        self._features = features
        if seed is not None and seed < 0:
            raise ValueError(f"seed must not be negative, but is {seed}.")
        self._seed = secrets.randbits(63) if seed is None else int(seed)
        self._forget()

    @classmethod
    def paper(cls, *, batch_size: int = 6, seed: int | None = None) -> S2ESampler:
        """Algorithm 2 as it is printed: score estimates without a baseline, Newton, rho = 1.

        What the paper needs but does not say is as in the default: absolute eigenvalues with a
        small floor (its Assumption 3), theta kept positive, and a limit (here a loose one) on
        the length of a step, without which six trials send theta anywhere.
        """
        return cls(
            batch_size=batch_size,
            estimator="score",
            warm_start=False,
            baseline=False,
            eigenvalue_floor=0.01,
            max_kl=10.0,
            min_theta=0.05,
            seed=seed,
        )

    def _forget(self) -> None:
        self._lock = threading.RLock()  # n_jobs > 1: one sampler, many threads
        self._views: WeakKeyDictionary[BaseStorage, dict[int, View]] = WeakKeyDictionary()
        self._said: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"_options": self._options, "_seed": self._seed, "_features": self._features}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def reseed_rng(self) -> None:
        """Do nothing: random numbers come from the seed and the trial's number."""

    # Optuna's hooks, in the order in which a trial meets them.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Read the study, decide what the trial draws from, and write that as its tag."""
        if len(study.directions) > 1:
            return  # sampling raises; an exception here would leave the trial running for ever
        try:
            with self._lock:
                tag = self._decide(study, trial)
                if tag is not None:
                    study._storage.set_trial_system_attr(trial._trial_id, TAG_KEY, tag.to_json())
                    trial.system_attrs[TAG_KEY] = tag.to_json()
                    self._view(study).ledger.record_tag(tag)
        except UpdateFinishedTrialError:
            # Somebody took this worker for dead, because it took so long to get here. The trial
            # is run again; what it says of itself does not matter any more.
            _logger.info("Trial %d was marked as finished before it was tagged.", trial.number)
        except Exception:
            # Optuna has created the trial but not yet handed it to its caller: an exception from
            # here would leave it running for ever. Without a tag it draws from the newest theta.
            _logger.exception("Trial %d could not be tagged; the search goes on.", trial.number)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters that all complete trials have in common."""
        if len(study.directions) > 1:
            return {}
        with self._lock:
            view = self._read(study) if Tag.of(trial) is None else self._view(study)
            chain = view.chain_of(trial)
            return {} if chain is None else dict(chain.codec.space)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the parameters of a search space from p_theta.

        Parameters
        ----------
        study, trial
            As Optuna gives them.
        search_space
            Need not be what `infer_relative_search_space` has returned: a sampler around this one
            may keep some of its parameters to itself, or ask for them in several calls.

        Returns
        -------
        dict
            Values of the parameters that can be searched.
        """
        self._raise_error_if_multi_objective(study)
        asked = {name: d for name, d in search_space.items() if searchable(d)}
        if not asked:
            return {}
        with self._lock:
            view = self._view(study)
            before = view.drawn.get(trial.number, {})
            known = {n: value for n, value in before.items() if n not in asked} | _given(trial)
            chain = view.chain_of(trial)
            space = {} if chain is None else chain.codec.space
            joint = [name for name, d in asked.items() if space.get(name) == d]
            drawn: dict[str, Any] = {}
            if chain is not None and joint:
                seed = [self._seed, trial.number]
                drawn = view.draw_jointly(trial, chain, joint, known, seed)
            for name in [name for name in asked if name not in drawn]:
                seed = self._seed_for(trial, name)
                drawn[name] = view.draw_alone(name, asked[name], known | drawn, seed)
            view.drawn[trial.number] = known | drawn
        return {name: drawn[name] for name in asked}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that not all trials have, or start warm.

        Parameters
        ----------
        study, trial, param_name, param_distribution
            As Optuna gives them.
        """
        self._raise_error_if_multi_objective(study)
        warm = self._options.warm_params(trial.number)
        if param_name in warm and _contains(param_distribution, warm[param_name]):
            return warm[param_name]
        seed = self._seed_for(trial, param_name)
        with self._lock:
            view = self._view(study)
            return view.draw_alone(param_name, param_distribution, _given(trial), seed)

    # Reading and deciding.

    def _view(self, study: Study) -> View:
        views = self._views.setdefault(study._storage, {})
        if study._study_id not in views:
            sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
            views[study._study_id] = View(self._options, self._features, sign, self._say_once)
        return views[study._study_id]

    def _read(self, study: Study) -> View:
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        if len(trials) < self._view(study).ledger.n_seen:  # deleted, and another one has its id
            del self._views[study._storage][study._study_id]
        view = self._view(study)
        view.read(trials)
        return view

    def _decide(self, study: Study, trial: FrozenTrial) -> Tag | None:
        return self._read(study).decide(trial, self._draws_uniformly(trial.number))

    def _draws_uniformly(self, number: int) -> bool:
        if self._options.candidates > 1:
            return False  # a share of the candidates is
        # A last word that is not 0: NumPy pads with zeros, and [seed, number, 0] would repeat the
        # stream from which the trial's parameters are drawn.
        rng = np.random.default_rng([self._seed, number, 1])
        return bool(rng.random() < self._options.uniform_share)

    def _seed_for(self, trial: FrozenTrial, name: str) -> list[int]:
        word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        return [self._seed, trial.number, word]

    def _say_once(self, subject: str, sentence: str) -> None:
        if subject not in self._said:
            self._said.add(subject)
            _logger.warning("%s", sentence)

    def signature(self, space: Mapping[str, BaseDistribution]) -> str:
        """Name a search space and this sampler's options, as the tags of its trials do."""
        return f"{space_signature(space)}-{self._options.signature()}"

    @property
    def options(self) -> Options:
        """What an update of theta depends on."""
        return self._options

    def audit(self, study: Study) -> list[str]:
        """Recompute every committed theta of a study from the stored trials.

        Parameters
        ----------
        study
            A study that was run with a sampler of the same options, or that tells its options:
            all but those of earlier versions do.

        Returns
        -------
        list of str
            What does not agree, a sentence each; also, if nothing could be recomputed, why.
            Empty if all is well.
        """
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        sign = self._view(study).sign
        found = audit_trials(trials, sign, [self._options], self._features)
        return [*found.problems, *(() if found.checked else found.unchecked)]


def _given(trial: FrozenTrial) -> dict[str, Any]:
    """Parameters that a trial has already, or is to have because they were enqueued."""
    enqueued = trial.system_attrs.get("fixed_params")
    return {**(enqueued if isinstance(enqueued, Mapping) else {}), **trial.params}


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether Optuna takes the value as it is, steps included."""
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except (TypeError, ValueError, OverflowError):
        return False


def _name_of(features: FeatureFunction) -> str:
    """Name a function, the same in every process."""
    return (
        f"{features.__module__}.{getattr(features, '__qualname__', type(features).__qualname__)}"
    )
