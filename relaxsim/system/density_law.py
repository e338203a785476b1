"""A law given by a density up to a factor, the Gibbs law among them: drawn by rejection, integrated over cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relaxsim.errors import ConvergenceError, InputError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.expression import parse, tree_dim, uses_time
from relaxsim.system.field import Field, format_point
from relaxsim.system.grid import Grid
from relaxsim.system.law import Draws, Law, quadrature
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray, Problems, as_float_array, check_params

ENVELOPE_CELLS = {1: 4096, 2: 256, 3: 48}  # cells an axis of the envelope from which densities are drawn


class DensityLaw(Law):
    """A density known up to a factor: drawn by rejection from a piecewise constant envelope."""

    is_normalised = False

    def __init__(self, f: str | Callable[..., Any] | None, bounds: Any, params: Mapping[str, float] | None) -> None:
        self._given = f
        problems = Problems()
        clean = check_params(params, "params", problems)
        problems.raise_if_any()
        self.name = "Gibbs" if f is None else "density"
        self.bounds = None if bounds is None else as_float_array(bounds, "bounds").reshape(-1, 2)
        self.dim = 1
        self.field: Field | None = None
        self._t = 0.0  # at which a Gibbs law is taken; the times of a run have it too, so it is no part of a record
        self._lowest: tuple[System, float] | None = None  # energies are measured from the lowest, so that exp is safe
        self._cached: tuple[System, tuple[Grid, FloatArray, FloatArray]] | None = None
        if isinstance(f, str):
            tree = parse(f, params=clean)
            if uses_time([tree]):
                raise InputError("initial: an initial density is a law at one time; replace t by its value")
            self.field, self.dim = Field((), trees=tree, params=clean), tree_dim(tree)
        elif f is not None:
            self.field = Field((), function=f)

    def at(self, t: float) -> Law:
        if self.field is not None or t == self._t:
            return self
        law = DensityLaw(None, None, None)
        law._t = t
        return law

    def check(self, system: System) -> None:
        if system.dim > 3:
            raise InputError(
                f"initial: the {self.name} law can be drawn in up to 3 dimensions, the system has {system.dim}; "
                "pass positions with initial.samples"
            )
        if self.field is None and not hasattr(system, "energy"):
            raise InputError(
                "initial: gibbs() needs an energy, and a process given by its drift has none; pass the masses of its "
                "law at rest, fp.gibbs"
            )
        if self.bounds is not None:
            _check_inside(self.bounds, system)
        if self.dim > system.dim:
            raise ShapeError(f"initial: the density uses {self.dim} coordinates, the system has {system.dim}")
        if self.field is not None and self.bounds is None and not system.domain.bounded:
            raise InputError("bounds: an unbounded domain needs the box that holds the density: bounds=[(-3, 3), ...]")

    def calls(self, system: System) -> int:
        return (system.dim + 3) // 2

    def propose(self, system: System, draws: Draws, first: int) -> tuple[FloatArray, Any]:
        grid, bound, cumulative = self._envelope(system)
        u = np.concatenate([draws.uniforms(first + q) for q in range(self.calls(system))])
        cell = np.minimum(np.searchsorted(cumulative, u[0] * cumulative[-1]), len(bound) - 1)
        index = np.stack(np.unravel_index(cell, grid.shape), axis=-1)
        x = grid.bounds[:, 0] + (index + 1.0 - u[2 : 2 + system.dim].T) * grid.spacing
        ratio = self._value(system, x) / bound[cell]
        if ratio.size and ratio.max() > 1.0:
            raise ConvergenceError(
                f"initial: the {self.name} law varies too fast near {format_point(x[int(np.argmax(ratio))])} to be "
                "drawn; pass positions with initial.samples"
            )
        return x, u[1] <= ratio

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        if self.field is None and getattr(system, "measure", None) is not None:
            # whose density may be infinite at walls; those weights take care of it
            return np.exp(log_cell_weights(system, grid, self._t)[0])
        return quadrature(lambda points: self._value(system, points), grid, 6, self.bounds)

    def _value(self, system: System, points: FloatArray) -> FloatArray:
        if self.field is not None:
            value = self.field(points)
            if np.any(value < 0) or not np.all(np.isfinite(value)):
                worst = points.reshape(-1, points.shape[-1])[int(np.argmin(np.nan_to_num(value.ravel(), nan=-np.inf)))]
                raise InputError(f"initial: the density is negative or not finite at {format_point(worst)}")
            return value
        if self._lowest is None or self._lowest[0] is not system:
            self._lowest = (system, float(np.min(system.energy(self._grid(system).points, self._t))))
        heat = value_at(system.temperature, self._t)
        return np.asarray(np.exp(-(system.energy(points, self._t) - self._lowest[1]) / heat))

    def _grid(self, system: System) -> Grid:
        shape = (ENVELOPE_CELLS[system.dim],) * system.dim
        if self.bounds is not None:
            return Grid(Domain(self.bounds), shape)
        return Grid(system.domain, shape) if system.domain.bounded else Grid.covering(system, shape, times=self._t)

    def __repr__(self) -> str:
        return "gibbs()" if self._given is None else f"density({self._given!r})"

    def _envelope(self, system: System) -> tuple[Grid, FloatArray, FloatArray]:
        """A grid, an upper bound of the density on each cell, and the cumulated bounds."""
        if self._cached is not None and self._cached[0] is system:
            return self._cached[1]
        grid = self._grid(system)
        bound = np.zeros(grid.n_cells)
        for offset in np.ndindex((3,) * grid.dim):
            bound = np.maximum(bound, self._value(system, grid.points + (np.array(offset) - 1) / 2 * grid.spacing))
        # twice the gap between centre and largest node covers the curvature that the nodes do not see, 5 % a cusp
        bound = bound + (bound - self._value(system, grid.points)) + 0.05 * bound
        if not np.all(np.isfinite(bound)):
            where = format_point(grid.points[int(np.argmin(np.isfinite(bound)))])
            raise ConvergenceError(
                f"initial: the {self.name} law is not bounded near {where} and cannot be drawn by rejection; pass "
                "positions with initial.samples"
            )
        result = (grid, bound, np.cumsum(bound))
        self._cached = (system, result)
        return result


def _check_inside(bounds: FloatArray, system: System) -> None:
    """The box of a density lies in the domain."""
    if bounds.shape != (system.dim, 2) or not np.all(np.diff(bounds) > 0):
        raise ShapeError(f"bounds: expected {system.dim} pairs (low, high), got {bounds.tolist()}")
    domain = system.domain
    if np.any(bounds[:, 0] < domain.lower) or np.any(bounds[:, 1] > domain.upper):
        raise InputError(f"bounds: {bounds.tolist()} reach beyond {domain!r}")
