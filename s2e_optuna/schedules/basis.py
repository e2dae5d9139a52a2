"""The four basis functions of Table 1.

Each is a falling term plus a rising term::

    f1 = exp(-a2 t^a1)    + a3 (t/T)^a4
    f2 = exp(-a2 t^a1)    + a3 log(1 + t^a4) / log(1 + T^a4)
    f3 = (1 + a2 t)^(-a1) + a3 (t/T)^a4
    f4 = (1 + a2 t)^(-a1) + a3 log(1 + t^a4) / log(1 + T^a4)

========  =====================================================  =======
symbol    meaning                                                shape
========  =====================================================  =======
T         number of epochs                                       scalar
t         epoch, 0 … T-1                                         [T]
a         shape parameters a1 … a4, each in [0, 1]               [..., 4]
========  =====================================================  =======

At t = 0 the falling term is 1 and the rising term is 0, also where ``0 ** 0`` would say
otherwise (a1 = 0 or a4 = 0), so that every basis function starts at exactly 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

BASIS_NAMES = ("f1", "f2", "f3", "f4")


def _exponential_fall(t: Array, a: Array) -> Array:
    return np.asarray(np.exp(-a[..., 1, None] * t ** a[..., 0, None]))


def _hyperbolic_fall(t: Array, a: Array) -> Array:
    return np.asarray((1.0 + a[..., 1, None] * t) ** -a[..., 0, None])


def _power_rise(t: Array, a: Array, epochs: int) -> Array:
    return np.asarray(a[..., 2, None] * (t / epochs) ** a[..., 3, None])


def _logarithmic_rise(t: Array, a: Array, epochs: int) -> Array:
    a4 = a[..., 3, None]
    return np.asarray(a[..., 2, None] / np.log1p(float(epochs) ** a4) * np.log(1.0 + t**a4))


_PARTS: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array, int], Array]]] = {
    "f1": (_exponential_fall, _power_rise),
    "f2": (_exponential_fall, _logarithmic_rise),
    "f3": (_hyperbolic_fall, _power_rise),
    "f4": (_hyperbolic_fall, _logarithmic_rise),
}


def basis_function(name: str, a: ArrayLike, epochs: int) -> Array:
    """Evaluate one basis function of Table 1 at every epoch, unclipped.

    Parameters
    ----------
    name
        ``"f1"``, ``"f2"``, ``"f3"`` or ``"f4"``.
    a
        Shape parameters a1 … a4 in [0, 1], shape [..., 4].
    epochs
        Number of epochs T, at least 1.

    Returns
    -------
    numpy.ndarray
        Values at t = 0 … T-1, shape [..., T], in [0, 2] and exactly 1 at t = 0.
    """
    a = np.asarray(a, dtype=np.float64)
    fall, rise = _PARTS[name]
    values = np.ones((*a.shape[:-1], epochs))
    t = np.arange(1.0, epochs)
    np.add(fall(t, a), rise(t, a, epochs), out=values[..., 1:])
    return values
