"""``s2e apply``: what is written, said and done next."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from command_line import run
from small_folders import write_class_folders
from typer.main import get_command

from s2e_optuna.cli import app
from s2e_optuna.commands.origin import origin_of
from s2e_optuna.data import load_data
from s2e_optuna.review.cards import read_cards
from s2e_optuna.review.corrected import random_order
from s2e_optuna.review.decisions import Decision, DecisionFile
from s2e_optuna.search.config import SearchConfig

HEADER = "id,given_label,predicted_label,wrong_probability,suspicious"


def made_list(folder: Path, n: int = 30, named: str = "{}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{named.format(i)},{i % 10},{(i + 1) % 10},{1 - i / n:.3f},yes" for i in range(n)]
    (folder / "suspects.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return folder


def decide(folder: Path, **labels: str | None) -> None:
    with DecisionFile(folder / "decisions.jsonl") as file:
        for name, label in labels.items():
            file.add(Decision(name.removeprefix("s"), "?", label))


def described(folder: Path, **options: object) -> None:
    """Write what a search has written about itself."""
    config = SearchConfig.of(
        **{"data": "digits", "noise": "pair", "noise_rate": 0.45, "out": folder, **options}
    )
    content = {
        "of": {},
        "search": config.described(),
        "validated_on": options.get("validation", "clean"),
    }
    (folder / "comparison.json").write_text(json.dumps(content), encoding="utf-8")


def test_labels_are_written_and_the_next_search_is_named(tmp_path: Path) -> None:
    out = made_list(tmp_path / "out")
    described(out, trials=7, epochs=12, storage="sqlite:///my s2e.db", train_size=500)
    decide(out, s0="1", s1="1", s2=None)
    result = run(f"apply '{out}'")
    assert result.exit_code == 0, result.output
    assert "30 labels 28 kept (1 of them confirmed), 1 relabelled by a person, 1 dropped" in (
        result.output
    )
    with (out / "labels.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert [rows[i]["decided_by"] for i in "0123"] == ["person"] * 3 + ["given"]
    command = result.output.splitlines()[-1]
    words = shlex.split(command)
    said = dict(zip(words[3::2], words[4::2], strict=True))
    assert words[:3] == ["s2e", "search", "digits"]
    assert said == {
        "--labels": str(out / "labels.csv"),
        "--epochs": "12",
        "--trials": "7",
        "--storage": "sqlite:///my s2e.db",
        "--study": "digits-pair-0.45-corrected",
        "--warm-from": "digits-pair-0.45",
        "--out": f"{out}-corrected",
    }
    get_command(app).commands["search"].make_context("search", words[2:])  # type: ignore[attr-defined]


def test_a_random_draw_becomes_checked_labels_where_a_noisy_part_validates(
    tmp_path: Path,
) -> None:
    out = made_list(tmp_path / "out")
    described(out, validation="noisy")
    order = [read_cards(out / "suspects.csv").ids[i] for i in random_order([*map(str, range(30))])]
    decide(out, **{f"s{name}": "3" for name in [*order[:8], *order[9:12]]})
    content = json.loads(run(f"apply {out} --json").output)
    assert content["at_random"] == 8
    with Path(content["files"]["checked"]).open(encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == order[:8]
    assert f"--checked {out / 'checked.csv'}" in content["next"]
    assert "8 decided samples are a random draw" in run(f"apply {out}").output


def test_passwords_are_left_out(tmp_path: Path) -> None:
    out = made_list(tmp_path / "out")
    described(out, storage="postgresql+psycopg://me:secret@host/db")
    decide(out, s0="1")
    assert "secret" not in (out / "comparison.json").read_text(encoding="utf-8")
    assert run(f"apply {out}").output.rstrip().endswith('--storage "$S2E_STORAGE"')


def test_folders_of_earlier_versions_say_what_was_read(tmp_path: Path) -> None:
    out = made_list(tmp_path / "out")
    settings = SearchConfig.of(data="digits", noise="pair", noise_rate=0.45).settings()
    content = {"of": {**settings, "seeds": [1], "folds": 5}, "validated_on": "clean"}
    (out / "comparison.json").write_text(json.dumps(content), encoding="utf-8")
    decide(out, s0="1")
    found = origin_of(out / "suspects.csv")
    assert found is not None and found.data.noise_rate == 0.45
    command = run(f"apply {out}").output.splitlines()[-1]
    assert f"s2e search digits --labels {out / 'labels.csv'}" in command
    assert "--study" not in command and "--noise" not in command


def test_a_training_is_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "train digits --noise pair --noise-rate 0.4 --train-size 100 --epochs 1 --seeds 1 -q"
    assert run(f"{words} --device cpu --out m").exit_code == 0
    cards = read_cards(Path("m/suspects.csv"))
    one, other, *_ = cards.ids
    given = cards.class_names[cards.given[1]]
    label = next(name for name in cards.class_names if name != given)
    decide(tmp_path / "m", **{f"s{one}": None, f"s{other}": label})
    found = origin_of(Path("m/suspects.csv"))
    assert found is not None and found.data.noise == "pair"
    command = run("apply m").output.splitlines()[-1]
    assert "--labels m/labels.csv" in command and "--keep-rate 0.6" in command
    assert "--train-size" not in command and "--noise pair" not in command
    again = run(f"{command.strip().removeprefix('s2e ')} -q --json")
    assert again.exit_code == 0, again.output
    assert run("apply m-corrected --posterior 1").exit_code == 0
    with Path("m-corrected/labels.csv").open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert one not in rows and len(rows) == 99  # what was decided before holds
    assert [*rows[other].values()] == [other, label, given, "person"]


def test_the_proposals_need_no_decisions(tmp_path: Path) -> None:
    out = made_list(tmp_path / "out")
    result = run(f"apply {out} --posterior 0.899")
    assert "0 relabelled by a person, 4 by the posterior" in result.output
    assert "Begin again" not in result.output  # nobody knows with what
    assert "These are the samples of the list alone" in result.output
    assert result.exit_code == 0


def test_samples_that_are_not_on_a_list_keep_their_labels(tmp_path: Path) -> None:
    """A search leaves out what its table of labels does not list."""
    out = made_list(tmp_path / "out")
    described(out)
    threes = made_list(tmp_path / "threes", 4) / "suspects.csv"
    few = threes.rename(out / "threes.csv")
    with DecisionFile(out / "threes.decisions.jsonl") as file:
        file.add(Decision("0", "0", "1"))
    content = json.loads(run(f"apply {few} --json").output)
    assert (content["samples"], content["relabelled"]) == (30, 1)
    alone = few.rename(tmp_path / "threes.csv")
    (out / "threes.decisions.jsonl").rename(tmp_path / "threes.decisions.jsonl")
    assert json.loads(run(f"apply {alone} --json").output)["samples"] == 4
    words = f"apply {alone} --data digits --noise pair --noise-rate 0.3"
    content = json.loads(run(f"{words} --json").output)
    assert content["samples"] == 1000 + len({"0", "1", "2", "3"} - set(load_data("digits").ids))
    assert content["next"] == f"s2e search digits --labels {tmp_path / 'labels.csv'}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("apply nowhere", "there is no list of suspects nowhere"),
        ("apply out", "there are no decisions about out/suspects.csv: make some with"),
        ("apply out --posterior 0.5 --copy there", "it is not known what out/suspects.csv"),
        ("apply out --posterior 0.5 --data x.npz", "there is no file x.npz"),
        ("apply out --posterior 0.5 --data digits --copy x", "digits is no folder of images"),
        ("apply out --posterior 0.5 --data photos --copy out", "out is there already"),
        ("apply other --posterior 0.5", "the decisions in other/decisions.jsonl are about other"),
    ],
)
def test_what_cannot_be_applied_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made_list(tmp_path / "out", named="ant/{:02}.png" if "photos" in words else "{}")
    write_class_folders(tmp_path / "photos", 30)
    decide(made_list(tmp_path / "other"), unknown="1")
    result = run(words)
    assert result.exit_code == 2 and said in " ".join(result.output.split())
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_a_table_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7},{i % 10}\n" for i in range(30))
    Path("table.csv").write_text(f"height,width,label\n{rows}", encoding="utf-8")
    out = made_list(tmp_path / "out")
    described(out, data="table.csv", noise=None, noise_rate=None, storage="sqlite:///s2e.db")
    decide(out, s0="5")
    said = run(f"apply {out}").output
    assert "--copy FILE writes the table with these" in said and "s2e search" not in said
    said = run(f"apply {out} --copy new.csv").output
    assert "s2e search new.csv --" in said.replace(str(tmp_path) + "/", "")
    assert Path("new.csv").read_text(encoding="utf-8").startswith("height,width,label\n0,0,5\n")
