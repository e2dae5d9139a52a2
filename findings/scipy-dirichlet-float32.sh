#!/usr/bin/env bash
# scipy==1.17.1, numpy==2.4.6
# One would guess: dirichlet.logpdf takes the rows of a softmax in float32, as Generator.choice and
#   Generator.multinomial do, and rounds in float32 at worst.
# What happens: a sum may be off by 1e-10 and no more. Four rows of ten, off by one rounding,
#   raise. In float64 the same rows, divided by their sum, pass.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import numpy as np
from scipy.special import softmax
from scipy.stats import dirichlet

rng = np.random.default_rng(0)
rows = softmax(rng.normal(size=(1000, 10)).astype(np.float32), axis=1)
alpha = np.ones(10)


def raises(function, *arguments):
    try:
        function(*arguments)
    except ValueError:
        return True
    return False


assert rows.dtype == np.float32
assert not any(raises(rng.choice, 10, None, True, row) for row in rows)
assert not any(raises(rng.multinomial, 5, row) for row in rows)
rejected = sum(raises(dirichlet.logpdf, row, alpha) for row in rows)
assert 300 < rejected < 600, rejected

wide = rows.astype(np.float64)
assert any(raises(dirichlet.logpdf, row, alpha) for row in wide)
wide /= wide.sum(axis=1, keepdims=True)
assert not any(raises(dirichlet.logpdf, row, alpha) for row in wide)
print(f"held: dirichlet.logpdf rejects {rejected} of 1000 float32 rows of a softmax")
PYTHON
