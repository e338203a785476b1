"""The grammar: what it reads, what it refuses and where it points."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaxsim.errors import ExpressionError
from relaxsim.system import derive
from relaxsim.system.expression import CONSTANTS, FUNCTIONS, parse, tree_dim
from relaxsim.system.source import function_source, numpy_function

pytestmark = pytest.mark.nojit


def value(text, *x, params=(), m=(), t=0.0):
    return numpy_function(parse(text, params=params), tuple(sorted(params)))(m, x, t)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2*3 - 4/8", 6.5),
        ("-2**2", -4.0),
        ("2**-1", 0.5),
        ("x**2*y - z/w", 0.3**2 * 1.7 - 0.9 / 2.1),
        ("x0 + x1*x2 - x3", 0.3 + 1.7 * 0.9 - 2.1),
        ("exp(-x)*log(y) + sqrt(z)", math.exp(-0.3) * math.log(1.7) + math.sqrt(0.9)),
        ("sin(pi*x) + cos(e*y)", math.sin(math.pi * 0.3) + math.cos(math.e * 1.7)),
        ("abs(x - y) + sign(x - y)", 0.4),
        ("erf(x) + tanh(y)*atan(z)", math.erf(0.3) + math.tanh(1.7) * math.atan(0.9)),
        ("a*x + t", 2.5 * 0.3 + 4.0),
        ("x**0.5 + y**1.5 + z**2.3", math.sqrt(0.3) + 1.7**1.5 + 0.9**2.3),
        ("(x\n + y)", 2.0),
    ],
)
def test_values(text, expected):
    got = value(text, 0.3, 1.7, 0.9, 2.1, params=("a",) if "a*" in text else (), m=(2.5,), t=4.0)
    assert got == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x + q", 5),
        ("__import__('os').system('true')", 1),
        ("x.real", 1),
        ("x[0]", 1),
        ("(lambda: 1)()", 2),
        ("[x for x in (1, 2)]", 1),
        ("2 * foo(x)", 5),
        ("x ^ 2", 5),
        ("x // 2", 6),
        ("x % 2", 5),
        ("x if y else 1", 1),
        ("x < 1", 1),
        ("x and y", 1),
        ("not x", 1),
        ("~x", 1),
        ("'x'", 1),
        ("True", 1),
        ("1j", 1),
        ("x, y", 1),
        ("sin", 1),
        ("sin(x, y)", 1),
        ("sin(x=1)", 1),
        ("sin(*x)", 1),
        ("9**9**9**9", 4),
        ("1/0", 1),
        ("log(-1)", 1),
        ("1e999", 1),
        ("(y := 3)", 2),
        ("f'{x}'", 1),
        ("x +", None),
        ("x = 3", None),
        ("2x", None),
        ("import os", None),
        ("", None),
        ("   ", None),
        ("(" * 300 + "x" + ")" * 300, None),
        ("-" * 5000 + "x", None),
        ("x" + "+x" * 4990, None),
        ("x\x00", None),
        ("x + " + "y" * 20_000_000, None),
        (7, None),
    ],
)
def test_refused(text, column):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    if column is not None:
        assert caught.value.column == column
        assert f"column {column}" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_misspelt_names_are_guessed():
    with pytest.raises(ExpressionError, match="did you mean 'sqrt'"):
        parse("sqr(x)")
    with pytest.raises(ExpressionError, match=r"did you mean 'alpha'\? Give parameters as params="):
        parse("alhpa*x", params=("alpha",))


def test_columns_count_characters_not_bytes():
    with pytest.raises(ExpressionError) as caught:
        parse("β*x + q", params=("β",))
    assert caught.value.column == 7


def test_reserved_names_cannot_be_variables():
    for name in ("sin", "t", "pi", "_x", "1x"):
        with pytest.raises(ExpressionError, match="variables"):
            parse("1", variables=[name])


def test_declared_variables_replace_the_defaults():
    assert tree_dim(parse("phi + psi**2", variables=["phi", "psi"])) == 2
    with pytest.raises(ExpressionError):
        parse("x", variables=["phi"])


# ---- random expressions: parser, writer and derivative against Python and finite differences

_atoms = st.sampled_from(["x", "y", "1.5", "2", "0.3", "x0", "x1"])
_smooth = ["sin", "cos", "tanh", "atan", "erf"]
_texts = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} / (2 + ({p[1]})**2))"),
        st.tuples(st.sampled_from(_smooth), inner).map(lambda p: f"{p[0]}({p[1]})"),
        inner.map(lambda u: f"(-{u})"),
        inner.map(lambda u: f"exp(-({u})**2)"),
        inner.map(lambda u: f"sqrt(1 + ({u})**2)"),
        inner.map(lambda u: f"log(1 + ({u})**2)"),
        inner.map(lambda u: f"({u})**3"),
    ),
    max_leaves=8,
)
POINT = (0.37, -0.81)


@given(_texts)
def test_value_is_what_python_computes(text):
    names = {name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)} | CONSTANTS
    expected = eval(text, {"__builtins__": {}}, names | {"x": POINT[0], "y": POINT[1], "x0": POINT[0], "x1": POINT[1]})
    assert value(text, *POINT) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(_texts)
def test_gradient_is_the_limit_of_differences(text):
    tree = parse(text)
    gradient = np.array(numpy_function(derive.gradient(tree, 2), ())((), POINT, 0.0), dtype=float)
    f = numpy_function(tree, ())
    for axis in range(2):
        step = 1e-3 * np.eye(2)[axis]
        near = f((), POINT + step, 0.0) - f((), POINT - step, 0.0)
        far = f((), POINT + 2 * step, 0.0) - f((), POINT - 2 * step, 0.0)
        third = f((), POINT + 3 * step, 0.0) - f((), POINT - 3 * step, 0.0)
        estimate = (45 * near - 9 * far + third) / (60 * 1e-3)
        scale = max(1.0, abs(f((), POINT, 0.0)), *np.abs(gradient))
        assert gradient[axis] == pytest.approx(estimate, abs=2e-7 * scale**2)


def test_derivatives_of_the_functions_that_mathematics_singles_out():
    for text, expected in [("abs(x)", 1.0), ("sign(x)", 0.0), ("sqrt(x**2)", 1.0), ("x**0.5", 0.5 / math.sqrt(0.37))]:
        (derivative,) = derive.gradient(parse(text), 1)
        assert numpy_function(derivative, ())((), (0.37,), 0.0) == pytest.approx(expected)


def test_equal_subexpressions_are_computed_once():
    source = function_source("f", parse("exp(x*y) + exp(x*y)**2 + sin(x*y)"), ())
    assert source.count("exp(") == 1
    assert source.count("x0 * x1") == 1


def test_integer_powers_become_products():
    source = function_source("f", parse("x**7"), ())
    assert "**" not in source
    assert value("x**7", 1.3) == pytest.approx(1.3**7, rel=1e-15)
    assert value("x**(-3)", 1.3) == pytest.approx(1.3**-3, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("2x", r"Write products with \*, as in 2\*x"),
        ("np.sin(x)", r"write sin\(\.\.\.\) without what stands before the dot"),
        ("ln(x)", "log is the natural logarithm"),
        ("X**2", "unknown name 'X'; did you mean 'x'"),
        ("exp(-T)", "unknown name 'T'; did you mean 't'"),
        ("x[0]**2", "write x0, x1, ... or x, y, z, w for coordinates"),
    ],
)
def test_slips_of_the_pen_are_told_their_remedy(text, hint):
    with pytest.raises(ExpressionError, match=hint):
        parse(text)


def test_a_forgotten_parameter_is_not_taken_for_a_tangent():
    with pytest.raises(ExpressionError, match=r"unknown name 'a'\. Give parameters as params=\{'a': value\}"):
        parse("a*x")
