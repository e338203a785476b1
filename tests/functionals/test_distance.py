"""Wasserstein distances: reference digits, closed forms, an independent library, what a metric has to obey."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import relaxsim as rs
from relaxsim.errors import ConvergenceError, InputError, MobilityError, ShapeError
from relaxsim.functionals.distance import entropic_wasserstein, wasserstein, wasserstein_divergence

pytestmark = pytest.mark.nojit

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent.parent / "data" / "geodesic.json").read_text())["cases"]
}
SOFT = rs.activation.lookup("soft_projection")


def squares(x, y):
    return (np.asarray(x)[:, None] - y) ** 2


# ---- on a line


@pytest.mark.parametrize(
    ("name", "mu", "nu"),
    [
        ("WG_uniform_arcsine", lambda u: u, lambda u: np.sin(np.pi * u / 2) ** 2),
        ("WG_power", np.sqrt, lambda u: 1 - np.sqrt(1 - u)),
        ("WG_dirac", ([0.0], [1.0]), ([1.0], [1.0])),
    ],
)
def test_reference_digits(name, mu, nu):
    beta, expect = CASES[name]["beta"], CASES[name]["expect"]["W_G"]["value"]
    assert wasserstein(mu, nu, ground=lambda x: SOFT.Y(x, beta)) == pytest.approx(expect, rel=1e-13)
    assert abs(wasserstein(mu, nu) - expect) > 0.01  # the Euclidean distance is another


def test_densities_in_cells_tend_to_the_reference_with_the_second_power_of_their_width():
    expect, errors = CASES["WG_power"]["expect"]["W_G"]["value"], []
    for cells in (50, 100, 200):
        edges = np.linspace(0, 1, cells + 1)
        mu, nu = (edges, np.diff(edges**2)), (edges, np.diff(1 - (1 - edges) ** 2))
        errors.append(abs(wasserstein(mu, nu, ground=lambda x: SOFT.Y(x, 2.0)) - expect))
    assert errors[-1] < 2e-5
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 1.5)


def test_normal_laws():
    from scipy.special import ndtri

    found = wasserstein(ndtri, lambda u: 0.5 + 1.7 * ndtri(u))
    assert found == pytest.approx(np.hypot(0.5, 0.7), rel=1e-9)


def test_a_moved_and_stretched_density():
    edges, masses = np.array([0.0, 0.3, 1.0, 1.5]), np.array([1.0, 3.0, 2.0])
    assert wasserstein((edges, masses), (edges + 2.0, masses)) == pytest.approx(2.0, rel=1e-14)
    assert wasserstein((edges, masses), (edges, masses)) == 0.0
    # x -> 3x moves u(x) by 2x: W^2 = 4 <x^2>
    second = (masses / masses.sum()) @ ((edges[1:] ** 3 - edges[:-1] ** 3) / 3 / np.diff(edges))
    assert wasserstein((edges, masses), (3 * edges, masses)) == pytest.approx(2 * np.sqrt(second), rel=1e-14)


def test_atoms_against_an_independent_library_at_several_orders():
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    a, b, wa, wb = rng.normal(size=40), rng.normal(size=55) + 1, rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(55))
    for order in (1.0, 2.0, 3.0):
        other = ot.emd2(wa, wb, np.abs(a[:, None] - b) ** order) ** (1 / order)
        assert wasserstein((a, wa), (b, wb), order=order) == pytest.approx(other, rel=1e-10)


ATOMS = hnp.arrays(float, 6, elements=st.floats(-3, 3))
WEIGHTS = hnp.arrays(float, 6, elements=st.floats(0.01, 1))


@settings(max_examples=50)
@given(ATOMS, ATOMS, ATOMS, WEIGHTS, WEIGHTS, WEIGHTS, st.sampled_from([1.0, 1.5, 2.0]))
def test_it_is_a_metric(a, b, c, wa, wb, wc, order):
    one, two, three = (a, wa), (b, wb), (c, wc)
    ab, ba = wasserstein(one, two, order=order), wasserstein(two, one, order=order)
    assert ab == pytest.approx(ba, rel=1e-9, abs=1e-7)
    assert wasserstein(one, one, order=order) == 0
    assert wasserstein(one, three, order=order) <= ab + wasserstein(two, three, order=order) + 1e-6
    assert ab >= abs((a @ wa) / wa.sum() - (b @ wb) / wb.sum()) - 1e-9


@pytest.mark.parametrize(
    ("mu", "options", "kind", "words"),
    [
        (([0.0, 1.0], [1.0, -1.0]), {}, InputError, "mu: expected finite masses, zero or positive"),
        (([0.0, 1.0], [np.nan, 1.0]), {}, InputError, "nan"),
        (([0.0, 1.0], [0.0, 0.0]), {}, InputError, "some mass"),
        (([0.0, 1.0], [1.0, 1.0, 1.0]), {}, ShapeError, r"\(2,\) and \(3,\)"),
        (([0.0, np.inf], [1.0, 1.0]), {}, InputError, "finite positions"),
        (([0.0, 0.0, 1.0], [1.0, 1.0]), {}, InputError, "must increase"),
        ([0.0, 1.0], {"order": 0.5}, InputError, "order"),
        (([-1.0, 1.0], [1.0]), {"ground": lambda x: x**2}, InputError, "map Y must increase"),
        ([0.0, 1.0], {"ground": lambda x: x[0]}, ShapeError, "ground"),
        ([0.0, 1.0], {"ground": lambda x: np.where(x > 0.5, np.inf, x)}, InputError, "not finite"),
    ],
)
def test_bad_laws(mu, options, kind, words):
    with pytest.raises(kind, match=words), np.errstate(invalid="ignore"):
        wasserstein(mu, [0.2, 0.4], **options)


# ---- entropic


def test_entropic_transport_against_an_independent_library():
    ot = pytest.importorskip("ot")
    rng = np.random.default_rng(2)
    a, b, p, q = rng.normal(size=30), rng.normal(size=40) + 1, rng.dirichlet(np.ones(30)), rng.dirichlet(np.ones(40))
    found = entropic_wasserstein(p, q, epsilon=0.05, cost=squares(a, b), tol=1e-12)
    plan = ot.sinkhorn(p, q, squares(a, b), 0.1, method="sinkhorn_log", stopThr=1e-13, numItermax=20000)
    assert found.distance**2 == pytest.approx((plan * squares(a, b)).sum(), rel=1e-9)
    expected = (plan * squares(a, b)).sum() / 2 + 0.05 * (plan * np.log(np.maximum(plan, 1e-300))).sum()
    assert found.objective == pytest.approx(expected, rel=1e-9)
    assert found.distance > wasserstein((a, p), (b, q))


@pytest.fixture(scope="module")
def plane():
    system = rs.System("x**2 + y**2", temperature=1.0, domain=rs.Domain([(-4, 4)] * 2))
    grid = rs.Grid(system.domain, 36)
    laws = [rs.initial.normal(m, s).masses(system, grid) for m, s in (([-0.5, 0.0], 0.5), ([0.5, 0.3], 0.7))]
    return system, grid, *laws


def test_in_the_plane_it_tends_to_the_distance_of_normal_laws_and_faster_without_its_bias(plane):
    system, grid, p, q = plane
    truth = np.sqrt(1.0 + 0.09 + 2 * 0.2**2)
    blurs = np.array([0.4, 0.2, 0.1])
    raw = [entropic_wasserstein(p, q, epsilon=e, system=system, grid=grid).distance - truth for e in blurs]
    mended = [abs(wasserstein_divergence(p, q, epsilon=e, system=system, grid=grid) - truth) for e in blurs]
    assert np.all(np.log2(np.array(raw[:-1]) / raw[1:]) > 0.6)
    assert np.all(np.log2(np.array(mended[:-1]) / mended[1:]) > 1.0)
    assert mended[-1] < 0.02 * raw[-1]


def test_a_grid_gives_what_the_matrix_of_its_points_gives(plane):
    system, _, _, _ = plane
    grid = rs.Grid(system.domain, 8)
    rng = np.random.default_rng(4)
    p, q = rng.dirichlet(np.ones(64), 2).reshape(2, 8, 8)
    turned = system.replace(mobility=[[1.0, 0.5], [0.5, 2.0]])
    for each, inverse in ((system, np.eye(2)), (turned, np.linalg.inv([[1.0, 0.5], [0.5, 2.0]]))):
        difference = grid.points[:, None] - grid.points
        cost = np.einsum("ija,ab,ijb->ij", difference, inverse, difference)
        a = entropic_wasserstein(p, q, epsilon=0.5, system=each, grid=grid)
        b = entropic_wasserstein(p.ravel(), q.ravel(), epsilon=0.5, cost=cost)
        assert a.distance == pytest.approx(b.distance, rel=1e-9)
        assert a.objective == pytest.approx(b.objective, rel=1e-9)


def test_a_law_is_at_no_distance_from_itself_without_the_bias(plane):
    system, grid, p, _ = plane
    assert wasserstein_divergence(p, p, epsilon=0.2, system=system, grid=grid) == 0
    assert entropic_wasserstein(p, p, epsilon=0.2, system=system, grid=grid).distance > 0.3


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"epsilon": 0.0}, InputError, "epsilon: expected a positive finite number"),
        ({"cost": None}, InputError, "cost: pass the squared distances"),
        ({"cost": np.zeros((2, 2))}, ShapeError, r"shape \(3, 3\), got \(2, 2\)"),
        ({"cost": np.full((3, 3), np.nan)}, InputError, "finite squared distances"),
        ({"p": [-0.5, 0.5, 1.0]}, InputError, "p: expected finite masses"),
        ({"max_iterations": 2, "epsilon": 1e-3}, ConvergenceError, "off by"),
    ],
)
def test_bad_input(change, kind, words):
    given_ = {
        "p": [0.2, 0.3, 0.5],
        "q": [0.6, 0.3, 0.1],
        "epsilon": 0.1,
        "cost": squares([0, 1, 3], [0, 1, 3]),
    } | change
    with pytest.raises(kind, match=words):
        entropic_wasserstein(given_.pop("p"), given_.pop("q"), **given_)


def test_masses_of_another_shape_and_mobilities_without_a_distance(plane):
    system, grid, p, q = plane
    with pytest.raises(ShapeError, match="the grid's shape"):
        entropic_wasserstein(p[:-1], q[:-1], epsilon=0.1, system=system, grid=grid)
    mixed = system.replace(mobility=rs.Mobility.diagonal("1 + y**2", "1"))
    with pytest.raises(MobilityError, match="no geodesic distance"):
        entropic_wasserstein(p, q, epsilon=0.1, system=mixed, grid=grid)
