from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from s2e_optuna.data import ImageFiles, load_data, streaming
from s2e_optuna.data.streaming import HostImages, should_stream
from s2e_optuna.labels import suspects_of_models, unseen_probabilities
from s2e_optuna.training import TrainConfig, train

CONFIG = TrainConfig(epochs=2, batch_size=16, network="mlp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 8)):
        for label, shade in (("dark", 60), ("light", 190)):
            place = root / part / label
            place.mkdir(parents=True)
            for i in range(count):
                pixels = (shade + rng.normal(0, 20, (9, 9, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def whole(folder):
    data = load_data(str(folder), noise="symmetric", noise_rate=0.2)
    assert isinstance(data.x_train, torch.Tensor)
    return data


@pytest.fixture
def streamed(folder, monkeypatch):
    monkeypatch.setattr(streaming, "MEMORY_SHARE", 0.0)
    data = load_data(str(folder), noise="symmetric", noise_rate=0.2)
    assert all(isinstance(x, ImageFiles) for x in (data.x_train, data.x_val, data.x_test))
    without = {n: replace_workers(getattr(data, n), 0) for n in ("x_train", "x_val", "x_test")}
    return replace(data, **without)


def replace_workers(files, workers, augment=None):
    return ImageFiles(files.paths, files.size, workers=workers, augment=augment)


def shifted(image):
    return image.roll(int(torch.randint(0, 9, ())), -1)


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_files_read_batch_by_batch_train_as_if_they_were_in_memory(whole, streamed, augment):
    rates, config = [None, [1.0, 0.5]], replace(CONFIG, augment=augment)
    expected, results = (
        train("coteaching", rates, data, config, keep_probabilities=True)
        for data in (whole, streamed)
    )
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.training_loss.tolist() == theirs.training_loss.tolist()
        assert ours.test_accuracy.tolist() == theirs.test_accuracy.tolist()
        assert ours.kept_counts.tolist() == theirs.kept_counts.tolist()
        assert (ours.training_probabilities == theirs.training_probabilities).all()


@pytest.mark.parametrize("method", ["reweight", "f_correction"])
def test_every_method_learns_from_files(method, whole, streamed):
    (expected,), (found,) = (train(method, [None], data, CONFIG) for data in (whole, streamed))
    assert found.training_loss.tolist() == expected.training_loss.tolist()
    assert found.validation_accuracy.tolist() == expected.validation_accuracy.tolist()


def test_noise_by_instance_is_the_same_for_files(folder, streamed, monkeypatch):
    monkeypatch.setattr(streaming, "default_processes", lambda: 0)
    files = load_data(str(folder), noise="instance", noise_rate=0.3)
    assert isinstance(files.x_train, ImageFiles)
    monkeypatch.undo()
    whole = load_data(str(folder), noise="instance", noise_rate=0.3)
    assert isinstance(whole.x_train, torch.Tensor)
    assert files.y_train.tolist() == whole.y_train.tolist()
    assert files.y_train.tolist() != files.y_clean.tolist()


def test_suspects_are_found_among_files(whole, streamed):
    unseen = [
        unseen_probabilities("standard", None, d, CONFIG, 2).training for d in (whole, streamed)
    ]
    assert np.array_equal(*unseen)
    models = [train("standard", [None], whole, CONFIG)[0].model]
    lists = [[row.id for row in suspects_of_models(models, d)] for d in (whole, streamed)]
    assert lists[0] == lists[1]


def test_shards_share_what_is_decoded(streamed, monkeypatch):
    monkeypatch.setattr("s2e_optuna.training.shards.trials_per_shard", lambda *_: 1)
    decoded = []
    original = ImageFiles.batches

    def counted(self, samples, epoch):
        decoded.append(samples.numel())
        yield from original(self, samples, epoch)

    monkeypatch.setattr(ImageFiles, "batches", counted)
    train("coteaching", [None, None], streamed, CONFIG)
    assert decoded == [48, 48]  # once an epoch, not once a block


def test_augmentation_does_not_depend_on_the_number_of_workers(streamed):
    samples = torch.arange(8).view(2, 4)
    alone, helped = (
        torch.cat(list(replace_workers(streamed.x_train, n, shifted).batches(samples, 3)))
        for n in (0, 1)
    )
    assert torch.equal(alone, helped)
    plain = torch.cat(list(streamed.x_train.batches(samples, 3)))
    assert not torch.equal(alone, plain)
    later = replace_workers(streamed.x_train, 0, shifted).batches(samples, 4)
    assert not torch.equal(alone, torch.cat(list(later)))


def test_evaluation_is_not_augmented(streamed):
    files = replace_workers(streamed.x_train, 0, shifted)
    chunks = list(files.chunks(20))
    assert [len(chunk) for chunk in chunks] == [20, 20, 8]
    assert torch.equal(torch.cat(chunks)[5], files[5])
    assert (len(files), files.shape) == (48, (48, 3, 9, 9))


def test_arrays_too_large_for_a_gpu_train_the_same(blobs, monkeypatch):
    expected = train("coteaching", [None], blobs, CONFIG)
    monkeypatch.setattr("s2e_optuna.training.parts.images_for", lambda x, *_, **__: HostImages(x))
    results = train("coteaching", [None], blobs, CONFIG)
    assert results[0].training_loss.tolist() == expected[0].training_loss.tolist()


@pytest.mark.parametrize(
    ("limits", "small"),
    [
        ({}, False),
        ({"memory.max": "max"}, False),
        ({"memory.max": "4000"}, True),
        ({"memory/memory.limit_in_bytes": "4000"}, True),
        ({"slurm/job_1/step_0/memory.max": "4000"}, True),
        ({"slurm/job_1/step_0/memory.max": "max", "slurm/job_1/memory.max": "4000"}, True),
        ({"slurm/job_2/memory.max": "4000"}, False),
    ],
)
def test_a_container_has_less_memory_than_its_machine(
    folder, tmp_path, monkeypatch, limits, small
):
    monkeypatch.setattr(streaming, "CGROUPS", tmp_path)
    monkeypatch.setattr(streaming, "OWN_CGROUP", tmp_path / "own")
    (tmp_path / "own").write_text("1:cpu:/slurm/job_2\n0::/slurm/job_1/step_0\n")
    for name, limit in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{limit}\n")
    paths = sorted(folder.rglob("*.png"))
    assert should_stream(paths, None) == ((9, 9) if small else None)


def test_only_large_folders_are_streamed(folder):
    paths = sorted(folder.rglob("*.png"))
    assert should_stream(paths, None) is None
    assert should_stream(paths[:1] * 10, (10**7, 10**7)) == (10**7, 10**7)  # petabytes
