"""Texts in a column of a table: vectors made once, kept by content, fitted to train."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import run
from text_functions import seen

from s2e_optuna.data import DataSpec, load_data
from s2e_optuna.data import pretrained_networks as networks_module
from s2e_optuna.data import pretrained_vectors as vectors_module
from s2e_optuna.data import text_networks as texts_module
from s2e_optuna.data.fingerprint import differences, fingerprint
from s2e_optuna.data.text_networks import text_network
from s2e_optuna.errors import DataError
from s2e_optuna.review.drawn import draw, words_of_row
from s2e_optuna.training import load_model

OWN = "text_functions:letters"


def write(place, size=60, **columns):
    """Reviews that say of themselves what they are."""
    kinds = ("good", "bad")
    found = {
        "id": [f"r{i}" for i in range(size)],
        "text": [f'"A very {kinds[i % 2]} film, number {i}"' for i in range(size)],
        "stars": [i % 5 for i in range(size)],
        "y": [kinds[i % 2] for i in range(size)],
        **columns,
    }
    rows = [found, *zip(*found.values(), strict=True)]
    place.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return place


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "reviews.csv")


@pytest.fixture
def load(tmp_path):
    def loading(source, **options):
        given = {"label_column": "y", "text_column": "text", "features": OWN} | options
        return load_data(source, data_root=tmp_path / "cache", **given)

    seen.update(texts=0)
    return loading


def test_texts_become_vectors_once(table, load):
    data = load(table)
    assert data.input_shape == (1, 1, 4) and data.preparation.kind == "floats"
    assert "; ".join(data.reading[:4]) == (
        "read as a table of texts, column text: 48 to train, 12 to validate (cut from those to "
        "train); 2 classes; features of text_functions:letters: 4 numbers a text; labels of "
        "reviews.csv, column y, names of the samples of the column id; 1 other column not learnt "
        "from (stars)"
    )
    probes = len(texts_module._PROBES)
    assert seen["texts"] == 60 + probes
    again = load(table)
    assert seen["texts"] == 60 + 2 * probes
    assert torch.equal(data.x_train, again.x_train) and torch.equal(data.x_val, again.x_val)
    assert data.x_train.mean(0).abs().max() < 1e-6
    row = data.ids.index("r7")
    assert data.texts["train"][row] == "A very bad film, number 7"


def test_they_are_known_by_their_content_and_go_on(table, tmp_path, load, monkeypatch):
    monkeypatch.setattr(vectors_module, "BLOCK", 8)
    monkeypatch.setattr(texts_module, "_BATCH", 4)

    def stop(done, total):
        if done >= 20:
            raise KeyboardInterrupt

    probes = len(texts_module._PROBES)
    with pytest.raises(KeyboardInterrupt):
        load(table, progress=stop)
    told = []
    load(table, progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (44, 44) and seen["texts"] == 20 + 44 + 2 * probes  # 16 were written
    before = seen["texts"]
    load(write(tmp_path / "more.csv", 63))
    assert seen["texts"] == before + 3 + probes
    load(table, features="text_functions:other")
    assert seen["texts"] == before + 3 + 60 + 2 * probes  # what it has loaded is told by vectors


def test_wide_vectors_are_reduced(table, load):
    data = load(table, features="text_functions:wide")
    assert "600 numbers a text, reduced to 47 principal components" in data.reading[1]
    assert load(table, features="text_functions:wide", components=0).input_shape[2] == 600


def test_words_need_nothing(table, load):
    data = load(table, features="words", text_column=None)
    assert data.input_shape == (1, 1, 47) and "1,024 numbers a text" in data.reading[1]
    noisy = load(table, features="words", noise="instance", noise_rate=0.3)
    assert noisy.y_clean is not None


def test_other_features_are_other_data(table, tmp_path, load):
    write(tmp_path / "changed.csv", text=[f"a good film {i}" for i in range(60)])
    prints = [
        fingerprint(data, tmp_path / "prints")
        for data in (load(table), load(table, features="words"), load(tmp_path / "changed.csv"))
    ]
    assert "features words" in differences(prints[0], prints[1])
    assert len({one.digest for one in prints}) == 3
    assert fingerprint(load(table), tmp_path / "prints").digest == prints[0].digest


def test_a_model_predicts_texts(table, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    named = f"{table} --label-column y --text-column text --features {OWN}"
    done = run(f"train {named} --method standard --epochs 8 --seeds 1 --out {tmp_path / 'o'} -q")
    assert done.exit_code == 0, done.output
    assert "number 7" in (tmp_path / "o" / "report.html").read_text()
    new = write(tmp_path / "new.csv", 10, y=[""] * 10)
    says = run(f"predict {tmp_path / 'o'} {new}")
    assert says.exit_code == 2 and "one on features of your own, text_functions:letters" in (
        says.stderr
    )
    rows = run(f"predict {tmp_path / 'o'} {new} --features {OWN}").stdout.splitlines()
    assert [row.split(",")[:2] for row in rows[1:4]] == [
        ["r0", "good"], ["r1", "bad"], ["r2", "good"]]  # fmt: skip
    model = load_model(tmp_path / "o", features=OWN)
    assert model.predict(["a bad film", "very good"]).tolist() == ["bad", "good"]
    (tmp_path / "less.csv").write_text("id,stars\nr0,3\n")
    with pytest.raises(DataError, match=r"less.csv lacks the column text, whose texts"):
        model.predict(tmp_path / "less.csv")
    with pytest.raises(DataError, match="trained on texts, and these are images: give a table"):
        model.predict([tmp_path / "a.png"])
    listed = run(f"suspects {named} --model {tmp_path / 'o' / 'model.safetensors'}")
    assert listed.exit_code == 0, listed.output


def test_cards_show_texts(table, load):
    spec = DataSpec(str(table), label_column="y", text_column="text", features="no.such:function")
    data = spec.of_images().load()  # runs no code of a user's
    card = draw(data, 1, 0)[0]
    assert words_of_row(data, card) == data.texts["val"][card.row]
    told = run(
        f"check {table} --label-column y --features sentence-transformers:x -n 2", input="q"
    )
    assert told.exit_code == 0 and "A very " in told.stdout


BAD = {
    "no text column": (
        {"features": "words", "text_column": None, "drop_columns": ["text"]},
        "has no column of texts, and --features words reads one",
    ),
    "two of them": (
        {"features": "words", "text_column": None, "source": {"text": None}},
        "has the columns of texts left, right, and",
    ),
    "images": ({"features": "resnet18"}, "resnet18 are not those of texts: name sentence-tr"),
    "own without a column": ({"text_column": None}, "name the column with --text-column"),
    "views": ({"views": 2}, "--views is about images"),
    "no such column": ({"text_column": "no"}, "has no column 'no', .*--text-column"),
    "two uses": ({"text_column": "y"}, "named for two things"),
    "flat": ({"features": "text_functions:flat"}, r"returns an array \[3\] for 3 texts"),
    "broken": ({"features": "text_functions:broken"}, "cannot take texts: no vocabulary"),
    "a gap": (
        {"features": "text_functions:not_finite", "source": {"text": ["", *"ab" * 29, "c"]}},
        "gives NaN or infinite features for the text ''",
    ),
    "no folder": (
        {"features": "sentence-transformers:./nowhere"},
        "there is no folder './nowhere'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path, load, case, monkeypatch):
    options, says = BAD[case]
    monkeypatch.setattr(texts_module, "_is_installed", lambda name: True)
    changed = options.get("source", {})
    if "text" in changed and changed["text"] is None:
        texts = [f"words {i}" for i in range(60)]
        changed = {"text": ["x"] * 60, "left": texts, "right": texts[::-1]}
        options = {**options, "drop_columns": ["text"]}
    path = write(tmp_path / "t.csv", **changed)
    with pytest.raises(DataError, match=says) as error:
        load(path, **{name: value for name, value in options.items() if name != "source"})
    assert "\n" not in str(error.value)


def test_texts_are_for_tables_and_columns_for_features(tmp_path, load):
    with pytest.raises(DataError, match="--text-column is for a table with texts"):
        load("digits", label_column=None)
    with pytest.raises(DataError, match=r"name what makes vectors of texts, such as"):
        DataSpec("t.csv", text_column="text")
    with pytest.raises(
        DataError, match=r"sentence-transformers:x are those of texts in a table, and"
    ):
        load("digits", label_column=None, text_column=None, features="sentence-transformers:x")
    stored = DataSpec("t.csv", text_column="t", features="words").settings()
    assert DataSpec.from_settings(stored).text_column == "t"


def test_what_to_install_and_no_connection_are_said_at_once(table, load, monkeypatch):
    name = "sentence-transformers:all-MiniLM-L6-v2"
    monkeypatch.setattr(texts_module, "_is_installed", lambda name: False)
    with pytest.raises(DataError, match=r"install s2e-optuna\[text\]"):
        load(table, features=name)
    hub = SimpleNamespace(
        try_to_load_from_cache=lambda *_: None,
        constants=SimpleNamespace(HF_HUB_CACHE="/the/cache", ENDPOINT="https://hub.invalid"),
    )
    monkeypatch.setattr(texts_module, "_is_installed", lambda name: True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)

    def unreachable(request, timeout):
        raise OSError("no route")

    monkeypatch.setattr(networks_module.urllib.request, "urlopen", unreachable)
    with pytest.raises(DataError, match=r"looked in /the/cache\), and hub.invalid cannot be rea"):
        load(table, features=name)


def test_texts_of_hugging_face(tmp_path, load):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is missing")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is missing")
    place = tmp_path / "reviews"
    place.mkdir()
    for part, names in (("train", ["good", "bad"]), ("test", ["bad", "good"])):
        texts = [f"a {names[i % 2]} film {part} {i}" for i in range(40)]
        features = {"y": {"names": names, "_type": "ClassLabel"}}
        table = arrow.table({"text": texts, "y": [-1, -1, *([0, 1] * 19)]})
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        parquet.write_table(
            table.replace_schema_metadata(metadata), place / f"{part}-00000-of-00001.parquet"
        )
    data = load(place, features="words", text_column=None, label_column="y")
    assert data.class_names == ("bad", "good") and len(data.y_train) == 38
    given = [data.class_names[label] for label in data.y_train.tolist()]
    assert all(f" {name} " in text for name, text in zip(given, data.texts["train"], strict=True))
    assert set(data.y_val.tolist()) == {0, 1} and data.validation_source == "test"
    one = load(place / "train-00000-of-00001.parquet", features="words", label_column="y")
    assert one.class_names == ("bad", "good")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of six words in a folder."""
    library = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is missing"
    )
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace

    words = {word: i for i, word in enumerate(("[UNK]", "good", "bad", "film", "a", "very"))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.normalizer = Whitespace(), Lowercase()
    weights = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    embedding = StaticEmbedding(tokenizer, embedding_weights=weights)
    place = tmp_path_factory.mktemp("models") / "tiny"
    library.SentenceTransformer(modules=[embedding], device="cpu").save(str(place))
    return place


def test_a_folder_with_a_model_of_sentence_transformers(tiny, table, load):
    from sentence_transformers import SentenceTransformer

    name = f"sentence-transformers:{tiny}"
    data = load(table, features=name, text_column=None)
    assert data.input_shape == (1, 1, 8)
    texts = list(data.texts["train"])
    made = SentenceTransformer(str(tiny), device="cpu").encode(texts, show_progress_bar=False)
    fitted = data.encoder.projection
    expected = (made - fitted.mean) / fitted.scale
    np.testing.assert_allclose(data.x_train[:, 0, 0].numpy(), expected, atol=1e-5)
    network = text_network(name)
    assert network.weights and network.weights == data.encoder.weights
    assert text_network(name).identity == network.identity
    (tiny / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:100])
    with pytest.raises(DataError, match=r"cannot be read from .*tiny .*SentenceTransformer"):
        text_network(name)
