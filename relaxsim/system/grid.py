"""A regular grid of cells: a box, cut into equal cells along each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import DomainError, InputError, ShapeError
from relaxsim.system.covering_box import COVERING_DIM, covering_box
from relaxsim.system.domain import Domain
from relaxsim.system.field import product_points
from relaxsim.system.temperature import gibbs_moves
from relaxsim.system.validate import FloatArray, Problems, as_float_array

if TYPE_CHECKING:
    from relaxsim.system.measure import Measure
    from relaxsim.system.system import System


class Grid:
    """Equal cells over the box of a domain, or over a box inside it.

    Parameters
    ----------
    domain : Domain
        Where the system lives.
    shape : int or sequence of int
        Number of cells along each axis, at least 2; one number serves all axes.
    bounds : sequence of (low, high), optional
        The box to cover, shape (dim, 2); an entry None keeps the domain's own bounds for that axis. Needed
        for unbounded axes, where the ends of the box become reflecting walls. A periodic axis is covered
        whole.
    measure : str, callable or Measure, optional
        sqrt(g) of the measure sqrt(g) dx with respect to which densities are meant, such as ``"sin(x)"`` on a sphere in
        polar coordinates; dx by default. `FokkerPlanck` then takes ``system.on_manifold(measure)``.

    Attributes
    ----------
    domain : Domain
    dim : int
    shape : tuple of int
    bounds : ndarray, shape (dim, 2)
        Ends of the box.
    spacing : ndarray, shape (dim,)
        Widths of a cell.
    cell_volume : float
    edges, centers : tuple of ndarray
        Ends (n + 1) and middles (n) of the cells of each axis.
    periodic : tuple of bool
        Which axes wrap around.
    n_cells : int
    points : ndarray, shape (n_cells, dim)
        Cell centres in C order.
    left_out : float or None
        Gibbs mass outside the box where it was estimated (`Grid.covering`), else None.
    measure : Measure or None

    Raises
    ------
    InputError, ShapeError, DomainError
        A shape or bounds that do not fit the domain, an unbounded axis without bounds.

    Examples
    --------
    >>> from relaxsim import Domain, Grid
    >>> Grid(Domain([(-3, 3), (0, 1)]), shape=(60, 20)).spacing
    array([0.1 , 0.05])
    """

    def __init__(self, domain: Domain, shape: int | Sequence[int], *, bounds: Any = None, measure: Any = None) -> None:
        if not isinstance(domain, Domain):
            raise InputError(
                f"domain: expected a Domain, got {type(domain).__name__}; write Grid(system.domain, shape=...)"
            )
        problems = Problems()
        self.domain = domain
        self.dim = domain.dim
        self.shape: tuple[int, ...] = _check_shape(shape, domain.dim, problems)
        self.bounds: FloatArray = _check_bounds(bounds, domain, problems)
        problems.raise_if_any()
        self.bounds.flags.writeable = False
        self.periodic: tuple[bool, ...] = domain.periodic
        self.left_out: float | None = None
        self.measure: Measure | None = None if measure is None else _check_measure(measure, self)

    @cached_property
    def spacing(self) -> FloatArray:
        """Widths of a cell, shape (dim,)."""
        return np.asarray((self.bounds[:, 1] - self.bounds[:, 0]) / np.array(self.shape))

    @property
    def cell_volume(self) -> float:
        """Volume of a cell."""
        return float(np.prod(self.spacing))

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @cached_property
    def edges(self) -> tuple[FloatArray, ...]:
        """Ends of the cells of each axis, arrays of n + 1 increasing numbers."""
        return tuple(np.linspace(low, high, n + 1) for (low, high), n in zip(self.bounds, self.shape, strict=True))

    @cached_property
    def centers(self) -> tuple[FloatArray, ...]:
        """Middles of the cells of each axis, arrays of n numbers."""
        return tuple((edges[1:] + edges[:-1]) / 2 for edges in self.edges)

    @property
    def points(self) -> FloatArray:
        """Cell centres in C order, shape (n_cells, dim)."""
        return product_points(self.centers).reshape(-1, self.dim)

    @classmethod
    def covering(cls, system: System, shape: int | Sequence[int], tail: float = 1e-10, times: Any = None) -> Grid:
        """A grid whose box leaves out about `tail` of the Gibbs mass, or less, on the unbounded axes.

        The lowest point of the energy is searched on nested scales around the origin; a mesh that widens
        geometrically away from it gives the mass of exp(-E/T) slice by slice, and the box is drawn in as far
        as `tail` allows, on finer and finer meshes. Bounded axes keep the domain's bounds. What is left out is
        an estimate on that mesh: wells much narrower than their distance, or thin arms of mass, can be missed;
        pass bounds to `Grid` there. Where E or T changes with time they are those of time zero, or of all `times`.

        Parameters
        ----------
        system : System
            Up to three dimensions.
        shape : int or sequence of int
            Number of cells along each axis.
        tail : float, default 1e-10
            Gibbs mass that may be left out, between 1e-15 and 0.5; the estimate of what was is `grid.left_out`.
        times : float or array_like, shape (n_times,), optional
            Where E or T changes with time: one box for the Gibbs laws of these times. At the hottest of them, and where
            the laws move apart, it leaves out about `tail`, at no other more than 1e-6 or `tail`, whichever is larger.

        Raises
        ------
        InputError
            exp(-E/T) is not normalisable or decays too slowly for any box, more than three dimensions; times that are
            not finite, or at which T is not positive.

        Examples
        --------
        >>> from relaxsim import Grid, System
        >>> dragged = System("(x - 2*t)**2/2", temperature=0.5)
        >>> Grid.covering(dragged, shape=64).bounds.round(1)
        array([[-4.6,  4.6]])
        >>> Grid.covering(dragged, shape=64, times=[0, 1, 2, 3]).bounds.round(1)
        array([[-4.6, 10.6]])
        """
        domain = system.domain
        if not 1e-15 <= tail <= 0.5:
            raise InputError(f"tail: expected a Gibbs mass between 1e-15 and 0.5, got {tail!r}")
        if domain.bounded:
            return cls(domain, shape)
        if domain.dim > COVERING_DIM:
            raise InputError(
                f"system: a covering box is searched in up to {COVERING_DIM} dimensions, got {domain.dim}; "
                "pass bounds= to Grid instead"
            )
        if times is None or not gibbs_moves(system):
            box, left_out = covering_box(system, tail)
        else:
            from relaxsim.system.moving_box import moving_box

            box, left_out = moving_box(system, tail, _check_times(times))
        grid = cls(domain, shape, bounds=box)
        grid.left_out = left_out
        return grid

    def __repr__(self) -> str:
        box = ", ".join(f"({low:g}, {high:g})" for low, high in self.bounds)
        return f"Grid({self.domain!r}, shape={self.shape}, bounds=[{box}])"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same = self.domain == other.domain and self.shape == other.shape and self.measure == other.measure
        return same and np.array_equal(self.bounds, other.bounds)

    def __hash__(self) -> int:
        return hash((self.domain, self.shape, self.bounds.tobytes()))


def _check_times(times: Any) -> FloatArray:
    array = np.atleast_1d(as_float_array(times, "times"))
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise InputError(f"times: expected finite times such as path.times, got {times!r:.80}")
    return array


def _check_measure(measure: Any, grid: Grid) -> Measure:
    from relaxsim.system.measure import Measure

    made = Measure.coerce(measure)
    made.check(grid.points)
    return made


def _check_shape(shape: Any, dim: int, problems: Problems) -> tuple[int, ...]:
    entries = tuple(shape) if isinstance(shape, (Sequence, np.ndarray)) and not isinstance(shape, str) else (shape,)
    if len(entries) == 1:
        entries = entries * dim
    if len(entries) != dim:
        problems.add(
            "shape",
            f"expected {dim} numbers of cells, one an axis of the domain, got {len(entries)}",
            ShapeError,
        )
        return (2,) * dim
    for entry in entries:
        if isinstance(entry, (bool, np.bool_)) or not isinstance(entry, (int, np.integer)) or entry < 2:
            problems.add("shape", f"expected integers >= 2, the number of cells along each axis, got {entry!r}")
            return (2,) * dim
    return tuple(int(entry) for entry in entries)


def _check_bounds(bounds: Any, domain: Domain, problems: Problems) -> FloatArray:
    own = np.stack([domain.lower, domain.upper], axis=1)
    if bounds is None:
        box = own.copy()
    else:
        pairs: Any = [bounds] if domain.dim == 1 and np.shape(np.asarray(bounds, dtype=object)) == (2,) else bounds
        try:
            box = as_float_array(
                [own[a] if pair is None else pair for a, pair in enumerate(pairs)], "bounds"
            )  # fmt: skip
        except (TypeError, IndexError, ShapeError):
            box = np.zeros(0)
        if box.shape != own.shape:
            problems.add(
                "bounds",
                f"expected {domain.dim} pairs (low, high), one an axis, got {bounds!r:.80}",
                ShapeError,
            )
            return np.tile([0.0, 1.0], (domain.dim, 1))
    for axis, (low, high) in enumerate(box):
        problem = _bounds_problem(axis, low, high, domain)
        if problem is not None:
            problems.add("bounds" if bounds is None else f"bounds[{axis}]", problem, DomainError)
    return box


def _bounds_problem(axis: int, low: float, high: float, domain: Domain) -> str | None:
    own_low, own_high = domain.lower[axis], domain.upper[axis]
    if not (math.isfinite(low) and math.isfinite(high)):
        return (
            f"axis {axis} is unbounded: say which part of it the grid covers, bounds=[(low, high), ...], or "
            "let Grid.covering(system, shape) find a box"
        )
    if not low < high:
        return f"expected low < high, got ({low:g}, {high:g})"
    if domain.periodic[axis] and (low, high) != (own_low, own_high):
        return f"axis {axis} is periodic and is covered whole, ({own_low:g}, {own_high:g}); got ({low:g}, {high:g})"
    if low < own_low or high > own_high:
        return f"({low:g}, {high:g}) reaches beyond the domain's ({own_low:g}, {own_high:g})"
    return None
