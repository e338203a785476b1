"""Means over the particles of functions of the position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.particles.observables.accumulate import (
    GROUPS,
    LEAF,
    PIECE,
    combine_means,
    group_sums,
    in_leaves,
    mean_and_error,
    mean_nodes,
    tree,
)
from relaxsim.particles.observables.base import Observable, error_of_groups
from relaxsim.system.expression import parse, tree_dim
from relaxsim.system.field import Field
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, Problems, positive_integer

MAX_MONOMIALS = 10_000


def field_of(f: str | Callable[..., Any], system: System | None = None) -> Field:
    """A text or pointwise function as a field; with a system, refused if it gives no number at its points."""
    if not (isinstance(f, str) or callable(f)):
        raise InputError(f"f: expected text such as 'x**2' or a function of x, got {type(f).__name__}")
    field = Field((), trees=parse(f)) if isinstance(f, str) else Field((), function=f)
    if system is not None and field.trees is not None and tree_dim(field.trees) > system.dim:
        raise ShapeError(f"f: uses {tree_dim(field.trees)} coordinates, the particles have {system.dim}")
    if system is not None and field.trees is None:
        check_function(f, "f", system)
    return field


def check_function(f: Any, name: str, system: System) -> None:
    """Refuse a function of the position that uses more coordinates than there are, or gives no numbers."""
    try:
        Field((), function=f)(system.domain.sample_points(2))
    except IndexError:
        raise ShapeError(f"{name}: the function uses more coordinates than the {system.dim} of the particles") from None
    except ShapeError as error:
        raise ShapeError(f"{name}: {error}") from None


class Averages(Observable):
    """Means of some functions of the position, each with its standard error.

    At each time of the run the standard error is s/sqrt(n), with s the standard deviation over the particles. What is
    accumulated with `every` is correlated in time, so there it comes from the spread of 24 groups of particles.
    """

    scratch = ("_pieces", "_axes")

    def parallel(self, weighted: bool) -> bool:
        return True

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        self.times = times
        n = self.n_functions(system)
        self._pieces: list[FloatArray | None] = [None] * (-(-n_particles // PIECE))
        if self.every is None:
            self.nodes = np.zeros((len(times), n, 5))
        else:
            self.sums, self.weights = np.zeros((n, GROUPS)), np.zeros((n, GROUPS))

    def n_functions(self, system: System) -> int:
        """The number of functions."""
        raise NotImplementedError

    def values(self, positions: FloatArray, t: float) -> Iterator[FloatArray]:
        """Each function at positions (dim, m)."""
        raise NotImplementedError

    def look(self, leaf: int, positions: FloatArray, weights: FloatArray | None, k: int) -> None:
        found = []
        for values in self.values(positions, self.t):
            if self.every is None:
                found.append(tree(mean_nodes(values, weights), combine_means))
            else:
                w = np.ones(len(values)) if weights is None else weights
                found.append(np.stack([tree(group_sums(in_leaves(a), leaf)) for a in (w * values, w)]))
        self._pieces[(leaf - self.first_leaf) // (PIECE // LEAF)] = np.stack(found)

    def close(self, k: int) -> None:
        pieces = np.stack([piece for piece in self._pieces if piece is not None])
        if self.every is None:
            self.nodes[k] = tree(pieces, combine_means)
        else:
            total = tree(pieces)
            self.sums += total[:, 0]
            self.weights += total[:, 1]

    def merge(self, other: Any) -> None:
        self.check_mergeable(other)
        if self.every is None:
            self.nodes = combine_means(self.nodes, other.nodes)
        else:
            self.sums, self.weights = self.sums + other.sums, self.weights + other.weights
        self.add_particles(other)
        self.finish()

    def results(self) -> tuple[FloatArray, FloatArray]:
        """Means and their standard errors, (n_times, n_functions) or (n_functions,)."""
        if self.every is None:
            return mean_and_error(self.nodes, self.n_particles)
        with np.errstate(invalid="ignore"):
            value = self.sums.sum(axis=1) / self.weights.sum(axis=1)
        return value, error_of_groups(self.sums.T, self.weights.T)


class Mean(Averages):
    """The mean of a function of the position.

    Parameters
    ----------
    f : str or callable
        Text such as ``"x**2 + y**2"``, or a pointwise function of `x`, indexable by component.
    every : int, optional
        Accumulate every so many steps, by default measure at the times of `simulate`.
    after : float, optional
        With `every`: the time from which on to accumulate.

    Attributes
    ----------
    value, stderr : ndarray, shape (n_times,), or float with `every`
        The mean over the particles (and, with `every`, over time) and its standard error.
    times : ndarray, shape (n_times,)

    Examples
    --------
    >>> import relaxsim as rs
    >>> system = rs.System("x**2/2", temperature=0.5)
    >>> path = rs.simulate(
    ...     system,
    ...     rs.initial.point([0.0]),
    ...     n_particles=2000,
    ...     dt=0.1,
    ...     times=[0, 5],
    ...     rng=1,
    ...     store="none",
    ...     observables={"spread": rs.Mean("x**2")},
    ... )
    >>> path.observables["spread"].value.shape
    (2,)
    """

    def __init__(self, f: str | Callable[..., Any], *, every: int | None = None, after: float | None = None) -> None:
        super().__init__(every=every, after=after)
        self.f, self._field = f, field_of(f)

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        self._field = field_of(self.f, system)
        super().begin(system, n_particles, times, t0, dt)

    def n_functions(self, system: System) -> int:
        return 1

    def values(self, positions: FloatArray, t: float) -> Iterator[FloatArray]:
        yield self._field(positions.T, t)

    def finish(self) -> None:
        value, stderr = self.results()
        self.value, self.stderr = value[..., 0], stderr[..., 0]


class Moments(Averages):
    """The moments E[x0^a x1^b ...] of the position, of all degrees a + b + ... from 1 to `order`.

    Parameters
    ----------
    order : int
        The highest degree.
    every, after : optional
        As for `Mean`.

    Attributes
    ----------
    exponents : ndarray of int, shape (n_moments, dim)
        The exponents of each moment.
    value, stderr : ndarray, shape (n_times, n_moments), or (n_moments,) with `every`
        The moments and their standard errors.
    mean : ndarray, shape (n_times, dim) or (dim,)
        The moments of degree 1.
    covariance : ndarray, shape (n_times, dim, dim) or (dim, dim)
        E[x_a x_b] - E[x_a] E[x_b]; with `order` 2 or more.
    times : ndarray, shape (n_times,)
    """

    def __init__(self, order: int = 2, *, every: int | None = None, after: float | None = None) -> None:
        super().__init__(every=every, after=after)
        problems = Problems()
        self.order = positive_integer(order, "order", problems)
        problems.raise_if_any()

    def n_functions(self, system: System) -> int:
        from math import comb

        n = comb(system.dim + self.order, self.order) - 1
        if n > MAX_MONOMIALS:
            raise InputError(f"order: {n} moments up to order {self.order} in {system.dim} dimensions are too many")
        axes = [c for k in range(1, self.order + 1) for c in combinations_with_replacement(range(system.dim), k)]
        self._axes = axes
        self.exponents: NDArray[np.int64] = np.array([np.bincount(c, minlength=system.dim) for c in axes])
        return n

    def values(self, positions: FloatArray, t: float) -> Iterator[FloatArray]:
        for axes in self._axes:
            product = positions[axes[0]]
            for axis in axes[1:]:
                product = product * positions[axis]
            yield product

    def finish(self) -> None:
        self.value, self.stderr = self.results()
        dim = self.exponents.shape[1]
        self.mean = self.value[..., :dim]
        if self.order >= 2:
            self.covariance = np.empty((*self.value.shape[:-1], dim, dim))
            for j, axes in enumerate(self._axes):
                if len(axes) == 2:
                    a, b = axes
                    entry = self.value[..., j] - self.mean[..., a] * self.mean[..., b]
                    self.covariance[..., a, b] = self.covariance[..., b, a] = entry
