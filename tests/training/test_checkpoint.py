"""A training that was interrupted ends exactly as one that was not."""

import dataclasses
import types

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from s2e_optuna import Schedule
from s2e_optuna.data import ImageFiles, load_data
from s2e_optuna.training import Checkpoint, TrainConfig, train
from s2e_optuna.training.checkpoint import fingerprint

CONFIG = TrainConfig(epochs=6, batch_size=32, device="cpu", seed=3)
SCHEDULES = [Schedule.coteaching(6, tau) for tau in (0.2, 0.4, 0.6)]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def data():
    return load_data("digits", noise="symmetric", noise_rate=0.4, train_size=256)


def kill_after(epochs):
    def on_epoch(epoch, reports):
        if epoch == epochs:
            raise Killed

    return on_epoch


def interrupted(path, data, method="coteaching", config=CONFIG, schedules=SCHEDULES):
    """Train, keep every epoch, and break off in the fifth."""
    saved = []
    kept = Checkpoint(path, every=0.0, on_saved=lambda: saved.append(1))
    with pytest.raises(Killed):
        train(method, schedules, data, config, kill_after(4), checkpoint=kept)
    assert len(saved) == 4
    return path


def same(one, other):
    assert one.status == other.status == "complete"
    for name in ("validation_accuracy", "training_loss", "kept_counts", "rates"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for ours, theirs in zip(one.model.states, other.model.states, strict=True):
        for name in ours:
            assert ours[name].equal(theirs[name]), name


def resume(path, data, method="coteaching", config=CONFIG, schedules=SCHEDULES):
    epochs = []
    found = train(
        method,
        schedules,
        data,
        config,
        lambda epoch, reports: epochs.append(epoch),
        checkpoint=Checkpoint(path.with_name("new"), resume=path),
    )
    return found, epochs


@pytest.mark.parametrize("method", ["coteaching", "decoupling", "f_correction"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_it_ends_as_if_nothing_had_happened(data, tmp_path, method, optimizer):
    config = dataclasses.replace(CONFIG, optimizer=optimizer)
    schedules = SCHEDULES if method == "coteaching" else [None]
    whole = train(method, schedules, data, config)
    path = interrupted(tmp_path / "c", data, method, config, schedules)
    again, epochs = resume(path, data, method, config, schedules)
    assert epochs == [4, 5]
    for one, other in zip(whole, again, strict=True):
        same(one, other)


def test_dropout_goes_on_with_the_same_random_numbers(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(64) % 4
    np.savez(tmp_path / "d.npz", x_train=images, y_train=labels)
    data = load_data(tmp_path / "d.npz")
    config = dataclasses.replace(CONFIG, network="cnn1", epochs=6, batch_size=16)
    schedules = SCHEDULES[:1]
    (whole,) = train("coteaching", schedules, data, config)
    path = interrupted(tmp_path / "c", data, config=config, schedules=schedules)
    ((again,), _) = resume(path, data, config=config, schedules=schedules)
    same(whole, again)


def test_augmentation_goes_on_with_the_same_random_numbers(data, tmp_path):
    config = dataclasses.replace(CONFIG, augment="crop_flip")
    whole = train("coteaching", SCHEDULES, data, config)
    path = interrupted(tmp_path / "c", data, config=config)
    again, epochs = resume(path, data, config=config)
    assert epochs == [4, 5]
    for one, other in zip(whole, again, strict=True):
        same(one, other)


def test_some_trials_go_on_without_the_others(data, tmp_path):
    path = interrupted(tmp_path / "c", data)
    whole = train("coteaching", SCHEDULES, data, CONFIG)
    chosen = [SCHEDULES[2], SCHEDULES[0]]
    again, epochs = resume(path, data, schedules=chosen)
    assert epochs == [4, 5]
    same(whole[2], again[0])
    same(whole[0], again[1])


def damage(path, kind):
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "short": content[: len(content) // 2], "text": b"no"}[kind])


@pytest.mark.parametrize("kind", ["empty", "short", "text"])
def test_a_damaged_file_is_reported_and_training_starts_over(data, tmp_path, kind, caplog):
    path = interrupted(tmp_path / "c", data)
    damage(path, kind)
    again, epochs = resume(path, data)
    assert epochs == list(range(6))
    assert "cannot be used" in caplog.text and str(path) in caplog.text
    for one, other in zip(train("coteaching", SCHEDULES, data, CONFIG), again, strict=True):
        same(one, other)


@pytest.mark.parametrize(
    ("changes", "schedules"),
    [
        ({"seed": 4}, SCHEDULES),
        ({"learning_rate": 0.01}, SCHEDULES),
        ({"augment": "crop_flip"}, SCHEDULES),
        ({"execution": "loop"}, SCHEDULES),
        ({}, [Schedule.coteaching(6, 0.3)]),
    ],
)
def test_a_file_of_another_training_is_not_used(data, tmp_path, caplog, changes, schedules):
    path = interrupted(tmp_path / "c", data)
    config = dataclasses.replace(CONFIG, **changes)
    _, epochs = resume(path, data, config=config, schedules=schedules)
    assert epochs == list(range(6))
    assert "cannot be used" in caplog.text


def test_the_way_that_auto_takes_is_the_same_as_by_its_name(data, tmp_path):
    path = interrupted(tmp_path / "c", data)
    config = dataclasses.replace(CONFIG, execution="folded")
    assert resume(path, data, config=config)[1] == [4, 5]


def test_a_file_of_other_images_is_not_used(data, tmp_path, caplog):
    path = interrupted(tmp_path / "c", data)
    turned = dataclasses.replace(data, x_train=data.x_train.flip(0))
    assert resume(path, turned)[1] == list(range(6))
    assert "belongs to another training" in caplog.text


def test_files_are_known_again_by_their_names(data):
    keys = set()
    for names in (["a.png", "b.png"], ["a.png", "b.png"], ["a.png", "c.png"]):
        files = ImageFiles(names, (8, 8))
        keys.add(fingerprint("standard", dataclasses.replace(data, x_train=files), CONFIG))
    assert len(keys) == 2


def own_network(shape, n_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, n_classes))


def test_a_network_of_ones_own_is_known_again_in_another_process(data):
    keys = set()
    for function in (own_network, copy_of(own_network)):
        config = dataclasses.replace(CONFIG, network=function)
        keys.add(fingerprint("standard", data, config))
    assert len(keys) == 1


def copy_of(function):
    """Return a function at another address, as in another process."""
    copied = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    copied.__qualname__ = function.__qualname__
    assert str(copied) != str(function)
    return copied


def test_what_cannot_be_used_leaves_no_trace(data, tmp_path):
    """The reports of the last trial are cut off, those of the first ones are whole."""
    path = interrupted(tmp_path / "c", data)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    tensors["2/reports"] = tensors["2/reports"][:1]
    save_file(tensors, path, metadata)
    again, epochs = resume(path, data)
    assert epochs == list(range(6))
    assert {len(run.training_loss) for run in again} == {6}


def test_a_folder_that_cannot_be_written_to_stops_nothing(data, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    kept = Checkpoint(tmp_path / "file" / "c", every=0.0)
    (found,) = train("coteaching", SCHEDULES[:1], data, CONFIG, checkpoint=kept)
    assert found.status == "complete"
    assert "No checkpoint was written" in caplog.text


def test_nothing_is_written_before_it_is_time(data, tmp_path):
    train("coteaching", SCHEDULES[:1], data, CONFIG, checkpoint=Checkpoint(tmp_path / "c"))
    assert list(tmp_path.iterdir()) == []
