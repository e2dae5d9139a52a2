"""Evaluation in chunks, and what becomes of them where memory runs out."""

import pytest
import torch

from s2e_optuna.training import evaluation, make_network
from s2e_optuna.training.evaluation import chunk_size, evaluate, in_chunks, iterate_probabilities

CPU = torch.device("cpu")
IMAGES = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3


class Limited:
    """A network whose forward pass runs out of memory with more samples than fit."""

    def __init__(self, network, most):
        self.network, self.footprint, self.most = network, network.footprint, most
        self.sizes = []

    def forward(self, state, images):
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED")
        return self.network.forward(state, images)


@pytest.fixture
def mlp():
    return make_network("mlp", (1, 6, 6), 3)


@pytest.fixture
def state(mlp):
    return mlp.initial([0, 1])


def test_an_evaluation_that_runs_out_of_memory_goes_on_with_smaller_chunks(mlp, state):
    limited = Limited(mlp, 7)
    ours, theirs = (evaluate(n, state, IMAGES, LABELS) for n in (limited, mlp))
    torch.testing.assert_close(ours.loss, theirs.loss)
    assert ours.accuracy.tolist() == theirs.accuracy.tolist()
    assert limited.sizes == [20, 10, 5, 5, 5, 5]


@pytest.mark.parametrize("limit", [20, 7])
def test_halves_are_every_other_sample_of_each_class(mlp, state, limit):
    found = evaluate(Limited(mlp, limit), state, IMAGES, LABELS)
    by_class = LABELS.argsort(stable=True)
    for half in (0, 1):
        rows = by_class[half::2]
        assert (LABELS[rows].bincount() - LABELS.bincount() / 2).abs().max() < 1
        alone = evaluate(mlp, state, IMAGES[rows], LABELS[rows])
        torch.testing.assert_close(found.halves[half], alone.accuracy)


def test_halves_are_those_of_what_each_model_is_measured_on(mlp, state):
    among = torch.zeros(2, 20, dtype=torch.bool)
    among[0, [1, 4, 7, 8, 19]] = True
    among[1, [3, 5]] = True
    found = evaluate(Limited(mlp, 6), state, IMAGES, LABELS, among)
    for half, chosen in enumerate((([1, 7, 8], [3]), ([4, 19], [5]))):
        for model, rows in enumerate(chosen):
            alone = evaluate(mlp, state, IMAGES[rows], LABELS[rows])
            assert found.halves[half, model] == alone.accuracy[model]


def test_predictions_that_run_out_of_memory_go_on_with_smaller_chunks(mlp, state):
    ours, theirs = (
        torch.cat(list(iterate_probabilities(n, state, IMAGES, 2)), 1)
        for n in (Limited(mlp, 1), mlp)
    )
    torch.testing.assert_close(ours, theirs)


def test_memory_too_small_for_one_image_is_an_error(mlp, state):
    with pytest.raises(RuntimeError, match="ALLOCATION_FAILED"):
        evaluate(Limited(mlp, 0), state, IMAGES, LABELS)


def test_another_error_is_not_tried_again():
    sizes = []

    def failing(part, _):
        sizes.append(len(part))
        raise RuntimeError("another one")

    with pytest.raises(RuntimeError, match="another one"):
        list(in_chunks(failing, IMAGES, 8, CPU))
    assert sizes == [8]


def test_chunks_on_a_gpu_take_a_share_of_its_free_memory(mlp, monkeypatch):
    assert chunk_size(mlp, 128, CPU) == 64
    widest = mlp.footprint.widest
    for samples, expected in ((1, 64), (1000, 1000), (10**6, 2048)):
        needed = 4 * evaluation.COPIES_OF_OUTPUTS * widest * 128 * (samples + 0.5)
        free = int(needed / evaluation.GPU_SHARE)
        monkeypatch.setattr(evaluation, "free_memory", lambda device, free=free: free)
        assert chunk_size(mlp, 128, torch.device("cuda")) == expected
