"""The mobility K(x): symmetric, positive, with its divergence derived, or given and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, InputError, MobilityError, ShapeError
from relaxsim.system import derive
from relaxsim.system.expression import (
    MAX_VARIABLES,
    Tree,
    check_param_names,
    leaves,
    number,
    param_names,
    parse,
    tree_dim,
)
from relaxsim.system.field import Field, flat, format_point
from relaxsim.system.given_twice import check_trace, check_twice, divergence_by_differences
from relaxsim.system.source import is_tree
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray, Problems, as_float_array, check_params, check_points, nearest

ZERO = number(0.0)


class Mobility:
    """A mobility; make one with `constant`, `diagonal`, `tensor` or `from_function`.

    A System takes plain numbers, arrays, texts and lists of texts as well: ``mobility=2.0`` is a constant scalar, a
    vector a constant diagonal, a matrix a constant tensor.

    Attributes
    ----------
    structure : {"scalar", "diagonal", "tensor"}
        K = k I, K = diag(K_1, ..., K_d) or a full symmetric matrix.
    is_constant : bool
        Whether K depends neither on position nor on time.
    dim : int or None
        Number of coordinates, where the mobility determines it.
    """

    structure: str
    dim: int | None
    params: dict[str, float]
    _entries: Any  # one tree, or tuples of trees
    _function: Callable[..., Any] | None
    _divergence: Callable[..., Any] | None
    _time_dependent: bool

    # ---- ways to make one

    @classmethod
    def constant(cls, K: Any) -> Mobility:
        """The same mobility everywhere.

        Parameters
        ----------
        K : float, array_like (d,) or array_like (d, d)
            Scalar, diagonal, or symmetric positive definite matrix.

        Raises
        ------
        MobilityError
            K is not symmetric or not positive definite; the message names the eigenvalue.
        """
        array = as_float_array(K, "mobility")
        if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]) or array.size == 0:
            raise ShapeError(
                f"mobility: expected a number, a vector (d,) or a matrix (d, d), got an array of shape {array.shape}"
            )
        if not np.all(np.isfinite(array)):
            raise MobilityError(f"mobility: K must be finite, got {array.tolist()}")
        matrix = np.diag(np.atleast_1d(array)) if array.ndim < 2 else array
        _check_symmetric(matrix)
        smallest = float(np.linalg.eigvalsh(matrix)[0])
        if smallest <= 0:
            raise MobilityError(
                f"mobility: K must be positive definite, but {array.tolist()} has the eigenvalue {smallest:g}; the "
                "noise "
                "sqrt(2 T K) dW needs positive eigenvalues"
            )
        # values are parameters so that another K of the same form runs in the same kernel
        names = {index: "K" + "_".join(map(str, index)) for index in np.ndindex(array.shape)}
        params = {name: float(array[index]) for index, name in names.items()}
        trees: Any = ("param", names[()]) if array.ndim == 0 else None
        if array.ndim == 1:
            trees = tuple(("param", names[(a,)]) for a in range(len(array)))
        elif array.ndim == 2:
            trees = tuple(
                tuple(("param", names[min(a, b), max(a, b)]) for b in range(len(array))) for a in range(len(array))
            )
        structure = ("scalar", "diagonal", "tensor")[array.ndim]
        return cls._make(structure, None if array.ndim == 0 else len(array), trees, params)

    @classmethod
    def diagonal(
        cls,
        *entries: str | float,
        params: Mapping[str, float] | None = None,
        variables: Sequence[str] | None = None,
    ) -> Mobility:
        """K = diag(K_1(x), ..., K_d(x)) from a text or number for each axis; one text alone is the scalar k(x).

        Examples
        --------
        >>> from relaxsim import Mobility
        >>> Mobility.diagonal("1 + sin(x)**2/2", "1 + sin(y)**2/2").dim
        2
        """
        if not entries:
            raise MobilityError("mobility: diagonal() needs one text or number for each axis")
        clean = _check_parameters(params, variables)
        trees = tuple(_parse(entry, f"mobility[{k}]", variables, clean) for k, entry in enumerate(entries))
        _refuse_unused(clean, trees)
        if len(trees) == 1:
            return cls._make("scalar", None, trees[0], clean)
        return cls._make("diagonal", len(trees), trees, clean)

    @classmethod
    def tensor(
        cls,
        rows: Sequence[Sequence[str | float]],
        params: Mapping[str, float] | None = None,
        variables: Sequence[str] | None = None,
    ) -> Mobility:
        """A full symmetric matrix from rows of texts or numbers."""
        clean = _check_parameters(params, variables)
        dim = len(rows)
        if dim == 0 or any(isinstance(row, str) or len(row) != dim for row in rows):
            raise ShapeError(f"mobility: tensor() expects d rows of d entries, got {rows!r}")
        trees = tuple(
            tuple(_parse(entry, f"mobility[{a}][{b}]", variables, clean) for b, entry in enumerate(row))
            for a, row in enumerate(rows)
        )
        _refuse_unused(clean, trees)
        return cls._make("tensor", dim, trees, clean)

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        divergence: Callable[..., Any] | None = None,
        *,
        dim: int | None = None,
        time_dependent: bool = False,
    ) -> Mobility:
        """K from a pointwise function ``f(x)``.

        Parameters
        ----------
        function : callable
            Returns a number (scalar k(x)), a tuple of d numbers (diagonal) or a tuple of d rows (tensor).
        divergence : callable, optional
            ``g(x)`` returning the tuple of sum_b d K^{ab}/d x^b. Needed for functions that branch or call `math.*`;
            otherwise checked against the derived one.
        dim : int, optional
            Number of coordinates; by default that of the system.
        time_dependent : bool
            Whether the functions take a second argument t.
        """
        if not callable(function):
            raise MobilityError(f"mobility: expected a function, got {type(function).__name__}")
        made = cls._make("unknown", dim, None, {})
        made._function, made._divergence, made._time_dependent = function, divergence, time_dependent
        return made if dim is None else made.bound_to(dim, None)

    @classmethod
    def coerce(cls, value: Any) -> Mobility:
        """A Mobility from what users write: numbers, an array, a text, a list of texts, rows of texts, a function."""
        if isinstance(value, Mobility):
            return value
        if isinstance(value, str):
            return cls.diagonal(value)
        if callable(value):
            return cls.from_function(value)
        if isinstance(value, (list, tuple)) and any(
            isinstance(entry, str) for entry in np.ravel(np.array(value, object))
        ):
            return cls.tensor(value) if isinstance(value[0], (list, tuple)) else cls.diagonal(*value)
        return cls.constant(value)

    @classmethod
    def _make(cls, structure: str, dim: int | None, entries: Any, params: dict[str, float]) -> Mobility:
        made = object.__new__(cls)
        made.structure, made.dim, made.params, made._entries = structure, dim, params, entries
        made._function = made._divergence = None
        made._time_dependent = False
        return made

    # ---- values

    @property
    def min_dim(self) -> int:
        """The least number of coordinates that the entries refer to."""
        trees = [] if self._entries is None else flat(self._entries)
        return max([self.dim or 1, *map(tree_dim, trees)])

    @property
    def is_constant(self) -> bool:
        """Whether K is the same everywhere and always."""
        if self._entries is None:
            return False
        return all(leaf[0] == "param" for tree in flat(self._entries) for leaf in leaves(tree))

    def why_not_separate(self, dim: int) -> str | None:
        """The reason why K is not diag(K_1(x_1), ..., K_d(x_d)), or None if it is."""
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
        return self.field.depends_on_time

    @property
    def field(self) -> Field:
        """The entries: a scalar, d diagonal entries, or d rows, according to `structure`."""
        dim = self.dim or self.min_dim
        shape = {"scalar": (), "diagonal": (dim,), "tensor": (dim, dim)}[self.structure]
        if self._entries is None:
            return Field(shape, function=self._function, time_dependent=self._time_dependent)
        return Field(shape, trees=self._entries, params=self.params)

    @property
    def divergence_field(self) -> Field:
        """sum_b d K^{ab}/d x^b, as trees or as the user's function."""
        dim = self.dim or self.min_dim
        if self._entries is None:
            return Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
        return Field((dim,), trees=derive.divergence(self.rows()), params=self.params)

    def rows(self) -> tuple[tuple[Tree, ...], ...]:
        """The full matrix as trees."""
        dim, entries = self.dim or self.min_dim, self._entries
        if self.structure == "tensor":
            rows: tuple[tuple[Tree, ...], ...] = entries
            return rows
        diagonal = (entries,) * dim if self.structure == "scalar" else entries
        return tuple(tuple(diagonal[a] if a == b else ZERO for b in range(dim)) for a in range(dim))

    def __call__(self, x: Any, t: float = 0.0) -> FloatArray:
        """K at points of shape (..., dim), shape (..., dim, dim)."""
        points = check_points(x, self.dim or self.min_dim)
        values = self.field(points, t)
        identity = np.eye(points.shape[-1])
        if self.structure == "scalar":
            return np.asarray(values[..., None, None] * identity)
        return np.asarray(values[..., None] * identity) if self.structure == "diagonal" else values

    def divergence(self, x: Any, t: float = 0.0) -> FloatArray:
        """div K at points of shape (..., dim), same shape."""
        return self.divergence_field(check_points(x, self.dim or self.min_dim), t)

    def with_params(self, params: Mapping[str, float]) -> Mobility:
        """The same mobility with other values of some parameters."""
        other = self._copy()
        other.params = self.params | dict(params)
        return other

    # ---- binding to a system

    def bound_to(self, dim: int, points: FloatArray | None) -> Mobility:
        """This mobility in `dim` coordinates, checked where something was given twice."""
        other = self._copy()
        if other._function is not None:
            other._bind_function(dim, points)
        if other.structure != "scalar" and other._entries is not None and len(other._entries) != dim:
            raise ShapeError(
                f"mobility: expected {dim} axes as in the rest of the system, got {len(other._entries)} entries"
            )
        other.dim = dim
        if other.structure == "tensor" and other._entries is not None:
            _check_symmetric(other.field(_probe(dim, points)), _probe(dim, points))
        return other

    def _bind_function(self, dim: int, points: FloatArray | None) -> None:
        """Find out what the function returns; trace it, or use it as it is with the divergence given."""
        function, where = self._function, _probe(dim, points)
        assert function is not None
        self.dim = dim
        try:
            trees = _tuples(trace(function, dim, self._time_dependent))
            self.structure = _structure_of(trees, dim)
            by_call = Field(self.field.shape, function=function, time_dependent=self._time_dependent)
            check_trace(Field(by_call.shape, trees=trees), by_call, where)
        except (TraceError, IndexError) as error:
            if self._divergence is None:
                raise ExpressionError(
                    f"mobility: the divergence of {getattr(function, '__name__', 'the function')} cannot be derived: "
                    f"{error}. "
                    "Pass divergence= with a function that returns the tuple of sum_b dK^ab/dx^b, or use only "
                    "arithmetic, "
                    "NumPy functions and relaxsim.elementary"
                ) from None
            self._entries = None
            self.structure = _structure_of(_tuples_of_value(function, where[0], self._time_dependent), dim)
            derived = divergence_by_differences(self, dim)
        else:
            self._entries = trees
            derived = self.divergence_field
        if self._divergence is not None:
            given = Field((dim,), function=self._divergence, time_dependent=self._time_dependent)
            check_twice("divergence", given, derived, where, "mobility")

    def _copy(self) -> Mobility:
        other = object.__new__(Mobility)
        other.__dict__.update(self.__dict__)
        return other

    def __repr__(self) -> str:
        kind = "constant " if self.is_constant else ""
        return f"<Mobility: {kind}{self.structure}{f' in {self.dim} dimensions' if self.dim else ''}>"


def _check_parameters(params: Mapping[str, float] | None, variables: Sequence[str] | None) -> dict[str, float]:
    problems = Problems()
    clean = check_params(params, "params", problems)
    problems.raise_if_any()
    check_param_names(clean, variables)
    return clean


def _parse(entry: Any, argument: str, variables: Sequence[str] | None, params: Mapping[str, float]) -> Tree:
    if isinstance(entry, str):
        return parse(entry, variables, params)
    try:
        return number(entry)
    except (TypeError, ValueError):
        raise MobilityError(f"{argument}: expected a text or a finite number, got {entry!r}") from None


def _refuse_unused(params: Mapping[str, float], trees: Any) -> None:
    used = param_names(flat(trees))
    for name in params:
        if name not in used:
            raise InputError(f"params[{name!r}]: no entry of the mobility uses this parameter{nearest(name, used)}")


def _check_symmetric(matrix: FloatArray, points: FloatArray | None = None) -> None:
    gap = np.abs(matrix - np.swapaxes(matrix, -1, -2)).max(axis=(-1, -2))
    size = np.abs(matrix).max(axis=(-1, -2))
    if np.any(gap > 1e-12 * size):
        where = "" if points is None else f" at {format_point(points[int(np.argmax(gap))])}"
        raise MobilityError(
            f"mobility: K must be symmetric, but K and its transpose differ by {float(gap.max()):g}{where}. An "
            "antisymmetric "
            "part (a non-reversible drift) is not a mobility and not supported yet"
        )


def _probe(dim: int, points: FloatArray | None) -> FloatArray:
    from relaxsim.system.domain import Domain

    return Domain.unbounded(dim).sample_points() if points is None else points


def _tuples(trees: Any) -> Any:
    return trees if is_tree(trees) else tuple(_tuples(entry) for entry in trees)


def _tuples_of_value(function: Callable[..., Any], point: FloatArray, time_dependent: bool) -> Any:
    value = function(tuple(point.tolist()), *((0.0,) if time_dependent else ()))
    array = np.asarray(value, dtype=np.float64)
    return _tuples_of_numbers(array.tolist())


def _tuples_of_numbers(value: Any) -> Any:
    return tuple(_tuples_of_numbers(entry) for entry in value) if isinstance(value, list) else ("num", value)


def _structure_of(trees: Any, dim: int) -> str:
    if is_tree(trees):
        return "scalar"
    if len(trees) == dim and dim <= MAX_VARIABLES:
        if all(is_tree(entry) for entry in trees):
            return "diagonal"
        if all(not is_tree(row) and len(row) == dim for row in trees):
            return "tensor"
    raise ShapeError(
        f"mobility: the function must return a number, {dim} numbers (diagonal) or {dim} rows of {dim} numbers, got "
        f"{len(trees)} "
        "entries"
    )
