"""Initial laws, each serving an ensemble (addressed draws) and a density (cell masses)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.density_law import DensityLaw
from relaxsim.system.field import format_point
from relaxsim.system.grid import Grid
from relaxsim.system.law import Draws, Later, Law, check_dim, interval_images, outer, quadrature
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, as_float_array

__all__ = ["Law", "density", "gibbs", "mixture", "normal", "point", "samples", "uniform"]


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


def gibbs() -> Law:
    """The stationary law exp(-E/T)/Z of the system itself (up to three dimensions).

    Where E or T changes with time, that of the time at which it is the initial law: times[0] of a run.
    """
    return DensityLaw(None, None, None)


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
    return DensityLaw(f, bounds, params)


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

    def at(self, t: float) -> Law:
        law = copy.copy(self)
        law.laws = [each.at(t) for each in self.laws]
        return law

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
