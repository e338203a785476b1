"""Where a system lives: all of space, a box with reflecting, absorbing or periodic walls, a hypercube."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import DomainError, ShapeError
from relaxsim.system.validate import FloatArray, Problems, as_float_array, nearest

BOUNDARIES = ("reflecting", "periodic", "absorbing")
Kind = str | tuple[str, str]  # of an axis: one word, or one for each of its ends


class Domain:
    """A box with a boundary condition for each axis.

    Parameters
    ----------
    bounds : sequence of (low, high)
        Lower and upper end of each axis, shape (dim, 2). An axis may be unbounded: ``(-inf, inf)``. In one dimension
        ``(low, high)`` is enough.
    boundary : {"reflecting", "periodic", "absorbing"} or sequence of these, default "reflecting"
        What happens at the ends of all axes, or of each. A reflecting wall lets no probability through: the no-flux
        condition n.K(p grad E + T grad p) = 0. On a periodic axis positions live in [low, high). An absorbing wall
        takes away what reaches it, p = 0 there; it is for densities only. A pair such as ``("absorbing",
        "reflecting")`` in the place of an axis says what its low and its high end are.

    Attributes
    ----------
    dim : int
        Number of coordinates.
    lower, upper : ndarray, shape (dim,)
        Ends of the axes, infinite where unbounded.
    boundary : tuple of str or pairs of str
        "reflecting", "periodic", "absorbing" or "unbounded" for each axis; a pair where its ends differ.
    absorbing : tuple of (bool, bool)
        Which ends of each axis absorb.

    Raises
    ------
    DomainError
        Bounds that are not increasing, half-infinite or not numbers; an unknown boundary condition.
    ShapeError
        Bounds that are not pairs.

    Examples
    --------
    >>> from relaxsim import Domain
    >>> Domain([(-3, 3), (0, 1)], boundary=["reflecting", "periodic"])
    Domain([(-3, 3), (0, 1)], boundary=('reflecting', 'periodic'))
    """

    def __init__(self, bounds: Any, boundary: str | Sequence[str | Sequence[str]] = "reflecting") -> None:
        array = as_float_array(bounds, "bounds")
        if array.shape == (2,):
            array = array[None]
        if array.ndim != 2 or array.shape[1] != 2 or array.shape[0] == 0:
            raise ShapeError(
                f"bounds: expected one (low, high) pair an axis, shape (dim, 2), got an array of shape {array.shape}; "
                "write bounds=[(-3, 3), (-3, 3)]"
            )
        problems = Problems()
        self.dim = int(array.shape[0])
        self.lower: FloatArray = array[:, 0].copy()
        self.upper: FloatArray = array[:, 1].copy()
        self.boundary: tuple[Kind, ...] = self._check_boundary(boundary, problems)
        self._check_bounds(problems)
        problems.raise_if_any()
        self.lower.flags.writeable = self.upper.flags.writeable = False

    @classmethod
    def unbounded(cls, dim: int) -> Domain:
        """All of R^dim."""
        return cls([(-np.inf, np.inf)] * _axes(dim))

    @classmethod
    def hypercube(cls, dim: int) -> Domain:
        """The cube (0, 1)^dim with reflecting walls, home of the diffusion machine."""
        return cls([(0.0, 1.0)] * _axes(dim))

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes are periodic."""
        return tuple(kind == "periodic" for kind in self.boundary)

    @property
    def wall_axes(self) -> list[int]:
        """The axes that end at walls."""
        return [axis for axis, kind in enumerate(self.boundary) if kind not in ("periodic", "unbounded")]

    @property
    def absorbing(self) -> tuple[tuple[bool, bool], ...]:
        """Which ends, low and high, of each axis absorb."""
        ends = ((kind, kind) if isinstance(kind, str) else kind for kind in self.boundary)
        return tuple((low == "absorbing", high == "absorbing") for low, high in ends)

    @property
    def absorbs(self) -> bool:
        """Whether any wall absorbs."""
        return any(low or high for low, high in self.absorbing)

    @property
    def bounded(self) -> bool:
        """Whether every axis has finite ends."""
        return "unbounded" not in self.boundary

    def contains(self, x: FloatArray) -> NDArray[np.bool_]:
        """Whether points of shape (..., dim) lie in the closed box; periodic axes contain every number."""
        inside = (x >= self.lower) & (x <= self.upper) | np.array(self.periodic)
        return np.asarray(np.all(inside, axis=-1))

    def walls(self, x: FloatArray) -> Iterator[tuple[int, float, FloatArray]]:
        """For each reflecting wall its axis, where it is, and points (..., dim) moved onto it along the axis."""
        for axis in self.wall_axes:
            for end in (self.lower[axis], self.upper[axis]):
                on_wall = x.copy()
                on_wall[..., axis] = end
                yield axis, end, on_wall

    def wrap(self, x: FloatArray) -> FloatArray:
        """Bring the periodic coordinates of points (..., dim) into [low, high)."""
        wrapped = np.array(x, dtype=np.float64)
        for axis, periodic in enumerate(self.periodic):
            if periodic:
                low, length = self.lower[axis], self.upper[axis] - self.lower[axis]
                inside = low + np.mod(wrapped[..., axis] - low, length)
                wrapped[..., axis] = np.where(inside < self.upper[axis], inside, low)  # rounding may reach the end
        return wrapped

    def sample_points(self, n: int = 32) -> FloatArray:
        """Points (n, dim) in the interior at which user input is probed; always the same ones.

        A Kronecker sequence over the box; unbounded axes are probed on (-2, 2).
        """
        low = np.where(np.isfinite(self.lower), self.lower, -2.0)
        high = np.where(np.isfinite(self.upper), self.upper, 2.0)
        irrational = np.sqrt(np.array(_PRIMES[: self.dim] if self.dim <= len(_PRIMES) else range(2, 2 + self.dim)))
        fractions = np.mod(np.arange(1, n + 1)[:, None] * irrational + 0.37, 1.0)
        return np.asarray(low + (high - low) * (0.01 + 0.98 * fractions), dtype=np.float64)

    def __repr__(self) -> str:
        bounds = ", ".join(f"({a:g}, {b:g})" for a, b in zip(self.lower, self.upper, strict=True))
        return f"Domain([{bounds}], boundary={self.boundary!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain):
            return NotImplemented
        return (
            np.array_equal(self.lower, other.lower)
            and np.array_equal(self.upper, other.upper)
            and self.boundary == other.boundary
        )

    def __hash__(self) -> int:
        return hash((self.lower.tobytes(), self.upper.tobytes(), self.boundary))

    def _check_boundary(self, boundary: str | Sequence[Any], problems: Problems) -> tuple[Kind, ...]:
        kinds = (boundary,) * self.dim if isinstance(boundary, str) else tuple(boundary)
        if len(kinds) != self.dim:
            problems.add("boundary", f"expected {self.dim} entries, one an axis, got {len(kinds)}", DomainError)
            return ("reflecting",) * self.dim
        clean: list[Kind] = []
        for axis, kind in enumerate(kinds):
            clean.append(self._check_kind(axis, kind, problems))
        return tuple(clean)

    def _check_kind(self, axis: int, kind: Any, problems: Problems) -> Kind:
        ends = (kind, kind) if isinstance(kind, str) else tuple(kind) if isinstance(kind, (tuple, list)) else (kind,)
        if len(ends) != 2 or (ends[0] != ends[1] and "periodic" in ends):
            problems.add(
                "boundary",
                f"expected a word for axis {axis}, or a pair of 'reflecting' and 'absorbing', got {kind!r}",
                DomainError,
            )
            return "reflecting"
        for end in ends:
            if end not in BOUNDARIES:
                hint = nearest(str(end), BOUNDARIES)
                problems.add(
                    "boundary", f"expected 'reflecting', 'periodic' or 'absorbing', got {end!r}{hint}", DomainError
                )
                return "reflecting"
        if np.isfinite(self.lower[axis]) or np.isfinite(self.upper[axis]):
            return ends[0] if ends[0] == ends[1] else (ends[0], ends[1])
        if "periodic" in ends or "absorbing" in ends:
            what = "periodic" if "periodic" in ends else "absorbing"
            problems.add("boundary", f"axis {axis} is {what} but has no finite ends; give bounds", DomainError)
        return "unbounded"

    def _check_bounds(self, problems: Problems) -> None:
        for axis, (low, high) in enumerate(zip(self.lower, self.upper, strict=True)):
            if np.isnan(low) or np.isnan(high):
                problems.add(f"bounds[{axis}]", f"expected numbers, got ({low}, {high})", DomainError)
            elif np.isfinite(low) != np.isfinite(high):
                problems.add(
                    f"bounds[{axis}]",
                    f"half-infinite axes are not supported, got ({low}, {high}); put the far end where exp(-E/T) is "
                    "negligible",
                    DomainError,
                )
            elif not low < high:
                problems.add(f"bounds[{axis}]", f"expected low < high, got ({low:g}, {high:g})", DomainError)


def _axes(dim: Any) -> int:
    """A number of axes."""
    if not isinstance(dim, (int, np.integer)) or isinstance(dim, bool) or dim < 1:
        raise DomainError(f"dim: expected an integer >= 1, got {dim!r}")
    return int(dim)


_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
