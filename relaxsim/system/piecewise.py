"""A piecewise linear function as an expression: a constant, and c_k |t - t_k| for each place where the slope changes.

With slopes m_k between the places, and none before the first and after the last,

    f(t) = (y_0 + y_n)/2 + sum over k of (m_{k+1} - m_k)/2 |t - t_k|,

which is `numpy.interp`, made of what the grammar has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.validate import as_float_array

Part = TypeVar("Part")


def interpolated(at: Any, places: Any, values: Any) -> Any:
    """f at a number, an array or a traced value."""
    middle, kinks = _kinks(places, values)
    return middle + _sum([c * abs(at - place) for c, place in kinks], lambda a, b: a + b) if kinks else middle


def as_text(places: Any, values: Any) -> str:
    """f as a text in t, which is read as what `interpolated` makes of a traced t."""
    middle, kinks = _kinks(places, values)
    parts = [f"{c!r}*abs(t-{place!r})" for c, place in kinks]
    return f"{middle!r}+{_sum(parts, lambda a, b: f'({a}+{b})')}" if parts else repr(middle)


def _kinks(places: Any, values: Any) -> tuple[float, list[tuple[float, float]]]:
    """The constant, and half the change of slope with its place."""
    x, y = as_float_array(places, "times"), as_float_array(values, "values")
    if x.ndim != 1 or x.shape != y.shape or x.size < 2:
        raise ShapeError(f"times, values: expected two lists of n >= 2 numbers each, got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("times, values: expected finite numbers")
    if not (np.diff(x) > 0).all():
        k = int(np.argmax(np.diff(x) <= 0))
        raise InputError(f"times: expected increasing ones, got {x[k]:g} and then {x[k + 1]:g}")
    half = 0.5 * np.diff(np.diff(y) / np.diff(x), prepend=0.0, append=0.0)
    return float(0.5 * (y[0] + y[-1])), [(c, place) for c, place in zip(half.tolist(), x.tolist(), strict=True) if c]


def _sum(parts: Sequence[Part], add: Callable[[Part, Part], Part]) -> Part:
    """All of them by halves: a chain of a hundred would be too deep to read."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return add(_sum(parts[:half], add), _sum(parts[half:], add))
