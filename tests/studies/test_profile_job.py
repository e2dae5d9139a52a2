"""The profile of a whole job counts processor seconds where they are spent."""

import sys

import numpy as np
import pytest

from studies import profile_job
from studies.profile_job import busy, cost_table, read, steps_between, write_page
from studies.sampled_phases import PHASES, place


@pytest.fixture
def processes(tmp_path):
    """A command that imports and waits for a worker, which trains and is cut off."""
    command = [(10.0, 0.0, "", "imports"), (11.0, 1.0, "", "imports"), (15.0, 1.0, "", "waiting")]
    worker = [(11.0, 0.0, "", "imports"), (12.0, 0.5, "", "imports")]
    worker += [(14.0, 1.5, "trials", "steps"), (15.0, 2.5, "trials", "steps")]
    for number, name, rows, end in ((1, "MainProcess", command, ""), (2, "w-0", worker, "15.")):
        lines = ["\t".join(map(str, (at, cpu, name, *rest))) + "\n" for at, cpu, *rest in rows]
        (tmp_path / f"{number}.tsv").write_text("".join(lines) + end)
    (tmp_path / "3.tsv").write_text("16.0\t0.")  # one that had just begun
    return read(tmp_path, 10.0)


def test_processor_seconds_are_counted_where_they_are_spent(processes):
    assert [one.name for one in processes] == ["command", "w-0"]
    rows = {row[0]: row[1:] for row in cost_table(processes).rows}
    assert rows["steps"] == ["2.0", "", "", "", "", "2.0"]
    assert rows["imports"] == ["", "", "", "", "1.5", "1.5"]
    assert steps_between(processes) == (2.0, 5.0)
    assert busy(processes, np.array([0.0, 1.0, 2.0, 5.0])) == pytest.approx([1.0, 0.5, 2 / 3])


def test_the_innermost_frame_that_is_known_counts():
    assert place(sys._getframe(), (("test_profile_job", "", "here"), *PHASES), "") == "here"
    assert place(None, PHASES, "other") == "other"


def test_the_page_has_the_share_of_busy_cores_and_a_picture(processes, tmp_path, monkeypatch):
    monkeypatch.setattr(profile_job, "RESULTS", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    write_page(processes, 5.0, "search digits")
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "`s2e search digits` took 5.0 s. " in page
    assert "0.67 of 2 cores were busy (33%)" in page
    assert (tmp_path / "timeline.png").is_file()
