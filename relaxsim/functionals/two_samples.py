"""Two samples and a distance between their laws: what they must be, its null level, and when it has an error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.errors import ShapeError
from relaxsim.functionals import kinds
from relaxsim.system.validate import FloatArray, Problems, as_float_array

MIN_SAMPLES = 20
_TOLD = 3.0  # null standard deviations a distance must lie above its null mean to have a standard error


@dataclass(frozen=True)
class SampleDistance:
    """A distance between the laws of two samples.

    Attributes
    ----------
    value : float
    stderr : float
        Of `value` as an estimate of the distance between the laws; nan where `reason` says why.
    bias_bound : float
        What the finite samples may have added, as far as that is known; nan for "entropic" where fewer points do not
        converge.
    null_mean, null_std : float
        Mean and standard deviation of `value` for two samples of these sizes from one law, by random relabelling; nan
        if that was not asked for.
    reason : str
        Why there is no standard error, or an empty text.
    n_samples : tuple of int
        Sizes of the samples that were used.
    """

    value: float
    stderr: float
    bias_bound: float
    null_mean: float
    null_std: float
    reason: str
    n_samples: tuple[int, int]


def two_samples(x: Any, y: Any) -> tuple[FloatArray, FloatArray]:
    """Both as finite points (n, dim) of the same dim."""
    problems = Problems()
    clean = []
    for name, value in (("x", x), ("y", y)):
        kinds.check_points(value, name)
        array = as_float_array(value, name)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] == 0:
            problems.add(name, f"expected points of shape (n, dim), got {array.shape}", ShapeError)
        elif len(array) < MIN_SAMPLES:
            problems.add(name, f"{len(array)} points are too few, {MIN_SAMPLES} are needed")
        elif not np.isfinite(array).all():
            problems.add(name, "expected finite points, got nan or inf")
        clean.append(array)
    problems.raise_if_any()
    if clean[0].shape[1] != clean[1].shape[1]:
        raise ShapeError(f"y: has {clean[1].shape[1]} dimensions, x has {clean[0].shape[1]}")
    return clean[0], clean[1]


def judged(
    name: str, power: float, error: float, bias: float, null: list[float], p: int, sizes: tuple[int, int]
) -> SampleDistance:
    """The distance from its p-th power, with the error and bias of that and the powers for relabelled samples."""

    def root(v: Any) -> Any:
        return np.maximum(v, 0.0) ** (1 / p) if p > 1 else v

    value = float(root(power))
    level = np.asarray(root(np.array(null))) if null else np.array([math.nan])
    mean, std = float(level.mean()), float(level.std(ddof=1)) if len(level) > 1 else math.nan
    reason = ""
    if null and not value > mean + _TOLD * std:
        reason = (
            f"{name} does not stand out of its null level {mean:.3g} +- {std:.2g} for samples of these sizes: the laws "
            "may be equal, and the estimate is then mostly bias and not normal"
        )
    elif value == 0.0:
        reason = f"{name} is zero: the samples do not tell the laws apart"
    elif error == 0.0:
        reason = f"the first-order error of {name} vanishes: the laws do not overlap, or each sample is one point"
    slope = p * value ** (p - 1) if value > 0 else math.nan
    return SampleDistance(
        value, math.nan if reason else error / slope, bias / slope if value > 0 else math.nan, mean, std, reason, sizes
    )


def standard_error(f: FloatArray, g: FloatArray) -> float:
    """That of mean f + mean g, over independent samples."""
    return math.sqrt(float(f.var(ddof=1)) / len(f) + float(g.var(ddof=1)) / len(g))
