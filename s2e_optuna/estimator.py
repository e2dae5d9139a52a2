"""The search as a scikit-learn classifier (long: scikit-learn wants all of it in one class)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import ArrayLike, NDArray
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from s2e_optuna.data import NoisyData, from_arrays
from s2e_optuna.data.class_numbers import is_missing
from s2e_optuna.data.dense import DenseColumns
from s2e_optuna.data.noisy_data import NOT_CHECKED, as_images
from s2e_optuna.data.preparation import Preparation
from s2e_optuna.data.strata import stratified_order
from s2e_optuna.errors import DataError
from s2e_optuna.labels import Suspect, check_folds, expected_validation
from s2e_optuna.objective import CoTeachingObjective
from s2e_optuna.sampler import S2ESampler, best_schedule
from s2e_optuna.search.final import train_final
from s2e_optuna.storages import open_storage
from s2e_optuna.training import TrainConfig, predict_proba

FINGERPRINT = "s2e_classifier_fingerprint"
"""User attribute of a study: what its data and settings hash to."""

_ACCEPTED: dict[str, Any] = {
    "allow_nd": True,
    "dtype": "numeric",
    "accept_sparse": "csr",
    "ensure_all_finite": "allow-nan",
}
"""What scikit-learn lets pass; `DenseColumns` fills in what is missing."""

Floats = NDArray[np.float64]


class S2EClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classifier for data with wrong labels.

    `fit` searches for the schedule R(t), the share of each mini-batch to train on in epoch t, by
    the error on a part of the data that is held out, and then trains networks with it on all of
    them.

    Parameters
    ----------
    n_trials
        Schedules to try.
    epochs
        Epochs of each training, T.
    network
        Name of a network, ``"auto"`` picks one by the input; see `s2e_optuna.training.NETWORKS`.
    method
        Method whose schedule is searched; see `s2e_optuna.training.METHODS`.
    space
        Search space of the schedule; see `s2e_optuna.suggest_schedule`.
    n_seeds
        Trainings with the schedule in the end; predictions are averaged over them.
    validation_fraction
        Share of the data held out during the search, in (0, 0.5]. Not used where `fit` is given
        a validation part.
    batch_size, learning_rate
        See `s2e_optuna.training.TrainConfig`.
    cross_validate
        Folds of a cross-validation with the schedule in the end, as many trainings more:
        `pred_probs_` is then out of sample, and `suspicion_` better. None does without.
    stack
        Trials that train at once.
    storage, study_name
        Where the study is kept, a URL or an Optuna storage, and its name there: an interrupted
        search goes on. A study belongs to the data and settings it was begun with, so a storage
        needs a name for each of them, and a `random_state`. By default in memory.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    metric
        What schedules are compared on and trainings stopped by: ``"accuracy"``, or, where few
        classes are large, ``"balanced_accuracy"`` or ``"macro_f1"``. `score` is accuracy.
    random_state
        Seed or `numpy.random.RandomState` of everything random.
    verbose
        Above 0, a progress bar on standard error.

    Attributes
    ----------
    classes_
        The class labels.
    schedule_
        The schedule that was found, a `s2e_optuna.Schedule`.
    suspects_
        List of `s2e_optuna.training.Suspect`, those that are `listed` as wrong first; their ids
        are rows of X.
    suspicion_
        How doubtful each label is, from 0 to 1, [N]; with `cross_validate` the probability that it
        is wrong, if as few labels are as the data allow.
    noise_rate_
        Estimated share of wrong labels.
    transition_matrix_
        How samples of each class (rows) are labelled, estimated, [C, C].
    label_posterior_
        Probability of each class to be the true one, seeing sample and label [N, C]: soft labels
        to train on.
    label_quality_
        These with 95 % intervals, by class, and what they rest on: a
        `s2e_optuna.labels.LabelQuality`. Like the three before, None without `cross_validate`.
    pred_probs_
        Predicted probabilities of the training samples [N, C], in the order of `classes_`; out of
        sample if `cross_validate` is set. With `given_labels_` this is what cleanlab asks for.
    given_labels_
        Labels as positions in `classes_`, integers [N].
    study_
        The Optuna study.
    models_
        Trained models, one a seed: with the schedule or, given `X_val` and `cross_validate`, on
        `label_posterior_` or on ``X_val`` alone, whichever is best on ``X_val``.
    n_features_in_
        Size of the second axis of X.

    Notes
    -----
    Schedules are compared on ``X_val``, whose labels are taken to be right, and trainings stopped
    by it; without it schedules are compared on a `validation_fraction` of X with its given labels,
    at the end of the training. Noisy labels rank schedules well, because
    wrong ones lower the accuracy of all of them alike. No sample is used up: in the end the held
    out ones are trained on, too.

    Feature arrays [N, D] are standardised; images may be [N, height, width],
    [N, channels, height, width] or [N, height, width, channels]. See
    `s2e_optuna.data.preparation.Preparation` for their numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from s2e_optuna import S2EClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> y[::10] = 2  # wrong for most of them
    >>> classifier = S2EClassifier(n_trials=4, epochs=10, n_seeds=1, random_state=0).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (150, 3)
    >>> rows = [int(suspect.id) for suspect in classifier.suspects_ if suspect.listed]
    """

    def __init__(
        self,
        *,
        n_trials: int = 24,
        epochs: int = TrainConfig.epochs,
        network: str = "auto",
        method: str = "coteaching",
        space: str = "s2e",
        n_seeds: int = 3,
        validation_fraction: float = 0.2,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        cross_validate: int | None = 5,
        stack: int = 8,
        storage: str | BaseStorage | None = None,
        study_name: str | None = None,
        device: str = "auto",
        metric: str = "accuracy",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_trials = n_trials
        self.epochs = epochs
        self.network = network
        self.method = method
        self.space = space
        self.n_seeds = n_seeds
        self.validation_fraction = validation_fraction
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.cross_validate = cross_validate
        self.stack = stack
        self.storage = storage
        self.study_name = study_name
        self.device = device
        self.metric = metric
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        *,
        checked: Mapping[int, Any] | tuple[ArrayLike, ArrayLike] | None = None,
    ) -> S2EClassifier:
        """Search a schedule and train with it.

        Parameters
        ----------
        X, y
            Features [N, D] or images, and their labels of any kind, some of them wrong. Missing
            features (NaN) become the median of their column, with a column beside it that says
            where; sparse features of more than 256 columns are reduced to 256 by `TruncatedSVD`.
        X_val, y_val
            A part to judge schedules by, if there is one whose labels are right. They are taken to
            be: if they may be as wrong as those of y, append both to X and y instead.
        checked
            Without such a part: right labels of some rows of X, best drawn at random, as a mapping
            or as rows and their labels. These are held out first, and say what the labels of the
            others are worth. Begin with twenty.

        Returns
        -------
        S2EClassifier
            This classifier.

        Raises
        ------
        ValueError
            Parameters out of range, data that cannot be trained on, or a stored study of other
            data or settings.
        """
        self._check_parameters()
        _check_no_label_missing(y, "y")
        samples, y = validate_data(self, X, y, **_ACCEPTED)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"S2EClassifier needs samples of two classes or more, y has 1 class: "
                f"{self.classes_[0]}."
            )
        self._columns = DenseColumns.fit(samples)
        samples = self._columns.apply(samples)
        self._preparation = Preparation.fit(as_images(samples, "training"))
        if self.cross_validate is not None:
            check_folds(self.cross_validate, len(labels))
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        if (X_val is None) != (y_val is None):
            raise ValueError("a validation part needs both X_val and y_val.")
        # What is held out of X is trained on in the end, and cannot say then when to stop.
        self._stop = "last" if X_val is None else "best"
        if X_val is None:
            searched = self._held_out(samples, labels, self._checked(checked, len(labels)), seed)
        elif checked is None:
            searched = self._search_data(samples, labels, X_val, y_val)
        else:
            raise ValueError("checked labels are for a part that is held out: leave X_val out.")
        searched = expected_validation(searched, self._training(seed))
        with tqdm(disable=not self.verbose, unit="epoch", desc="S2E") as bar:
            bar.total = self._epochs_in_all()
            self.study_ = self._study(samples, searched, seed)
            self._search(searched, seed, bar)
            self.schedule_ = best_schedule(self.study_)
            self._train(samples, labels, searched, seed, bar)
        return self

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Predict class probabilities [N, C], averaged over the trained networks."""
        check_is_fitted(self)
        images = self._columns.apply(validate_data(self, X, reset=False, **_ACCEPTED))
        if images.ndim != 2 and self._preparation.kind == "columns":
            raise ValueError(
                f"X has shape {images.shape}, but the classifier was fitted on [N, D]."
            )
        return _normalised(np.mean([predict_proba(m, images) for m in self.models_], axis=0))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict class labels [N]."""
        probabilities = self.predict_proba(X)
        labels: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels

    def __sklearn_tags__(self) -> Any:
        """Say that X may be sparse, and have missing values."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags

    # ------------------------------------------------------------------ steps of fit

    def _search_data(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64],
        X_val: ArrayLike | None,
        y_val: ArrayLike | None,
    ) -> NoisyData:
        _check_no_label_missing(y_val, "y_val")
        samples, given = validate_data(self, X_val, y_val, reset=False, **_ACCEPTED)
        part = (self._columns.apply(samples), self._numbers(given, "y_val"))
        return self._data(images, labels, *part)

    def _numbers(self, labels: ArrayLike, name: str) -> NDArray[np.int64]:
        unknown = set(np.unique(labels)) - set(self.classes_)
        if unknown:
            raise ValueError(f"{name} holds classes that y has not, such as {min(unknown)}.")
        return np.searchsorted(self.classes_, labels)

    def _checked(
        self, checked: Mapping[int, Any] | tuple[ArrayLike, ArrayLike] | None, n_samples: int
    ) -> NDArray[np.int64]:
        """Return the class of each sample [N] that is checked, `NOT_CHECKED` of the others."""
        found = np.full(n_samples, NOT_CHECKED, dtype=np.int64)
        if checked is None:
            return found
        pair = (list(checked), list(checked.values())) if isinstance(checked, Mapping) else checked
        rows, labels = (np.asarray(values) for values in pair)
        if rows.ndim != 1 or rows.shape != labels.shape or rows.dtype.kind not in "ui":
            raise ValueError("checked needs row numbers of X and one label for each.")
        if not len(rows) or rows.min() < 0 or rows.max() >= n_samples:
            raise ValueError(f"checked names rows that X has not: it has {n_samples}, from 0.")
        found[rows] = self._numbers(labels, "checked")
        return found

    def _held_out(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64],
        checked: NDArray[np.int64],
        seed: int,
    ) -> NoisyData:
        """Hold out a part of the samples: those that are checked, and others at random."""
        order = stratified_order(labels, np.random.default_rng([seed, 0]))
        order = order[np.bincount(labels)[labels[order]] > 1]  # a class keeps its only sample
        if not len(order):
            raise ValueError(
                "every class has one sample, so none can be held out: give X_val and y_val."
            )
        known = np.flatnonzero(checked != NOT_CHECKED)
        size = max(1, len(known), round(self.validation_fraction * len(order)))
        out = np.sort(np.concatenate([known, order[~np.isin(order, known)]])[:size])
        rest = np.setdiff1d(np.arange(len(labels)), out)
        data = self._data(images[rest], labels[rest], images[out], labels[out])
        self._out = out
        return replace(data, val_checked=torch.from_numpy(checked[out])) if len(known) else data

    def _data(
        self,
        x: NDArray[Any],
        y: NDArray[np.int64],
        x_val: NDArray[Any],
        y_val: NDArray[np.int64],
    ) -> NoisyData:
        names = [str(name) for name in self.classes_]
        return from_arrays(x, y, x_val, y_val, class_names=names, preparation=self._preparation)

    def _study(self, samples: NDArray[Any], data: NoisyData, seed: int) -> optuna.Study:
        study = _quietly_created(
            storage=None if self.storage is None else open_storage(self.storage),
            study_name=self.study_name,
            sampler=S2ESampler(seed=seed),
        )
        if self.storage is not None:
            fingerprints = {
                stop: self._fingerprint(samples, data, seed, stop) for stop in ("last", self._stop)
            }
            self._stop = _claim(study, fingerprints)
        return study

    def _fingerprint(self, samples: NDArray[Any], data: NoisyData, seed: int, stop: str) -> str:
        """Hash what the values of the study's trials depend on."""
        batch_size = None if self.batch_size is None else int(self.batch_size)
        settings = [seed, int(self.epochs), self.method, self.network, self.space, batch_size,
                    float(self.learning_rate), *([stop] if stop != "last" else []),
                    *([self.metric] if self.metric != "accuracy" else [])]  # fmt: skip
        digest = hashlib.sha256(repr(settings).encode())
        # What is held out, however it was chosen, is in the labels and the validation part.
        x_val = data.preparation.apply(data.x_val)
        for part in (samples, *(t.numpy() for t in (data.y_train, x_val, data.y_val))):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        if data.val_checked is not None:
            digest.update(data.val_checked.numpy().tobytes())
        return digest.hexdigest()[:32]

    def _search(self, data: NoisyData, seed: int, bar: tqdm[Any]) -> None:
        study = self.study_
        objective = CoTeachingObjective(
            data,
            training=self._training(seed),
            method=self.method,
            space=self.space,
            leave_early=True,
        )
        failures = 0
        while (left := self.n_trials - _finished(study)) > 0:
            trials = [study.ask() for _ in range(min(left, self.stack))]
            outcomes = objective.evaluate(trials, _ticking(bar, len(trials)))
            for trial, outcome in zip(trials, outcomes, strict=True):
                for key, value in outcome.attrs.items():
                    trial.set_user_attr(key, value)
                study.tell(trial, outcome.value, state=outcome.state)
                failures += outcome.state == TrialState.FAIL
            if failures > self.n_trials:
                raise DataError(f"training fails again and again: {outcomes[-1].error}")

    def _train(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64],
        searched: NoisyData,
        seed: int,
        bar: tqdm[Any],
    ) -> None:
        """Train on all samples; what was held out validates, which decides nothing any more."""
        data = self._data(images, labels, searched.x_val.numpy(), searched.y_val.numpy())
        final = train_final(
            {"s2e": (self.method, self.schedule_)},
            data,
            replace(
                self._training(seed), evaluate_every=1 if self._stop == "best" else self.epochs
            ),
            seeds=self.n_seeds,
            folds=self.cross_validate or 0,
            progress=_ticking(bar, 1),
            posterior=len(searched.y_train) == len(labels),  # else what validates is trained on
        )
        final.require_complete()
        if final.unseen is not None and len(searched.y_train) < len(labels):
            # What validates is trained on, and is noisy but for what is checked of it.
            clean = None
            if searched.val_checked is not None:
                data = replace(data, val_checked=searched.val_checked)
                known = (searched.val_checked != NOT_CHECKED).numpy()
                clean = final.unseen.training[self._out[known]]
            final = replace(final, unseen=replace(final.unseen, clean=clean))
        self.models_ = list(final.models)
        self.given_labels_ = labels
        found = [run.training_probabilities for run in final.complete]
        own = np.mean([p for p in found if p is not None], axis=0)
        self.pred_probs_ = _normalised(own if final.unseen is None else final.unseen.training)
        judged = final.judge(data)
        self.suspects_ = [self._in_own_labels(row) for row in judged.rows]
        self.suspicion_ = np.empty(len(labels))
        for row in self.suspects_:
            self.suspicion_[int(row.id)] = row.score
        quality = judged.quality
        self.label_quality_ = quality
        self.noise_rate_ = None if quality is None else quality.noise.overall
        self.transition_matrix_ = None if quality is None else quality.noise.matrix
        self.label_posterior_ = None if quality is None else quality.posterior

    def _in_own_labels(self, row: Suspect) -> Suspect:
        """Give a row the labels that were given, which need not be texts."""
        own = {str(label): label for label in self.classes_.tolist()}
        return replace(
            row,
            given=own[row.given],
            predicted=own[row.predicted],
            true=None if row.true is None else own[row.true],
        )

    def _training(self, seed: int) -> TrainConfig:
        """How trials and the final trainings train."""
        return TrainConfig(
            epochs=self.epochs,
            network=self.network,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            stop=self._stop,
            metric=self.metric,
            seed=seed,
            device=self.device,
        )

    # ------------------------------------------------------------------ checks

    def _check_parameters(self) -> None:
        for name in ("n_trials", "epochs", "n_seeds", "stack"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, but is {value!r}.")
        if not 0.0 < self.validation_fraction <= 0.5:
            raise ValueError(
                f"validation_fraction must be in (0, 0.5], but is {self.validation_fraction}."
            )
        if self.storage is not None and self.study_name is None:
            raise ValueError("a storage needs a study_name, by which an interrupted fit goes on.")
        if self.storage is not None and self.random_state is None:
            raise ValueError(
                "a storage needs a random_state: without one every fit holds out other samples."
            )
        if self.cross_validate is not None and self.cross_validate < 2:
            raise ValueError(f"cross_validate must be at least 2, but is {self.cross_validate}.")

    def _epochs_in_all(self) -> int:
        trainings = self.n_trials + self.n_seeds + (self.cross_validate or 0)
        if self.cross_validate and self._stop == "best":  # on the clean part, on the posterior
            trainings += max(self.n_seeds, 2) + self.n_seeds
        return trainings * self.epochs


def _check_no_label_missing(y: ArrayLike | None, name: str) -> None:
    """Raise ValueError where texts or objects hold a None or NaN; scikit-learn checks numbers."""
    values = np.asarray(y)
    if y is None or values.dtype.kind not in "OUS":
        return
    missing = [i for i, label in enumerate(values.flat) if label is None or is_missing(str(label))]
    if missing:
        raise ValueError(
            f"{len(missing)} of {values.size} labels in {name} are missing, the first is number "
            f"{missing[0]} ({values.flat[missing[0]]!s}): fill them in, or remove the samples."
        )


def _ticking(bar: tqdm[Any], trainings: int) -> Callable[..., None]:
    """Return a callback that counts an epoch of so many trainings."""

    def tick(*_: object) -> None:
        bar.update(trainings)

    return tick


def _finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def _claim(study: optuna.Study, fingerprints: Mapping[str, str]) -> str:
    """Note whose study this is, and return how its trainings are stopped.

    A study that was begun with other data or settings is refused: its values would not compare,
    and its best schedule may have been chosen by samples that are tested on now, as in a
    cross-validation. One of an earlier version goes on as it was begun.

    Parameters
    ----------
    study
        The study.
    fingerprints
        How trainings are stopped to the hash of data and settings; what is asked for now is last.
    """
    found = study.user_attrs.get(FINGERPRINT)
    stop = list(fingerprints)[-1]
    if found is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(FINGERPRINT, fingerprints[stop])
        return stop
    for stop, fingerprint in fingerprints.items():
        if found == fingerprint:
            return stop
    raise ValueError(
        f"the study {study.study_name!r} in the storage was begun with other data, another "
        "random_state or other settings: choose another study_name, or leave the storage out."
    )


def _quietly_created(**options: Any) -> optuna.Study:
    """Open or create a study without the line that Optuna prints for it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(pruner=NopPruner(), load_if_exists=True, **options)
    finally:
        optuna.logging.set_verbosity(before)


def _normalised(probabilities: NDArray[Any]) -> Floats:
    """Let rows sum to one, as float64: others check that."""
    values = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(values / values.sum(axis=1, keepdims=True))
