"""Features in shards on a Ray cluster: a pretended one and, where there is Ray, a local one."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import text_functions
import torch
from feature_networks import seen
from PIL import Image

from s2e_optuna.data import frozen_features, load_data, text_networks
from s2e_optuna.data import pretrained_vectors as vectors_module
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
    monkeypatch.setattr(frozen_features, "SHARD", 8)

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
    with pytest.raises(DataError, match="features feature_networks:small are others on"):
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


@pytest.fixture
def reviews(tmp_path, load):
    place = tmp_path / "reviews.csv"
    rows = [f"{'ab'[i % 2] * (i + 1)} film,{'ab'[i % 2]}\n" for i in range(30)]
    place.write_text("".join(["text,label\n", *rows]))

    def loading(**options):
        given = {"features": "text_functions:letters", "text_column": "text"} | options
        return load(place, **given)

    text_networks._network.cache_clear()  # of which nothing is known on a node
    text_functions.seen.update(texts=0)
    return loading


def texts_done(looks):
    """How many texts became vectors, without those by which a function is told from others."""
    return text_functions.seen["texts"] - looks * len(text_networks._PROBES)


def test_texts_travel_into_one_cache(reviews, monkeypatch):
    fake, told = FakeRay(), []
    monkeypatch.setitem(sys.modules, "ray", fake)
    data = reviews(extract=RayShards(1), progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (30, 30) and len(told) == 4 and fake.most == 2
    assert texts_done(looks=2) == 30  # here and, once for all shards, on the node
    reviews(extract=RayShards(1))  # from the cache
    assert texts_done(looks=3) == 30
    assert torch.equal(data.x_train, reviews(cache="other").x_train)
    words = reviews(features="words", extract=RayShards(1))
    assert torch.equal(words.x_train, reviews(features="words", cache="other").x_train)


def test_a_lost_node_costs_its_texts(reviews, monkeypatch):
    monkeypatch.setattr(vectors_module, "BLOCK", 1)
    fake = FakeRay(lost=[True, False, False])
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(SearchError, match=r"some samples were lost 4 times .*goes on with those"):
        reviews(extract=RayShards(2))
    assert fake.cancelled > 0 and texts_done(looks=2) in (14, 16)
    before = texts_done(looks=2)
    reviews(extract=RayShards(2))
    assert texts_done(looks=3) == 30 > before


def test_other_functions_on_a_node_are_said(reviews, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    monkeypatch.setattr(
        ray_shards, "_compute", lambda shard: ray_shards.replace(shard, identity="x").compute()
    )
    with pytest.raises(DataError, match="features text_functions:letters are others on"):
        reviews(extract=RayShards(1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_on_a_local_cluster(images, load, reviews):
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
        data, texts = load(images, extract=RayShards(2)), reviews(extract=RayShards(2))
    finally:
        ray.shutdown()
    assert seen["images"] == 0 and texts_done(looks=1) == 0
    assert torch.equal(texts.x_train, reviews(cache="other").x_train)
    assert torch.equal(data.x_train, load(images, cache="other").x_train)
