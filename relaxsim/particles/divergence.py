"""What to say of a particle that diverged: whether the mobility is to blame, and which dt to try."""

from __future__ import annotations

import numpy as np

from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray


def smallest_mobility(system: System, position: FloatArray, t: float, dt: float) -> float:
    """The smallest eigenvalue of the mobility at a position, and within a step's reach of it.

    Steps of several stages look at the mobility around the point they start from.
    """
    here = system.mobility.symmetric(position, t)
    reach = np.sqrt(2.0 * system.temperature_at(t) * dt * np.abs(np.diagonal(here)))
    around = position + np.concatenate([f * np.diag(reach) for f in (0.0, -1.0, -0.5, 0.5, 1.0)])
    around = np.concatenate([around, position + np.outer((-1.0, -0.5, 0.5, 1.0), reach)])
    inside = around[system.domain.contains(around)]
    matrices = system.mobility.symmetric(inside, t) if len(inside) else here[None]
    finite = np.isfinite(matrices).all(axis=(-1, -2))
    return float(np.linalg.eigvalsh(matrices[finite]).min()) if finite.any() else float("nan")


def dt_hint(system: System, position: FloatArray, dt: float, t: float) -> float:
    """Half of the linear stability limit at a position, when that is sensible, else a tenth of dt."""
    with np.errstate(all="ignore"):
        step = 1e-5 * np.maximum(1.0, np.abs(position))
        shifted = position + np.diag(step)
        rates = np.abs((system.drift(shifted, t) - system.drift(position, t)) / step[:, None])
    rate = float(rates.sum(axis=0).max())
    hint = 0.5 / rate if np.isfinite(rate) and rate > 0 else dt / 10
    return float(min(dt / 2, max(hint, dt / 100)))
