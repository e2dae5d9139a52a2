"""Regularisation that is searched beside the schedule, and plain training that searches it too."""

import json
from dataclasses import replace

import numpy as np
import optuna
import pytest

from s2e_optuna import CoTeachingObjective, S2ESampler
from s2e_optuna.commands.search import draw_pictures, next_commands
from s2e_optuna.commands.show import study_dict
from s2e_optuna.data import load_data
from s2e_optuna.errors import ConfigError, DataError
from s2e_optuna.objective.searched import SEARCHABLE, bounds, drawn_values, searched_names
from s2e_optuna.reporting.verdict import verdict
from s2e_optuna.reporting.view import read_study
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.plain import search_plain
from s2e_optuna.search.samplers import make_sampler
from s2e_optuna.search.search import search
from s2e_optuna.search.stored import check_same, objective_of
from s2e_optuna.storages import open_storage
from s2e_optuna.training import Checkpoint, TrainConfig, train
from s2e_optuna.training.jobs import in_turn
from s2e_optuna.training.setup import OWN

CONFIG = TrainConfig(epochs=3, network="mlp", batch_size=30, device="cpu")


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", noise="symmetric", noise_rate=0.4, train_size=150)


def same(one, other):
    assert one.validation_loss.tolist() == other.validation_loss.tolist()
    for ours, theirs in zip(one.model.states, other.model.states, strict=True):
        assert all(ours[name].equal(theirs[name]) for name in ours)


def test_names_are_those_in_which_trials_may_differ():
    assert set(SEARCHABLE) == set(OWN)
    assert searched_names(None) == searched_names("") == ()
    assert searched_names(["learning-rate", "weight_decay"]) == SEARCHABLE
    with pytest.raises(DataError, match="unknown parameter to search 'dropout': choose one of"):
        searched_names("dropout")
    with pytest.raises(DataError, match="weight_decay is to be searched twice"):
        searched_names("weight_decay,weight_decay")
    with pytest.raises(ConfigError, match="choose one of learning_rate, weight_decay"):
        SearchConfig.of(search="momentum")


def test_a_weight_decay_that_is_searched_is_not_given():
    with pytest.raises(ConfigError, match=r"searched, and 0\.1 is given, too: leave out"):
        SearchConfig.of(data="digits", search="weight_decay", weight_decay=0.1)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_trial_of_a_stack_is_as_it_would_be_alone(digits, optimizer):
    config = replace(CONFIG, optimizer=optimizer)
    own = [{}, {"weight_decay": 0.05}, {"weight_decay": 1e-4, "learning_rate": 3e-3}]
    runs = train("coteaching", [[1.0, 0.8, 0.6]] * 3, digits, config, own=own)
    plain, decayed = (
        train("coteaching", [[1.0, 0.8, 0.6]], digits, replace(config, weight_decay=decay))[0]
        for decay in (0.0, 0.05)
    )
    without = train("coteaching", [[1.0, 0.8, 0.6]] * 2, digits, config, own=own[:2])
    same(without[0], plain)
    same(without[1], decayed)
    alone = train("coteaching", [[1.0, 0.8, 0.6]], digits, config, own=own[2:])[0]
    same(runs[2], alone)
    other = replace(config, learning_rate=3e-3, weight_decay=1e-4)
    alone = train("coteaching", [[1.0, 0.8, 0.6]], digits, other)[0]
    np.testing.assert_allclose(runs[2].validation_loss, alone.validation_loss, rtol=1e-3)


def test_an_interrupted_training_knows_its_trials_by_them(digits, tmp_path):
    own, schedules = [{"weight_decay": d} for d in (1e-5, 0.1)], [[1.0, 0.8, 0.6]] * 2

    def kill(epoch, _):
        if epoch == 1:
            raise KeyboardInterrupt

    path = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        kept = Checkpoint(path, every=0.0)
        train("coteaching", schedules, digits, CONFIG, kill, checkpoint=kept, own=own)
    seen = []
    again = train(
        "coteaching", schedules, digits, CONFIG, lambda epoch, _: seen.append(epoch),
        checkpoint=Checkpoint(tmp_path / "d", resume=path), own=own[::-1],
    )  # fmt: skip
    whole = train("coteaching", schedules, digits, CONFIG, own=own)
    assert seen == [1, 2]
    same(again[0], whole[1])
    same(again[1], whole[0])


@pytest.mark.parametrize("sampler", ["s2e", "tpe", "random", "cmaes", "gp", "qmc"])
def test_every_sampler_suggests_them_under_their_names(digits, sampler):
    made = make_sampler({"sampler": sampler, "sampler_options": {}, "seed": 0})
    objective = CoTeachingObjective(
        digits, training=replace(CONFIG, epochs=1), space="coteaching", search="weight_decay"
    )
    study = optuna.create_study(sampler=made, pruner=optuna.pruners.NopPruner())
    study.optimize(objective, n_trials=3)
    found = [trial.params["weight_decay"] for trial in study.trials]
    assert len(set(found)) == 3 and all(1e-5 <= value <= 0.03 for value in found)


def test_the_s2e_sampler_learns_where_the_weight_decay_is_good():
    study = optuna.create_study(sampler=S2ESampler(seed=0))
    low, high = bounds("weight_decay", CONFIG)

    def objective(trial):
        from s2e_optuna import suggest_schedule

        kept = suggest_schedule(trial, 20).rates[-1]
        decay = trial.suggest_float("weight_decay", low, high, log=True)
        return (kept - 0.5) ** 2 + 0.2 * (np.log10(decay) + 2.0) ** 2

    study.optimize(objective, n_trials=30)
    late = np.log10([trial.params["weight_decay"] for trial in study.trials[15:]])
    assert np.median(np.abs(late + 2.0)) < 0.6  # 1.0 and more for what is drawn evenly


def test_plain_training_searches_as_long_and_can_end_at_what_is_usual(digits):
    seen = []
    names = ("weight_decay", "learning_rate")
    found = search_plain(names, digits, CONFIG, 5, in_turn, progress=seen.append)
    drawn = drawn_values(names, CONFIG, 5, np.random.default_rng(0))
    assert drawn[0] == {"weight_decay": 0.0, "learning_rate": 1e-3} and len(drawn) == 5
    assert set(found) == set(names) and seen[-1].done == seen[-1].total == 15
    assert found == search_plain(names, digits, CONFIG, 5, in_turn)
    slow = replace(CONFIG, learning_rate=1e-4)
    assert search_plain(("learning_rate",), digits, slow, 5, in_turn)["learning_rate"] > 1e-4


def test_a_search_finds_and_uses_them_and_says_what_the_schedule_adds(tmp_path):
    config = SearchConfig.of(
        noise="symmetric", noise_rate=0.4, train_size=150, epochs=2, trials=2, final_seeds=1,
        folds=2, device="cpu", stack=2, search="weight_decay", out=tmp_path / "out",
        storage=f"sqlite:///{tmp_path}/s.db",
    )  # fmt: skip
    found = search(config)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    study = optuna.load_study(study_name=config.study_name, storage=config.storage)
    best = study.trials[found.recommended].params["weight_decay"]
    assert content["searched"]["s2e"] == {"weight_decay": best}
    assert set(content["searched"]) == {"s2e", "standard", "clean_only", "posterior"}
    assert content["settings"]["search"] == "weight_decay"
    assert "plain training searched the same as long and found" in " ".join(verdict(found))
    again = search(config)  # the comparison is read from its file
    assert again.scores["standard"].searched == found.scores["standard"].searched
    view = read_study(open_storage(config.storage), config.study_name)
    assert study_dict(view, storage="")["trial"]["params"]["weight_decay"] == best
    page = draw_pictures(found, view)["report"].read_text(encoding="utf-8")
    assert "<th>searched</th>" in page and f"weight decay {best:.2g}" in page
    commands = dict(next_commands(config, found.files, found.searched))
    assert f"--weight-decay {best:g}" in commands["train with this schedule"]
    assert objective_of(config.stored(), "cpu").search == ("weight_decay",)
    with pytest.raises(ConfigError, match="search is 'weight_decay', not None"):
        check_same(config.stored(), replace(config, search=None))
