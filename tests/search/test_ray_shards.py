"""Features in shards on a Ray cluster: a pretended one and, where there is Ray, a local one."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from feature_networks import seen
from PIL import Image

from s2e_optuna.data import load_data
from s2e_optuna.data import pretrained as pretrained_module
from s2e_optuna.errors import DataError
from s2e_optuna.search import ray_shards
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.ray_shards import RayShards
from s2e_optuna.search.watch import SearchError

OWN = "feature_networks:small"


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(30):
        place = tmp_path / "images" / "ab"[i % 2] / f"{i:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(place)
    return tmp_path / "images"


class TaskError(Exception):
    def __init__(self, cause):
        super().__init__()
        self.cause = cause


class FakeRay:
    """A cluster that does a task when its result is asked for; the last handed out ends first."""

    def __init__(self, lost=()):
        self.exceptions = SimpleNamespace(RayTaskError=TaskError, RayError=OSError)
        self.lost, self.options, self.cancelled, self.most = list(lost), [], 0, 0

    def is_initialized(self):
        return True

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, **options):
        self.options.append(options)
        return lambda work: SimpleNamespace(remote=lambda shard: (work, shard))

    def wait(self, tasks):
        self.most = max(self.most, len(tasks))
        return tasks[-1:], tasks[:-1]

    def get(self, task):
        if self.lost and self.lost.pop():
            raise OSError("the node is gone")
        work, shard = task
        try:
            return work(shard)
        except DataError as error:
            raise TaskError(error) from error

    def cancel(self, task):
        self.cancelled += 1


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained_module, "SHARD", 8)

    def loading(source, cache="cache", **options):
        given = {"validation": "noisy", "features": OWN, "data_root": tmp_path / cache}
        return load_data(source, **given | options)

    seen.update(images=0, batches=0)
    return loading


def test_shards_come_into_one_cache(images, load, monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    told = []
    data = load(images, extract=RayShards(1), progress=lambda *numbers: told.append(numbers))
    assert fake.options == [{"num_cpus": 1, "num_gpus": 0.0, "max_retries": ray_shards.RETRIES}]
    assert told[-1] == (30, 30) and len(told) == 4 and fake.most == 2
    assert seen["images"] == 30
    load(images)  # from the cache
    assert seen["images"] == 30
    assert torch.equal(data.x_train, load(images, cache="other").x_train)


def test_a_lost_node_costs_its_shard(images, load, monkeypatch):
    fake = FakeRay(lost=[True, False])
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(SearchError, match="the same command goes on with those that are left"):
        load(images, extract=RayShards(2))
    assert fake.cancelled > 0 and seen["images"] in (6, 8)
    before = seen["images"]
    load(images, extract=RayShards(2))
    # What had come before it is kept, or was not written yet.
    assert seen["images"] - before in (30 - before, 30)


def test_what_differs_on_a_node_is_said(images, load, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", FakeRay())

    def changed(shard):
        Image.new("RGB", (5, 5)).save(shard.paths[0])
        return shard.compute()

    monkeypatch.setattr(ray_shards, "_compute", changed)
    with pytest.raises(DataError, match=r"\.png is another file on .* share one folder"):
        load(images, extract=RayShards(1))
    monkeypatch.setattr(
        ray_shards, "_compute", lambda shard: ray_shards.replace(shard, identity="x").compute()
    )
    with pytest.raises(DataError, match="network feature_networks:small is another one on"):
        load(images, extract=RayShards(1))


def test_broken_images_are_named_here(images, load, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    (images / "a" / "00.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot read the image .*00\.png"):
        load(images, extract=RayShards(1))


def test_searches_on_ray_extract_there(monkeypatch):
    config = SearchConfig.of(data="images", features="resnet18", launcher="ray", workers=3)
    assert config._extract() == RayShards(3, None)
    assert SearchConfig.of(data="images", launcher="ray")._extract() is None
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SearchError, match="the launcher ray needs Ray"):
        next(RayShards(1)([None]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_on_a_local_cluster(images, load):
    ray = pytest.importorskip("ray", reason="needs the package ray")
    paths = [os.path.dirname(sys.modules["feature_networks"].__file__), *sys.path]
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=40,
        runtime_env={"env_vars": {"PYTHONPATH": ":".join(paths)}},
    )
    try:
        data = load(images, extract=RayShards(2))
    finally:
        ray.shutdown()
    assert seen["images"] == 0
    assert torch.equal(data.x_train, load(images, cache="other").x_train)
