"""Derivatives of expression trees, by SymPy: tree -> SymPy expression -> derivative -> tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from relaxsim.errors import ExpressionError
from relaxsim.system.derived_store import kept
from relaxsim.system.expression import Tree, apply, combine, leaves, negative, number

Trees = tuple[Tree, ...]


@kept
def gradient(tree: Tree, dim: int) -> Trees:
    """The partial derivatives of a tree with respect to the first `dim` coordinates."""
    expression = _to_sympy(tree)
    return tuple(_derivative(expression, axis) for axis in range(dim))


@kept
def hessian(tree: Tree, dim: int) -> tuple[Trees, ...]:
    """The matrix of second derivatives."""
    expression = _to_sympy(tree)
    upper = {(a, b): _derivative(expression, a, b) for a in range(dim) for b in range(a, dim)}
    return tuple(tuple(upper[min(a, b), max(a, b)] for b in range(dim)) for a in range(dim))


@kept
def divergence(rows: tuple[Trees, ...]) -> Trees:
    """The divergence on the second index, d_b K^{ab}, of a matrix of trees."""
    dim = len(rows)
    if not any(leaf[0] == "var" for row in rows for entry in row for leaf in leaves(entry)):
        return (number(0.0),) * dim
    total = []
    for row in rows:
        terms = [_to_sympy(entry).diff(_symbol(("var", b))) for b, entry in enumerate(row[:dim])]
        total.append(_from_sympy(sum(terms, start=terms[0] * 0)))
    return tuple(total)


def _derivative(expression: Any, *axes: int) -> Tree:
    for axis in axes:
        expression = expression.diff(_symbol(("var", axis)))
    return _from_sympy(expression)


@cache
def _symbol(leaf: Tree) -> Any:
    import sympy

    names = {"var": "x_", "param": "p_", "time": "t_"}
    return sympy.Symbol(names[leaf[0]] + "".join(str(part) for part in leaf[1:]), real=True)


@cache
def _functions() -> dict[str, Any]:
    """SymPy's functions, with our own |u| and sign(u): SymPy's would doubt that u is real."""
    import sympy

    class sign(sympy.Function):  # type: ignore[misc]  # noqa: N801
        def fdiff(self, argindex: int = 1) -> Any:
            return sympy.Integer(0)

    class abs_(sympy.Function):  # type: ignore[misc]  # noqa: N801
        def fdiff(self, argindex: int = 1) -> Any:
            return sign(self.args[0])

    plain = ("exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "erf")
    return {name: getattr(sympy, name) for name in plain} | {"abs": abs_, "sign": sign}


def _to_sympy(tree: Tree) -> Any:
    import sympy

    kind = tree[0]
    if kind == "num":
        return _to_number(tree[1])
    if kind in ("var", "param", "time"):
        return _leaf_symbol(tree)
    if kind == "call":
        return _functions()[tree[1]](_to_sympy(tree[2]))
    operands = [_to_sympy(child) for child in tree[1:]]
    if kind == "neg":
        return -operands[0]
    left, right = operands
    if kind == "add":
        return left + right
    if kind == "sub":
        return left - right
    if kind == "mul":
        return left * right
    return left / right if kind == "div" else sympy.Pow(left, right)


_LEAVES: dict[Any, Tree] = {}


def _leaf_symbol(leaf: Tree) -> Any:
    symbol = _symbol(leaf)
    _LEAVES[symbol] = leaf
    return symbol


def _to_number(value: float) -> Any:
    """Exact where that is short (so that x**0.5 is a square root), else the double itself."""
    import sympy

    if abs(value) < 2**40 and (value * 1024).is_integer():
        return sympy.Rational(int(value * 1024), 1024)
    return sympy.Float(value)


def _from_sympy(expression: Any) -> Tree:
    import sympy

    if expression in _LEAVES:
        return _LEAVES[expression]
    if expression.is_Number or expression.is_NumberSymbol:
        return _from_number(expression)
    if expression.is_Add:
        return _sum(sorted(expression.args, key=lambda term: term.could_extract_minus_sign()))
    if expression.is_Mul:
        return _product(expression)
    if isinstance(expression, sympy.exp):  # before Pow: SymPy counts exp(x) as E**x
        return apply("exp", _from_sympy(expression.exp))
    if expression.is_Pow:
        return _power(expression.base, expression.exp)
    name = _name_of(expression)
    if name is not None:
        return apply(name, _from_sympy(expression.args[0]))
    raise ExpressionError(f"the derivative needs {expression.func}, which has no kernel; pass grad= with a function")


def _from_number(value: Any) -> Tree:
    try:
        return number(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ExpressionError(f"a derivative has the constant {value}, which is no finite real number") from None


def _name_of(expression: Any) -> str | None:
    import sympy

    for name, function in _functions().items():
        if expression.func is function:
            return name
    return {sympy.Abs: "abs", sympy.sign: "sign"}.get(expression.func)


def _sum(terms: Sequence[Any]) -> Tree:
    total = _from_sympy(terms[0])
    for term in terms[1:]:
        if term.could_extract_minus_sign():
            total = combine("sub", total, _from_sympy(-term))
        else:
            total = combine("add", total, _from_sympy(term))
    return total


def _product(expression: Any) -> Tree:
    """Numerator over denominator, the sign in front."""
    if expression.could_extract_minus_sign() and expression.as_coeff_Mul()[0].is_negative:
        return negative(_from_sympy(-expression))
    top, bottom = [], []
    for factor in expression.args:
        if factor.is_Pow and not factor.exp.is_Symbol and factor.exp.is_number and factor.exp.is_negative:
            bottom.append(_power(factor.base, -factor.exp))
        else:
            top.append(_from_sympy(factor))
    return _ratio(top, bottom)


def _ratio(top: list[Tree], bottom: list[Tree]) -> Tree:
    result = top[0] if top else number(1.0)
    for factor in top[1:]:
        result = combine("mul", result, factor)
    if bottom:
        denominator = bottom[0]
        for factor in bottom[1:]:
            denominator = combine("mul", denominator, factor)
        result = combine("div", result, denominator)
    return result


def _power(base: Any, exponent: Any) -> Tree:
    if exponent.is_number and exponent.is_negative and exponent.is_real:
        return combine("div", number(1.0), _power(base, -exponent))
    if exponent == 1:
        return _from_sympy(base)
    return combine("pow", _from_sympy(base), _from_sympy(exponent))
