"""Gibbs laws that move: energies and temperatures that depend on time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.temperature import Temperature, gibbs_moves, value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

Weights = tuple[FloatArray, float]  # ln of the Gibbs masses of cells, and ln Z

TAIL = 1e-10  # Gibbs mass that a box leaves out at the time it was found for
_LEFT_OUT = 1e-6  # Gibbs mass beyond a box, at another time, above which it is widened
_CELLS = {1: 64, 2: 32, 3: 16}  # an axis, of the box twice as wide that this mass is looked for in


def temperatures(system: System, times: FloatArray) -> Any:
    """T: the number it is, or an array (n_times,) where the Gibbs law moves."""
    return (
        np.array([value_at(system.temperature, float(t)) for t in times]) if gibbs_moves(system) else system.temperature
    )


def covering(system: System, times: FloatArray, shape: int | tuple[int, ...], tail: float = TAIL) -> Grid:
    """`Grid.covering` the Gibbs laws of all times: at none its box leaves out more than 1e-6, or `tail`.

    The hottest time is the first, since its law is the widest where E stays: the others then need no search.
    """
    if not gibbs_moves(system) or system.domain.bounded:
        return Grid.covering(system, shape, tail)
    if isinstance(system.temperature, Temperature):
        system.temperature.check(np.asarray(times, dtype=np.float64))
    hottest_first = sorted({float(t) for t in times}, key=lambda t: -value_at(system.temperature, t))
    bounds, boxes = np.empty((0, 2)), list[FloatArray]()
    for t in hottest_first:
        if not boxes or _beyond(system, bounds, t) > max(_LEFT_OUT, tail):
            boxes.append(Grid.covering(_frozen(system, t), 2, tail).bounds)
            bounds = np.stack([np.min(boxes, axis=0)[:, 0], np.max(boxes, axis=0)[:, 1]], axis=1)
    return Grid(system.domain, shape, bounds=bounds)


def _frozen(system: System, t: float) -> Any:
    """What a search for a box asks of a system, with E and T of a time."""
    return SimpleNamespace(
        dim=system.dim,
        domain=system.domain,
        temperature=value_at(system.temperature, t),
        energy=lambda x: system.energy(x, t),
    )


def _beyond(system: System, bounds: FloatArray, t: float) -> float:
    """Gibbs mass beyond a box at a time, looked for in one twice as wide along unbounded axes."""
    n = _CELLS[system.dim]
    free = np.array([kind == "unbounded" for kind in system.domain.boundary])
    half = np.where(free, (bounds[:, 1] - bounds[:, 0]) / 2, 0.0)
    wide = Grid(system.domain, n, bounds=np.stack([bounds[:, 0] - half, bounds[:, 1] + half], axis=1))
    inside = tuple(slice(n // 4, 3 * n // 4) if axis else slice(None) for axis in free)
    mass = np.exp(log_cell_weights(system, wide, t)[0])
    mass[inside] = 0.0
    return float(mass.sum())


def over_time(
    system: System, times: FloatArray, weigh: Callable[[float], Weights]
) -> tuple[Weights, Callable[[float], Weights] | None]:
    """Gibbs masses that serve all times, and `weigh` where they move: they are then those of the mean, without ln Z."""
    if not gibbs_moves(system):
        return weigh(0.0), None
    total = np.logaddexp.reduce([weigh(float(t))[0] for t in times], axis=0)
    return (np.asarray(total - np.log(len(times))), float("nan")), weigh
