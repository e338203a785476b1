"""The antisymmetric part A of a mobility K = S + A: it drives a current and keeps the Gibbs law.

With div A on the second index the drift T div A - A grad E carries the current T d_b (A^{ab} q) of q = exp(-E/T)/Z.
That has no divergence, so q stays at rest, for every A(x, t). Of what is given only the entries above the diagonal
are used, once the whole is known to be antisymmetric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, InputError, MobilityError, ShapeError
from relaxsim.system import derive
from relaxsim.system.expression import negative, tree_dim
from relaxsim.system.field import Field, flat, format_point
from relaxsim.system.given_twice import check_trace, check_twice, divergence_by_differences
from relaxsim.system.matrix_entries import (
    ZERO,
    Judged,
    parse_entry,
    probe_points,
    refuse_unused,
    structure_of,
    tuples,
    tuples_of_value,
)
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray, as_float_array

ROUNDING = 1e-12  # of the largest entry: by how much A and minus its transpose may differ
LATER = 0.7310585786300049  # a time at which an A that depends on it is checked besides t = 0


class Antisymmetric(Judged):
    """Rows of trees, or a function; the values of parameters are kept by the mobility.

    Attributes
    ----------
    dim : int or None
        Number of coordinates, None as long as a function has not met a system.
    """

    dim: int | None

    def __init__(
        self, entries: Any, function: Callable[..., Any] | None, divergence: Callable[..., Any] | None, moving: bool
    ) -> None:
        self.entries, self._function, self._divergence, self._time_dependent = entries, function, divergence, moving
        self.dim = None if entries is None else len(entries)

    @classmethod
    def of_array(cls, array: FloatArray) -> tuple[Antisymmetric, dict[str, float]]:
        """A constant A and its entries as parameters, so that another one runs in the same kernel."""
        _check_square(array.shape)
        if not np.all(np.isfinite(array)):
            raise MobilityError(f"mobility: A must be finite, got {array.tolist()}")
        _check(array, None)
        params = {f"A{a}_{b}": float(v) for (a, b), v in np.ndenumerate(array) if a < b and v != 0.0}

        def tree(a: int, b: int) -> Any:
            name = f"A{min(a, b)}_{max(a, b)}"
            if name not in params or a == b:
                return ZERO
            return ("param", name) if a < b else negative(("param", name))

        dim = range(len(array))
        return cls(tuple(tuple(tree(a, b) for b in dim) for a in dim), None, None, False), params

    @classmethod
    def of_entries(
        cls, A: Any, variables: Sequence[str] | None, base: dict[str, float], params: dict[str, float]
    ) -> tuple[Antisymmetric, dict[str, float]]:
        """A from an array or rows, and the parameters of a mobility with it that has those of `base` without."""
        for name, value in params.items():
            if base.get(name, value) != value:
                raise InputError(f"params[{name!r}]: the mobility has it as {base[name]:g}, A as {value:g}; rename one")
        texts = _has_text(A)
        part, constants = (
            (cls.of_rows(A, variables, base | params), params) if texts else cls.of_array(as_float_array(A, "A"))
        )
        refuse_unused(params, part.entries)
        if not texts and base.keys() & constants.keys():
            raise InputError(
                f"params: the entries of A are named {', '.join(constants)}; give the mobility's other names"
            )
        return part, base | constants

    @classmethod
    def of_rows(
        cls, rows: Sequence[Sequence[Any]], variables: Sequence[str] | None, params: Mapping[str, float]
    ) -> Antisymmetric:
        """A from rows of texts or numbers."""
        if any(isinstance(row, str) or not isinstance(row, Sequence) for row in rows):
            raise ShapeError(f"mobility: A is given as d rows of d entries, got {rows!r}")
        _check_square((len(rows), *{len(row) for row in rows}))
        trees = [
            tuple(parse_entry(entry, f"A[{a}][{b}]", variables, params) for b, entry in enumerate(row))
            for a, row in enumerate(rows)
        ]
        return cls(tuple(trees), None, None, False)

    @property
    def min_dim(self) -> int:
        """The least number of coordinates that the entries refer to."""
        return 1 if self.entries is None else max([len(self.entries), *map(tree_dim, flat(self.entries))])

    @property
    def vanishes(self) -> bool:
        """Whether every entry is zero by form."""
        return self.entries is not None and all(tree == ZERO for tree in flat(self.entries))

    @property
    def is_constant(self) -> bool:
        """Whether A is the same everywhere and always."""
        return self._constant(self.entries)

    def field(self, params: Mapping[str, float]) -> Field:
        """The rows."""
        dim = self.dim or 1
        if self.entries is None:
            return Field((dim, dim), function=self._function, time_dependent=self._time_dependent)
        return Field((dim, dim), trees=self.entries, params=params)

    def divergence_field(self, params: Mapping[str, float]) -> Field:
        """sum_b d A^{ab}/d x^b."""
        dim = self.dim or 1
        if self.entries is None:
            return Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
        return Field((dim,), trees=derive.divergence(self.entries), params=params)

    def bound_to(self, dim: int, points: FloatArray | None, params: Mapping[str, float]) -> Antisymmetric:
        """This A in `dim` coordinates, checked at points."""
        other = object.__new__(Antisymmetric)
        other.__dict__.update(self.__dict__)
        where = probe_points(dim, points)
        if other._function is not None:
            other._bind_function(dim, where)
        elif other.dim != dim:
            raise ShapeError(f"mobility: A has {other.dim} rows, the rest of the system has {dim} coordinates")
        field = other.field(params)
        for t in (0.0, LATER) if field.depends_on_time else (0.0,):
            _check(field(where, t), where, t if field.depends_on_time else None)
        return other

    def _bind_function(self, dim: int, where: FloatArray) -> None:
        """Trace the function, or use it as it is with the divergence given."""
        function = self._function
        assert function is not None
        self.dim = dim
        by_call = Field((dim, dim), function=function, time_dependent=self._time_dependent)
        try:
            trees = tuples(trace(function, dim, self._time_dependent))
            self._check_rows(trees, dim)
            check_trace(Field((dim, dim), trees=trees), by_call, where)
        except (TraceError, IndexError) as error:
            if self._divergence is None:
                name = getattr(function, "__name__", "the function")
                raise ExpressionError(
                    f"mobility: the divergence of A = {name} cannot be derived: {error}. Pass divergence= with a "
                    "function that returns the tuple of sum_b dA^ab/dx^b, or use only arithmetic, NumPy functions and "
                    "relaxsim.elementary"
                ) from None
            self.entries = None
            self._check_rows(tuples_of_value(function, where[0], self._time_dependent), dim)
            derived = divergence_by_differences(by_call, dim)
        else:
            self.entries = trees
            derived = self.divergence_field({})
        if self._divergence is not None:
            given = Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
            check_twice("divergence", given, derived, where, "antisymmetric part")

    @staticmethod
    def _check_rows(trees: Any, dim: int) -> None:
        if dim > 1 and structure_of(trees, dim) != "tensor":
            raise ShapeError(f"mobility: the function of A must return {dim} rows of {dim} numbers")


def _has_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and any(map(_has_text, value)))


def _check_square(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ShapeError(f"mobility: A is a matrix (d, d) or d rows of d entries, got the shape {shape}")


def _check(matrices: FloatArray, points: FloatArray | None, t: float | None = None) -> None:
    """Raise MobilityError where A is not antisymmetric, or not finite."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(matrices + np.swapaxes(matrices, -1, -2)).max(axis=(-1, -2))
    bad = ~(gap <= ROUNDING * np.abs(matrices).max(axis=(-1, -2)))
    if not np.any(bad):
        return
    k = int(np.argmax(bad))
    matrix = matrices if points is None else matrices[k]
    where = "" if points is None else f" at {format_point(points[k])}"
    where += "" if t is None else f" at time {t:g}"
    raise MobilityError(
        f"mobility: A must be antisymmetric and finite, A^ba = -A^ab with zeros on the diagonal, but it is "
        f"{matrix.tolist()}{where}. What is symmetric belongs to the mobility itself"
    )
