"""The generator of any Itô drift and covariance, where no energy is known.

dx = mu dt + dW with Cov(dW) = Sigma dt has the density dp/dt = -d_a (mu^a p) + (1/2) d_a d_b (Sigma^ab p) = d_a (K^ab
d_b p - b^a p) with K = Sigma/2 and b^a = mu^a - d_c K^ac. The rates conserve mass, are nonnegative and exponentially
fitted. There is no energy, so the law at rest is that of the walk: it is not known beforehand, and second order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.cells import CellGeometry, half_lattice, halfway, over_blocks
from relaxsim.density.checks import check_ends, smallest_eigenvalue
from relaxsim.density.generator import MAX_DIM, assemble
from relaxsim.density.links import Links
from relaxsim.density.rates import bernoulli
from relaxsim.density.stencil import IntArray
from relaxsim.density.tensor import tensor_links
from relaxsim.density.walls import wall_links
from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.field import Field, format_point
from relaxsim.system.matrix_entries import given_field
from relaxsim.system.validate import FloatArray, Problems

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

_STEP = 1e-2  # of a cell: of the fourth-order differences that give div K
_SINGULAR = 1e-9  # smallest over largest eigenvalue in units of cells, below which drift is upwinded
_UNEQUAL = 1e-9  # of the largest entry of Sigma: difference to its transpose that is not rounding
_STEEP = 700.0  # exponent from which on fitted rates are upwind rates


class DriftProcess:
    """An Itô process: drift mu(x) and covariance rate Sigma(x) on a domain.

    Parameters
    ----------
    mu : text, number, sequence of these, or callable
        A drift for each coordinate; a function ``mu(x)`` returns d numbers.
    sigma : text, number, sequence, rows of these, array, or callable
        Covariance of the noise per time: a number, a diagonal or a symmetric matrix, positive semidefinite. For
        dx = mu dt + sqrt(2 T K) dW that is 2 T K.
    domain : Domain
        One to three dimensions.
    time_dependent : bool
        Whether functions take a second argument t. In text, just use ``t``.

    Attributes
    ----------
    mu, sigma : Field
    dim : int
    domain : Domain
    time_dependent : bool
    temperature : float
        1: without an energy it means nothing, and free energies are in units of T.

    Raises
    ------
    InputError, ShapeError, ExpressionError
        What cannot be read, or does not fit the domain.
    """

    temperature = 1.0

    def __init__(self, mu: Any, sigma: Any, domain: Domain, *, time_dependent: bool = False) -> None:
        if not isinstance(domain, Domain):
            raise DomainError(f"domain: expected a Domain, got {type(domain).__name__}; write Domain([(-3, 3)])")
        if domain.dim > MAX_DIM:
            raise InputError(f"domain: densities are evolved in one to three dimensions, got {domain.dim}")
        self.domain, self.dim = domain, domain.dim
        probe = domain.sample_points(1)[0]
        self.mu = mu if isinstance(mu, Field) else given_field(mu, "mu", probe, time_dependent)
        self.sigma = sigma if isinstance(sigma, Field) else given_field(sigma, "Sigma", probe, time_dependent)
        if self.mu.shape not in ((self.dim,), () if self.dim == 1 else (self.dim,)):
            raise ShapeError(f"mu: expected {self.dim} numbers, one a coordinate, got the shape {self.mu.shape}")
        self.time_dependent = self.mu.depends_on_time or self.sigma.depends_on_time

    @property
    def full(self) -> bool:
        """Whether Sigma is a matrix and not a diagonal."""
        return self.dim > 1 and len(self.sigma.shape) == 2

    def fields(self, t: float) -> list[tuple[str, float, Callable[[FloatArray], FloatArray]]]:
        """Name, smallest scale and values of what has to be periodic on periodic axes."""
        return [("mu", 0.0, lambda x: self.mu(x, t)), ("Sigma", 0.0, lambda x: self.sigma(x, t))]

    def drift(self, x: FloatArray, t: float = 0.0) -> FloatArray:
        """mu at points (..., dim), same shape."""
        values = self.mu(self.domain.wrap(x), t)
        values = values if self.mu.shape else values[..., None]
        _refuse_nonfinite("mu", values, x, InputError)
        return values

    def half_covariance(self, x: FloatArray, t: float = 0.0) -> FloatArray:
        """K = Sigma/2 at points (..., dim), shape (..., dim, dim)."""
        values = self.sigma(self.domain.wrap(x), t) / 2
        if len(self.sigma.shape) < 2:
            values = (values[..., None] if self.sigma.shape else values[..., None, None]) * np.eye(self.dim)
        _refuse_nonfinite("Sigma", values.reshape(*x.shape[:-1], -1), x, MobilityError)
        transposed = np.swapaxes(values, -1, -2)
        uneven = np.abs(values - transposed).max(axis=(-2, -1)) > _UNEQUAL * np.abs(values).max(axis=(-2, -1))
        if uneven.any():
            raise MobilityError(
                f"Sigma: it is {(2 * values[uneven][0]).tolist()} at {format_point(x[uneven][0])}, expected a "
                "symmetric matrix, as covariances are; give B B^T where the noise is B dW"
            )
        return np.asarray((values + transposed) / 2)

    def conservative_drift(self, x: FloatArray, t: float, steps: FloatArray) -> FloatArray:
        """b^a = mu^a - d_c K^ac at points (..., dim); div K by differences over `steps`."""
        b = self.drift(x, t)
        for c, step in enumerate(steps):
            e = step * np.eye(self.dim)[c]
            near = self.half_covariance(x + e, t) - self.half_covariance(x - e, t)
            far = self.half_covariance(x + 2 * e, t) - self.half_covariance(x - 2 * e, t)
            b = b - (8 * near - far)[..., c] / (12 * step)
        return np.asarray(b)

    def __repr__(self) -> str:
        return f"DriftProcess({self.domain!r})"


def drift_generator(process: DriftProcess, grid: Grid, t: float = 0.0) -> Any:
    """Generator on cell masses of an Itô process, walls reflecting or periodic.

    Along the offsets v of Selling's split of K = Sigma/2, the rate from i to j is lambda_v B(-delta), delta = b . K^-1
    (x_j - x_i) halfway, with the mean lambda_v of both ends. Along axes of a diagonal K that is K_aa/h^2 B(-b_a h /
    K_aa), whose limit for K_aa = 0 is upwinding. Where a full K is singular its drift is upwinded along the axes, and
    the noise gets a share 1/n of another direction (first order there).

    Parameters
    ----------
    process : DriftProcess
    grid : Grid
        Cells inside the domain of the process.
    t : float

    Returns
    -------
    scipy.sparse.csr_array, shape (n_cells, n_cells)
        Columns sum to zero; nonnegative off the diagonal.

    Raises
    ------
    InputError, MobilityError, DomainError
        Values that are not finite, Sigma not symmetric or with a negative eigenvalue, a grid with too few cells for
        Sigma's anisotropy, drift or covariance that are not periodic on a periodic axis.
    """
    problems = Problems()
    check_ends(grid, process.fields(t), t, problems)
    problems.raise_if_any()
    cells = DriftCells(process, grid, t)
    links = Links(cells)
    if process.full:
        wall_links(cells, links, tensor_links(cells, links))
        cells.add_upwind(links)
    else:
        for axis in range(grid.dim):
            cells.add_axis(links, axis)
    return assemble(links)


class DriftCells(CellGeometry):
    """Drift and half covariance on a grid at one time; stands for `Cells` where edges are made."""

    temperature = 1.0
    density = None
    turns = False
    one_tensor = False

    def __init__(self, process: DriftProcess, grid: Grid, t: float) -> None:
        self.process, self.grid, self.t = process, grid, t
        self._steps = _STEP * grid.spacing

    def symmetric(self, points: FloatArray, density: FloatArray | None = None) -> FloatArray:
        """K at points, with a share of all directions where it is singular and not diagonal."""
        matrices = self.process.half_covariance(points, self.t)
        scale = np.outer(self.grid.spacing, self.grid.spacing)
        units = matrices / scale
        size = np.trace(units, axis1=-2, axis2=-1)
        oblique = np.abs(units - units * np.eye(self.grid.dim)).max(axis=(-2, -1)) > 0
        mended = oblique & (np.abs(smallest_eigenvalue(units)) <= _SINGULAR * size)
        share = np.where(mended, size / max(self.grid.shape), 0.0)
        return np.asarray(matrices + share[..., None, None] * np.eye(self.grid.dim) * scale)

    @cached_property
    def _slopes(self) -> FloatArray:
        """h_a beta_a with beta = K^-1 b on the half lattice, shape (n, dim); zero where K is singular."""

        def slopes(points: FloatArray) -> FloatArray:
            b = self.process.conservative_drift(points, self.t, self._steps) / self.grid.spacing
            units = self.process.half_covariance(points, self.t) / np.outer(self.grid.spacing, self.grid.spacing)
            regular = ~self._singular(units)
            found = np.zeros_like(b)
            found[regular] = np.linalg.solve(units[regular], b[regular][..., None])[..., 0]
            return found

        return over_blocks(half_lattice(self.grid), slopes).reshape(-1, self.grid.dim)

    @staticmethod
    def _singular(units: FloatArray) -> Any:
        return ~(smallest_eigenvalue(units) > _SINGULAR * np.trace(units, axis1=-2, axis2=-1))

    def unit_rates(
        self, start: IntArray, end: IntArray, places: Sequence[IntArray], offset: Sequence[IntArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Fitted rates of edges of unit weight, forth and back."""
        slopes = self._slopes[halfway(self.grid, places, offset)]
        delta = np.sum([slopes[:, axis] * step for axis, step in enumerate(offset)], axis=0)
        return bernoulli(-delta), bernoulli(delta)

    def add_axis(self, links: Links, axis: int) -> None:
        """Links along an axis for a diagonal K."""
        b, units = self._at_faces(axis)
        rates = units[..., axis, axis]
        if (rates < 0).any():
            raise MobilityError(f"Sigma: its entry [{axis}, {axis}] is negative somewhere; a covariance is not")
        upwind = ~(rates * _STEEP > np.abs(b))
        delta = b / np.where(upwind, 1.0, rates)
        forth, back = (
            np.where(upwind, np.maximum(sign * b, 0.0), rates * bernoulli(np.where(upwind, 0.0, -sign * delta)))
            for sign in (1, -1)
        )
        links.add_axis(axis, self.padded(forth, (axis,)), self.padded(back, (axis,)))

    def add_upwind(self, links: Links) -> None:
        """Upwind rates along the axes where a full K is singular."""
        for axis in range(self.grid.dim):
            b, units = self._at_faces(axis)
            b = self.padded(np.where(self._singular(units), b, 0.0), (axis,))
            links.add_axis(axis, np.maximum(b, 0.0), np.maximum(-b, 0.0))

    def _at_faces(self, axis: int) -> tuple[FloatArray, FloatArray]:
        """b_a / h_a and K in units of cells on the faces towards the next cell along an axis."""
        axes = self.corners((axis,))
        b = over_blocks(axes, lambda x: self.process.conservative_drift(x, self.t, self._steps)[..., axis])
        units = over_blocks(axes, lambda x: self.process.half_covariance(x, self.t))
        return b / self.grid.spacing[axis], units / np.outer(self.grid.spacing, self.grid.spacing)


def _refuse_nonfinite(name: str, values: FloatArray, points: FloatArray, kind: type[ValueError]) -> None:
    bad = ~np.isfinite(values).all(axis=-1)
    if bad.any():
        raise kind(
            f"{name}: it is {values[bad][0].tolist()} at {format_point(points[bad][0])}, expected finite numbers; mend "
            "it there or shrink the grid's bounds"
        )
