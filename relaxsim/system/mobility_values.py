"""What a mobility K = S + A is once it is made: its form, its values and divergences at points, its trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.system import derive
from relaxsim.system.antisymmetric import Antisymmetric
from relaxsim.system.expression import Tree, leaves, tree_dim
from relaxsim.system.field import Field, flat
from relaxsim.system.matrix_entries import ZERO, Judged
from relaxsim.system.validate import FloatArray, check_points


class MobilityValues(Judged):
    """K of a `Mobility`, which says how one is made, as trees, or as functions that could not be traced."""

    depends_on_density = False  # see `Mobility.of_density`
    structure: str
    dim: int | None
    params: dict[str, float]
    _entries: Any  # of S: one tree, or tuples of trees
    _antisymmetric: Antisymmetric | None
    _function: Callable[..., Any] | None
    _divergence: Callable[..., Any] | None
    _time_dependent: bool

    @property
    def trees(self) -> tuple[Tree, ...] | None:
        """All entries of S and A; None where one is a function that is not traced, or not yet."""
        turning = () if self._antisymmetric is None else self._antisymmetric.entries
        return None if self._entries is None or turning is None else (*flat(self._entries), *flat(turning))

    @property
    def min_dim(self) -> int:
        """The least number of coordinates that the entries refer to."""
        trees = [] if self._entries is None else flat(self._entries)
        part = 1 if self._antisymmetric is None else self._antisymmetric.min_dim
        return max([self.dim or 1, part, *map(tree_dim, trees)])

    @property
    def reversible(self) -> bool:
        """Whether there is no antisymmetric part."""
        return self._antisymmetric is None

    @property
    def couples_axes(self) -> bool:
        """Whether K is more than a diagonal: S is a full matrix, or there is an antisymmetric part."""
        return self.structure == "tensor" or not self.reversible

    @property
    def is_constant(self) -> bool:
        """Whether K is the same everywhere and always."""
        part = self._antisymmetric
        return self.symmetric_is_constant and (part is None or part.is_constant)

    @property
    def symmetric_is_constant(self) -> bool:
        """Whether S is the same everywhere and always."""
        return self._constant(self._entries)

    def why_not_separate(self, dim: int) -> str | None:
        """The reason why S is not diag(K_1(x_1), ..., K_d(x_d)), or None if it is."""
        if self.structure == "tensor" and dim > 1:
            return "its mobility is a full tensor"
        if self._entries is None:
            return "its mobility is a function that could not be traced"
        for a, row in enumerate(self.rows()):
            if any(leaf[0] == "var" and leaf[1] != a for leaf in leaves(row[a])):
                return f"K_{a} of its mobility depends on other coordinates than x{a}"
        return None

    @property
    def time_dependent(self) -> bool:
        """Whether K depends on t."""
        return self.field.depends_on_time or (not self.reversible and self.antisymmetric_field.depends_on_time)

    @property
    def field(self) -> Field:
        """The entries of S: a scalar, d diagonal entries, or d rows, according to `structure`."""
        dim = self.dim or self.min_dim
        shape = {"scalar": (), "diagonal": (dim,), "tensor": (dim, dim)}[self.structure]
        if self._entries is None:
            return Field(shape, function=self._function, time_dependent=self._time_dependent)
        return Field(shape, trees=self._entries, params=self.params)

    @property
    def divergence_field(self) -> Field:
        """sum_b d S^{ab}/d x^b, as trees or as the user's function."""
        dim = self.dim or self.min_dim
        if self._entries is None:
            return Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
        if self.symmetric_is_constant:
            return Field((dim,), trees=(ZERO,) * dim)
        return Field((dim,), trees=derive.divergence(self.rows()), params=self.params)

    @property
    def antisymmetric_field(self) -> Field:
        """The rows of A; only where it is not `reversible`."""
        assert self._antisymmetric is not None
        return self._antisymmetric.field(self.params)

    @property
    def antisymmetric_divergence_field(self) -> Field:
        """sum_b d A^{ab}/d x^b; only where it is not `reversible`."""
        assert self._antisymmetric is not None
        return self._antisymmetric.divergence_field(self.params)

    def rows(self) -> tuple[tuple[Tree, ...], ...]:
        """S as trees."""
        dim, entries = self.dim or self.min_dim, self._entries
        if self.structure == "tensor":
            rows: tuple[tuple[Tree, ...], ...] = entries
            return rows
        diagonal = (entries,) * dim if self.structure == "scalar" else entries
        return tuple(tuple(diagonal[a] if a == b else ZERO for b in range(dim)) for a in range(dim))

    def __call__(self, x: Any, t: float = 0.0) -> FloatArray:
        """K = S + A at points of shape (..., dim), shape (..., dim, dim)."""
        symmetric = self.symmetric(x, t)
        return symmetric if self.reversible else symmetric + self.antisymmetric(x, t)

    def antisymmetric(self, x: Any, t: float = 0.0) -> FloatArray:
        """A at points of shape (..., dim), shape (..., dim, dim)."""
        points = check_points(x, self.dim or self.min_dim)
        if self.reversible:
            return np.zeros((*points.shape, points.shape[-1]))
        upper = np.triu(self.antisymmetric_field(points, t), 1)
        return np.asarray(upper - np.swapaxes(upper, -1, -2))

    def symmetric(self, x: Any, t: float = 0.0) -> FloatArray:
        """S at points of shape (..., dim), shape (..., dim, dim)."""
        points = check_points(x, self.dim or self.min_dim)
        values = self.field(points, t)
        identity = np.eye(points.shape[-1])
        if self.structure == "scalar":
            return np.asarray(values[..., None, None] * identity)
        return np.asarray(values[..., None] * identity) if self.structure == "diagonal" else values

    def diagonal_of(self, x: Any, t: float = 0.0) -> FloatArray:
        """The diagonal of S at points (..., dim), same shape."""
        points = check_points(x, self.dim or self.min_dim)
        values = self.field(points, t)
        if self.structure == "tensor":
            return np.diagonal(values, axis1=-2, axis2=-1)
        return values if self.structure == "diagonal" else np.broadcast_to(values[..., None], points.shape)

    def divergence(self, x: Any, t: float = 0.0) -> FloatArray:
        """div K = div S + div A at points of shape (..., dim), same shape."""
        points = check_points(x, self.dim or self.min_dim)
        if self.is_constant:
            return np.zeros(points.shape)
        symmetric = self.divergence_field(points, t)
        return symmetric if self.reversible else symmetric + self.antisymmetric_divergence_field(points, t)
