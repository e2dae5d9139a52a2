"""The comparison with golden files finds what has changed, and only that."""

import pytest
from golden_files import check

GOLDEN = {"a": {"b": [1.0, None, "x"], "bc": 2.0}, "n": 3}


@pytest.mark.parametrize(
    ("found", "within"),
    [
        (GOLDEN, {}),
        ({"n": 3, "a": {"bc": 2.0, "b": (1.0, None, "x")}}, {}),
        ({**GOLDEN, "a": {"b": [1.05, None, "x"], "bc": 2.0}}, {"a.b": 0.1}),
        ({**GOLDEN, "a": {"b": [1.05, None, "x"], "bc": 2.05}}, {"": 0.1}),
        ({**GOLDEN, "n": 4}, {"n": 1}),
    ],
)
def test_what_is_the_same(found, within):
    check(found, GOLDEN, within)


@pytest.mark.parametrize(
    ("found", "within", "says"),
    [
        ({"a": GOLDEN["a"]}, {}, ".n is gone"),
        ({**GOLDEN, "m": 1}, {}, ".m is new: 1"),
        ({**GOLDEN, "n": 3.0}, {}, ".n is 3.0, not 3"),
        ({**GOLDEN, "n": True}, {"n": 9}, ".n is True, not 3"),
        ({**GOLDEN, "a": {"b": [1.0, None], "bc": 2.0}}, {}, ".a.b has 2 entries, not 3"),
        ({**GOLDEN, "a": {"b": [1.0, 0, "x"], "bc": 2.0}}, {"": 9}, ".a.b.1 is 0, not None"),
        ({**GOLDEN, "a": {"b": [1.0, None, "x"], "bc": 2.05}}, {"a.b": 0.1}, ".a.bc is 2.05"),
        ({**GOLDEN, "n": 4}, {"": 1, "n": 0}, ".n is 4, not 3"),
    ],
)
def test_what_has_changed(found, within, says):
    with pytest.raises(pytest.fail.Exception, match=says.replace(".", r"\.")):
        check(found, GOLDEN, within)
