"""Mobilities: forms, divergence, positivity."""

import numpy as np
import pytest

import relaxsim as rs

pytestmark = pytest.mark.nojit

POINTS = np.random.default_rng(4).normal(size=(6, 2))
ROWS = [["2 + sin(x)", "0.5*cos(x*y)"], ["0.5*cos(x*y)", "1 + y**2"]]


def tensor(x):
    return ((2 + np.sin(x[0]), 0.5 * np.cos(x[0] * x[1])), (0.5 * np.cos(x[0] * x[1]), 1 + x[1] ** 2))


def divergence(x):
    s = -0.5 * np.sin(x[0] * x[1])
    return (np.cos(x[0]) + s * x[0], s * x[1] + 2 * x[1])


@pytest.mark.parametrize(
    ("mobility", "structure"),
    [
        (rs.Mobility.tensor(ROWS), "tensor"),
        (rs.Mobility.from_function(tensor, dim=2), "tensor"),
        (rs.Mobility.from_function(tensor, divergence, dim=2), "tensor"),
    ],
)
def test_divergence_is_on_the_second_index(mobility, structure):
    assert mobility.structure == structure
    np.testing.assert_allclose(mobility.divergence(POINTS), np.transpose(divergence(POINTS.T)), rtol=1e-13)
    np.testing.assert_allclose(mobility(POINTS), np.moveaxis(np.array(tensor(POINTS.T)), -1, 0), rtol=1e-14)


def test_coercion_of_what_users_write():
    assert rs.Mobility.coerce(2.0).structure == "scalar"
    assert rs.Mobility.coerce([1.0, 2.0]).structure == "diagonal"
    assert rs.Mobility.coerce(np.eye(3)).structure == "tensor"
    assert rs.Mobility.coerce("1 + x**2").structure == "scalar"
    assert rs.Mobility.coerce(["1 + x**2", 2.0]).structure == "diagonal"
    assert rs.Mobility.coerce(ROWS).structure == "tensor"
    assert all(rs.Mobility.coerce(value).is_constant for value in (2.0, [1.0, 2.0], np.eye(2)))
    assert not rs.Mobility.coerce("1 + x**2").is_constant


def test_scalar_mobility_is_a_multiple_of_the_identity():
    np.testing.assert_array_equal(rs.Mobility.constant(3.0).bound_to(2, None)(POINTS[0]), 3.0 * np.eye(2))


def test_a_wrong_divergence_is_refused():
    with pytest.raises(rs.InputError, match=r"divergence: disagrees.*worst of 32 points"):
        rs.Mobility.from_function(tensor, lambda x: (divergence(x)[0], 1.01 * divergence(x)[1]), dim=2)


def test_a_branching_mobility_needs_its_divergence():
    def steps(x):
        return 2.0 + x[0] if x[0] > 0 else 2.0 + 0.5 * x[0] ** 2

    with pytest.raises(rs.ExpressionError, match="Pass divergence="):
        rs.Mobility.from_function(steps, dim=1)
    mobility = rs.Mobility.from_function(steps, lambda x: (1.0 if x[0] > 0 else x[0],), dim=1)
    np.testing.assert_allclose(mobility([[1.0], [-1.0]]), [[[3.0]], [[2.5]]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.Mobility.constant(-1.0), rs.MobilityError, "eigenvalue -1"),
        (lambda: rs.Mobility.constant(0.0), rs.MobilityError, "eigenvalue 0"),
        (lambda: rs.Mobility.constant([[1.0, 2.0], [2.0, 1.0]]), rs.MobilityError, "has the eigenvalue -1"),
        (lambda: rs.Mobility.constant([[1.0, 0.5], [-0.5, 1.0]]), rs.MobilityError, "must be symmetric"),
        (lambda: rs.Mobility.constant(np.inf), rs.MobilityError, "finite"),
        (lambda: rs.Mobility.constant(np.ones((2, 3))), rs.ShapeError, r"matrix \(d, d\)"),
        (lambda: rs.Mobility.constant([[1.0], [1.0, 2.0]]), rs.ShapeError, "rectangular"),
        (lambda: rs.Mobility.diagonal(), rs.MobilityError, "one text or number for each axis"),
        (lambda: rs.Mobility.diagonal("1 + a*x"), rs.ExpressionError, "unknown name 'a'"),
        (lambda: rs.Mobility.diagonal("1 + x**2", np.nan), rs.MobilityError, r"mobility\[1\]"),
        (lambda: rs.Mobility.diagonal("x", params={"a": 1.0}), rs.InputError, "no entry"),
        (lambda: rs.Mobility.tensor(["1", "2"]), rs.ShapeError, "d rows"),
        (lambda: rs.Mobility.from_function(lambda x: (1.0, 2.0, 3.0), dim=2), rs.ShapeError, "2 numbers"),
        (lambda: rs.Mobility.from_function(3.0), rs.MobilityError, "expected a function"),
        (lambda: rs.System("x + y", rs.Mobility.tensor([["2", "x"], ["y", "2"]]), 1.0), rs.MobilityError, "symmetric"),
        (lambda: rs.System("x**2", "x", 1.0, rs.Domain([(-1, 1)])), rs.MobilityError, "inside the domain, but at"),
        (lambda: rs.System("x**2", "1 - 2*x", 1.0, rs.Domain([(0, 1)])), rs.MobilityError, "inside the domain"),
        (lambda: rs.System("x**2", "1 - 1.000001*x", 1.0, rs.Domain([(0, 1)])), rs.MobilityError, "on the wall"),
        (lambda: rs.System("x", [1.0] * 3, 1.0, rs.Domain([(0, 1)] * 2)), rs.ShapeError, "mobility has 3"),
        (lambda: rs.System("x", "1/x", 1.0, rs.Domain([(0, 1)])), rs.MobilityError, "not finite on the wall"),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        make()


def test_a_mobility_that_vanishes_at_the_wall_is_allowed():
    rs.System("x", "2*x*(1 - x)", 0.3, rs.Domain.hypercube(1))
