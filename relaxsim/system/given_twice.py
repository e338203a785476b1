"""What a user gives twice is compared: a function with its trace, a derivative with the derived one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.system.field import Field, format_point
from relaxsim.system.trace import TraceError
from relaxsim.system.validate import FloatArray

GIVEN_TWICE = 1e-6  # relative disagreement at which something given twice is refused
TRACED = 1e-12  # the same for a traced expression against its function
STEP = 1e-3  # of the fourth-order differences: their relative error is about 1e-12


def check_trace(traced: Field, by_call: Field, points: FloatArray) -> None:
    """Raise TraceError where the expression a function was traced to is not the function."""
    worst, where = worst_difference(by_call(points), traced(points), points)
    if worst > TRACED:
        raise TraceError(f"the traced expression differs from the function at {format_point(where)}")


def check_twice(argument: str, given: Field, derived: Field, points: FloatArray, source: str) -> None:
    """Raise InputError where what the user gave disagrees with what follows from `source`; the worst point is named."""
    worst, where = worst_difference(given(points), derived(points), points)
    if worst > GIVEN_TWICE:
        got, expected = np.squeeze(given(where)), np.squeeze(derived(where))
        raise InputError(
            f"{argument}: disagrees with the {source}; at the worst of {len(points)} points, {format_point(where)}, it "
            f"gives {got} but the {source} says {expected} (relative difference {worst:.1e}, allowed {GIVEN_TWICE:g}). "
            "Correct it or leave it out: it is derived where it can be"
        )


def worst_difference(given: FloatArray, derived: FloatArray, points: FloatArray) -> tuple[float, FloatArray]:
    """Largest relative difference over points where both are finite, and the point where it occurs.

    The difference at a point is measured against the size of the field over all points, so that zeros do not count as
    infinitely wrong.
    """
    n = len(points)
    difference = np.abs(given - derived).reshape(n, -1)
    usable = np.isfinite(difference).all(axis=1)
    if not usable.any():
        return 0.0, points[0]
    size = np.maximum(np.abs(derived).reshape(n, -1).max(axis=1), 1e-3 * np.abs(derived.reshape(n, -1)[usable]).max())
    with np.errstate(invalid="ignore"):  # at the edge of a forbidden region both are infinite
        relative = np.where(usable, difference.max(axis=1) / np.where(size > 0, size, 1.0), 0.0)
    k = int(np.argmax(relative))
    return float(relative[k]), points[k]


def gradient_by_differences(base: Callable[[FloatArray], FloatArray], shape: tuple[int, ...]) -> Field:
    """Partial derivatives of a field as a field of one more index, the last."""

    def derivative(x: tuple[FloatArray, ...]) -> Any:
        stacked = np.stack(_partials(base, np.stack(x, axis=-1)), axis=-1)
        return np.moveaxis(stacked, tuple(range(-len(shape), 0)), tuple(range(len(shape))))

    return Field(shape, function=derivative)


def divergence_by_differences(matrix: Callable[[FloatArray], FloatArray], dim: int) -> Field:
    """sum_b d K^{ab}/d x^b of a matrix field."""

    def divergence(x: tuple[FloatArray, ...]) -> Any:
        partials = _partials(matrix, np.stack(x, axis=-1))
        return np.moveaxis(sum(partial[..., b] for b, partial in enumerate(partials)), -1, 0)

    return Field((dim,), function=divergence)


def _partials(base: Callable[[FloatArray], FloatArray], points: FloatArray) -> list[Any]:
    """Fourth-order central differences along each axis."""
    partials = []
    for step in STEP * np.eye(points.shape[-1]):
        near, far = base(points + step) - base(points - step), base(points + 2 * step) - base(points - 2 * step)
        partials.append((8 * near - far) / (12 * STEP))
    return partials
