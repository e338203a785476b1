"""Initial laws, each serving an ensemble (addressed draws) and a density (cell masses)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import ConvergenceError, InputError, ShapeError
from relaxsim.system.covering_box import frozen
from relaxsim.system.domain import Domain
from relaxsim.system.expression import parse, tree_dim, uses_time
from relaxsim.system.field import Field, format_point
from relaxsim.system.grid import Grid
from relaxsim.system.law import Draws, Later, Law, check_dim, interval_images, outer, quadrature
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.system.system import System
from relaxsim.system.temperature import value_at
from relaxsim.system.validate import FloatArray, Problems, as_float_array, check_params

__all__ = ["Law", "density", "gibbs", "mixture", "normal", "point", "samples", "uniform"]

ENVELOPE_CELLS = {1: 4096, 2: 256, 3: 48}  # cells an axis of the envelope from which densities are drawn


def normal(mean: Any, scale: Any) -> Law:
    """A normal law.

    Parameters
    ----------
    mean : float or array_like (dim,)
        Centre.
    scale : float, array_like (dim,) or array_like (dim, dim)
        Standard deviation, one for each axis, or the covariance matrix.
    """
    return _Normal(mean, scale)


def uniform(bounds: Any = None) -> Law:
    """The uniform law on a box (low, high) for each axis, by default on the whole domain."""
    return _Uniform(bounds)


def point(x: Any) -> Law:
    """All particles at one point; on a grid all mass is in the cell that holds it."""
    return _Samples(np.atleast_1d(as_float_array(x, "x"))[None], "point")


def samples(array: Any) -> Law:
    """Given positions (m, dim): particle i starts at row i mod m; on a grid their histogram."""
    rows = as_float_array(array, "array")
    return _Samples(rows[:, None] if rows.ndim == 1 else rows, "samples")


def gibbs(*, t: float | None = None) -> Law:
    """The stationary law exp(-E/T)/Z of the system itself (up to three dimensions).

    Parameters
    ----------
    t : float, optional
        The time of E and T. It has to be given where they change with time: ``gibbs(t=times[0])`` begins a protocol in
        equilibrium.
    """
    if t is not None and not (isinstance(t, (int, float, np.integer, np.floating)) and np.isfinite(t)):
        raise InputError(f"gibbs: t={t!r}; expected a time, a finite number such as times[0]")
    return _Density(None, None, None, None if t is None else float(t))


def density(f: str | Callable[..., Any], *, bounds: Any = None, params: Mapping[str, float] | None = None) -> Law:
    """A law proportional to a nonnegative text or pointwise function (up to three dimensions).

    Parameters
    ----------
    f : str or callable
        The density; it need not be normalised.
    bounds : sequence of (low, high), optional
        Box that holds the law; needed when the domain is unbounded.
    params : mapping, optional
        Parameters of the text.
    """
    return _Density(f, bounds, params)


def mixture(laws: Sequence[Law], weights: Any = None) -> Law:
    """A mixture: laws[k], each conditioned on the domain, with probability weights[k] (by default equal)."""
    return _Mixture(laws, weights)


class _Normal(Law):
    name = "normal"

    def __init__(self, mean: Any, scale: Any) -> None:
        self.mean = np.atleast_1d(as_float_array(mean, "mean"))
        spread = as_float_array(scale, "scale")
        dim = len(self.mean)
        if self.mean.ndim != 1 or spread.ndim > 2 or (spread.ndim > 0 and spread.shape != (dim,) * spread.ndim):
            raise ShapeError(
                f"scale: expected a number, ({dim},) standard deviations or a ({dim}, {dim}) covariance for a mean "
                "of shape "
                f"{self.mean.shape}, got {spread.shape}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(spread).all()):
            raise InputError(f"initial: mean and scale must be finite, got {self.mean.tolist()} and {spread.tolist()}")
        covariance = spread if spread.ndim == 2 else np.diag(np.broadcast_to(spread, (dim,)) ** 2)
        smallest = np.linalg.eigvalsh(covariance)[0]
        if (
            not np.allclose(covariance, covariance.T, rtol=1e-12)
            or smallest <= 0
            or (spread.ndim < 2 and np.min(spread) <= 0)
        ):
            raise InputError(
                f"scale: standard deviations must be positive and a covariance symmetric positive definite, got "
                f"{spread.tolist()}"
                "; use initial.point for a sharp start"
            )
        self.covariance = covariance
        self.diagonal = spread.ndim < 2

    def __repr__(self) -> str:
        scale = np.sqrt(np.diag(self.covariance)) if self.diagonal else self.covariance
        return f"normal({self.mean.tolist()}, {scale.tolist()})"

    def check(self, system: System) -> None:
        check_dim(self.name, len(self.mean), system)

    def calls(self, system: System) -> int:
        return (system.dim + 1) // 2

    def propose(self, system: System, draws: Draws, first: int) -> tuple[FloatArray, Any]:
        z = np.concatenate([draws.normals(first + q) for q in range(self.calls(system))])[: system.dim]
        x = self.mean + (np.linalg.cholesky(self.covariance) @ z).T
        return x, np.ones(len(x), dtype=bool)

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        if self.diagonal:
            sigma = np.sqrt(np.diag(self.covariance))
            axes = [self._axis_masses(grid, a, float(self.mean[a]), float(sigma[a])) for a in range(grid.dim)]
            return outer(axes)
        if grid.dim == 2:
            return self._plane_masses(grid)
        precision = np.linalg.inv(self.covariance)
        shifts = np.stack(np.meshgrid(*(self._turns(grid, a) for a in range(grid.dim)), indexing="ij"), axis=-1)

        def pdf(points: FloatArray) -> Any:
            total: Any = 0.0
            for shift in shifts.reshape(-1, grid.dim):
                away = points - shift - self.mean
                total = total + np.exp(-0.5 * np.einsum("...a,ab,...b->...", away, precision, away))
            return total / np.sqrt(np.linalg.det(2 * np.pi * self.covariance))

        return quadrature(pdf, grid, 8)

    def _turns(self, grid: Grid, axis: int) -> FloatArray:
        sigma = float(np.sqrt(self.covariance[axis, axis]))
        mean = float(self.mean[axis])
        return interval_images(grid, axis, mean - 9 * sigma, mean + 9 * sigma)

    def _plane_masses(self, grid: Grid) -> FloatArray:
        """Two dimensions: the law of y given x in closed form, integrated over x where the law of x has mass."""
        from scipy.special import ndtr

        (sxx, sxy), (_, syy) = self.covariance
        sigma, rest = np.sqrt(sxx), np.sqrt(syy - sxy * sxy / sxx)
        position, weight = np.polynomial.legendre.leggauss(16)
        masses = np.zeros(grid.shape)
        for turn_x in self._turns(grid, 0):
            centre = self.mean[0] + turn_x
            low = np.clip(grid.edges[0][:-1], centre - 9 * sigma, centre + 9 * sigma)
            high = np.clip(grid.edges[0][1:], centre - 9 * sigma, centre + 9 * sigma)
            for panel in range(8):  # of a cell, or of what the law covers of it
                a, width = low + (high - low) * panel / 8, (high - low) / 8
                x = a[:, None] + width[:, None] * (position + 1) / 2
                p = np.exp(-0.5 * ((x - centre) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
                p = p * weight / 2 * width[:, None]
                mean = self.mean[1] + sxy / sxx * (x - centre)
                for turn_y in self._turns(grid, 1):
                    below = ndtr((grid.edges[1] - turn_y - mean[..., None]) / rest)
                    masses += np.einsum("iq,iqj->ij", p, np.diff(below, axis=-1))
        return masses

    def _axis_masses(self, grid: Grid, axis: int, mean: float, sigma: float) -> FloatArray:
        from scipy.special import ndtr

        edges, total = grid.edges[axis], np.zeros(grid.shape[axis])
        for turn in self._turns(grid, axis):
            u = (edges - turn - mean) / sigma
            # differences of upper tails on the right, where 1 - tiny would round to 1
            total += np.where(u[:-1] > 0, ndtr(-u[:-1]) - ndtr(-u[1:]), ndtr(u[1:]) - ndtr(u[:-1]))
        return total


class _Uniform(Law):
    name = "uniform"

    def __init__(self, bounds: Any) -> None:
        self.bounds = None if bounds is None else as_float_array(bounds, "bounds").reshape(-1, 2)
        if self.bounds is not None and not (np.isfinite(self.bounds).all() and np.all(np.diff(self.bounds) > 0)):
            raise InputError(f"bounds: expected finite low < high for each axis, got {self.bounds.tolist()}")

    def __repr__(self) -> str:
        return "uniform()" if self.bounds is None else f"uniform({self.bounds.tolist()})"

    def check(self, system: System) -> None:
        if self.bounds is not None:
            check_dim(self.name, len(self.bounds), system)
        elif not system.domain.bounded:
            raise InputError("initial: uniform() without bounds needs a bounded domain; write uniform([(-1, 1), ...])")

    def calls(self, system: System) -> int:
        return (system.dim + 1) // 2

    def propose(self, system: System, draws: Draws, first: int) -> tuple[FloatArray, Any]:
        low, high = self._box(system)
        u = np.concatenate([draws.uniforms(first + q) for q in range(self.calls(system))])[: system.dim]
        return high - (high - low) * u.T, np.ones(u.shape[1], dtype=bool)

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        low, high = self._box(system)
        axes = []
        for a, edges in enumerate(grid.edges):
            total = np.zeros(grid.shape[a])
            for shift in interval_images(grid, a, low[a], high[a]):
                total += np.maximum(
                    np.minimum(edges[1:], high[a] + shift) - np.maximum(edges[:-1], low[a] + shift), 0.0
                )
            axes.append(total / (high[a] - low[a]))
        return outer(axes)

    def _box(self, system: System) -> tuple[FloatArray, FloatArray]:
        if self.bounds is None:
            return system.domain.lower, system.domain.upper
        return self.bounds[:, 0], self.bounds[:, 1]


class _Samples(Law):
    def __init__(self, rows: FloatArray, name: str) -> None:
        if rows.ndim != 2 or rows.size == 0:
            raise ShapeError(f"{name}: expected positions of shape (m, dim), got {rows.shape}")
        if not np.isfinite(rows).all():
            raise InputError(f"{name}: position {int(np.argmin(np.isfinite(rows).all(axis=1)))} is not finite")
        self.rows, self.name = rows, name

    def __repr__(self) -> str:
        n, dim = self.rows.shape
        return f"point({self.rows[0].tolist()})" if self.name == "point" else f"samples({n} positions, dim {dim})"

    def check(self, system: System) -> None:
        check_dim(self.name, self.rows.shape[1], system)
        outside = ~system.domain.contains(self.rows)
        if outside.any():
            where = format_point(self.rows[int(np.argmax(outside))])
            raise InputError(f"initial: the position {where} lies outside {system.domain!r}")

    def calls(self, system: System) -> int:
        return 1

    def propose(self, system: System, draws: Draws, first: int) -> tuple[FloatArray, Any]:
        index = np.asarray(draws.particles % np.uint64(len(self.rows)), dtype=np.int64)
        return self.rows[index], np.ones(len(index), dtype=bool)

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        counts, _ = np.histogramdd(system.domain.wrap(self.rows), bins=list(grid.edges))
        return np.asarray(counts / len(self.rows))


class _Density(Law):
    """A density known up to a factor: drawn by rejection from a piecewise constant envelope."""

    is_normalised = False

    def __init__(
        self,
        f: str | Callable[..., Any] | None,
        bounds: Any,
        params: Mapping[str, float] | None,
        t: float | None = None,
    ) -> None:
        self._given, self.t = f, t
        problems = Problems()
        clean = check_params(params, "params", problems)
        problems.raise_if_any()
        self.name = "Gibbs" if f is None else "density"
        self.bounds = None if bounds is None else as_float_array(bounds, "bounds").reshape(-1, 2)
        self.dim = 1
        self.field: Field | None = None
        self._lowest: tuple[System, float] | None = None  # energies are measured from the lowest, so that exp is safe
        self._cached: tuple[System, tuple[Grid, FloatArray, FloatArray]] | None = None
        if isinstance(f, str):
            tree = parse(f, params=clean)
            if uses_time([tree]):
                raise InputError("initial: an initial density is a law at one time; replace t by its value")
            self.field, self.dim = Field((), trees=tree, params=clean), tree_dim(tree)
        elif f is not None:
            self.field = Field((), function=f)

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
        if system.time_dependent and self.field is None and self.t is None:
            raise InputError(
                "initial: gibbs() needs a system that does not depend on time, or the time of its law: gibbs(t=0.0)"
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
            return np.exp(log_cell_weights(system, grid, self.t or 0.0)[0])
        return quadrature(lambda points: self._value(system, points), grid, 6, self.bounds)

    def _value(self, system: System, points: FloatArray) -> FloatArray:
        if self.field is not None:
            value = self.field(points)
            if np.any(value < 0) or not np.all(np.isfinite(value)):
                worst = points.reshape(-1, points.shape[-1])[int(np.argmin(np.nan_to_num(value.ravel(), nan=-np.inf)))]
                raise InputError(f"initial: the density is negative or not finite at {format_point(worst)}")
            return value
        t = self.t or 0.0
        if self._lowest is None or self._lowest[0] is not system:
            self._lowest = (system, float(np.min(system.energy(self._grid(system).points, t))))
        return np.asarray(np.exp(-(system.energy(points, t) - self._lowest[1]) / value_at(system.temperature, t)))

    def _grid(self, system: System) -> Grid:
        shape = (ENVELOPE_CELLS[system.dim],) * system.dim
        if self.bounds is not None:
            return Grid(Domain(self.bounds), shape)
        if system.domain.bounded:
            return Grid(system.domain, shape)
        return Grid.covering(frozen(system, self.t or 0.0), shape)

    def __repr__(self) -> str:
        if self._given is None:
            return "gibbs()" if self.t is None else f"gibbs(t={self.t:g})"
        return f"density({self._given!r})"

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


class _Mixture(Law):
    name = "mixture"

    def __init__(self, laws: Sequence[Law], weights: Any) -> None:
        if not laws or not all(isinstance(law, Law) for law in laws):
            raise InputError(f"laws: expected a list of laws, got {laws!r}")
        self.laws = list(laws)
        given = np.ones(len(laws)) if weights is None else as_float_array(weights, "weights")
        if given.shape != (len(laws),) or not np.all(np.isfinite(given)) or given.min() < 0 or given.sum() <= 0:
            raise InputError(f"weights: expected {len(laws)} nonnegative numbers with a positive sum, got {weights!r}")
        self.weights = given / given.sum()

    def __repr__(self) -> str:
        return f"mixture({self.laws!r}, {self.weights.tolist()})"

    def check(self, system: System) -> None:
        for law in self.laws:
            law.check(system)

    def sample(self, system: System, draws: Draws) -> FloatArray:
        # the component is chosen once: whoever is drawn again is drawn again from the same one
        which = np.searchsorted(np.cumsum(self.weights), draws.uniforms(0)[0])
        which = np.minimum(which, len(self.laws) - 1)
        x = np.empty((len(which), system.dim))
        for k, law in enumerate(self.laws):
            mine = np.nonzero(which == k)[0]
            if len(mine):
                x[mine] = law.sample(system, Later(draws.restrict(mine), 1))
        return x

    def cell_masses(self, system: System, grid: Grid) -> FloatArray:
        return np.asarray(sum(w * law.masses(system, grid) for w, law in zip(self.weights, self.laws, strict=True)))


def _check_inside(bounds: FloatArray, system: System) -> None:
    """The box of a density lies in the domain."""
    if bounds.shape != (system.dim, 2) or not np.all(np.diff(bounds) > 0):
        raise ShapeError(f"bounds: expected {system.dim} pairs (low, high), got {bounds.tolist()}")
    domain = system.domain
    if np.any(bounds[:, 0] < domain.lower) or np.any(bounds[:, 1] > domain.upper):
        raise InputError(f"bounds: {bounds.tolist()} reach beyond {domain!r}")
