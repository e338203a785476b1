"""The antisymmetric part of a mobility: ways to give it, its divergence, what is refused, and that it keeps Gibbs."""

import math

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.errors import MobilityError

X = np.array([[0.3, -0.7], [1.2, 0.4], [-2.0, 0.1]])
TORUS = rs.Domain([(0, 2 * np.pi)] * 2, boundary="periodic")
ROWS = [["0", "c + sin(x)*cos(y)"], ["-(c + sin(x)*cos(y))", "0"]]


def rows(x):
    value = 0.6 + np.sin(x[0]) * np.cos(x[1])
    return (0.0, value), (-value, 0.0)


def rows_with_math(x):
    value = 0.6 + math.sin(x[0]) * math.cos(x[1])
    return (0.0, value), (-value, 0.0)


def divergence(x):
    return -math.sin(x[0]) * math.sin(x[1]), -math.cos(x[0]) * math.cos(x[1])


def wrong_divergence(x):
    return math.sin(x[0]) * math.sin(x[1]), -math.cos(x[0]) * math.cos(x[1])


def text():
    return rs.Mobility.constant(1.0).with_antisymmetric(ROWS, params={"c": 0.6})


def traced():
    return rs.Mobility.diagonal("1", "1").with_antisymmetric(rows)


def called():
    return rs.Mobility.constant([[1.0, 0.0], [0.0, 1.0]]).with_antisymmetric(rows_with_math, divergence)


@pytest.mark.parametrize("make", [text, traced, called])
def test_a_text_a_traced_function_and_a_plain_one_are_the_same(make):
    mobility = rs.System("x**2 + y**2", make(), 1.0).mobility
    value = 0.6 + np.sin(X[:, 0]) * np.cos(X[:, 1])
    expected = np.zeros((3, 2, 2))
    expected[:, 0, 1], expected[:, 1, 0] = value, -value
    np.testing.assert_allclose(mobility.antisymmetric(X), expected, rtol=1e-14)
    np.testing.assert_array_equal(mobility.symmetric(X), np.broadcast_to(np.eye(2), (3, 2, 2)))
    np.testing.assert_array_equal(mobility(X), mobility.symmetric(X) + mobility.antisymmetric(X))
    np.testing.assert_allclose(mobility.divergence(X), np.stack(divergence_of(X), axis=-1), rtol=1e-13)
    assert not mobility.reversible
    assert not mobility.is_constant
    assert "non-reversible" in repr(mobility)


def divergence_of(x):
    return -np.sin(x[:, 0]) * np.sin(x[:, 1]), -np.cos(x[:, 0]) * np.cos(x[:, 1])


def test_a_constant_part():
    mobility = rs.Mobility.constant(2.0).with_antisymmetric([[0, 0.8], [-0.8, 0]])
    assert repr(mobility) == "<Mobility: constant scalar in 2 dimensions, non-reversible>"
    assert mobility.is_constant
    assert (mobility.structure, mobility.dim) == ("scalar", 2)
    np.testing.assert_array_equal(mobility([0.0, 0.0]), [[2.0, 0.8], [-0.8, 2.0]])
    np.testing.assert_array_equal(mobility.divergence(X), np.zeros((3, 2)))
    # far from symmetric, and still positive where the noise is
    system = rs.System("x**2 + y**2", rs.Mobility.constant(1.0).with_antisymmetric([[0, 50.0], [-50.0, 0]]), 1.0)
    np.testing.assert_allclose(system.drift([1.0, 2.0]), [-2 - 200, -4 + 100])


def test_a_part_that_is_zero_is_none():
    mobility = rs.Mobility.constant(2.0).with_antisymmetric(np.zeros((3, 3)))
    assert mobility.reversible
    np.testing.assert_array_equal(mobility.antisymmetric(np.zeros((1, 3))), np.zeros((1, 3, 3)))
    assert "non-reversible" not in repr(mobility)


def test_three_dimensions_with_both_parts_varying():
    """Divergences of S and A add up, on the second index."""
    symmetric = [["2 + sin(y)", "0.3*x", "0"], ["0.3*x", "2", "0.1*z"], ["0", "0.1*z", "2"]]
    antisymmetric = [["0", "x*z", "y"], ["-x*z", "0", "z**2"], ["-y", "-z**2", "0"]]
    mobility = rs.Mobility.tensor(symmetric).with_antisymmetric(antisymmetric)
    x, y, z = point = np.array([0.4, -0.2, 0.7])
    assert mobility.structure == "tensor"
    np.testing.assert_allclose(mobility.divergence(point), [0, 0.3 + 0.1 - z + 2 * z, 0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(mobility(point)[0], [2 + np.sin(y), 0.3 * x + x * z, y])


def test_parameters_are_shared_and_changed():
    mobility = rs.Mobility.diagonal("1 + c*sin(x)**2", "1", params={"c": 0.6}).with_antisymmetric(ROWS)
    system = rs.System("x**2 + y**2", mobility, 1.0)
    other = system.with_params(c=0.1).mobility
    assert other.params == {"c": 0.1}
    np.testing.assert_allclose(other(X)[:, 0, 1], 0.1 + np.sin(X[:, 0]) * np.cos(X[:, 1]))
    np.testing.assert_allclose(other(X)[:, 0, 0], 1 + 0.1 * np.sin(X[:, 0]) ** 2)
    with pytest.raises(rs.InputError, match=r"the mobility has it as 0\.6, A as 0\.5"):
        rs.Mobility.diagonal("1 + c*sin(x)**2", params={"c": 0.6}).with_antisymmetric(ROWS, params={"c": 0.5})
    with pytest.raises(rs.InputError, match=r"params\['d'\]: no entry"):
        rs.Mobility.constant(1.0).with_antisymmetric(ROWS, params={"c": 0.6, "d": 1.0})


def test_a_second_part_takes_the_place_of_the_first():
    mobility = text().with_antisymmetric([[0, 0.5], [-0.5, 0]])
    assert mobility.params == {"K": 1.0, "A0_1": 0.5}
    np.testing.assert_array_equal(mobility([0.0, 0.0]), [[1.0, 0.5], [-0.5, 1.0]])


def test_time():
    mobility = rs.Mobility.constant(1.0).with_antisymmetric([["0", "t*x"], ["-t*x", "0"]])
    assert mobility.time_dependent
    np.testing.assert_allclose(mobility([0.5, 1.0], 3.0), [[1.0, 1.5], [-1.5, 1.0]])
    np.testing.assert_allclose(mobility.divergence([0.5, 1.0], 3.0), [0.0, -3.0])
    by_call = rs.Mobility.constant(1.0).with_antisymmetric(
        lambda x, t: ((0.0, t * x[0]), (-t * x[0], 0.0)), time_dependent=True
    )
    np.testing.assert_allclose(rs.System("x + y", by_call, 1.0).mobility([0.5, 1.0], 3.0), mobility([0.5, 1.0], 3.0))
    later = [["0", "x"], ["-x*(1 + t)", "0"]]  # antisymmetric at t = 0 alone
    with pytest.raises(rs.MobilityError, match=r"must be antisymmetric.* at time 0\.73"):
        rs.Mobility.constant(1.0).with_antisymmetric(later)


@pytest.mark.parametrize(
    ("A", "kind", "words"),
    [
        ([["0", "x"], ["y", "0"]], rs.MobilityError, r"must be antisymmetric.* at \(1\.114"),
        ([["x", "1"], ["-1", "0"]], rs.MobilityError, r"zeros on the diagonal.* at \("),
        ([[0, 1], [1, 0]], rs.MobilityError, "must be antisymmetric"),
        ([["0", "1/(x - x)"], ["-1/(x - x)", "0"]], rs.MobilityError, "antisymmetric and finite"),
        ([[0, np.inf], [-np.inf, 0]], rs.MobilityError, "A must be finite"),
        ([[0, 1, 2], [-1, 0, 3]], rs.ShapeError, r"matrix \(d, d\)"),
        ([["0", "1"], ["-1"]], rs.ShapeError, "d rows of d entries"),
        (["0", "1"], rs.ShapeError, "d rows of d entries"),
        (0.8, rs.ShapeError, r"matrix \(d, d\)"),
        (rows_with_math, rs.ExpressionError, "Pass divergence="),
        (lambda x: (x[0], -x[0]), rs.ShapeError, "2 rows of 2 numbers"),
        (lambda x: ((0, x[0]), (x[0], 0)), rs.MobilityError, r"must be antisymmetric.* at \("),
        ([[0, 1, 0], [-1, 0, 0], [0, 0, 0]], rs.ShapeError, "number of coordinates"),
    ],
)
def test_what_is_refused(A, kind, words):
    with pytest.raises(kind, match=words):
        rs.System("x**2 + y**2", rs.Mobility.constant(1.0).with_antisymmetric(A), 1.0, rs.Domain.unbounded(2))


def test_a_divergence_given_twice_is_compared():
    for function in (rows, rows_with_math):
        with pytest.raises(rs.InputError, match="divergence: disagrees with the antisymmetric part"):
            rs.System("x + y", rs.Mobility.constant(1.0).with_antisymmetric(function, wrong_divergence), 1.0)


def test_numbers_of_coordinates_must_agree():
    with pytest.raises(rs.ShapeError, match="S has 3 coordinates, A has 2 rows"):
        rs.Mobility.constant([1.0, 2.0, 3.0]).with_antisymmetric([[0, 1], [-1, 0]])


def test_a_mobility_that_is_not_symmetric_hints_at_the_antisymmetric_part():
    for K in ([[1.0, 0.8], [-0.8, 1.0]], [["1", "x"], ["-x", "1"]]):
        with pytest.raises(rs.MobilityError, match="with_antisymmetric"):
            rs.System("x**2 + y**2", K, 1.0)


def test_the_noise_needs_a_positive_symmetric_part():
    mobility = rs.Mobility.tensor([["1", "2"], ["2", "1"]]).with_antisymmetric([[0, 1], [-1, 0]])
    with pytest.raises(rs.MobilityError, match="positive definite"):
        rs.System("x**2 + y**2", mobility, 1.0)


def test_a_periodic_axis_needs_a_periodic_part():
    with pytest.raises(rs.DomainError, match="the mobility differs"):
        rs.System("cos(x) + cos(y)", rs.Mobility.constant(1.0).with_antisymmetric([["0", "x"], ["-x", "0"]]), 1, TORUS)


# ---- Gibbs stays at rest


def outflow(system, drift):
    """The largest div J on a torus, J^a = F^a q - T d_b (S^{ab} q), by Fourier's derivatives."""
    n = 32
    axis = 2 * np.pi * np.arange(n) / n
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    wave = 1j * np.fft.fftfreq(n, 1 / n)

    def derivative(f, a):
        return np.fft.ifft(np.fft.fft(f, axis=a) * np.expand_dims(wave, 1 - a), axis=a).real

    T = system.temperature
    q, S, F = np.exp(-system.energy(x) / T), system.mobility.symmetric(x), drift(x)
    J = [F[..., a] * q - T * sum(derivative(S[..., a, b] * q, b) for b in range(2)) for a in range(2)]
    return abs(sum(derivative(J[a], a) for a in range(2))).max()


def test_gibbs_is_stationary_and_mutants_of_the_drift_lose_it():
    S = [["1 + 0.3*sin(x)", "0.2*cos(y)"], ["0.2*cos(y)", "1 + 0.3*sin(y)"]]
    mobility = rs.Mobility.tensor(S).with_antisymmetric(ROWS, params={"c": 0.6})
    system = rs.System("cos(x) + 0.7*cos(y) + 0.5*sin(x + y)", mobility, 0.8, TORUS)
    other = rs.Mobility.constant(1.0).with_antisymmetric(ROWS, params={"c": 0.6}).bound_to(2, None)

    def dropped(x):
        return system.drift(x) - 0.8 * other.divergence(x)

    def wrong_in_divergence(x):
        return system.drift(x) - 1.6 * other.divergence(x)

    def wrong_in_force(x):
        return system.drift(x) + 2 * np.einsum("...ab,...b->...a", other.antisymmetric(x), system.gradient(x))

    assert outflow(system, system.drift) < 1e-9
    for mutant in (dropped, wrong_in_divergence, wrong_in_force):
        assert outflow(system, mutant) > 0.1


# ---- densities, and where it is refused


def test_densities_keep_the_gibbs_law_with_it():
    system = rs.System("cos(x) + cos(y)", text(), 1.0, TORUS)
    fp = rs.FokkerPlanck(system, rs.Grid(TORUS, 16))
    generator = fp.generator
    leaving = -generator.diagonal() * fp.gibbs.ravel()
    assert np.all(np.abs(generator @ fp.gibbs.ravel()) <= 1e-13 * leaving)
    flow = generator.toarray() * fp.gibbs.ravel()
    assert np.abs(flow - flow.T).max() > 1e-3 * flow.max()  # and a current stays


def test_a_part_that_leaves_a_box_where_the_noise_vanishes_is_refused():
    vanishing, cube = rs.Mobility.diagonal("x*(1 - x)", "y*(1 - y)"), rs.Domain.hypercube(2)
    with pytest.raises(MobilityError, match="the drift leaves the box"):
        rs.System("x + y", vanishing.with_antisymmetric([[0, 0.5], [-0.5, 0]]), 0.5, cube)
    a = "4*x*(1 - x)*y*(1 - y)"
    rs.System("x + y", vanishing.with_antisymmetric([["0", a], [f"-{a}", "0"]]), 0.5, cube)
