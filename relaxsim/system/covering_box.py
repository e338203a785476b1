"""A box that holds all but a given tail of the Gibbs mass of a system on unbounded axes."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.system.field import product_points
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.system import System

COVERING_DIM = 3  # the mesh of `Grid.covering` has 10^7 points in four dimensions: too slow to search on
_MESH_SEGMENTS = {1: (128, 2), 2: (48, 2), 3: (16, 1)}  # uniform segments a box, geometric ones a doubling
_GAUSS_NODES = {1: 8, 2: 4, 3: 2}
_HEATS = (1024.0, 64.0, 4.0, 1.0, 1.0)  # multiples of T of the successive passes
_POINTS = 2**14  # at which E is asked for at once
_DOUBLINGS = 24  # how far out, in doublings of the well's own width, Gibbs mass is looked for


def covering_box(system: System, tail: float) -> tuple[FloatArray, float]:
    """Draw a box (for E and T at t = 0) in until the slices cut off hold `tail` of the Gibbs mass.

    The first passes run hot: at many times T the wells merge, so that none is missed for falling between the
    points of a mesh that only knows the deepest one. Energies that confine at T but not so far above it skip
    those passes.
    """
    domain = system.domain
    free = np.nonzero([kind == "unbounded" for kind in domain.boundary])[0]
    lowest = _lowest_point(system, free)
    box: FloatArray | None = None
    left_out = 0.0
    for heat in _HEATS:
        try:
            start = _first_box(system, heat, lowest, free) if box is None else box
            drawn, left_out = _draw_in(system, heat, start, free, tail)
        except InputError:
            if heat > 1.0:
                continue
            raise
        # The cut falls on a breakpoint of the mesh; some air lets the next, finer mesh choose freely.
        box = drawn.copy()
        air = 0.125 * (drawn[free, 1] - drawn[free, 0])
        box[free] += np.stack([-air, air], axis=1)
    return drawn, left_out


def frozen(system: System, t: float) -> Any:
    """What the search for a box asks of a system, with E and T of a time."""
    if not system.time_dependent:
        return system
    return SimpleNamespace(
        dim=system.dim,
        domain=system.domain,
        temperature=value_at(system.temperature, t),
        energy=lambda x: system.energy(x, t),
    )


def _draw_in(
    system: System, heat: float, box: FloatArray, free: NDArray[np.intp], tail: float
) -> tuple[FloatArray, float]:
    """One pass at `heat` times the temperature; the new box and the share it leaves out."""
    mesh = [_axis_mesh(box[a], system.dim, outside=a in free) for a in range(system.dim)]
    slices = _slice_masses(system, heat, mesh)
    drawn = box.copy()
    left_out = 0.0
    for axis in free:
        low, high, cut = _cut(slices[axis], tail / (2 * len(free)), int(axis))
        drawn[axis] = mesh[axis][low], mesh[axis][high]
        left_out += cut
    return drawn, left_out


def _energy_over_t(system: System, points: FloatArray) -> FloatArray:
    """E/T; where it is no number (overflow far outside) the place is taken as unreachable."""
    with np.errstate(all="ignore"):
        values = np.asarray(system.energy(points), dtype=np.float64) / value_at(system.temperature, 0.0)
    return np.where(np.isnan(values) | np.isneginf(values), np.inf, values)


def _lowest_point(system: System, free: NDArray[np.intp]) -> FloatArray:
    """The lowest of nested lattices on scales 2^-20 ... 2^30, first about the origin, then about the best."""
    domain = system.domain
    low = np.where(np.isfinite(domain.lower), domain.lower, 0.0)
    high = np.where(np.isfinite(domain.upper), domain.upper, 0.0)
    best = (low + high) / 2
    best_value = np.inf
    unit = np.linspace(-1.0, 1.0, 17 if system.dim < 3 else 9)
    for _ in range(2):
        anchor = best.copy()
        for exponent in range(30, -21, -1):
            axes = [
                anchor[a] + unit * 2.0**exponent if a in free else np.linspace(low[a], high[a], unit.size + 2)[1:-1]
                for a in range(system.dim)
            ]
            points = product_points(axes).reshape(-1, system.dim)
            values = _energy_over_t(system, points)
            if values.min() < best_value:
                best, best_value = points[values.argmin()], float(values.min())
    if not np.isfinite(best_value):
        raise InputError("system: no point with a finite energy was found; pass bounds= to Grid")
    return np.asarray(best)


def _first_box(system: System, heat: float, lowest: FloatArray, free: NDArray[np.intp]) -> FloatArray:
    """On each free axis the lowest point plus and minus the power of two at which E has risen by heat T."""
    base = _energy_over_t(system, lowest[None])[0]
    scales = 2.0 ** np.arange(-40, 41)
    box = np.stack([system.domain.lower, system.domain.upper], axis=1)
    for axis in free:
        points = np.tile(lowest, (2, scales.size, 1))
        points[..., axis] += np.array([-1.0, 1.0])[:, None] * scales
        risen = np.all(_energy_over_t(system, points) > base + heat, axis=0)
        if not risen.any():
            raise InputError(
                f"system: exp(-E/T) is not normalisable, the energy does not rise along axis {axis}; add a "
                "confining term, bound the domain, or pass bounds= to Grid"
            )
        width = scales[risen.argmax()]
        box[axis] = lowest[axis] - width, lowest[axis] + width
    return box


def _axis_mesh(interval: FloatArray, dim: int, outside: bool) -> FloatArray:
    """Breakpoints: uniform inside the interval; beyond it, segments that double every few."""
    uniform, per_doubling = _MESH_SEGMENTS[dim]
    inside = np.linspace(interval[0], interval[1], uniform + 1)
    if not outside:
        return inside
    steps = (interval[1] - interval[0]) / 2 * (2.0 ** (np.arange(1, _DOUBLINGS * per_doubling) / per_doubling) - 1.0)
    return np.concatenate([interval[0] - steps[::-1], inside, interval[1] + steps])


def _slice_masses(system: System, heat: float, mesh: list[FloatArray]) -> list[FloatArray]:
    """Share of exp(-E/(heat T)) in each segment of each axis, by quadrature on the product mesh."""
    nodes, weights = np.polynomial.legendre.leggauss(_GAUSS_NODES[system.dim])
    axes = [((m[1:] + m[:-1])[:, None] + np.diff(m)[:, None] * nodes).ravel() / 2 for m in mesh]
    log_weights = [np.log(np.diff(m)[:, None] * weights / 2).ravel() for m in mesh]
    log_weights = [w.reshape([-1 if b == a else 1 for b in range(system.dim)]) for a, w in enumerate(log_weights)]
    sheets = max(1, _POINTS // math.prod(len(axis) for axis in axes[1:]))  # at a time: bounds the memory
    blocks = []
    for k in range(0, len(axes[0]), sheets):
        points = product_points([axes[0][k : k + sheets], *axes[1:]])
        log_mass = log_weights[0][k : k + sheets] - _energy_over_t(system, points) / heat
        for more in log_weights[1:]:
            log_mass = log_mass + more
        blocks.append(log_mass)
    log_mass = np.concatenate(blocks)
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    shares = []
    for a in range(system.dim):
        line = mass.sum(axis=tuple(b for b in range(system.dim) if b != a))
        shares.append(line.reshape(-1, nodes.size).sum(axis=1))
    return shares


def _cut(shares: FloatArray, allowed: float, axis: int) -> tuple[int, int, float]:
    """First and last breakpoint to keep, and the share cut off, at most `allowed` at either end."""
    below = np.concatenate([[0.0], np.cumsum(shares)])
    above = np.concatenate([[0.0], np.cumsum(shares[::-1])])
    low = int(np.searchsorted(below, allowed, side="right")) - 1
    high = int(np.searchsorted(above, allowed, side="right")) - 1
    if low == 0 or high == 0 or max(shares[:2].sum(), shares[-2:].sum()) > allowed:
        raise InputError(
            "system: no box was found that leaves out at most the asked tail of the Gibbs mass along axis "
            f"{axis}: exp(-E/T) is not normalisable or decays too slowly. Add a confining term, bound the "
            "domain, raise tail=, or pass bounds= to Grid"
        )
    return low, shares.size - high, float(below[low] + above[high])
