"""Small tools of the experiments: flows by Runge-Kutta, derivatives by complex steps, observed orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Field = Callable[[Any], Any]

TINY = 1e-30  # a complex step: its square is far below rounding


def runge_kutta(field: Field, start: Any, step: float, count: int) -> Any:
    """States at 0, step, ..., count * step of x' = field(x) by the classical method of order 4.

    Parameters
    ----------
    field : callable
        Of arrays of the shape of `start`; real or complex.
    start : array_like
    step : float
    count : int

    Returns
    -------
    ndarray, shape (count + 1, \\*start.shape)
    """
    x = np.asarray(start)
    path = [x]
    for _ in range(count):
        k1 = field(x)
        k2 = field(x + step / 2 * k1)
        k3 = field(x + step / 2 * k2)
        k4 = field(x + step * k3)
        x = x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        path.append(x)
    return np.stack(path)


def simpson(values: FloatArray, step: float) -> FloatArray:
    """Integral over the first axis, of an even number of steps, by Simpson's rule (order 4)."""
    weights = np.tile([2.0, 4.0], len(values) // 2 + 1)[: len(values)]
    weights[[0, -1]] = 1.0
    return np.asarray(np.tensordot(weights, values, axes=1) * step / 3)


def jacobian(f: Field, x: Any) -> FloatArray:
    """d f_a/d x_b at one point, to rounding: Im f(x + i h e_b)/h has no difference to cancel.

    Parameters
    ----------
    f : callable
        Analytic, of a complex array (n,); returns numbers or an array (m,).
    x : array_like, shape (n,)

    Returns
    -------
    ndarray, shape (n,) or (m, n)
    """
    point = np.asarray(x, dtype=np.complex128)
    columns = [np.imag(f(point + 1j * TINY * e)) / TINY for e in np.eye(point.size)]
    return np.asarray(np.stack(columns, axis=-1), dtype=np.float64)


def orders(errors: Sequence[float], ratio: float = 2.0) -> FloatArray:
    """Observed orders of errors at steps that fall by `ratio`, one less than there are errors."""
    e = np.asarray(errors, dtype=np.float64)
    return np.asarray(np.log(e[:-1] / e[1:]) / np.log(ratio))
