"""What an initial law is: something that can be drawn by address and integrated over cells.

In a bounded domain a law is conditioned on the domain, for ensembles and densities alike: positions outside are drawn
again, cell masses are divided by their sum (of a mixture: component by component). More than 1 % outside warns.
Periodic coordinates are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from relaxsim.errors import InputError, ShapeError, warn
from relaxsim.system.field import product_points
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

OUTSIDE = 0.01  # mass outside the domain that warns
ATTEMPTS = 4000  # draws of one particle before giving up


class Draws(Protocol):
    """Random numbers by address: `relaxsim.particles.random.Address`."""

    particles: Any

    def uniforms(self, draw: int) -> tuple[FloatArray, FloatArray]: ...

    def normals(self, draw: int) -> tuple[FloatArray, FloatArray]: ...

    def restrict(self, keep: Any) -> Draws: ...


class Later:
    """The same addresses with the draws after the first `skip`."""

    def __init__(self, draws: Draws, skip: int) -> None:
        self._draws, self._skip = draws, skip
        self.particles = draws.particles

    def uniforms(self, draw: int) -> tuple[FloatArray, FloatArray]:
        return self._draws.uniforms(draw + self._skip)

    def normals(self, draw: int) -> tuple[FloatArray, FloatArray]:
        return self._draws.normals(draw + self._skip)

    def restrict(self, keep: Any) -> Later:
        return Later(self._draws.restrict(keep), self._skip)


class Law:
    """A probability law of positions; made by the functions of this module."""

    name = "law"

    def at(self, t: float) -> Law:
        """This law for a start at a time of the system: another one only where a Gibbs law has to know it."""
        return self

    def sample(self, system: System, draws: Draws) -> FloatArray:
        """Positions (n, dim), conditioned on the domain."""
        self.check(system)
        n = len(draws.particles)
        x = np.empty((n, system.dim))
        pending = np.arange(n)
        calls = self.calls(system)
        for attempt in range(min(ATTEMPTS, 65000 // calls)):
            proposal, good = self.propose(system, draws.restrict(pending), attempt * calls)
            proposal = system.domain.wrap(proposal)
            inside = system.domain.contains(proposal)
            if attempt == 0:
                warn_outside(self.name, 1.0 - float(inside.mean()))
            good = good & inside
            x[pending[good]] = proposal[good]
            pending = pending[~good]
            if not len(pending):
                return x
        raise InputError(
            f"initial: {len(pending)} of {n} positions of the {self.name} law are still outside the domain after "
            f"{ATTEMPTS} draws each; move the law into {system.domain!r}"
        )

    def masses(self, system: System, grid: Grid) -> FloatArray:
        """Cell masses of shape grid.shape, nonnegative, with sum 1."""
        self.check(system)
        masses = np.asarray(self.cell_masses(system, grid), dtype=np.float64)
        total = float(masses.sum())
        if not np.all(np.isfinite(masses)) or masses.min() < 0 or not total > 0:
            raise InputError(
                f"initial: the {self.name} law has no mass on the grid {grid.bounds.tolist()}, or is negative or not "
                "finite "
                "there; move it into the domain"
            )
        if self.is_normalised and total < 0.1:
            raise InputError(
                f"initial: only {100 * total:.2g} % of the {self.name} law lies on the grid {grid.bounds.tolist()}; "
                "give the grid bounds that hold the law too"
            )
        if self.is_normalised:
            warn_outside(self.name, 1.0 - total)
        return masses / total

    # ---- what each law says

    is_normalised = True  # whether cell_masses sum to one when the grid covers everything

    def check(self, system: System) -> None:
        """Raise if the law does not fit the system."""

    def calls(self, system: System) -> int:
        """Random calls that one proposal uses."""
        raise NotImplementedError

    def propose(self, system: System, draws: Draws, first: int) -> tuple[FloatArray, Any]:
        """Proposed positions (n, dim) and which of them are accepted."""
        raise NotImplementedError

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        """Integrals of the density over the cells."""
        raise NotImplementedError


def check_dim(name: str, dim: int, system: System) -> None:
    if dim != system.dim:
        raise ShapeError(f"initial: the {name} law has {dim} coordinates, the system has {system.dim}")


def expected_law(given: Any) -> str:
    """What to say of something else in the place of an initial law."""
    fix = "; give positions as initial.samples(array)" if isinstance(given, (np.ndarray, list, tuple)) else ""
    return f"expected a law such as initial.normal(0, 1), got {type(given).__name__}{fix}"


def warn_outside(name: str, outside: float) -> None:
    if outside > OUTSIDE:
        warn(
            f"initial: {100 * outside:.1f} % of the {name} law lies outside the domain or grid; it is conditioned on "
            "the inside"
        )


def outer(axes: Sequence[FloatArray]) -> FloatArray:
    total = axes[0]
    for axis in axes[1:]:
        total = np.multiply.outer(total, axis)
    return np.asarray(total)


def interval_images(grid: Grid, axis: int, low: float, high: float) -> FloatArray:
    """Shifts by whole periods that bring images of [low, high] onto the grid; just 0 on other axes."""
    if not grid.periodic[axis]:
        return np.zeros(1)
    start, end = grid.bounds[axis]
    length = end - start
    return np.asarray(length * np.arange(np.floor((start - high) / length), np.ceil((end - low) / length) + 1))


def quadrature(f: Callable[[FloatArray], Any], grid: Grid, nodes: int, bounds: FloatArray | None = None) -> FloatArray:
    """Cell integrals by a Gauss-Legendre rule with `nodes` points an axis, over what `bounds` leaves of each cell."""
    position, weight = np.polynomial.legendre.leggauss(nodes)
    low = [edges[:-1] if bounds is None else np.clip(edges[:-1], *bounds[a]) for a, edges in enumerate(grid.edges)]
    high = [edges[1:] if bounds is None else np.clip(edges[1:], *bounds[a]) for a, edges in enumerate(grid.edges)]
    total = np.zeros(grid.shape)
    volume = outer([b - a for a, b in zip(low, high, strict=True)])
    inside = volume > 0
    for index in np.ndindex((nodes,) * grid.dim):
        axes = [a + (b - a) * (position[k] + 1) / 2 for a, b, k in zip(low, high, index, strict=True)]
        points = product_points(axes)[inside]
        total[inside] += np.prod(weight[list(index)] / 2) * f(points)
    return total * volume
