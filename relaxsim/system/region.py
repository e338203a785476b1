"""A region of the space, from text such as "x > 1 and abs(y) < 2" or from a function.

Its level is a number at every point, positive inside: the difference of the two sides of a comparison, the smallest of
what `and` joins, the largest of what `or` joins.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from relaxsim.errors import ExpressionError, InputError, ShapeError
from relaxsim.system.expression import Tree, combine, parse, tree_dim
from relaxsim.system.field import Field
from relaxsim.system.source import function_source
from relaxsim.system.trace import TraceError, trace
from relaxsim.system.validate import FloatArray

_SMALLER, _LARGER = "where({0} < {1}, {0}, {1})", "where({0} > {1}, {0}, {1})"


@dataclass(frozen=True)
class Region:
    """A region whose level is arithmetic, or a function of the user's.

    Attributes
    ----------
    trees : tuple of trees
        The sides' differences of all comparisons.
    joined : nested tuple
        How they are joined: a number of a tree, ``("and", parts...)`` or ``("or", parts...)``.
    function : callable or None
        Where no trees could be had.
    yes_or_no : bool
        Whether the function says True and False instead of a level.
    """

    trees: tuple[Tree, ...] = ()
    joined: Any = 0
    function: Callable[..., Any] | None = None
    yes_or_no: bool = False

    @classmethod
    def of(cls, region: str | Callable[..., Any], dim: int) -> Region:
        """Read a text or a function, for points of `dim` coordinates."""
        if isinstance(region, str):
            return _read(region, dim)
        if not callable(region):
            raise InputError(f"region: expected text such as 'x > 1' or a function, got {type(region).__name__}")
        try:
            tree = trace(region, dim)
            if isinstance(tree, list):
                raise ShapeError("region: expected one number from the function, positive inside, got several")
            return cls(trees=(tree,))
        except TraceError:
            value = region(tuple(np.full(dim, 0.25).tolist()))
            return cls(function=region, yes_or_no=isinstance(value, (bool, np.bool_)))

    def level(self, x: FloatArray, t: float) -> FloatArray:
        """The level at points (n, dim)."""
        if self.function is not None:
            values = Field((), function=self.function)(x, t)
            return np.where(values > 0, 1.0, -1.0) if self.yes_or_no else values
        levels = Field((len(self.trees),), trees=self.trees)(x, t)
        return _joined(self.joined, levels)

    def source(self, name: str) -> str:
        """Functions whose last is ``name(m, x, t)``, the level; a decorator `device` is put before each."""
        if self.function is not None:
            called = f"where(user_{name}(x), REAL(1.0), REAL(-1.0))" if self.yes_or_no else f"user_{name}(x)"
            return f"@device\ndef {name}(m, x, t):\n    return {called}\n"
        levels = function_source(f"{name}_levels", self.trees, ())
        lines: list[str] = []

        def value(part: Any) -> str:
            if isinstance(part, int):
                return f"v[{part}]"
            first, *others = [value(p) for p in part[1:]]
            for other in others:
                lines.append(f"    u{len(lines)} = {(_SMALLER if part[0] == 'and' else _LARGER).format(first, other)}")
                first = f"u{len(lines) - 1}"
            return first

        result = value(self.joined)
        body = "\n".join([f"    v = {name}_levels(m, x, t)", *lines, f"    return {result}"])
        return f"@device\n{levels}\n\n@device\ndef {name}(m, x, t):\n{body}\n"


def _joined(part: Any, levels: FloatArray) -> FloatArray:
    """The level of a part of a condition, from those (n, comparisons) of its comparisons."""
    if isinstance(part, int):
        return np.asarray(levels[..., part])
    values = [_joined(each, levels) for each in part[1:]]
    return np.asarray((np.minimum if part[0] == "and" else np.maximum).reduce(values))


def _read(text: str, dim: int) -> Region:
    text = text.replace("\n", " ").strip()
    try:
        parsed = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"region: {text!r:.80} is no condition: {error}; write for example 'x > 1'") from None
    trees: list[Tree] = []

    def side(node: ast.expr) -> Tree:
        try:
            return parse(ast.get_source_segment(text, node) or ast.unparse(node))
        except ExpressionError as error:
            raise ExpressionError(f"region: {error}") from None

    def read(node: ast.expr) -> Any:
        if isinstance(node, ast.BoolOp):
            return ("and" if isinstance(node.op, ast.And) else "or", *[read(value) for value in node.values])
        if not isinstance(node, ast.Compare):
            raise ExpressionError(
                f"region: {ast.unparse(node)!r} is not a comparison; write 'x > 1', joined by 'and' and 'or'"
            )
        sides, parts = [side(each) for each in (node.left, *node.comparators)], []
        for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            if isinstance(op, (ast.Gt, ast.GtE)):
                trees.append(combine("sub", left, right))
            elif isinstance(op, (ast.Lt, ast.LtE)):
                trees.append(combine("sub", right, left))
            else:
                raise ExpressionError(f"region: {ast.unparse(node)!r} must compare with < or >")
            parts.append(len(trees) - 1)
        return parts[0] if len(parts) == 1 else ("and", *parts)

    joined = read(parsed.body)
    used = max(tree_dim(tree) for tree in trees)
    if used > dim:
        raise ShapeError(f"region: uses {used} coordinates, the system has {dim}")
    return Region(trees=tuple(trees), joined=joined)
