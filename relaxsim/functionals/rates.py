"""How fast F falls at the stored times: of cell masses by their equation, of an ensemble by differences."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.moving import temperatures

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

# Share of all flow that may go into empty cells: methods set masses of up to 1e-10 that came out negative to zero, and
# the flow back into such cells was seen to be 7e-11 of all.
_ROUNDING = 1e-8


def density_flow(path: Any) -> FloatArray:
    """dp/dt of the cell masses of a path, by the generator of their equation, shape (n_times, n_cells)."""
    equation = _equation(path.system, path.grid)
    if not equation.moving:
        return np.stack([equation.generator @ p.ravel() for p in path.mass])
    return np.stack([equation.generator_at(t, p) @ p.ravel() for t, p in zip(path.times, path.mass, strict=True)])


def _equation(system: System, grid: Grid) -> Any:
    from relaxsim.density import FokkerPlanck

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the path's own equation has said what there is to say
        return FokkerPlanck(system, grid)


def density_rate(path: Any, flow: FloatArray) -> FloatArray:
    """-dF/dt at fixed E and T, -T sum dp ln(p/m), m the Gibbs masses: exact for the discrete law; shape (n_times,)."""
    log_m = np.broadcast_to(path.log_gibbs, np.shape(path.mass))  # one for all times, or one for each
    each = [_falling(np.ravel(p), dp, np.ravel(m)) for p, dp, m in zip(path.mass, flow, log_m, strict=True)]
    return np.asarray(temperatures(path.system, path.times) * np.array(each))


def _falling(p: FloatArray, dp: FloatArray, log_m: FloatArray) -> float:
    """-d KL/dt; inf where mass flows into empty cells, but for what rounding has emptied."""
    empty = (p == 0.0) & (dp != 0.0) & np.isfinite(log_m)
    if np.abs(dp[empty]).sum() > _ROUNDING * np.abs(dp).sum():
        return math.inf
    held = np.isfinite(log_m) & (p > 0)
    return float(-(dp[held] @ (np.log(p[held]) - log_m[held])))


def ensemble_rate(
    times: FloatArray, free_energy: FloatArray, groups: FloatArray | None, bias: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """-dF/dt by differences of second order, its standard error, and a bound of its bias; nan at the first time.

    The error comes from the same differences of the groups (R, n_times), so that errors common to neighbouring times
    cancel. The bound is the change of the bias correction and the distance to the farther one of the slopes before and
    after: between those the true slope lies where F is convex in time. At the last time the slope after is zero, and
    at the first nothing bounds the slope before.
    """
    if groups is None or times.size < 2:
        unknown = np.full(times.size, math.nan)
        return unknown, unknown, unknown
    value = -_slope(times, free_energy)
    stderr = _slope(times, groups).std(axis=0, ddof=1) / math.sqrt(len(groups))
    around = np.concatenate([[math.nan], -np.diff(free_energy) / np.diff(times), [0.0]])
    steps = np.maximum(np.abs(around[:-1] - value), np.abs(around[1:] - value))
    value[0] = stderr[0] = math.nan
    return value, stderr, np.abs(_slope(times, bias)) + steps


def _slope(times: FloatArray, values: FloatArray) -> FloatArray:
    """Differences of second order along the last axis; of first order for two times."""
    return np.asarray(np.gradient(values, times, axis=-1, edge_order=2 if times.size > 2 else 1))
