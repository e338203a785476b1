"""Where a Metropolis rule refuses every step: a particle that starts there never moves.

At a point x where K is singular, as on a wall where it vanishes, the noise of a step does not fill the space: its
density p(x, y) is that of a plane or a point, and q(y) p(y, x) / (q(x) p(x, y)) is zero for every y with a regular K.
No chain comes to such a point, for they have no Gibbs mass, but one that starts there stays: it is reducible.
"""

from __future__ import annotations

import numpy as np

from relaxsim.errors import InputError, warn
from relaxsim.particles.schemes import Scheme
from relaxsim.system.field import format_point
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

_SPREAD = 8.0  # standard deviations of a step's noise: what is lost in rounding then is lost for good
_RARE = 1e-4  # a share that single precision may round onto a wall by chance: they stay, and nobody sees it in a mean
_SINGULAR = 4.0 * float(np.finfo(np.float64).eps)  # smallest over largest eigenvalue of K


def check_start(
    system: System, scheme: Scheme, positions: FloatArray, t: float, dt: float, dtype: str, first_particle: int
) -> None:
    """Raise InputError if a scheme that refuses steps would keep some of particles (n, dim) where they start.

    A few among many are no more than a warning.
    """
    if not scheme.uniforms or system.mobility.symmetric_is_constant:
        return
    x = positions.astype(dtype)  # single precision may round a start onto a wall
    stays = _no_noise(system, x, t, dt)
    if not stays.any():
        return
    k = int(np.argmax(stays))
    drift = dt * system.drift(x[k].astype(np.float64), t)
    leaves = bool(np.any(x[k] + drift.astype(dtype) != x[k]))
    found = int(np.count_nonzero(stays))
    message = (
        f"initial: particle {first_particle + k} starts at {format_point(x[k])}, where the noise of a step vanishes "
        f"with the mobility K, as do {found} of the {len(x)} looked at: {scheme.id!r} would refuse every step from "
        "there, and the particle never move. Start off the walls and other places where K vanishes"
        + ("; or take scheme='auto', which the drift T div K leads away from there" if leaves else "")
    )
    if found > _RARE * len(x):
        raise InputError(message)
    warn(message)


def _no_noise(system: System, x: FloatArray, t: float, dt: float) -> FloatArray:
    """Whether a step's noise along some axis is lost in the rounding of x, or K is singular aslant (n,)."""
    S = system.mobility.symmetric(x.astype(np.float64), t)
    own = np.maximum(np.diagonal(S, axis1=-2, axis2=-1), 0.0)
    reach = (_SPREAD * np.sqrt(2.0 * system.temperature_at(t) * dt * own)).astype(x.dtype)
    stays = np.any((x + reach == x) & (x - reach == x), axis=-1)
    if system.mobility.structure == "tensor":
        values = np.linalg.eigvalsh(S)
        stays |= values[:, 0] <= _SINGULAR * values[:, -1]
    return np.asarray(stays)
