"""What `track` refuses: paths without positions or an energy, and records that do not go with a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.functionals import kinds
from relaxsim.system.temperature import gibbs_moves, value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.functionals.bins import Bins
    from relaxsim.functionals.relaxation import Relaxation
    from relaxsim.system.system import System


def check_system(system: System) -> None:
    kinds.check_system(system, "path")
    if system.domain.absorbs:
        raise InputError(
            "path: its walls absorb, so its mass falls and its law does not relax to the Gibbs law; the survival "
            "probability is path.mass.sum(axis=...), its rate is fp.spectrum(1).rates[0]"
        )


def check_ensemble(path: Any, positions: FloatArray, times: FloatArray) -> None:
    if positions.ndim != 3 or positions.shape[0] != times.size or positions.shape[1] == 0:
        raise InputError(
            f"path: expected positions of shape (n_times = {times.size}, n_particles, dim), got "
            f"{positions.shape}; simulate with store='all' keeps every time"
        )
    if not times.size:
        raise InputError(
            "path: there are no positions, and no Histogram that looked at the times; simulate with store='all', or "
            "with observables={'law': rs.Histogram(grid)} (without every=)"
        )
    if not np.isfinite(positions).all():
        raise InputError("path: expected finite positions, got nan or inf; simulate with a smaller dt")
    if getattr(path, "weights", None) is not None:
        raise InputError("path: weighted ensembles cannot be tracked yet; resample the particles to equal weights")


def check_like(ours: System, times: FloatArray, like: Relaxation) -> Bins:
    """The bins of a record, unless it is of another system; the Gibbs law does not depend on the mobility."""
    if like.bins is None:
        raise InputError(
            "like: this record has no bins to measure on; pass the record of an ensemble in 1 to 3 "
            "dimensions, like=track(ensemble)"
        )
    theirs = like.bins.system
    strange = [t for t in times if not np.isclose(like.times, t, rtol=1e-9, atol=1e-12).any()]
    if like.moving and strange:
        raise InputError(
            f"like: its bins serve the Gibbs laws of its own times, and t = {strange[0]:g} is none of them; run both "
            "with the same times"
        )
    if ours is theirs:
        return like.bins
    if ours.dim != theirs.dim or ours.domain != theirs.domain:
        raise InputError(f"like: expected a record on the same domain, {ours.domain!r}, got {theirs.domain!r}")
    stride = max(1, like.bins.grid.n_cells // 64)
    probes = like.bins.grid.points[::stride]
    for t in times if like.moving or gibbs_moves(ours) else (0.0,):
        heat, theirs_then = value_at(ours.temperature, t), value_at(theirs.temperature, t)
        if heat != theirs_then:
            when = f" at t = {t:g}" if like.moving or gibbs_moves(ours) else ""
            raise InputError(f"like: expected temperature {heat:g}{when}, got {theirs_then:g}")
        one, other = np.asarray(ours.energy(probes, t)), np.asarray(theirs.energy(probes, t))
        if not np.allclose(one, other, rtol=1e-9, atol=1e-9 * heat):
            raise InputError("like: expected a record of the same energy; the two differ at the centres of its cells")
    return like.bins
