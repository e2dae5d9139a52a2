"""Take the documentation's pictures of the terminal: a real search with two workers.

    python docs/screenshots.py            # some minutes; writes docs/images/terminal-*.svg

Those of the dashboard come from its test: S2E_SCREENSHOTS=docs/images pytest -m browser tests
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import optuna
from rich.console import Console

from s2e_optuna import open_storage
from s2e_optuna.commands.search import print_search, run_search
from s2e_optuna.commands.show import print_study
from s2e_optuna.reporting.progress import Insight, ProgressDisplay, search_view
from s2e_optuna.reporting.view import read_study
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.search.progress import Progress

IMAGES = Path(__file__).resolve().parent / "images"


def recorder(width: int = 80) -> Console:
    """Make a console that remembers what is printed."""
    return Console(
        record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False
    )


class Watcher(ProgressDisplay):
    """Keeps the state in the middle of the search."""

    middle: Progress | None = None
    learnt: Insight = Insight()

    def search(self, state: Progress) -> None:
        """Remember a state in which all workers train and something is known."""
        busy = state.workers and all(worker.status.epoch > 3 for worker in state.workers)
        known = self._insight.generation is not None
        late = state.phase == "search" and state.finished >= state.target // 2
        if busy and known and late and self.middle is None:
            self.middle, self.learnt = state, self._insight


def main() -> None:
    """Search, and save what the terminal shows during it, after it and of the study."""
    IMAGES.mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        config = SearchConfig.of(
            noise="symmetric", noise_rate=0.5, workers=2, storage="sqlite:///s2e.db"
        )
        watcher = Watcher(recorder())
        result, files = run_search(config, watcher)
        assert watcher.middle is not None
        name = config.study_name
        command = "s2e search digits --noise symmetric --noise-rate 0.5 --workers 2"
        pictures = {
            "during": (
                command,
                80,
                lambda to: to.print(search_view(watcher.middle, to, watcher.learnt)),
            ),
            # The last commands are not wrapped, so that they can be pasted.
            "after": (command, 112, lambda to: print_search(to, result, files)),
            "show": (
                f"s2e show --study {name}",
                80,
                lambda to: print_study(to, read_study(open_storage(config.storage), name), top=5),
            ),
        }
        for key, (title, width, draw) in pictures.items():
            target = recorder(width)
            draw(target)
            svg = target.export_svg(title=title, unique_id=key)
            # The fonts are the reader's own: nothing is loaded from the network.
            start, end = svg.index("@font-face"), svg.rindex("}", 0, svg.index(f".{key}-matrix"))
            svg = svg[:start] + svg[end + 1 :]
            (IMAGES / f"terminal-{key}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
