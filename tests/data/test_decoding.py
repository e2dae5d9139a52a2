import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2e_optuna.data import ImageFiles
from s2e_optuna.data.decoding import default_processes
from s2e_optuna.errors import DataError

SAMPLES = torch.arange(8).view(4, 2)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def files(paths):
    return ImageFiles(paths, (5, 5), workers=1)


@pytest.fixture(scope="module")
def pixels(paths):
    return ImageFiles(paths, (5, 5), workers=0).read()


def read(files, epoch=0):
    return torch.cat(list(files.batches(SAMPLES, epoch)))


def processes():
    return {process.pid for process in multiprocessing.active_children()}


def test_processes_stay_from_epoch_to_epoch_for_all_parts(files, pixels):
    assert torch.equal(read(files), pixels)
    first = processes()
    assert len(first) == 1
    assert torch.equal(read(files, epoch=1), pixels)
    assert torch.equal(read(pickle.loads(pickle.dumps(files))), pixels)
    part = files.select(torch.tensor([3, 1, 2]))
    assert torch.equal(torch.cat(list(part.chunks(2))), pixels[[3, 1, 2]])
    assert processes() == first


def test_processes_end_with_the_last_who_needs_them(paths, files):
    read(files)
    before = processes()
    others = ImageFiles(paths, (5, 5), workers=2)
    read(others)
    assert len(processes() - before) == 2
    del others
    assert processes() == before


def test_what_is_left_in_the_middle_ends_its_processes(files, pixels):
    read(files)
    before = processes()
    batches = files.batches(SAMPLES, 0)
    next(batches)
    assert torch.equal(read(files), pixels)  # beside it, with a process of its own
    batches.close()
    gc.collect()
    assert torch.equal(read(files), pixels)
    assert len(processes()) == 1 and processes() != before


def test_a_damaged_file_is_the_same_error_from_a_process(paths, files, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(Path(paths[0]).read_bytes()[:60])
    messages = []
    for workers in (0, 1):
        some = ImageFiles([*paths[:7], damaged], (5, 5), workers=workers)
        with pytest.raises(DataError) as error:
            read(some)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"cannot read the image {damaged}")


def test_processes_draw_none_of_the_training_s_random_numbers(files):
    state = torch.random.get_rng_state()
    read(files)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_only_trainings_on_a_gpu_pin_memory(files, pixels, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", None)
    assert torch.equal(read(files), pixels)


@pytest.mark.parametrize(("threads", "count"), [(1, 0), (4, 2), (64, 8)])
def test_a_process_decodes_on_a_half_of_its_own_cores(threads, count, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert default_processes() == count


def test_a_daemonic_process_decodes_by_itself(paths, pixels, monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    before = processes()
    assert torch.equal(read(ImageFiles(paths, (5, 5), workers=3)), pixels)
    assert processes() == before


def test_a_process_that_decodes_ends_without_its_parent():
    program = (
        "from s2e_optuna.data.decoding import _end_without as end; "
        f"end({os.getpid()}, 0); print('goes on', flush=True); end(-1, 0)"
    )
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert (ended.stdout, ended.returncode) == ("goes on\n", 1)
