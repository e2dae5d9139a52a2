import numpy as np
import pytest

from s2e_optuna.reporting.label_plots import MOST_NAMED, transition_figure


def test_shares_are_written_where_they_can_be_read():
    figure = transition_figure([[0.9, 0.1], [0.004, 0.996]], ["cat", "a very long name"])
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["90", "10", "100"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "a very long n…"]
    assert ax.get_xlabel() == "given label" and ax.get_ylabel() == "true class"


@pytest.mark.parametrize("n_classes", [1, 20, MOST_NAMED + 1])
def test_any_number_of_classes_is_drawn(n_classes, tmp_path):
    names = [str(k) for k in range(n_classes)]
    figure = transition_figure(np.eye(n_classes), names, title="x")
    figure.savefig(tmp_path / "t.png", dpi=40)
    assert bool(figure.axes[0].texts) == (n_classes <= 12)
