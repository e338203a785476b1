"""Expression trees to Python source that NumPy runs on arrays and Numba compiles to vector instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from relaxsim.system import elementary
from relaxsim.system.expression import FUNCTIONS, Tree, combine, number

_MAX_UNROLLED_POWER = 64


def function_source(name: str, outputs: Any, params: Sequence[str], offset: int = 0, arguments: str = "m, x, t") -> str:
    """Source of ``def name(m, x, t)`` that returns the values of trees.

    Parameters
    ----------
    name : str
        Name of the function.
    outputs : tree or nested sequence of trees
        What it returns, in the same shape (tuples).
    params : sequence of str
        Parameter names; the k-th is read from ``m[offset + k]``.
    offset : int
        Where these parameters start in `m`.
    arguments : str
        What the function takes, for trees that need less.

    Notes
    -----
    Equal subtrees are computed once; integer powers are multiplications.
    """
    writer = _FunctionWriter({param: f"m[{offset + k}]" for k, param in enumerate(params)})
    result = writer.write(_map(outputs, simplify_powers))
    body = "".join(f"    {line}\n" for line in writer.lines)
    return f"def {name}({arguments}):\n{body}    return {result}\n"


@lru_cache(maxsize=512)
def numpy_function(outputs: Any, params: tuple[str, ...]) -> Callable[..., Any]:
    """A Python function ``f(m, x, t)`` of trees, for numbers and NumPy arrays."""
    namespace: dict[str, Any] = {name: getattr(elementary, name, abs) for name in FUNCTIONS}
    namespace["__builtins__"] = {}
    exec(function_source("f", outputs, params), namespace)  # our own text, written from a checked tree
    function: Callable[..., Any] = namespace["f"]
    return function


def simplify_powers(tree: Tree) -> Tree:
    """Replace integer and half-integer powers by multiplications and square roots."""
    if tree[0] in ("num", "var", "param", "time"):
        return tree
    children = tuple(simplify_powers(child) if isinstance(child, tuple) else child for child in tree[1:])
    if tree[0] != "pow" or children[1][0] != "num":
        return (tree[0], *children)
    base, exponent = children[0], children[1][1]
    if exponent < 0:
        return combine("div", number(1.0), simplify_powers(("pow", base, number(-exponent))))
    if exponent.is_integer() and exponent <= _MAX_UNROLLED_POWER:
        return _power(base, int(exponent))
    if (2 * exponent).is_integer() and 2 * exponent <= _MAX_UNROLLED_POWER:
        return _power(("call", "sqrt", base), int(2 * exponent))
    return ("pow", base, number(exponent))


def _power(base: Tree, exponent: int) -> Tree:
    if exponent == 0:
        return number(1.0)
    if exponent == 1:
        return base
    half = _power(base, exponent // 2)
    square = ("mul", half, half)
    return ("mul", square, base) if exponent % 2 else square


def is_tree(value: Any) -> bool:
    """Whether a value is one tree, not a sequence of trees."""
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], str)


def _map(outputs: Any, change: Callable[[Tree], Tree]) -> Any:
    return change(outputs) if is_tree(outputs) else tuple(_map(entry, change) for entry in outputs)


class Writer:
    """Statements that compute trees; equal parts are computed once."""

    signs: Mapping[str, str] = {
        "add": "{} + {}",
        "sub": "{} - {}",
        "mul": "{} * {}",
        "div": "{} / {}",
        "pow": "{} ** {}",
    }

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.known: dict[Tree, str] = {}

    def value(self, tree: Tree) -> str:
        """What holds a tree's value; lines are added for what was not computed yet."""
        if tree not in self.known:
            self.known[tree] = self.define(tree)
        return self.known[tree]

    def define(self, tree: Tree) -> str:
        kind = tree[0]
        if kind == "num":
            return repr(tree[1]) if tree[1] >= 0 else f"({tree[1]!r})"
        if kind == "time":
            return "t"
        if kind == "param":
            return self.leaf(tree[1])
        if kind == "call":
            return self.assign(f"{tree[1]}({self.value(tree[2])})")
        if kind == "neg":
            return self.assign(f"-{self.value(tree[1])}")
        return self.assign(self.signs[kind].format(self.value(tree[1]), self.value(tree[2])))

    def leaf(self, name: str) -> str:
        """What a parameter is read from."""
        raise NotImplementedError

    def assign(self, expression: str, name: str | None = None) -> str:
        """Add a statement that computes an expression, and say what holds its value."""
        raise NotImplementedError


class _FunctionWriter(Writer):
    def __init__(self, params: dict[str, str]) -> None:
        super().__init__()
        self.params = params

    def write(self, outputs: Any) -> str:
        if is_tree(outputs):
            return self.value(outputs)
        return "(" + "".join(f"{self.write(entry)}, " for entry in outputs) + ")"

    def define(self, tree: Tree) -> str:
        return self.assign(f"x[{tree[1]}]", f"x{tree[1]}") if tree[0] == "var" else super().define(tree)

    def leaf(self, name: str) -> str:
        return self.params[name]

    def assign(self, expression: str, name: str | None = None) -> str:
        name = name or f"v{len(self.lines)}"
        self.lines.append(f"{name} = {expression}")
        return name
