"""A number, vector or matrix at every point: expression trees or a Python function, evaluated on NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from relaxsim.errors import ShapeError
from relaxsim.system.expression import param_names, uses_time
from relaxsim.system.source import is_tree, numpy_function
from relaxsim.system.validate import FloatArray


@dataclass(frozen=True)
class Field:
    """A tensor field given by trees or, where no trees can be had, by a pointwise function.

    Parameters
    ----------
    shape : tuple of int
        Shape of the value at one point: () scalar, (d,) vector, (d, d) matrix.
    trees : tree or nested tuples of trees, optional
        The components.
    function : callable, optional
        ``f(x)`` or ``f(x, t)`` with `x` indexable by component, used when there are no trees.
    params : mapping
        Values of the parameters that the trees refer to.
    time_dependent : bool
        Whether the function takes the time.
    batched : bool
        Whether the function takes all points at once, as one array (d, n), and returns (*shape, n).
    """

    shape: tuple[int, ...]
    trees: Any = None
    function: Callable[..., Any] | None = None
    params: Mapping[str, float] = field(default_factory=dict)
    time_dependent: bool = False
    batched: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters in use, sorted; their values follow in `values`."""
        return () if self.trees is None else param_names(flat(self.trees))

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters in the order of `names`."""
        return tuple(self.params[name] for name in self.names)

    @cached_property
    def depends_on_time(self) -> bool:
        """Whether the value changes with t."""
        return self.time_dependent if self.trees is None else uses_time(flat(self.trees))

    def __call__(self, x: FloatArray, t: float = 0.0) -> FloatArray:
        """Values at points (..., dim), shape (..., *shape)."""
        if self.batched:
            return self._at_once(x, t)
        if self.trees is not None and (entries := self._constants()) is not None:
            return np.broadcast_to(entries, (*x.shape[:-1], *self.shape)).copy()
        with np.errstate(all="ignore"):
            if self.trees is not None:
                value = numpy_function(self.trees, self.names)(self.values, _coordinates(x), t)
            else:
                value = self._call_function(tuple(x[..., axis] for axis in range(x.shape[-1])), t)
        return self._stack(value, x.shape[:-1])

    def _constants(self) -> FloatArray | None:
        """The value that is the same at all points if each entry is a number or a parameter, perhaps negated."""
        values = np.empty(math.prod(self.shape))
        for k, tree in enumerate(flat(self.trees)):
            sign, entry = (-1.0, tree[1]) if tree[0] == "neg" else (1.0, tree)
            if entry[0] not in ("num", "param"):
                return None
            values[k] = sign * (entry[1] if entry[0] == "num" else self.params[entry[1]])
        return values.reshape(self.shape)

    def _at_once(self, x: FloatArray, t: float) -> FloatArray:
        assert self.function is not None
        columns = np.ascontiguousarray(np.moveaxis(x, -1, 0).reshape(x.shape[-1], -1))
        with np.errstate(all="ignore"):
            value = np.asarray(self.function(columns, *((t,) if self.time_dependent else ())), dtype=np.float64)
        expected = (*self.shape, columns.shape[1])
        if value.shape != expected:
            raise ShapeError(
                f"a batched function of {columns.shape[1]} points in {x.shape[-1]} dimensions must return an array of "
                f"shape {expected}, got {value.shape}"
            )
        value = value.reshape(*self.shape, *x.shape[:-1])
        return np.ascontiguousarray(
            np.moveaxis(value, tuple(range(len(self.shape))), tuple(range(-len(self.shape), 0)))
        )

    def _call_function(self, components: tuple[FloatArray, ...], t: float) -> Any:
        assert self.function is not None
        extra = (t,) if self.time_dependent else ()
        try:
            return self.function(components, *extra)
        except (TypeError, ValueError):
            # a branch or a math.* call takes one point at a time
            points = np.stack([component.ravel() for component in components], axis=-1)
            rows = [np.asarray(self.function(tuple(point), *extra), dtype=np.float64) for point in points.tolist()]
            value = np.array(rows).reshape(*components[0].shape, *self.shape)
            return np.moveaxis(value, tuple(range(-len(self.shape), 0)), tuple(range(len(self.shape))))

    def _stack(self, value: Any, where: tuple[int, ...]) -> FloatArray:
        """Components first, as functions return them, to components last, constants broadcast."""
        if not self.shape:
            return _broadcast(value, where)
        entries = list(value)
        if len(entries) != self.shape[0]:
            raise ShapeError(f"expected {self.shape[0]} components from the function, got {len(entries)}")
        inner = Field(self.shape[1:])
        stacked = np.stack([inner._stack(entry, where) for entry in entries])
        return np.ascontiguousarray(np.moveaxis(stacked, 0, len(where)))


def flat(trees: Any) -> list[Any]:
    """All trees of a nested sequence in order."""
    if is_tree(trees):
        return [trees]
    return [tree for entry in trees for tree in ([entry] if is_tree(entry) else flat(entry))]


def _coordinates(x: FloatArray) -> tuple[FloatArray, ...]:
    """Coordinates of points (..., dim); of a product of axes each along its own, so that its terms are computed there.

    A product is told by the numbers, which takes a tenth of the time that a polynomial does.
    """
    dim = x.shape[-1]
    components = tuple(x[..., axis] for axis in range(dim))
    if dim < 2 or x.ndim != dim + 1 or 0 in x.shape:
        return components
    lines = tuple(
        each[tuple(slice(None) if axis == a else slice(1) for a in range(dim))] for axis, each in enumerate(components)
    )
    product = all(bool((each == line).all()) for each, line in zip(components, lines, strict=True))
    return lines if product else components


def _broadcast(value: Any, where: tuple[int, ...]) -> FloatArray:
    try:
        if value is None or np.iscomplexobj(value):
            raise TypeError(f"expected real numbers, got {value!r:.40}")
        return np.broadcast_to(np.asarray(value, dtype=np.float64), where).copy()
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"a component of the function's value cannot be used at points of shape {where}: {error}"
        ) from None


def format_point(point: Any) -> str:
    """A point as people write it."""
    return "(" + ", ".join(f"{value:.6g}" for value in np.atleast_1d(point)) + ")"


def product_points(axes: Sequence[FloatArray]) -> FloatArray:
    """Points of a product of axes, shape (..., dim), with each coordinate contiguous: fields are evaluated by it."""
    points = np.empty((len(axes), *map(len, axes)))
    for a, axis in enumerate(axes):
        points[a] = np.asarray(axis).reshape([-1 if b == a else 1 for b in range(len(axes))])
    return np.moveaxis(points, 0, -1)
