"""Text to a checked expression tree: relaxsim's own grammar on Python's parser; nothing is ever evaluated as code.

A tree is made of nested tuples::

    ("num", 2.5)("var", 0)(
        "time",
    )("param", "a")
    ("add", u, v)("sub", u, v)("mul", u, v)("div", u, v)("pow", u, v)("neg", u)("call", "exp", u)

`trace.py` makes the same trees from Python functions, `derive.py` turns them into derivatives and kernel source.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relaxsim.errors import ExpressionError, ShapeError
from relaxsim.system.validate import nearest

Tree = tuple[Any, ...]

MAX_LENGTH = 10_000  # characters
MAX_NODES = 4_000
MAX_DEPTH = 200
MAX_VARIABLES = 16

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
    "erf": math.erf,
    "abs": abs,
    "sign": lambda u: float(u > 0) - float(u < 0),
}
CONSTANTS = {"pi": math.pi, "e": math.e}
SHORT_NAMES = ("x", "y", "z", "w")

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
}
_FOLD: dict[str, Callable[[float, float], float]] = {
    "add": lambda u, v: u + v,
    "sub": lambda u, v: u - v,
    "mul": lambda u, v: u * v,
    "div": lambda u, v: u / v,
    "pow": lambda u, v: math.pow(u, v),
}


def parse(text: str, variables: Sequence[str] | None = None, params: Iterable[str] = ()) -> Tree:
    """Check a text and return its tree.

    Parameters
    ----------
    text : str
        An expression such as ``"(x**2 - 1)**2 + a*y**2/2"``: numbers, the variables, `t`, parameters,
        ``+ - * / **``, parentheses, the constants pi and e, and the functions exp log sqrt sin cos tan asin acos
        atan sinh cosh tanh erf abs sign.
    variables : sequence of str, optional
        Names of the coordinates. By default x, y, z, w (the same as x0, x1, x2, x3) and x0, x1, ..., x15.
    params : iterable of str
        Names of the parameters.

    Raises
    ------
    ExpressionError
        Anything else, with the column.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"expected text such as 'x**2/2', got {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"the text has {len(text)} characters, at most {MAX_LENGTH} are read; pass a function for long expressions"
        )
    text = text.replace("\n", " ").strip()
    if not text:
        raise ExpressionError("the text is empty; write an expression such as 'x**2/2'")
    try:
        parsed = ast.parse(text, mode="eval")
    except SyntaxError as error:
        product = any(words in str(error.msg) for words in ("invalid syntax", "decimal literal", "imaginary literal"))
        hint = " Write products with *, as in 2*x." if product else ""
        column = max(0, (error.offset or 1) - 1)
        raise ExpressionError(f"this is not an expression: {error.msg}.{hint}", text, column) from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError(f"this is not an expression that can be read: {error}") from None
    return _Reader(text, variable_names(variables), frozenset(params)).read(parsed.body)


def variable_names(variables: Sequence[str] | None) -> dict[str, int]:
    """The coordinate each name stands for."""
    if variables is None:
        names = {f"x{k}": k for k in range(MAX_VARIABLES)}
        return names | {name: k for k, name in enumerate(SHORT_NAMES)}
    if len(variables) > MAX_VARIABLES:
        raise ExpressionError(f"variables: text serves up to {MAX_VARIABLES} variables, got {len(variables)}")
    reserved = FUNCTIONS.keys() | CONSTANTS.keys() | {"t"}
    for name in variables:
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_") or name in reserved:
            raise ExpressionError(f"variables: {name!r} cannot name a coordinate; use a plain unreserved word")
    if len(set(variables)) != len(variables):
        raise ExpressionError(f"variables: every name must stand for one coordinate, got {list(variables)}")
    return {name: k for k, name in enumerate(variables)}


def check_param_names(params: Iterable[str], variables: Sequence[str] | None) -> None:
    """Refuse parameters that would hide a coordinate, a function, a constant or the time."""
    taken = variable_names(variables).keys() | FUNCTIONS.keys() | CONSTANTS.keys() | {"t"}
    for name in params:
        if name in taken:
            raise ExpressionError(f"params: {name!r} already has a meaning in expressions; choose another name")


class _Reader:
    """Walks Python's syntax tree, lets through what the grammar knows and names the column of what it does not."""

    def __init__(self, text: str, variables: dict[str, int], params: frozenset[str]) -> None:
        self.text = text
        self.variables = variables
        self.params = params
        self.nodes = 0

    def read(self, node: ast.expr, depth: int = 0) -> Tree:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise self.error(node, "the expression is nested too deeply or too long; pass a function instead")
        if isinstance(node, ast.Constant):
            return self.number(node)
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.BinOp):
            return self.binary(node, depth)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
            operand = self.read(node.operand, depth + 1)
            return operand if isinstance(node.op, ast.UAdd) else negative(operand)
        if isinstance(node, ast.Call):
            return self.call(node, depth)
        raise self.error(node, f"{_REFUSED.get(type(node), 'this')} is not part of an expression")

    def number(self, node: ast.Constant) -> Tree:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise self.error(node, f"expected a real number, got {type(node.value).__name__}")
        try:
            return number(float(node.value))
        except (OverflowError, ValueError):
            raise self.error(node, "the number is too large") from None

    def name(self, node: ast.Name) -> Tree:
        if node.id in self.params:
            return ("param", node.id)
        if node.id in self.variables:
            return ("var", self.variables[node.id])
        if node.id == "t":
            return ("time",)
        if node.id in CONSTANTS:
            return number(CONSTANTS[node.id])
        if node.id in FUNCTIONS:
            raise self.error(node, f"the function {node.id} needs an argument: write {node.id}(...)")
        if re.fullmatch(r"x[0-9]+", node.id) and int(node.id[1:]) >= MAX_VARIABLES:
            raise self.error(
                node,
                f"text serves up to {MAX_VARIABLES} coordinates, x0 to x{MAX_VARIABLES - 1}; for more give functions "
                "of arrays: Energy(f, grad=g, dim=..., batched=True)",
            )
        known = [*self.variables, *self.params, *FUNCTIONS, *CONSTANTS, "t"]
        small = node.id.lower()
        hint = f"; did you mean {small!r}?" if small in known else nearest(node.id, known) if small[1:] else ""
        raise self.error(
            node,
            f"unknown name {node.id!r}{hint or '.'} Give parameters as "
            f"params={{{node.id!r}: value}} to Energy, Mobility or Temperature, and coordinates as variables=[...] to "
            "the first two (observables take neither: write the number into the text)",
        )

    def binary(self, node: ast.BinOp, depth: int) -> Tree:
        kind = _BINARY.get(type(node.op))
        if kind is None:
            hint = "for powers use **" if isinstance(node.op, ast.BitXor) else "the operators are + - * / **"
            raise self.error(node.right, f"operator not in the grammar before this column: {hint}")
        left, right = self.read(node.left, depth + 1), self.read(node.right, depth + 1)
        try:
            return combine(kind, left, right)
        except (OverflowError, ZeroDivisionError, ValueError):
            raise self.error(node, "this constant is not a finite real number") from None

    def call(self, node: ast.Call, depth: int) -> Tree:
        if not isinstance(node.func, ast.Name):
            bare = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            hint = f"; write {bare}(...) without what stands before the dot" if bare in FUNCTIONS else ""
            raise self.error(node.func, f"only the named functions can be called{hint}")
        if node.func.id not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            hint = (
                "; log is the natural logarithm." if node.func.id == "ln" else nearest(node.func.id, FUNCTIONS) or "."
            )
            raise self.error(node, f"unknown function {node.func.id!r}{hint} The functions are {known}")
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise self.error(node, f"{node.func.id} takes one argument, got {len(node.args) + len(node.keywords)}")
        operand = self.read(node.args[0], depth + 1)
        try:
            return apply(node.func.id, operand)
        except (OverflowError, ValueError):
            raise self.error(node, "this constant is not a finite real number") from None

    def error(self, node: ast.expr, message: str) -> ExpressionError:
        # ast counts UTF-8 bytes, people count characters
        column = len(self.text.encode()[: node.col_offset].decode(errors="ignore"))
        return ExpressionError(message, self.text, column)


_REFUSED: dict[type[ast.expr], str] = {
    ast.Attribute: "an attribute (a dot)",
    ast.Subscript: "an index (write x0, x1, ... or x, y, z, w for coordinates)",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.Compare: "a comparison",
    ast.BoolOp: "and/or",
    ast.IfExp: "if/else",
    ast.NamedExpr: "an assignment",
    ast.Tuple: "a comma",
    ast.JoinedStr: "a string",
}


# ---- building trees; constants are folded so that a tree never holds an operation on two numbers


def number(value: float) -> Tree:
    """A finite constant."""
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"constants must be finite, got {value}")
    return ("num", value)


def combine(kind: str, left: Tree, right: Tree) -> Tree:
    """`left` (kind) `right`, folded when both are numbers."""
    if left[0] == "num" and right[0] == "num":
        return number(_FOLD[kind](left[1], right[1]))
    return (kind, left, right)


def negative(operand: Tree) -> Tree:
    """Minus `operand`."""
    return number(-operand[1]) if operand[0] == "num" else ("neg", operand)


def apply(function: str, operand: Tree) -> Tree:
    """One of FUNCTIONS of `operand`, folded when that is a number."""
    if operand[0] == "num":
        return number(FUNCTIONS[function](operand[1]))
    return ("call", function, operand)


# ---- looking at trees


def leaves(tree: Tree) -> set[Tree]:
    """The variables, parameters and time a tree refers to."""
    found: set[Tree] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        if node[0] in ("var", "param", "time"):
            found.add(node)
        else:
            stack.extend(child for child in node[1:] if isinstance(child, tuple))
    return found


def is_constant(tree: Tree) -> bool:
    """Whether a tree refers to neither a variable nor the time; it may have parameters."""
    if tree[0] in ("var", "time"):
        return False
    return all(is_constant(child) for child in tree[1:] if isinstance(child, tuple))


def tree_dim(tree: Tree) -> int:
    """The number of coordinates a tree needs: the largest index plus one, at least 1."""
    return max((leaf[1] + 1 for leaf in leaves(tree) if leaf[0] == "var"), default=1)


def check_none_skipped(trees: Iterable[Tree], argument: str, how: str) -> None:
    """Refuse to count coordinates by the largest that is named where a lower one is not: an x1 often means x0.

    `how` says where the number of coordinates can be stated instead, with {dim} for it.
    """
    named = {leaf[1] for tree in trees for leaf in leaves(tree) if leaf[0] == "var"}
    dim = max(named, default=-1) + 1
    skipped = sorted(set(range(dim)) - named)
    if skipped:
        raise ShapeError(
            f"{argument}: got {_listed(sorted(named))}, but not {_listed(skipped)}. Coordinates count from x0, so "
            f"these would be {dim}; name them from x0 on, or, where all is flat along {_listed(skipped)}, say so with "
            f"{how.format(dim=dim)}"
        )


def _listed(coordinates: Sequence[int]) -> str:
    return ", ".join(f"x{k} ({SHORT_NAMES[k]})" if k < len(SHORT_NAMES) else f"x{k}" for k in coordinates)


def param_names(trees: Iterable[Tree]) -> tuple[str, ...]:
    """The parameters that trees refer to, sorted."""
    return tuple(sorted({leaf[1] for tree in trees for leaf in leaves(tree) if leaf[0] == "param"}))


def uses_time(trees: Iterable[Tree]) -> bool:
    """Whether any tree refers to t."""
    return any(("time",) in leaves(tree) for tree in trees)
