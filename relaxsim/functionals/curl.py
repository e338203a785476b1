"""Is a force a gradient? A test of its curl, with errors where the force was estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.replicates import jackknife_stderr, student_threshold

if TYPE_CHECKING:
    from relaxsim.functionals.drift_field import DriftField
    from relaxsim.functionals.grid_fields import Edges

FloatArray = NDArray[np.float64]

_QUANTILE_80 = 0.84  # standard normal: power of 80 %


@dataclass(frozen=True, eq=False, repr=False)
class CurlTest:
    """Whether a force z = D^{-1}(div D - mu) is a gradient.

    Attributes
    ----------
    reversible : bool or None
        False: a curl, or a force around a periodic axis, was found. True: none was found, which is no proof. None:
        unknown.
    value, stderr : dict of (a, b) to ndarray, shape grid.shape
        d_a z_b - d_b z_a on the cell centres.
    statistic, threshold : float
        The largest of the scores, in standard errors (for functions: in units of rounding), and what it must exceed.
    where : str
        Which score that is.
    mean, mean_stderr : dict of (a, b) to float
        The curl's mean over the data (over the box for functions).
    detectable : float
        A curl of the same sign everywhere that would have been found with probability 0.8; zero for functions.
    alpha : float
    """

    reversible: bool | None
    value: dict[tuple[int, int], FloatArray]
    stderr: dict[tuple[int, int], FloatArray]
    statistic: float
    threshold: float
    where: str
    mean: dict[tuple[int, int], float]
    mean_stderr: dict[tuple[int, int], float]
    detectable: float
    alpha: float

    def __str__(self) -> str:
        if self.reversible is None:
            return f"unknown whether there is a curl: {self.where}"
        verdict = "no curl was found" if self.reversible else "there is a curl, and no energy with detailed balance"
        return f"{verdict}: {self.statistic:.3g} {self.where} (threshold {self.threshold:.3g})"


def curl_test(field: DriftField, edges: Edges, alpha: float) -> CurlTest:
    """Test z for curl and for circulation around periodic axes.

    Parameters
    ----------
    field : DriftField
    edges : Edges
        The cells that take part.
    alpha : float
        False-alarm rate, shared by the curl in each cell on the one hand and by its means over the data and the
        circulations on the other.

    Returns
    -------
    CurlTest

    Notes
    -----
    Scores are compared with Student's distribution (one degree of freedom less than there are groups), Bonferroni over
    all of them. From each the slack is taken off first: the difference between the curls by differences of fourth and
    of second order, which bounds what the grid may feign.
    """
    groups = len(field.drift) - 1
    scores: list[tuple[float, str]] = []
    broad: list[tuple[float, str]] = []
    value, stderr, mean, mean_stderr = {}, {}, {}, {}
    detectable = 0.0
    weights = np.ones(field.grid.shape) if field.counts is None else field.counts
    for plane, curl in field.curl.items():
        used = edges.cells & np.isfinite(curl).all(axis=0) & np.isfinite(field.curl_slack[plane]).all(axis=0)
        value[plane] = np.where(used, curl[0], np.nan)
        stderr[plane] = jackknife_stderr(curl[1:]) if groups > 0 else np.zeros(field.grid.shape)
        if not used.any():
            continue
        slack = field.curl_slack[plane][0]
        name = f"in the plane of axes {plane[0]} and {plane[1]}"
        scores += [
            (_score(c, s, e), f"{name}, in one cell")
            for c, s, e in zip(curl[0][used], slack[used], stderr[plane][used], strict=True)
        ]
        averages = np.average(curl[:, used], axis=1, weights=weights[used])
        error = float(jackknife_stderr(averages[1:])) if groups > 0 else 0.0
        mean[plane], mean_stderr[plane] = float(averages[0]), error
        allowance = abs(float(np.average(slack[used], weights=weights[used]))) if groups < 1 else 0.0
        broad.append((_score(mean[plane], allowance, error), f"{name}, on average"))
        detectable = max(detectable, error)
    for axis, (turn, slack_turn, error) in _circulations(field, edges).items():
        broad.append((_score(turn, slack_turn, error), f"around the periodic axis {axis}"))
    return _verdict(
        scores, broad, groups, alpha, value=value, stderr=stderr, mean=mean, mean_stderr=mean_stderr, error=detectable
    )


def _score(value: float, slack: float, error: float) -> float:
    """Standard errors beyond the slack; for functions, without errors, the value in units of the slack."""
    if error > 0:
        return max(0.0, abs(float(value)) - slack) / float(error)
    return abs(float(value)) / slack if slack > 0 else (math.inf if value else 0.0)


def _verdict(
    scores: list[tuple[float, str]],
    broad: list[tuple[float, str]],
    groups: int,
    alpha: float,
    *,
    value: dict[tuple[int, int], FloatArray],
    stderr: dict[tuple[int, int], FloatArray],
    mean: dict[tuple[int, int], float],
    mean_stderr: dict[tuple[int, int], float],
    error: float,
) -> CurlTest:
    of_cells = student_threshold(groups, alpha / 2, len(scores)) if groups > 0 else 1.0
    of_means = student_threshold(groups, alpha / 2, len(broad)) if groups > 0 else 1.0
    # in units of its own threshold, so that the two families compare
    ranked = [(s / of_cells, s, of_cells, w) for s, w in scores] + [(s / of_means, s, of_means, w) for s, w in broad]
    unit = "standard errors" if groups > 0 else "times what rounding explains,"
    if ranked:
        ratio, score, threshold, where = max(ranked)
        reversible: bool | None = not ratio > 1.0
    elif not value:  # one dimension, not periodic: every force is a gradient
        reversible, score, threshold, where = True, 0.0, of_means, "in one dimension every force is a gradient"
    else:
        reversible, score, threshold, where = None, math.nan, of_means, "no cell has neighbours that are known"
    return CurlTest(
        reversible, value, stderr, score, threshold, f"{unit} {where}" if ranked else where, mean, mean_stderr,
        (of_means + _QUANTILE_80) * error if groups > 0 else 0.0, alpha,
    )  # fmt: skip


def _circulations(field: DriftField, edges: Edges) -> dict[int, tuple[float, float, float]]:
    """Mean integral of z around each periodic axis with its slack and error, over lines whose cells are all known."""
    found = {}
    for axis, periodic in enumerate(field.grid.periodic):
        if not periodic:
            continue
        along = field.edges[axis]
        whole = (edges.cells & np.isfinite(along).all(axis=0)).all(axis=axis)
        turns = along.sum(axis=axis + 1)
        turns = turns.reshape(len(turns), -1)[:, whole.ravel()]
        if not turns.size:
            continue
        sizes = np.abs(along[0]).sum(axis=axis).ravel()[whole.ravel()]
        slack = (1e-6 if len(turns) == 1 else 0.0) * max(float(sizes.mean()), 1e-12)
        error = float(jackknife_stderr(turns[1:].mean(axis=1))) if len(turns) > 1 else 0.0
        found[axis] = (float(turns[0].mean()), slack, error)
    return found
