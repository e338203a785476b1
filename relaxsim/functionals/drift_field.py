"""A drift and a covariance, given or estimated, as what a reconstruction needs: the force that an energy would have.

For dx = mu dt + dW with Cov(dW) = 2 D dt, an energy with detailed balance has the gradient grad(E/T) = z with
z = D^{-1}(div D - mu), so z has to be free of curl.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, MobilityError, ShapeError
from relaxsim.functionals.grid_fields import derivative, edge_integrals, thirds
from relaxsim.functionals.kramers_moyal import KramersMoyal
from relaxsim.functionals.replicates import jackknife_stderr
from relaxsim.system.field import Field, format_point
from relaxsim.system.grid import Grid
from relaxsim.system.matrix_entries import given_field
from relaxsim.system.system import System

FloatArray = NDArray[np.float64]

_CLEAR = 5.0  # standard errors that the smallest eigenvalue of an estimated D has to be above zero
_BENT = 0.3  # of the smallest eigenvalue of D in a cell: an interpolated one below it is not used
_STEP = 1e-2  # of a cell: of the differences that a function is differentiated by


@dataclass(frozen=True, eq=False)
class DriftField:
    """Everything on the cell centres, with a leading axis: the whole estimate first, then its replicates.

    Attributes
    ----------
    grid : Grid
    drift : ndarray, shape (n_batch, \\*grid.shape, dim)
        mu.
    diffusion : ndarray, shape (n_batch, \\*grid.shape, dim, dim)
        D = Sigma/2.
    divergence : ndarray, shape (n_batch, \\*grid.shape, dim)
        div D.
    edges : list of ndarray, shape (n_batch, \\*grid.shape)
        Integral of z_a from each cell to the next one along axis a.
    curl : dict of (a, b) to ndarray, shape (n_batch, \\*grid.shape)
        d_a z_b - d_b z_a.
    curl_slack : dict of (a, b) to ndarray, shape (n_batch, \\*grid.shape)
        What the differences may have left in the curl of a gradient.
    counts : ndarray, shape grid.shape, or None
        Data in each cell; None for functions.
    law : object or None
        The functions; None for an estimate.
    """

    grid: Grid
    drift: FloatArray
    diffusion: FloatArray
    divergence: FloatArray
    edges: list[FloatArray]
    curl: dict[tuple[int, int], FloatArray]
    curl_slack: dict[tuple[int, int], FloatArray]
    counts: FloatArray | None
    law: _Given | None = None

    @property
    def force(self) -> FloatArray:
        """z on the cell centres."""
        return _force(self.drift, self.diffusion, self.divergence)

    def first(self) -> DriftField:
        """Without the replicates."""
        one = {name: getattr(self, name)[:1] for name in ("drift", "diffusion", "divergence")}
        return replace(self, edges=[e[:1] for e in self.edges], **one)

    def on_thirds(self) -> tuple[FloatArray, FloatArray, Grid]:
        """mu and D of the whole estimate on cells of a third of the width, whose centres hold those of the grid."""
        fine = Grid(self.grid.domain, [3 * n for n in self.grid.shape], bounds=self.grid.bounds)
        if self.law is not None:
            points = fine.points.reshape(*fine.shape, fine.dim)
            return self.law.drift(points), self.law.diffusion(points), fine
        diffusion, home = thirds(self.diffusion[0], self.grid), self.diffusion[0]
        for axis in range(self.grid.dim):
            home = np.repeat(home, 3, axis=axis)
        smallest, at_home = (np.linalg.eigvalsh(np.nan_to_num(each))[..., 0] for each in (diffusion, home))
        bent = ~(smallest > _BENT * at_home)  # noise at the rim: parabolas may leave the positive matrices
        diffusion[bent] = home[bent]
        return thirds(self.drift[0], self.grid), diffusion, fine

    @classmethod
    def of_estimate(cls, estimate: KramersMoyal) -> DriftField:
        """From conditional moments, with differences on the grid."""
        grid, dim = estimate.grid, estimate.grid.dim
        drift = np.concatenate([estimate.drift[None], estimate.drift_replicates])
        diffusion = np.concatenate([estimate.diffusion[None], estimate.diffusion_replicates])
        smallest = np.linalg.eigvalsh(np.nan_to_num(diffusion))[..., 0]
        positive = (smallest > 0).all(axis=0) & (smallest[0] > _CLEAR * jackknife_stderr(smallest[1:]))
        if not positive.any():
            raise MobilityError("estimate: the diffusion is nowhere positive definite within its errors; use more data")
        drift[:, ~positive] = np.nan
        diffusion[:, ~positive] = np.nan
        divergence = sum(
            np.stack([derivative(diffusion[..., a, c], c, grid) for a in range(dim)], axis=-1) for c in range(dim)
        )
        z = _force(drift, diffusion, np.asarray(divergence))
        curl, slack = {}, {}
        for a, b in _planes(dim):
            fine, coarse = (
                derivative(z[..., b], a, grid, order) - derivative(z[..., a], b, grid, order) for order in (4, 2)
            )
            curl[a, b], slack[a, b] = fine, np.abs(fine - coarse)
        edges = [edge_integrals(z[..., a], a, grid) for a in range(dim)]
        return cls(grid, drift, diffusion, np.asarray(divergence), edges, curl, slack, estimate.counts)

    @classmethod
    def of_functions(cls, drift: Any, covariance: Any, grid: Grid) -> DriftField:
        """From functions, exact to rounding."""
        law = _Given(drift, covariance, grid)
        points = grid.points.reshape(*grid.shape, grid.dim)
        z = law.force
        jacobian = np.stack([law.differentiated(z, points, c) for c in range(grid.dim)], axis=-1)  # d_c z_a
        scale = np.abs(jacobian).max() + np.abs(z(points)).max() / float(np.max(np.ptp(grid.bounds, axis=1)))
        curl = {(a, b): (jacobian[..., b, a] - jacobian[..., a, b])[None] for a, b in _planes(grid.dim)}
        slack = {plane: np.full((1, *grid.shape), 1e-6 * scale) for plane in curl}
        nodes, weights = np.polynomial.legendre.leggauss(4)
        edges = []
        for a in range(grid.dim):
            step = grid.spacing[a] * np.eye(grid.dim)[a]
            along = sum(w / 2 * z(points + (s + 1) / 2 * step)[..., a] for s, w in zip(nodes, weights, strict=True))
            integral = grid.spacing[a] * np.asarray(along)
            if not grid.periodic[a]:
                integral[(slice(None),) * a + (-1,)] = np.nan
            edges.append(integral[None])
        return cls(
            grid, law.drift(points)[None], law.diffusion(points)[None], law.divergence(points)[None], edges, curl,
            slack, None, law,
        )  # fmt: skip


class _Given:
    """Functions mu and Sigma/2 at points (..., dim), checked where they are used."""

    def __init__(self, drift: Any, covariance: Any, grid: Grid) -> None:
        if not isinstance(grid, Grid):
            raise InputError(f"grid: expected a Grid, got {type(grid).__name__}; write Grid(domain, shape, bounds=...)")
        self.grid, self.dim = grid, grid.dim
        if isinstance(drift, System):
            system = drift
            if covariance is not None:
                raise InputError("covariance: a System has its own, 2 T S; leave it out")
            if system.dim != grid.dim:
                raise ShapeError(f"grid: has {grid.dim} dimensions, the system {system.dim}")
            self._mu: Callable[[FloatArray], FloatArray] = system.drift
            temperature = system.temperature_at(0.0)
            self._d: Callable[[FloatArray], FloatArray] = lambda x: temperature * system.mobility.symmetric(x)
            return
        if covariance is None:
            raise InputError("covariance: is missing; for dx = mu dt + sqrt(2 T) dW with Cov(dW) = S dt pass 2 T S")
        mu, sigma = (
            function_field(given, name, grid) for given, name in ((drift, "drift"), (covariance, "covariance"))
        )
        if mu.shape not in ((self.dim,), () if self.dim == 1 else (self.dim,)):
            raise ShapeError(f"drift: expected {self.dim} numbers, one a coordinate, got the shape {mu.shape}")
        self._mu = lambda x: mu(x) if mu.shape else mu(x)[..., None]
        self._d = lambda x: _matrices(sigma, x) / 2

    def drift(self, x: FloatArray) -> FloatArray:
        values = np.asarray(self._mu(self.grid.domain.wrap(x)))
        bad = ~np.isfinite(values).all(axis=-1)
        if bad.any():
            raise InputError(f"drift: is {values[bad][0].tolist()} at {format_point(x[bad][0])}; shrink the grid's box")
        return values

    def diffusion(self, x: FloatArray) -> FloatArray:
        values = np.asarray(self._d(self.grid.domain.wrap(x)))
        smallest = np.linalg.eigvalsh(np.where(np.isfinite(values), values, -1.0))[..., 0]
        if not (smallest > 0).all():
            where = np.unravel_index(np.argmin(smallest), smallest.shape)
            raise MobilityError(
                f"covariance: is not positive definite at {format_point(x[where])}; a direction without noise has no "
                "reconstruction by detailed balance. For an ODE see lyapunov_function"
            )
        return values

    def differentiated(self, f: Callable[[FloatArray], FloatArray], x: FloatArray, axis: int) -> FloatArray:
        e = _STEP * self.grid.spacing[axis] * np.eye(self.dim)[axis]
        near, far = f(x + e) - f(x - e), f(x + 2 * e) - f(x - 2 * e)
        return np.asarray((8 * near - far) / (12 * _STEP * self.grid.spacing[axis]))

    def divergence(self, x: FloatArray) -> FloatArray:
        return np.asarray(sum(self.differentiated(self.diffusion, x, c)[..., c] for c in range(self.dim)))

    def force(self, x: FloatArray) -> FloatArray:
        return _force(self.drift(x), self.diffusion(x), self.divergence(x))


def _force(drift: FloatArray, diffusion: FloatArray, divergence: FloatArray) -> FloatArray:
    known = np.isfinite(drift).all(axis=-1) & np.isfinite(divergence).all(axis=-1)
    found = np.full_like(drift, np.nan)
    found[known] = np.linalg.solve(diffusion[known], (divergence - drift)[known][..., None])[..., 0]
    return found


def _planes(dim: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(dim) for b in range(a + 1, dim)]


def function_field(given: Any, argument: str, grid: Grid) -> Field:
    """A number, vector or matrix field of what users write, probed in the middle of a grid."""
    return given_field(given, argument, grid.points[grid.n_cells // 2])


def _matrices(field: Field, x: FloatArray) -> FloatArray:
    values = field(x)
    dim = x.shape[-1]
    if len(field.shape) < 2:
        values = (values[..., None] if field.shape else values[..., None, None]) * np.eye(dim)
    return np.asarray((values + np.swapaxes(values, -1, -2)) / 2)
