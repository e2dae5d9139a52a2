from dataclasses import replace

import numpy as np
import pytest
import torch

from s2e_optuna.data import Augmentation, from_arrays
from s2e_optuna.data.augmentation import augment_name, crop_flip
from s2e_optuna.data.streaming import HostImages
from s2e_optuna.errors import DataError
from s2e_optuna.training import TrainConfig, train
from s2e_optuna.training.parts import EpochOrder, put_on_device

CONFIG = TrainConfig(epochs=3, batch_size=16, network="mlp", augment="crop_flip")
CPU = torch.device("cpu")
SHAPE = (1, 6, 6)


def turned(image):
    return image.rot90(int(torch.randint(0, 4, ())), (1, 2))


def losses(data, config=CONFIG, schedules=(None, [1.0, 0.7, 0.5])):
    return [r.training_loss.tolist() for r in train("coteaching", schedules, data, config)]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_flip_shifts_and_mirrors_each_image_by_itself(dtype):
    images = torch.randint(1, 256, (64, 3, 16, 24), generator=torch.Generator().manual_seed(0))
    images = images.to(dtype)
    found = crop_flip(images, torch.Generator().manual_seed(1))
    assert found.dtype == dtype and found.is_contiguous()
    drawn = set()
    for image, changed in zip(images, found, strict=True):
        padded = torch.nn.functional.pad(image, (3, 3, 2, 2))
        shifts = [(y, x) for y in range(5) for x in range(7)]
        drawn |= {
            (y, x, flip)
            for y, x in shifts
            for flip in (False, True)
            if padded[:, y : y + 16, x : x + 24].equal(changed.flip(2) if flip else changed)
        }
    assert {y for y, _, _ in drawn} == set(range(5))
    assert {x for _, x, _ in drawn} == set(range(7))
    assert len(drawn) > 30  # of 70: every image has its own


@pytest.mark.parametrize("augment", ["crop_flip", turned])
def test_images_are_augmented_alike_wherever_they_are_read_from(blobs, monkeypatch, augment):
    config = replace(CONFIG, augment=augment)
    expected = losses(blobs, config)
    assert losses(blobs, config) == expected != losses(blobs, replace(config, augment="none"))
    monkeypatch.setattr("s2e_optuna.training.parts.images_for", lambda x, *_, **__: HostImages(x))
    assert losses(blobs, config) == expected


def test_trials_see_the_same_images_in_any_company(blobs, monkeypatch):
    together = losses(blobs)
    monkeypatch.setattr("s2e_optuna.training.shards.trials_per_shard", lambda *_: 1)
    assert losses(blobs) == together
    assert losses(blobs, schedules=[[1.0, 0.7, 0.5]]) == together[1:]


@pytest.mark.parametrize("largest", [0, 1 << 30])
def test_only_what_is_learnt_from_is_augmented_anew_each_epoch(blobs, monkeypatch, largest):
    monkeypatch.setattr("s2e_optuna.data.streaming.LARGEST_COPY", largest)
    augmentation = Augmentation.of(turned, 0, SHAPE)
    part = put_on_device(blobs, False, CPU, augmentation).training
    order = EpochOrder(torch.arange(120).view(6, 20))

    def learnt(epoch):
        part.begin_epoch(order, epoch)
        if isinstance(part.images, torch.Tensor):
            return part.images_of(order.samples.flatten())
        return torch.cat(list(part.images.batches(order.samples, epoch)))

    state = torch.random.get_rng_state()
    first, second = learnt(0), learnt(1)
    assert torch.random.get_rng_state().equal(state)
    assert not first.equal(second) and not first.equal(blobs.x_train)
    assert first.equal(learnt(0))
    whole = part.images
    plain = whole if isinstance(whole, torch.Tensor) else torch.cat(list(whole.chunks(50)))
    assert plain.equal(blobs.x_train)
    assert isinstance(whole, torch.Tensor) == bool(largest)


def test_predictions_are_made_on_images_as_they_are(blobs):
    config = replace(CONFIG, augment=torch.zeros_like)
    (blind,) = train("standard", [None], blobs, config, keep_probabilities=True)
    assert blind.training_probabilities.std(0).max() > 0.0  # it has only seen black ones


def test_transforms_of_torchvision(blobs):
    v2 = pytest.importorskip("torchvision.transforms.v2")

    def transform(padding):
        return v2.Compose([v2.RandomCrop(6, padding=padding), v2.RandomHorizontalFlip()])

    config = replace(CONFIG, augment=transform(1))
    assert losses(blobs, config) == losses(blobs, replace(config, augment=transform(1)))
    assert augment_name(transform(1)) == augment_name(transform(1)) != augment_name(transform(2))


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        (lambda image: image[:, 1:], "into \\[1, 5, 6\\]"),
        (lambda image: image.double(), "torch.float64: it must keep shape and type"),
    ],
)
def test_other_shapes_and_types_are_refused(blobs, augment, says):
    with pytest.raises(DataError, match=says):
        losses(blobs, replace(CONFIG, augment=augment))


def test_features_are_no_pictures():
    rows = from_arrays(np.random.default_rng(0).random((40, 5)), np.arange(40) % 2)
    with pytest.raises(DataError, match="rows of 5 numbers"):
        losses(rows)


@pytest.mark.parametrize(("augment", "says"), [("cutout", "choose one of"), (3, "neither a name")])
def test_unknown_augmentations(augment, says):
    with pytest.raises(DataError, match=says):
        TrainConfig(augment=augment)
