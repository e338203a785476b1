"""Energies as text and as functions."""

import math

import numpy as np
import pytest

import relaxsim as rs
from relaxsim import elementary

pytestmark = pytest.mark.nojit

POINTS = np.random.default_rng(3).normal(size=(5, 4, 2))


def double_well(x):
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2 + 0.3 * x[0] * x[1]


def test_text_and_function_agree():
    text = rs.Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y")
    function = rs.Energy(double_well)
    assert function.dim == 2
    np.testing.assert_array_equal(text(POINTS), function(POINTS))
    np.testing.assert_allclose(text.gradient(POINTS), function.gradient(POINTS), rtol=1e-14)
    assert text(POINTS).shape == (5, 4)
    assert text.gradient(POINTS).shape == (5, 4, 2)


def test_hessian_is_derived_when_asked_for():
    x, y = 0.4, -0.7
    expected = [[12 * x**2 - 4, 0.3], [0.3, 1.0]]
    np.testing.assert_allclose(rs.Energy(double_well).hessian([x, y]), expected, rtol=1e-14)


def test_numpy_functions_and_elementary_can_be_traced():
    energy = rs.Energy(lambda x: np.exp(-np.square(x[0])) + elementary.erf(x[1]) + np.abs(x[1]) ** 3)
    x = np.array([0.3, -0.8])
    expected = [-0.6 * math.exp(-0.09), 2 / math.sqrt(math.pi) * math.exp(-0.64) - 3 * 0.64]
    np.testing.assert_allclose(energy.gradient(x), expected, rtol=1e-14)


def branching(x):
    return x[0] ** 2 if x[0] > 0 else 2 * math.cosh(x[0]) - 2


def branching_gradient(x):
    return (2 * x[0] if x[0] > 0 else 2 * math.sinh(x[0]),)


def test_a_function_that_branches_needs_its_gradient():
    with pytest.raises(rs.ExpressionError, match=r"comparison or a branch.*Pass grad="):
        rs.Energy(branching, dim=1)
    energy = rs.Energy(branching, grad=branching_gradient, dim=1)
    np.testing.assert_allclose(energy([[2.0], [-1.0]]), [4.0, 2 * math.cosh(1.0) - 2])
    np.testing.assert_allclose(energy.gradient([[2.0], [-1.0]]), [[4.0], [-2 * math.sinh(1.0)]])


@pytest.mark.parametrize("factor", [1 + 3e-6, 1.1, -1.0])
def test_a_wrong_gradient_is_refused_with_the_worst_point(factor):
    with pytest.raises(rs.InputError, match=r"grad: disagrees with the energy; at the worst of 32 points, \("):
        rs.Energy("x**2 + y**4", grad=lambda x: (2 * x[0], factor * 4 * x[1] ** 3), dim=2)
    with pytest.raises(rs.InputError, match="grad"):
        rs.Energy(branching, grad=lambda x: (factor * branching_gradient(x)[0],), dim=1)


def test_a_right_gradient_and_hessian_pass():
    rs.Energy(
        "x**2 + y**4",
        grad=lambda x: (2 * x[0], 4 * x[1] ** 3),
        hessian=lambda x: ((2.0, 0.0), (0.0, 12 * x[1] ** 2)),
        dim=2,
    )


def test_a_wrong_hessian_is_refused():
    with pytest.raises(rs.InputError, match="hessian"):
        rs.Energy("x**2", hessian=lambda x: ((2.1,),), dim=1)


def test_parameters():
    energy = rs.Energy("a*x**2/2", params={"a": 3.0})
    assert energy([2.0]) == 6.0
    np.testing.assert_array_equal(energy.with_params({"a": 5.0}).gradient([2.0]), [10.0])
    assert energy([2.0]) == 6.0


def test_time_in_text_and_functions():
    text = rs.Energy("x**2*(1 + t)")
    function = rs.Energy(lambda x, t: x[0] ** 2 * (1 + t), time_dependent=True)
    assert text.time_dependent
    assert function.bound_to(1, np.ones((1, 1))).time_dependent
    np.testing.assert_array_equal(text.gradient([[3.0]], 2.0), function.gradient([[3.0]], 2.0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.Energy("a*x", params={"a": math.nan}), rs.InputError, r"params\['a'\].*finite"),
        (lambda: rs.Energy("a*x", params={"a": "2"}), rs.InputError, r"params\['a'\]"),
        (lambda: rs.Energy("x", params={"b": 1.0}), rs.InputError, "does not use this parameter"),
        (lambda: rs.Energy("x", params={"sin": 1.0}), rs.ExpressionError, "already has a meaning"),
        (lambda: rs.Energy("x", params=[1]), rs.InputError, "mapping"),
        (lambda: rs.Energy("y", dim=1), rs.ShapeError, "uses 2 coordinate"),
        (lambda: rs.Energy("x", dim=17), rs.ShapeError, "at most 16"),
        (lambda: rs.Energy("x16"), rs.ExpressionError, "16 coordinates, x0 to x15.*batched=True"),
        (lambda: rs.Energy(3.0), rs.ExpressionError, "text or a function"),
        (lambda: rs.Energy(lambda x: (x[0], x[1]), dim=2), rs.ShapeError, "one number a point"),
        (lambda: rs.Energy(lambda x: math.sin(x[0]), dim=1), rs.ExpressionError, r"math\.\*"),
        (lambda: rs.Energy("x")(np.ones((3, 2))), rs.ShapeError, r"\(\.\.\., 1\)"),
        (lambda: rs.Energy("x")("abc"), rs.ShapeError, "numbers"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_function_of_the_time_that_does_not_say_so_is_told_how():
    def whole(x, t):
        return np.sum(x * x, axis=0) * (1 + t)

    with pytest.raises(rs.InputError, match=r"takes two arguments, x and t; one holds all.*time_dependent=True"):
        rs.Energy(whole, dim=1)
    with pytest.raises(rs.ExpressionError, match=r"x holds the coordinates: write x\[0\], x\[1\]"):
        rs.Energy(lambda x: x**2, dim=1)
    with pytest.raises(rs.InputError, match="time_dependent=True"):
        rs.Energy(whole, grad=lambda x, t: 2 * x * (1 + t), dim=64, batched=True)
    assert rs.Energy(lambda x, t: x[0] ** 2 * (1 + t), dim=1, time_dependent=True).time_dependent
    assert not rs.Energy(lambda x, a=2.0: a * x[0] ** 2, dim=1).time_dependent  # a second argument with a default
