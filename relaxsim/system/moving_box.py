"""A box that holds the Gibbs laws of several times, where the energy or the temperature depends on time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.system.covering_box import covering_box
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

LEFT_OUT = 1e-6  # Gibbs mass beyond the box, at a time it was not found for, above which it is widened
_CELLS = {1: 64, 2: 32, 3: 16}  # an axis, of the box twice as wide that this mass is looked for in


def moving_box(system: System, tail: float, times: FloatArray) -> tuple[FloatArray, float]:
    """The union of the covering boxes of as few times as needed, and the most that it leaves out at any.

    The hottest time is the first, since its law is the widest where E stays: the others then need no search.
    """
    hottest_first = sorted({float(t) for t in times}, key=lambda t: -value_at(system.temperature, t))
    box, most = covering_box(_frozen(system, hottest_first[0]), tail)
    for t in hottest_first[1:]:
        beyond = _beyond(system, box, t)
        if beyond > max(LEFT_OUT, tail):
            other, beyond = covering_box(_frozen(system, t), tail)
            box = np.stack([np.minimum(box, other)[:, 0], np.maximum(box, other)[:, 1]], axis=1)
        most = max(most, beyond)
    return box, most


def _frozen(system: System, t: float) -> Any:
    """What a search for a box asks of a system, with E and T of a time."""
    return SimpleNamespace(
        dim=system.dim,
        domain=system.domain,
        temperature=value_at(system.temperature, t),
        energy=lambda x: system.energy(x, t),
    )


def _beyond(system: System, box: FloatArray, t: float) -> float:
    """Gibbs mass beyond a box at a time, looked for in one twice as wide along unbounded axes."""
    from relaxsim.system.grid import Grid

    n = _CELLS[system.dim]
    free = np.array([kind == "unbounded" for kind in system.domain.boundary])
    half = np.where(free, (box[:, 1] - box[:, 0]) / 2, 0.0)
    wide = Grid(system.domain, n, bounds=np.stack([box[:, 0] - half, box[:, 1] + half], axis=1))
    inside = tuple(slice(n // 4, 3 * n // 4) if axis else slice(None) for axis in free)
    mass = np.exp(log_cell_weights(system, wide, t)[0])
    mass[inside] = 0.0
    return float(mass.sum())
