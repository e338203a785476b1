"""Activations: every row against derivatives taken with mpmath, geodesics and walls."""

import json
from itertools import pairwise
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

import relaxsim as rs
from relaxsim.system.activation import ACTIVATIONS, lookup

pytestmark = pytest.mark.nojit

DATA = Path(__file__).parents[1] / "data" / "geodesic.json"
CASES = {case["id"]: case for case in json.loads(DATA.read_text())["cases"]}
BETA = 1.7


def _mp_sigma(name):
    """sigma(z) written again, for mpmath."""
    b = mp.mpf(BETA)
    return {
        "soft_projection": lambda z: (1 + mp.tanh(b * (z - 0.5))) / 2,
        "logistic": lambda z: 1 / (1 + mp.exp(-b * z)),
        "tanh": lambda z: mp.tanh(b * z),
        "arctan": lambda z: mp.mpf(1) / 2 + mp.atan(b * z) / mp.pi,
        "algebraic": lambda z: b * z / mp.sqrt(1 + b * b * z * z),
        "probit": lambda z: mp.ncdf(b * z),
        "softsign": lambda z: b * z / (1 + b * abs(z)),
        "softplus": lambda z: mp.log(1 + mp.exp(b * z)) / b,
        "exp": lambda z: mp.exp(b * z),
        "sin2": lambda z: mp.sin(b * z) ** 2,
        "identity": lambda z: b * z,
    }[name]


def _points(row):
    low = max(row.range[0], -3.0)
    high = min(row.range[1], 3.0)
    return low + (high - low) * np.array([0.003, 0.1, 0.35, 0.8, 0.92, 0.9995])


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=list(ACTIVATIONS))
class TestEveryRow:
    def test_sigma_and_its_inverse(self, row):
        x = _points(row)
        z = row.inverse(x, BETA)
        np.testing.assert_allclose(row.sigma(z, BETA), x, rtol=1e-13)
        expected = [float(_mp_sigma(row.name)(mp.mpf(value))) for value in z.tolist()]
        np.testing.assert_allclose(row.sigma(z, BETA), expected, rtol=1e-13)
        ends = np.clip(row.range, -1e3, 1e3)
        np.testing.assert_allclose(row.sigma(row.inverse(ends, BETA), BETA), ends, atol=1e-15)

    def test_mobility_is_the_slope_of_sigma(self, row):
        sigma, x = _mp_sigma(row.name), _points(row)
        with mp.workdps(40):
            z = [mp.mpf(value) for value in row.inverse(x, BETA).tolist()]
            slope = np.array([float(mp.diff(sigma, value)) for value in z])
            bend = np.array([float(mp.diff(sigma, value, 2)) for value in z])
        np.testing.assert_allclose(row.K(x, BETA), slope, rtol=2e-12)
        np.testing.assert_allclose(row.K_prime(x, BETA), bend / slope, rtol=2e-12, atol=1e-12)

    def test_geodesic_coordinate(self, row):
        x = _points(row)

        def root(value):
            return 1 / np.sqrt(row.K(float(value), BETA))

        def length(a, b):
            kink = [0.0] if a < 0 < b else []  # of softsign
            return float(mp.quad(root, [a, *kink, b]))

        lengths = [length(a, b) for a, b in pairwise(x.tolist())]
        np.testing.assert_allclose(np.diff(row.Y(x, BETA)), lengths, rtol=1e-9)
        np.testing.assert_allclose(row.Y_inverse(row.Y(x, BETA), BETA), x, rtol=1e-12)
        assert row.distance(x[1], x[3], BETA) == pytest.approx(sum(lengths[1:3]), rel=1e-9)

    def test_walls_follow_from_the_integral_of_the_inverse_mobility(self, row):
        ends = (max(row.range[0], -3.0), min(row.range[1], 3.0))
        inside = (ends[0] + ends[1]) / 2
        for k, end in enumerate(ends):
            # the integral from a distance of 1e-3 to one of 1e-6 and on to 1e-9: it falls off if it converges
            hidden = row.inverse(end + (inside - end) * np.array([1e-3, 1e-6, 1e-9]), BETA)
            first, second = np.abs(np.diff(hidden))
            assert row.needs_wall(*ends)[k] == (second < 0.1 * first)

    def test_which_are_quadratic(self, row):
        x = np.linspace(-0.9, 0.9, 7) if row.range[0] == -1 else np.linspace(0.1, 0.9, 7)
        if np.isinf(row.range[1]):
            assert row.quadratic is None
            return
        c = row.K(x, BETA) / ((x - row.range[0]) * (row.range[1] - x)) / BETA
        assert (row.quadratic is not None) == (np.ptp(c) < 1e-12)
        if row.quadratic is not None:
            np.testing.assert_allclose(c, row.quadratic, rtol=1e-14)

    def test_arguments_outside_are_refused(self, row):
        if np.isfinite(row.range[0]):
            for method in (row.K, row.K_prime, row.inverse, row.Y):
                with pytest.raises(rs.DomainError, match=rf"x: -1.5 lies outside of the range of {row.name}"):
                    method([0.5, -1.5])
        for beta in (0, -1.0, np.inf, [1.0, -2.0]):
            with pytest.raises(rs.InputError, match="beta: expected a positive finite number"):
                row.K(0.5, beta)


def test_walls():
    walls = {name: row.needs_wall() for name, row in ACTIVATIONS.items()}
    assert {name for name, ends in walls.items() if any(ends)} == {"sin2"}
    assert walls["sin2"] == (True, True)
    assert ACTIVATIONS["identity"].needs_wall(0.0, 1.0) == (True, True)
    assert ACTIVATIONS["exp"].needs_wall(upper=4.0) == (False, True)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 2e-11])
def test_probit_keeps_its_digits_near_the_ends(distance):
    row = ACTIVATIONS["probit"]
    with mp.workdps(40):
        u = mp.findroot(lambda v: mp.ncdf(v) - mp.mpf(distance), float(row.inverse(distance)))
        K = float(mp.npdf(u))
    assert row.K(distance) == pytest.approx(K, rel=1e-13)
    assert row.K_prime(distance) == pytest.approx(-float(u), rel=1e-12)
    assert row.K(1 - distance) == pytest.approx(K, rel=1e-16 / distance + 1e-13)
    assert 0 <= row.K(0.0) < 1e-28
    assert np.isfinite(row.K_prime([0.0, 0.075, 0.5, 0.925, 1.0])).all()


@pytest.mark.parametrize("case", ["softproj_2d", "logistic_1d", "tanh_1d"])
def test_geodesic_distances(case):
    case = CASES[case]
    row = lookup(case["activation"])
    assert row.distance(case["x"], case["y"], case["beta"]) == pytest.approx(case["expect"]["d_G"]["value"], rel=1e-14)
    if "geodesic_midpoint" in case["expect"]:
        middle = row.geodesic(case["x"], case["y"], 0.5, case["beta"])
        np.testing.assert_allclose(middle, case["expect"]["geodesic_midpoint"]["value"], rtol=1e-14)
        assert row.distance(0.0, 1.0) == pytest.approx(case["expect"]["diameter_1d_beta1"]["value"], rel=1e-15)


def test_bregman_divergence_is_the_integral_of_the_hidden_variable():
    case, row = CASES["bregman"], lookup("soft_projection")
    x, y = np.array(case["x"]), np.array(case["y"])
    nodes, weights = np.polynomial.legendre.leggauss(40)

    def divergence(x, y):
        path = y + (x - y) * (nodes[:, None] + 1) / 2
        gap = row.inverse(path, case["beta"]) - row.inverse(y, case["beta"])
        return np.sum(weights @ gap * (x - y) / 2)

    assert divergence(x, y) == pytest.approx(case["expect"]["D(x||y)"]["value"], rel=1e-13)
    assert divergence(y, x) == pytest.approx(case["expect"]["D(y||x)"]["value"], rel=1e-13)


@pytest.mark.parametrize(
    ("case", "first", "second"),
    [
        ("WG_uniform_arcsine", lambda u: u, lambda u: np.sin(np.pi * u / 2) ** 2),
        ("WG_power", np.sqrt, lambda u: 1 - np.sqrt(1 - u)),
        ("WG_dirac", np.zeros_like, np.ones_like),
    ],
)
def test_transport_distances_between_quantiles(case, first, second):
    nodes, weights = np.polynomial.legendre.leggauss(60)
    angle = (nodes + 1) * np.pi / 4  # u = sin(angle)^2 takes the square roots at both ends away
    u = np.sin(angle) ** 2
    Y = lookup("soft_projection").Y
    gap = Y(first(u), CASES[case]["beta"]) - Y(second(u), CASES[case]["beta"])
    squared = np.sum(weights * np.pi / 4 * np.sin(2 * angle) * gap**2)
    assert np.sqrt(squared) == pytest.approx(CASES[case]["expect"]["W_G"]["value"], rel=1e-7)


def test_one_beta_a_coordinate():
    row = rs.activation.lookup("logistic")
    np.testing.assert_allclose(row.K([[0.5, 0.5]], [1.0, 4.0]), [[0.25, 1.0]])
    assert rs.activation.lookup(row) is row


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(rs.InputError, match="did you mean 'soft_projection'"):
        rs.activation.lookup("softprojection")
    with pytest.raises(rs.InputError, match="expected one of soft_projection, logistic"):
        rs.activation.lookup(3)
