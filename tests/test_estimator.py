"""The classifier: scikit-learn's own checks, and what it is for."""

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from s2e_optuna import S2EClassifier, Schedule
from s2e_optuna.data import corrupt_labels
from s2e_optuna.labels import suspect_quality
from s2e_optuna.training import transition_matrix

SMALL = {"n_trials": 3, "epochs": 12, "n_seeds": 1, "learning_rate": 3e-3, "device": "cpu"}
SMALL |= {"cross_validate": None}

EXPECTED_FAILURES: dict[str, str] = {}
"""Name of a check of scikit-learn to the reason why it does not apply; none so far."""


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [S2EClassifier(**SMALL, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def noisy():
    """Digits with names for classes: features, given and true names, and a test part."""
    bunch = load_digits()
    names = np.array([f"digit {c}" for c in range(10)])
    rng = np.random.default_rng(0)
    order = rng.permutation(len(bunch.target))
    train, test = order[:600], order[600:]
    given = corrupt_labels(bunch.target[train], transition_matrix("symmetric", 0.3, 10), rng)
    return (
        bunch.data[train],
        names[given],
        names[bunch.target[train]],
        bunch.data[test],
        names[bunch.target[test]],
    )


@pytest.fixture(scope="module")
def fitted(noisy):
    settings = {**SMALL, "epochs": 25, "n_trials": 4, "n_seeds": 2, "cross_validate": 3}
    return S2EClassifier(**settings, random_state=1).fit(noisy[0], noisy[1])


def test_it_predicts_the_true_labels(fitted, noisy):
    assert fitted.score(noisy[3], noisy[4]) > 0.8
    assert set(fitted.predict(noisy[3])) == set(fitted.classes_)
    assert isinstance(fitted.schedule_, Schedule) and fitted.schedule_.epochs == 25
    assert len(fitted.study_.trials) == 4 and len(fitted.models_) == 2


def test_it_finds_the_wrong_labels(fitted, noisy):
    wrong = noisy[1] != noisy[2]
    assert suspect_quality(fitted.suspects_) is None  # it was not told the truth
    listed = [int(one.id) for one in fitted.suspects_ if one.listed]
    assert wrong[listed].mean() > 0.7
    assert set(listed) <= set(np.flatnonzero(fitted.suspicion_ > 0.5))
    first = fitted.suspects_[0]
    assert first.given == noisy[1][int(first.id)]


def test_suspects_have_the_labels_that_were_given():
    x, y = load_digits(return_X_y=True)
    found = S2EClassifier(n_trials=1, epochs=2, n_seeds=1, cross_validate=None, random_state=0)
    rows = found.fit(x[:300], y[:300] * 10).suspects_
    for row in rows:
        assert row.given == y[int(row.id)] * 10 and row.predicted in found.classes_
        assert isinstance(row.given, int)


def test_it_says_how_many_labels_are_wrong_and_what_to_train_on(fitted, noisy):
    wrong = (noisy[1] != noisy[2]).mean()
    assert fitted.noise_rate_ == pytest.approx(wrong, abs=0.1)
    low, high = fitted.label_quality_.noise.interval
    assert low <= fitted.noise_rate_ <= high
    assert fitted.transition_matrix_.sum(axis=1) == pytest.approx(np.ones(10))
    assert fitted.label_posterior_.sum(axis=1) == pytest.approx(np.ones(600), abs=1e-5)
    believed = fitted.classes_[fitted.label_posterior_.argmax(axis=1)]
    assert (believed == noisy[2]).mean() > (noisy[1] == noisy[2]).mean() + 0.1


def test_what_cleanlab_is_given(fitted, noisy):
    assert fitted.pred_probs_.shape == (600, 10)
    assert fitted.pred_probs_.sum(axis=1) == pytest.approx(np.ones(600))
    assert (fitted.classes_[fitted.given_labels_] == noisy[1]).all()
    out_of_sample = fitted.classes_[fitted.pred_probs_.argmax(axis=1)]
    in_sample = fitted.predict(noisy[0])
    assert (out_of_sample == noisy[2]).mean() > 0.7 and (out_of_sample != in_sample).any()


def test_a_clean_validation_part_and_a_storage(noisy, tmp_path):
    options = {**SMALL, "storage": f"sqlite:///{tmp_path}/s.db", "study_name": "mine"}
    classifier = S2EClassifier(**options, random_state=0)
    part = (noisy[3][:200], noisy[4][:200])
    classifier.fit(noisy[0], noisy[1], *part)
    assert classifier.study_.study_name == "mine"
    values = [trial.value for trial in classifier.study_.trials]
    assert classifier.noise_rate_ is None and classifier.label_posterior_ is None
    classifier.fit(noisy[0], noisy[1], *part)  # all trials are there
    assert [trial.value for trial in classifier.study_.trials] == values
    with pytest.raises(ValueError, match="both X_val and y_val"):
        classifier.fit(noisy[0], noisy[1], part[0])
    with pytest.raises(ValueError, match="such as x"):
        classifier.fit(noisy[0], noisy[1], part[0], np.full(200, "x"))


def test_a_stored_study_of_other_data_or_settings_is_refused(noisy, tmp_path):
    options = {**SMALL, "epochs": 2, "n_trials": 1, "random_state": 0}
    options |= {"storage": f"sqlite:///{tmp_path}/s.db", "study_name": "mine"}
    X, y = noisy[0][:100], noisy[1][:100]
    S2EClassifier(**options).fit(X, y)
    other_label = np.where(np.arange(100) == 7, y[y != y[7]][0], y)
    part = (noisy[3][:20], noisy[4][:20])
    for data, changes in (
        ((X + 1, y), {}),
        ((X, other_label), {}),
        ((X, y, *part), {}),
        ((X, y), {"epochs": 3}),
        ((X, y), {"random_state": 1}),
        ((X, y), {"validation_fraction": 0.3}),
    ):
        with pytest.raises(ValueError, match=r"'mine' .* choose another study_name"):
            S2EClassifier(**{**options, **changes}).fit(*data)
    longer = S2EClassifier(**{**options, "n_trials": 2, "n_seeds": 2, "stack": 1}).fit(X, y)
    assert len(longer.study_.trials) == 2


def test_a_stored_study_goes_on_however_its_settings_are_written(noisy):
    options = {**SMALL, "epochs": 2, "n_trials": 1, "random_state": 0, "batch_size": 16}
    options |= {"storage": optuna.storages.InMemoryStorage(), "study_name": "mine"}
    X, y = noisy[0][:100], noisy[1][:100]
    part = (noisy[3][:20], noisy[4][:20])
    S2EClassifier(**options).fit(X, y, *part)
    for changes in (
        {"learning_rate": np.float64(options["learning_rate"])},
        {"epochs": np.int64(2), "batch_size": np.int64(16)},
        {"validation_fraction": 0.3},  # not used: there is a validation part
    ):
        assert len(S2EClassifier(**{**options, **changes}).fit(X, y, *part).study_.trials) == 1


def test_a_class_keeps_its_only_sample():
    X, y = np.random.default_rng(0).normal(size=(16, 3)), np.array([0] * 15 + [1])
    options = {**SMALL, "epochs": 2, "n_trials": 1, "validation_fraction": 0.5}
    for seed in range(3):
        S2EClassifier(**options, random_state=seed).fit(X, y)
    with pytest.raises(ValueError, match="every class has one sample"):
        S2EClassifier(**options).fit(X[:4], np.arange(4))


def test_images_are_taken_as_they_are(noisy):
    images = (noisy[0] * 15).astype(np.uint8).reshape(-1, 8, 8)
    classifier = S2EClassifier(**SMALL, random_state=0).fit(images, noisy[1])
    assert classifier.predict_proba(images[:5]).shape == (5, 10)
    assert classifier.models_[0].input_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_trials": 0}, "n_trials must be"),
        ({"epochs": 1.5}, "epochs must be"),
        ({"validation_fraction": 0.9}, "validation_fraction must be"),
        ({"storage": "sqlite://", "random_state": 0}, "a storage needs a study_name"),
        ({"storage": "sqlite://", "study_name": "s"}, "a storage needs a random_state"),
        ({"cross_validate": 1}, "cross_validate must be"),
        ({"network": "nope"}, "unknown network"),
        ({"method": "standard"}, "no schedule to search for"),
    ],
)
def test_parameters_out_of_range(noisy, options, says):
    with pytest.raises(ValueError, match=says):
        S2EClassifier(**{**SMALL, **options}).fit(noisy[0], noisy[1])


def test_too_many_folds_are_refused_before_the_search(noisy, capsys):
    classifier = S2EClassifier(**{**SMALL, "cross_validate": 101}, verbose=1)
    with pytest.raises(ValueError, match="100 samples are too few for 101 folds"):
        classifier.fit(noisy[0][:100], noisy[1][:100])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("label", [None, np.nan, "nan", ""])
def test_missing_labels_are_refused(noisy, label):
    X, y = noisy[0], noisy[1].astype(object)
    y[7] = label
    with pytest.raises(ValueError, match=r"1 of 600 labels in y are missing, .* number 7"):
        S2EClassifier(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="labels in y_val are missing"):
        S2EClassifier(**SMALL).fit(X, noisy[1], X, y)


def test_progress_is_shown_when_asked_for(noisy, capsys):
    S2EClassifier(**{**SMALL, "epochs": 2}, verbose=1).fit(noisy[0], noisy[1])
    assert "8/8" in capsys.readouterr().err
    S2EClassifier(**{**SMALL, "epochs": 2}).fit(noisy[0], noisy[1])
    assert capsys.readouterr().err == ""


def test_checked_rows_are_held_out_and_judge(noisy):
    X, given, true, *_ = noisy
    rows = list(range(0, 600, 30))
    settings = {**SMALL, "epochs": 6, "n_trials": 1, "cross_validate": 2}
    fitted = [
        S2EClassifier(**settings, random_state=0).fit(X, given, checked=checked)
        for checked in (None, dict(zip(rows, true[rows], strict=True)), (rows, true[rows]))
    ]
    values = [classifier.study_.best_value for classifier in fitted]
    assert values[1] == values[2] != values[0]
    assert fitted[1].label_posterior_.shape == (600, 10)


@pytest.mark.parametrize(
    ("checked", "says"),
    [
        ({600: "digit 1"}, "rows that X has not"),
        (([1, 2], ["digit 1"]), "one label for each"),
        ({1: "zebra"}, "checked holds classes that y has not"),
    ],
)
def test_checked_labels_that_do_not_fit_are_refused(noisy, checked, says):
    with pytest.raises(ValueError, match=says):
        S2EClassifier(**SMALL).fit(noisy[0], noisy[1], checked=checked)
    with pytest.raises(ValueError, match="leave X_val out"):
        S2EClassifier(**SMALL).fit(noisy[0], noisy[1], noisy[0], noisy[1], checked={1: "digit 1"})


def test_missing_features_are_filled_in_and_remembered(noisy):
    rng = np.random.default_rng(0)
    gaps = rng.random(noisy[0].shape) < 0.05
    X = np.where(gaps, np.nan, noisy[0])
    classifier = S2EClassifier(**SMALL | {"n_trials": 1}, random_state=0).fit(
        X, noisy[1], X[:100], noisy[2][:100]
    )
    assert (classifier.predict(noisy[3][:300]) == noisy[4][:300]).mean() > 0.7
    assert classifier.predict_proba(X[:5]).shape == (5, 10)
