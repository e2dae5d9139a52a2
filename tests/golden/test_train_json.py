"""``s2e train``: what it prints as JSON and leaves behind, in train.json."""

import json

from command_line import run
from golden_files import check, golden_json
from golden_outputs import (
    ACCURACY,
    described_file,
    described_list,
    described_model,
    without_times,
)

CASES = {
    "cross-validated": (
        "digits --noise pair --noise-rate 0.4 --train-size 300 --epochs 2 --seeds 2 --folds 2"
    ),
    "plain": (
        "digits --method standard --train-size 100 --epochs 3 --seeds 1 --seed 5 --batch-size 8 "
        "--optimizer sgd --execution folded --augment crop_flip"
    ),
}
WITHIN = {
    f"{name}.{part}": most
    for name in CASES
    for part, most in {
        "printed": ACCURACY,
        "printed.schedule": 1e-9,
        "schedule.json": 1e-9,
    }.items()
}


def test_trainings_are_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {name: trained(name, tmp_path) for name in CASES}
    check(found, golden_json("train.json", lambda: found), WITHIN)


def trained(name, folder):
    result = run(f"train {CASES[name]} --device cpu --json --quiet --out '{name}'")
    assert result.exit_code == 0, result.output
    out, printed = folder / name, without_times(json.loads(result.stdout))
    stored = without_times(json.loads((out / "results.json").read_text("utf-8")))
    versions = printed.pop("versions")
    assert stored == {**printed, "versions": versions}
    found = {
        "lines printed": result.stdout.count("\n"),
        "printed": printed,
        "versions of": sorted(versions),
        "files": {path.name: described_file(path) for path in out.iterdir()},
        "model.safetensors": described_model(out / "model.safetensors"),
        "suspects.csv": described_list(out / "suspects.csv"),
    }
    if (out / "schedule.json").exists():
        found["schedule.json"] = json.loads((out / "schedule.json").read_text("utf-8"))
    return found
