"""Python function to expression tree: the function is called once with proxies that record what is done to them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError
from relaxsim.system.expression import Tree, apply, combine, negative, number
from relaxsim.system.piecewise import interpolated

_UFUNCS: dict[str, str] = {
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "absolute": "abs",
    "fabs": "abs",
    "sign": "sign",
}
_UFUNC_OPERATORS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "power": "pow",
    "float_power": "pow",
}


class TraceError(ExpressionError):
    """The function did something that cannot be written as an expression."""


class Tracer:
    """Stands for a number inside a traced function."""

    __slots__ = ("tree",)

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def made(self, tree: Tree) -> Tracer:
        """What stands for the value of a tree."""
        return Tracer(tree)

    def operand(self, value: Any) -> Tree:
        """The tree of what this meets."""
        return as_tree(value)

    def joined(self, kind: str, left: Any, right: Any) -> Tracer:
        """`left` (kind) `right`, of which this is one."""
        return self.made(combine(kind, self.operand(left), self.operand(right)))

    def __add__(self, other: Any) -> Tracer:
        return self.joined("add", self, other)

    def __radd__(self, other: Any) -> Tracer:
        return self.joined("add", other, self)

    def __sub__(self, other: Any) -> Tracer:
        return self.joined("sub", self, other)

    def __rsub__(self, other: Any) -> Tracer:
        return self.joined("sub", other, self)

    def __mul__(self, other: Any) -> Tracer:
        return self.joined("mul", self, other)

    def __rmul__(self, other: Any) -> Tracer:
        return self.joined("mul", other, self)

    def __truediv__(self, other: Any) -> Tracer:
        return self.joined("div", self, other)

    def __rtruediv__(self, other: Any) -> Tracer:
        return self.joined("div", other, self)

    def __pow__(self, other: Any) -> Tracer:
        return self.joined("pow", self, other)

    def __rpow__(self, other: Any) -> Tracer:
        return self.joined("pow", other, self)

    def __neg__(self) -> Tracer:
        return self.made(negative(self.tree))

    def __pos__(self) -> Tracer:
        return self

    def __abs__(self) -> Tracer:
        return self.made(apply("abs", self.tree))

    def elementary(self, name: str) -> Tracer:
        """Record a call of a function of `relaxsim.elementary` that NumPy does not have."""
        return self.made(apply(name, self.tree))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method == "__call__" and not kwargs:
            if name in _UFUNCS:
                return self.made(apply(_UFUNCS[name], self.tree))
            if name in _UFUNC_OPERATORS:
                return self.joined(_UFUNC_OPERATORS[name], *inputs)
            if name == "negative":
                return -self
            if name == "square":
                return self**2
        raise TraceError(f"numpy.{name} cannot be traced")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """`numpy.interp` is written out; all else does what it does to any object."""
        if function is not np.interp:
            return function._implementation(*args, **kwargs)
        if len(args) != 3 or kwargs:
            raise TraceError("numpy.interp is traced as interp(t, times, values), without left, right or period")
        if any(isinstance(given, Tracer) for given in args[1:]):
            raise TraceError("numpy.interp can be traced in its first argument only")
        return interpolated(*args)

    def _refuse(self, *_: Any) -> Any:
        raise TraceError("a comparison or a branch on a coordinate cannot be traced")

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _refuse
    __eq__ = __ne__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise TraceError("math.* functions cannot be traced; use numpy or relaxsim.elementary")

    __int__ = __index__ = __complex__ = __float__


def as_tree(value: Any) -> Tree:
    """The tree of a traced value or of a plain number."""
    if isinstance(value, Tracer):
        return value.tree
    try:
        return number(operator.index(value) if isinstance(value, (int, np.integer)) else float(value))
    except (TypeError, ValueError) as error:
        raise TraceError(f"expected a number or an expression of the coordinates, got {value!r}") from error


def trace(function: Callable[..., Any], dim: int, time_dependent: bool = False) -> Any:
    """Call a pointwise function with proxies and return what it returns, with trees in place of numbers.

    Parameters
    ----------
    function : callable
        ``f(x)``, or ``f(x, t)`` when `time_dependent`; `x` is indexable by component.
    dim : int
        Number of coordinates.

    Returns
    -------
    tree, list of trees, or list of lists
        In the shape of the function's result.

    Raises
    ------
    TraceError
        The function compares, branches, uses `math.*`, or fails in some other way on proxies.
    """
    x = tuple(Tracer(("var", axis)) for axis in range(dim))
    arguments: tuple[Any, ...] = (x, Tracer(("time",))) if time_dependent else (x,)
    try:
        result = function(*arguments)
    except (IndexError, TraceError):
        raise
    except Exception as error:  # whatever a user's function raises when it meets a proxy
        raise TraceError(f"{type(error).__name__}: {error}") from error
    return _trees(result)


def _trees(result: Any) -> Any:
    if isinstance(result, (list, tuple, np.ndarray)):
        if isinstance(result, np.ndarray) and result.ndim == 0:
            return as_tree(result.item())
        return [_trees(entry) for entry in result]
    return as_tree(result)
