"""What ``s2e review`` says in the terminal, without its page."""

import pytest
from command_line import run

from s2e_optuna.commands import review as reviewing


@pytest.mark.parametrize("there", [False, True])
def test_samples_that_have_moved_are_told_before_the_page(tmp_path, monkeypatch, there):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(reviewing, "listen", stopped)
    monkeypatch.setattr(reviewing, "what_to_show", lambda *_: None)
    (tmp_path / "suspects.csv").write_text("id,given_label\na.png,ant\nb.png,bee\n")
    images = tmp_path / "images"
    if there:
        images.mkdir()
    done = run(f"review {tmp_path / 'suspects.csv'} --data {images}")
    assert done.exit_code == 0
    assert (f"there is no {images}, so the page shows none" in done.stderr) is not there
