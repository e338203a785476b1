"""Gibbs laws that move: energies and temperatures that depend on time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.system.temperature import gibbs_moves, value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

Weights = tuple[FloatArray, float]  # ln of the Gibbs masses of cells, and ln Z


def temperatures(system: System, times: FloatArray) -> Any:
    """T: the number it is, or an array (n_times,) where the Gibbs law moves."""
    return (
        np.array([value_at(system.temperature, float(t)) for t in times]) if gibbs_moves(system) else system.temperature
    )


def over_time(
    system: System, times: FloatArray, weigh: Callable[[float], Weights]
) -> tuple[Weights, Callable[[float], Weights] | None]:
    """Gibbs masses that serve all times, and `weigh` where they move: they are then those of the mean, without ln Z."""
    if not gibbs_moves(system):
        return weigh(0.0), None
    total = np.logaddexp.reduce([weigh(float(t))[0] for t in times], axis=0)
    return (np.asarray(total - np.log(len(times))), float("nan")), weigh
