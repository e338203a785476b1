"""Checks of batched functions, which take many points in many dimensions at once, as one array (dim, n)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.system.field import Field
from relaxsim.system.validate import FloatArray, Problems

DISAGREES = 1e-6  # relative difference of a given and a numerical derivative that is refused
DIRECTIONS = 8  # along which derivatives are compared: one partial derivative after the other would take far longer
STEP = 1e-3


def check_batched(
    argument: str,
    function: Any,
    derivatives: Mapping[str, Callable[..., Any] | None],
    dim: Any,
    problems: Problems,
) -> None:
    """Whether all that a batched function needs was given."""
    if not callable(function):
        problems.add(argument, f"batched=True goes with a function of arrays (dim, n), got {type(function).__name__}")
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)) or dim < 1:
        problems.add("dim", f"batched=True needs the number of coordinates, a positive integer, got {dim!r}")
    for name, derivative in derivatives.items():
        if not callable(derivative):
            problems.add(
                name,
                f"batched=True needs a function that returns an array (dim, n): nothing is derived, got {derivative!r}",
            )


def check_directions(argument: str, value: Field, gradient: Field, points: FloatArray) -> None:
    """Compare a gradient with differences of its field along random directions.

    Raises
    ------
    InputError
        They disagree by more than a millionth of their size.
    """
    directions = np.random.default_rng(20).normal(size=(DIRECTIONS, points.shape[-1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    given = gradient(points) @ directions.T
    derived = np.stack([_slope(value, points, STEP * direction) for direction in directions], axis=-1)
    usable = np.isfinite(given) & np.isfinite(derived)
    if not usable.any():
        return
    # the energies are sums of many terms: their rounding is part of the difference
    rounding = 1e-13 / STEP * np.abs(value(points))[:, None]
    size = np.abs(derived[usable]).max()
    gap = np.where(usable, np.abs(given - derived) - rounding, 0.0)
    if gap.max() > DISAGREES * size:
        k, direction = np.unravel_index(int(np.argmax(gap)), gap.shape)
        raise InputError(
            f"{argument}: disagrees with the function it is the gradient of; at a probe point the slope along a random "
            f"direction is {given[k, direction]:.9g} by {argument} but {derived[k, direction]:.9g} by differences. "
            "Correct it"
        )


def _slope(value: Field, points: FloatArray, step: FloatArray) -> FloatArray:
    """Fourth-order central difference along a step."""
    near, far = value(points + step) - value(points - step), value(points + 2 * step) - value(points - 2 * step)
    return np.asarray((8 * near - far) / (12 * STEP))
