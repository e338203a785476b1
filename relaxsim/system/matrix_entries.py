"""Entries of matrices as users write them: texts, numbers, arrays and functions, to trees that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relaxsim.errors import InputError, MobilityError, ShapeError
from relaxsim.system.expression import MAX_VARIABLES, Tree, check_param_names, is_constant, number, param_names, parse
from relaxsim.system.field import Field, flat, format_point
from relaxsim.system.source import is_tree
from relaxsim.system.validate import FloatArray, Problems, check_params, nearest

ZERO = number(0.0)


class Judged:
    """Remembers of the entries that it was last asked about whether they are constant: there may be millions."""

    _judged: tuple[Any, bool] = None, False

    def _constant(self, entries: Any) -> bool:
        """Whether entries refer to neither a variable nor the time; not where there are none."""
        if self._judged[0] is not entries:
            self._judged = entries, all(map(is_constant, flat(entries)))
        return self._judged[1]


def check_parameters(params: Mapping[str, float] | None, variables: Sequence[str] | None) -> dict[str, float]:
    """Named parameters that clash with nothing."""
    problems = Problems()
    clean = check_params(params, "params", problems)
    problems.raise_if_any()
    check_param_names(clean, variables)
    return clean


def parse_entry(entry: Any, argument: str, variables: Sequence[str] | None, params: Mapping[str, float]) -> Tree:
    """The tree of a text or number."""
    if isinstance(entry, str):
        return parse(entry, variables, params)
    try:
        return number(entry)
    except (TypeError, ValueError):
        raise MobilityError(f"{argument}: expected a text or a finite number, got {entry!r}") from None


def refuse_unused(params: Mapping[str, float], trees: Any) -> None:
    """Raise where a parameter occurs in no tree."""
    used = param_names(flat(trees))
    for name in params:
        if name not in used:
            raise InputError(f"params[{name!r}]: no entry of the mobility uses this parameter{nearest(name, used)}")


def check_constant(array: FloatArray) -> None:
    """Raise where a number, vector or matrix is no symmetric positive definite mobility."""
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]) or array.size == 0:
        raise ShapeError(
            f"mobility: expected a number, a vector (d,) or a matrix (d, d), got an array of shape {array.shape}"
        )
    if not np.all(np.isfinite(array)):
        raise MobilityError(f"mobility: K must be finite, got {array.tolist()}")
    matrix = np.diag(np.atleast_1d(array)) if array.ndim < 2 else array
    check_symmetric(matrix)
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest <= 0:
        raise MobilityError(
            f"mobility: K must be positive definite, but {array.tolist()} has the eigenvalue {smallest:g}; the noise "
            "sqrt(2 T K) dW needs positive eigenvalues"
        )


def check_symmetric(matrix: FloatArray, points: FloatArray | None = None) -> None:
    """Raise where a matrix, or one of several at points, is not symmetric."""
    gap = np.abs(matrix - np.swapaxes(matrix, -1, -2)).max(axis=(-1, -2))
    size = np.abs(matrix).max(axis=(-1, -2))
    if np.any(gap > 1e-12 * size):
        where = "" if points is None else f" at {format_point(points[int(np.argmax(gap))])}"
        raise MobilityError(
            f"mobility: K must be symmetric, but K and its transpose differ by {float(gap.max()):g}{where}. Give an "
            "antisymmetric part A, which drives a current that keeps the Gibbs law, by itself: "
            "Mobility(...).with_antisymmetric(A)"
        )


def probe_points(dim: int, points: FloatArray | None) -> FloatArray:
    """The points given, or points of all of space."""
    from relaxsim.system.domain import Domain

    return Domain.unbounded(dim).sample_points() if points is None else points


def tuples(trees: Any) -> Any:
    """Nested sequences of trees as nested tuples."""
    return trees if is_tree(trees) else tuple(tuples(entry) for entry in trees)


def tuples_of_value(function: Callable[..., Any], point: FloatArray, time_dependent: bool) -> Any:
    """What a function returns at a point, as nested tuples of constant trees."""
    value = function(tuple(point.tolist()), *((0.0,) if time_dependent else ()))
    array = np.asarray(value, dtype=np.float64)
    return _tuples_of_numbers(array.tolist())


def _tuples_of_numbers(value: Any) -> Any:
    return tuple(_tuples_of_numbers(entry) for entry in value) if isinstance(value, list) else ("num", value)


def structure_of(trees: Any, dim: int) -> str:
    """Scalar, diagonal or tensor, by the shape of what stands for the matrix."""
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


def given_field(given: Any, argument: str, probe: FloatArray, time_dependent: bool = False) -> Field:
    """A number, vector or matrix field of what users write: texts, numbers, arrays, or a function of x.

    Parameters
    ----------
    given : number, str, nested sequence of these, ndarray or callable
    argument : str
        Its name in messages.
    probe : ndarray, shape (dim,)
        Where a function is tried.
    time_dependent : bool
        Whether functions take a second argument t.

    Raises
    ------
    ShapeError
        Neither a number, nor dim entries, nor dim rows of dim entries.
    """
    if callable(given):
        value = tuples_of_value(given, probe, time_dependent)
        return Field(_given_shape(value, argument, len(probe)), function=given, time_dependent=time_dependent)
    trees = _given_trees(given, argument)
    return Field(_given_shape(trees, argument, len(probe)), trees=trees)


def _given_trees(given: Any, argument: str) -> Any:
    """Nested sequences of texts and numbers as nested tuples of trees."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if isinstance(given, (list, tuple)):
        return tuple(_given_trees(entry, f"{argument}[{k}]") for k, entry in enumerate(given))
    return parse_entry(given, argument, None, {})


def _given_shape(trees: Any, argument: str, dim: int) -> tuple[int, ...]:
    if is_tree(trees):
        return ()
    inner = {() if is_tree(entry) else (len(entry),) for entry in trees}
    if len(trees) != dim or inner not in ({()}, {(dim,)}):
        raise ShapeError(
            f"{argument}: expected a number, {dim} entries or {dim} rows of {dim} entries, got {len(trees)} entries"
        )
    return (dim, *inner.pop())
