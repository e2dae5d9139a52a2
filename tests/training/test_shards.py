"""Shards of trials: sizes, memory that runs out, steps (long: each on every device)."""

import gc
import inspect
import threading
import warnings
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from s2e_optuna.data import from_arrays
from s2e_optuna.training import METHODS, TrainConfig, train
from s2e_optuna.training import setup as setup_of_training
from s2e_optuna.training import shards as shards_module
from s2e_optuna.training.networks.cnn2 import Cnn2
from s2e_optuna.training.networks.cnn3 import Cnn3
from s2e_optuna.training.recording import WARM_UP_STEPS, RecordedStep
from s2e_optuna.training.setup import Setup
from s2e_optuna.training.shards import (
    model_bytes,
    trials_per_shard,
)
from s2e_optuna.training.stack import Stack

CONFIG = TrainConfig(epochs=3, batch_size=20, network="mlp")
NETWORKS = ["mlp", "cnn1", "cnn2", "cnn3"]


@pytest.fixture(autouse=True)
def thin_networks(monkeypatch):
    """The deep networks with few channels: what is tested here does not depend on their width."""
    monkeypatch.setattr(Cnn2, "widths", (8, 8, 12, 12, 20, 16))
    monkeypatch.setattr(Cnn3, "widths", (6, 6, 6, 8, 8, 8, 16, 8, 6))


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    pixels = rng.integers(0, 255, (90, 1, 28, 28)).astype(np.uint8)
    return from_arrays(
        pixels[:60], labels[:60], pixels[60:], labels[60:], noise="pair", noise_rate=0.3
    )


def schedules(count, epochs=3):
    return [np.linspace(1.0, end, epochs) for end in np.linspace(0.3, 1.0, count)]


def assert_equal(first, second):
    assert first.training_loss.tolist() == second.training_loss.tolist()
    assert first.kept_counts.tolist() == second.kept_counts.tolist()
    for one, other in zip(first.model.states, second.model.states, strict=True):
        for name in one:
            assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize(
    ("network", "execution"),
    [
        *((name, "auto") for name in NETWORKS),
        ("mlp", "vmap"),
        ("mlp", "loop"),
        ("cnn1", "folded"),
        ("cnn2", "folded"),
    ],
)
def test_trials_that_leave_do_not_disturb_the_others_by_a_bit(network, execution, images):
    epochs = 2 if network == "cnn3" else 3
    config = replace(CONFIG, network=network, epochs=epochs, batch_size=20, execution=execution)
    rates = schedules(3, epochs)
    undisturbed = train("coteaching", rates, images, config)
    left = train("coteaching", rates, images, config, lambda epoch, _: [1] if epoch == 0 else [])
    assert [r.status for r in left] == ["complete", "stopped", "complete"]
    for position in (0, 2):
        assert_equal(left[position], undisturbed[position])


@pytest.mark.parametrize("network", ["mlp", "cnn1", "cnn2"])
def test_identical_trials_of_a_method_with_tangents_are_equal_to_the_bit(network, images):
    config = replace(CONFIG, network=network, epochs=1, batch_size=20)
    first, *others = train("reweight", [None] * 3, images, config)
    for other in others:
        assert_equal(first, other)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_trial_of_any_optimizer_is_the_same_alone_and_among_eight(optimizer, blobs):
    config = replace(CONFIG, optimizer=optimizer)
    stacked = train("coteaching", schedules(8), blobs, config)
    (alone,) = train("coteaching", schedules(8)[5:6], blobs, config)
    assert_equal(alone, stacked[5])


@pytest.mark.parametrize("size", [1, 2, 5])
def test_shards_of_any_size_give_the_same(size, blobs, monkeypatch):
    expected = train("f_correction", [None] * 5, blobs, CONFIG)
    monkeypatch.setattr(shards_module, "trials_per_shard", lambda *_: size)
    epochs = []
    for ours, theirs in zip(
        train("f_correction", [None] * 5, blobs, CONFIG, on_preparation=epochs.append),
        expected,
        strict=True,
    ):
        assert_equal(ours, theirs)
    assert epochs == sorted(epochs) and epochs[-1] == CONFIG.epochs


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def all_work_is_worth_a_thread(monkeypatch):
    monkeypatch.setattr(shards_module, "WORK_OF_A_SHARD", 1.0)
    monkeypatch.setattr(shards_module, "WORK_OF_A_SHARE", 1.0)


def threads_of_steps(monkeypatch):
    """Note in which thread, and with how many of PyTorch's, each shard takes its steps."""
    found = {}
    step = Stack.step

    def noting(stack, images=None):
        found.setdefault(tuple(stack.trials), set()).add(
            (threading.get_ident(), torch.get_num_threads())
        )
        step(stack, images)

    monkeypatch.setattr(Stack, "step", noting)
    return found


def test_every_thread_trains_a_shard_of_its_own_and_results_are_the_same(
    blobs, monkeypatch, two_threads, all_work_is_worth_a_thread
):
    torch.set_num_threads(1)
    expected = train("coteaching", schedules(5), blobs, CONFIG)
    torch.set_num_threads(2)
    found = threads_of_steps(monkeypatch)
    results = train("coteaching", schedules(5), blobs, CONFIG)
    for ours, theirs in zip(results, expected, strict=True):
        assert_equal(ours, theirs)
    assert list(map(len, sorted(found))) == [3, 2]
    assert {threads for shard in found.values() for _, threads in shard} == {1}
    assert threading.get_ident() not in {ident for shard in found.values() for ident, _ in shard}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("network", "execution"),
    [("cnn1", "auto"), ("cnn2", "auto"), ("cnn2", "folded"), ("mlp", "vmap"), ("mlp", "loop")],
)
def test_threads_do_not_disturb_each_other(
    network, execution, images, monkeypatch, two_threads, all_work_is_worth_a_thread
):
    config = replace(CONFIG, network=network, execution=execution)
    torch.set_num_threads(1)
    expected = train("coteaching", schedules(4), images, config)
    torch.set_num_threads(2)
    found = threads_of_steps(monkeypatch)
    for ours, theirs in zip(
        train("coteaching", schedules(4), images, config), expected, strict=True
    ):
        assert_equal(ours, theirs)
    assert len(found) > 1
    assert threading.get_ident() not in {ident for shard in found.values() for ident, _ in shard}


@pytest.mark.parametrize(
    ("method", "network"), [("coteaching", "cnn3"), ("coteaching", "vmap"), ("reweight", "mlp")]
)
def test_what_belongs_to_the_process_is_not_used_in_threads(
    method, network, images, monkeypatch, two_threads, all_work_is_worth_a_thread
):
    """Dropout that PyTorch draws itself, and tangents."""
    execution = "vmap" if network == "vmap" else "auto"
    network = "cnn3" if network == "vmap" else network
    config = replace(CONFIG, network=network, execution=execution, epochs=1)
    found = threads_of_steps(monkeypatch)
    train(method, schedules(2, epochs=1), images, config)
    assert {ident for shard in found.values() for ident, _ in shard} == {threading.get_ident()}


def wide(input_shape, n_classes):
    """Convolutions that are work enough for two threads."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 48, 3, padding=1),
        nn.Flatten(),
        nn.Linear(48 * 28 * 28, n_classes),
    )


@pytest.mark.parametrize(
    ("network", "execution", "threads"),
    [("cnn2", "auto", 1), ("cnn2", "folded", 1), (wide, "auto", 2)],
)
def test_threads_of_convolutions_do_not_depend_on_the_company(
    network, execution, threads, images, monkeypatch, two_threads
):
    """Their sums do depend on how many threads share them."""
    found = threads_of_steps(monkeypatch)
    config = TrainConfig(epochs=2, batch_size=60, network=network, execution=execution)
    rates = schedules(2, 2)
    full = train("coteaching", rates, images, config)
    left = train("coteaching", rates, images, config, lambda epoch, _: [1] if epoch == 0 else [])
    (alone,) = train("coteaching", rates[:1], images, config)
    for result in (left[0], alone):
        assert_equal(result, full[0])
    assert {count for shard in found.values() for _, count in shard} == {threads}


def test_a_single_shard_has_all_threads(
    blobs, monkeypatch, two_threads, all_work_is_worth_a_thread
):
    found = threads_of_steps(monkeypatch)
    train("coteaching", schedules(1), blobs, CONFIG)
    assert found == {(0,): {(threading.get_ident(), 2)}}


def test_small_work_has_one_thread(blobs, monkeypatch, two_threads):
    found = threads_of_steps(monkeypatch)
    train("coteaching", schedules(2), blobs, CONFIG)
    assert found == {(0, 1): {(threading.get_ident(), 1)}}
    assert torch.get_num_threads() == 2


def test_an_error_in_a_thread_ends_the_training(
    blobs, monkeypatch, two_threads, all_work_is_worth_a_thread
):
    def failing(stack, images=None):
        raise RuntimeError("no step today")

    monkeypatch.setattr(Stack, "step", failing)
    with pytest.raises(RuntimeError, match="no step today"):
        train("coteaching", schedules(2), blobs, CONFIG)
    assert torch.get_num_threads() == 2


class Memory:
    """Lets steps of more trials than fit run out of memory, from the second one on."""

    def __init__(self, monkeypatch, most):
        self.sizes = []
        self.released = []
        held = []
        step = Stack.step
        monkeypatch.setattr(shards_module, "can_run_out", lambda shard: True)
        monkeypatch.setattr(shards_module, "trials_per_shard", lambda *_: 8)

        def limited(stack, images=None):
            if held:
                self.released.append(all(tensor() is None for tensor in held))
                held.clear()
            activations = [torch.zeros(3)]
            step(stack, images)
            if len(stack.trials) > most:
                self.sizes.append(len(stack.trials))
                held.extend(map(weakref.ref, [*activations, *stack.optimizer.tensors()[:-1]]))
                raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(Stack, "step", limited)


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_a_shard_that_runs_out_of_memory_goes_on_in_halves(network, images, monkeypatch):
    config = replace(CONFIG, network=network, epochs=2)
    count = 5 if network == "mlp" else 3
    rates = schedules(count, 2)
    expected = train("coteaching", rates, images, config)
    memory = Memory(monkeypatch, most=2 if network == "mlp" else 1)
    with pytest.warns(UserWarning, match="ran out of memory with"):
        results = train("coteaching", rates, images, config)
    assert memory.sizes == ([5, 3] if network == "mlp" else [3, 2])
    assert memory.released == [True, True]  # before a half took a step
    for ours, theirs in zip(results, expected, strict=True):
        assert_equal(ours, theirs)


def test_a_shard_that_runs_out_of_memory_in_its_preparation_goes_on_in_halves(blobs, monkeypatch):
    expected = train("f_correction", [None] * 5, blobs, CONFIG)
    memory = Memory(monkeypatch, most=2)
    epochs = []
    with pytest.warns(UserWarning, match="ran out of memory with"):
        results = train("f_correction", [None] * 5, blobs, CONFIG, on_preparation=epochs.append)
    assert memory.sizes == [5, 3]  # and never again: the halves stay halves
    assert memory.released == [True, True]
    assert epochs == list(range(1, CONFIG.epochs + 1))
    for ours, theirs in zip(results, expected, strict=True):
        assert_equal(ours, theirs)


def test_one_trial_that_does_not_fit_is_an_error(blobs, monkeypatch):
    Memory(monkeypatch, most=0)
    with pytest.raises(torch.OutOfMemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train("coteaching", schedules(2), blobs, CONFIG)


def test_a_shard_that_runs_out_of_memory_when_it_sums_up_goes_on_in_halves(blobs, monkeypatch):
    expected = train("coteaching", schedules(4), blobs, CONFIG)
    Memory(monkeypatch, most=8)
    end_epoch = Stack.end_epoch

    def limited(stack, *, count):
        tally = end_epoch(stack, count=count)
        if len(stack.trials) > 2:
            raise RuntimeError("CUDA error: out of memory")
        return tally

    monkeypatch.setattr(Stack, "end_epoch", limited)
    with pytest.warns(UserWarning, match="ran out of memory with"):
        results = train("coteaching", schedules(4), blobs, CONFIG)
    for ours, theirs in zip(results, expected, strict=True):
        assert_equal(ours, theirs)


def setup_on(device, images):
    setup = Setup.of("coteaching", images, replace(CONFIG, device="cpu"))
    return replace(setup, device=torch.device(device), batch_size=128)


@pytest.mark.parametrize(("free", "expected"), [(1, 1), (12, 5), (1000, 64)])
def test_a_shard_on_cuda_has_as_many_trials_as_fit(free, expected, images, monkeypatch):
    setup = setup_on("cuda", images)
    trial = 2 * model_bytes(setup)
    memory = int(free * trial / shards_module.MEMORY_SHARE) + 1
    monkeypatch.setattr(shards_module, "free_memory", lambda device: memory)
    assert trials_per_shard(setup, 64 if free != 12 else 20) == expected


def test_a_shard_on_cpu_is_as_large_as_was_measured_to_be_best(images):
    setup = setup_on("cpu", images)
    most = setup.network.models_side_by_side // 2
    assert torch.get_num_threads() == 1
    assert trials_per_shard(setup, 4 * most) == most
    assert trials_per_shard(setup, 1) == 1


class NoReading(TorchDispatchMode):
    """Refuses what reads a number back to the host or makes a shape depend on values."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "is_nonzero",
        "equal",
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket._qualified_op_name.split("::")[1] not in self.FORBIDDEN, func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("method", "network"),
    [
        *((m, "mlp") for m in sorted(METHODS)),
        ("coteaching", "cnn1"),
        ("coteaching", "cnn2"),
        ("coteaching", "cnn3"),
    ],
)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_step_reads_nothing_back_to_the_host(method, network, optimizer, images, monkeypatch):
    if network != "mlp" and optimizer != "adam":
        pytest.skip("the optimizer does not depend on the network")
    step = Stack._step

    def watched(stack):
        with NoReading():
            step(stack)

    monkeypatch.setattr(Stack, "_step", watched)
    config = replace(CONFIG, network=network, epochs=1, optimizer=optimizer)
    results = train(method, [None], images, replace(config, execution="folded"))
    assert results[0].status == "complete"


class FakeRecorder:
    """Records as CUDA does, apart from running on the CPU."""

    def __init__(self):
        self.events = []

    def warm_up(self, step):
        self.events.append("warm up")
        step()

    def record(self, step):
        self.events.append("record")
        step = weakref.WeakMethod(step) if inspect.ismethod(step) else lambda step=step: step
        return lambda: step()()


def test_a_step_is_recorded_after_the_warm_up_and_again_when_a_constant_changes():
    recorder, runs = FakeRecorder(), []
    run = RecordedStep(recorder)
    for _ in range(WARM_UP_STEPS + 4):
        run(lambda: runs.append(1), 0.9)
    assert recorder.events == ["warm up"] * WARM_UP_STEPS + ["record"]
    for _ in range(2):
        run(lambda: runs.append(1), 0.1)
    assert recorder.events[-2:] == ["record", "record"]
    assert len(runs) == WARM_UP_STEPS + 6


@pytest.fixture
def recorders(monkeypatch):
    """All steps are recorded; what records them."""
    made = []

    def recorder(generator, memory):
        made.append(FakeRecorder())
        return made[-1]

    monkeypatch.setattr("s2e_optuna.training.stack.CudaRecorder", recorder)
    monkeypatch.setattr(setup_of_training, "is_recorded", lambda *_: True)
    monkeypatch.setattr(setup_of_training, "GraphMemory", lambda device: object())
    return made


def test_what_trials_leave_is_free_at_once(blobs, recorders, monkeypatch):
    stacks, alive = [], []
    original = Stack.__init__

    def noting(self, *args):
        original(self, *args)
        stacks.append(weakref.ref(self))

    def some_leave(epoch, reports):
        alive.append(sum(stack() is not None for stack in stacks))
        return [epoch]

    monkeypatch.setattr(Stack, "__init__", noting)
    gc.collect()
    gc.disable()
    try:
        train("coteaching", schedules(4, 4), blobs, replace(CONFIG, epochs=4), some_leave)
        left = [stack() for stack in stacks if stack() is not None]
    finally:
        gc.enable()
    assert len(stacks) == len(alive) == 4 and len(recorders) == 4
    assert (alive, left) == ([1] * 4, [])


@pytest.fixture
def plainly(blobs):
    return train("coteaching", schedules(3), blobs, CONFIG)


def test_recorded_and_plain_steps_give_the_same(blobs, plainly, recorders):
    for ours, theirs in zip(
        train("coteaching", schedules(3), blobs, CONFIG), plainly, strict=True
    ):
        assert_equal(ours, theirs)
    # Once, and once more for the other beta1.
    assert [r.events.count("record") for r in recorders] == [2]


def test_only_epochs_that_ask_for_memory_begin_with_a_copy(blobs, recorders, monkeypatch):
    copied, epoch = [], []
    snapshot = Stack.snapshot

    def noting(stack):
        copied.append(len(epoch))
        return snapshot(stack)

    monkeypatch.setattr(Stack, "snapshot", noting)
    monkeypatch.setattr(shards_module, "on_gpu", lambda shard: True)
    config = replace(CONFIG, epochs=5)
    train("coteaching", schedules(2, 5), blobs, config, lambda number, _: epoch.append(number))
    # The steps are recorded in the first epoch, and for another beta1 in the third.
    assert copied == [0, 2]


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_cuda_graphs_give_what_plain_steps_give(method, network, images):
    config = replace(CONFIG, network=network, device="cuda", epochs=4)
    graph, plain = (
        train(method, [None, [1.0, 0.9, 0.7, 0.5]], images, replace(config, cuda_graph=on))
        for on in (True, False)
    )
    for recorded, stepped in zip(graph, plain, strict=True):
        assert recorded.kept_counts.tolist() == stepped.kept_counts.tolist()
        np.testing.assert_allclose(recorded.training_loss, stepped.training_loss, rtol=1e-3)


@pytest.mark.gpu
@needs_cuda
def test_real_memory_that_runs_out_on_cuda(images, monkeypatch):
    monkeypatch.setattr(shards_module, "trials_per_shard", lambda *_: 64)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.4e9 / total))
    try:
        with pytest.warns(UserWarning, match="ran out of memory"):
            results = train(
                "coteaching", [None] * 64, images, replace(CONFIG, network="cnn2", device="cuda")
            )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert {r.status for r in results} == {"complete"}


def test_bfloat16_learns_about_the_same_and_ranks_float32_losses(blobs):
    exact, rough = (
        train("coteaching", schedules(2), blobs, replace(CONFIG, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    for ours, theirs in zip(rough, exact, strict=True):
        assert ours.training_loss == pytest.approx(theirs.training_loss, rel=0.05)
        assert ours.training_loss.tolist() != theirs.training_loss.tolist()
        assert {t.dtype for t in ours.model.states[0].values()} == {torch.float32}
