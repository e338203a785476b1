"""Densities with respect to sqrt(g) dx: laws at rest, spectra and free energies on manifolds, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.legendre import Legendre
from scipy.integrate import quad

import relaxsim as rs
from relaxsim.errors import ExpressionError, InputError, ShapeError
from relaxsim.system.activation import ACTIVATIONS
from relaxsim.system.measure import Measure, cell_measures

pytestmark = pytest.mark.nojit

T = 0.7
PI = np.pi
# where each activation's manifold is cut, inside its range
CUTS = dict.fromkeys(ACTIVATIONS, (0.05, 0.9)) | dict.fromkeys(("tanh", "algebraic", "softsign"), (-0.85, 0.9))
CUTS |= {"softplus": (0.05, 2.0), "exp": (0.05, 2.0)}


def hessian(name, energy="x", temperature=T):
    """The machine of an activation, on the manifold of its metric 1/K: measure dY."""
    row, cut = ACTIVATIONS[name], CUTS[name]
    mobility = rs.Mobility.diagonal(row.mobility, params={"beta": 1.5})
    system = rs.System(energy, mobility, temperature, rs.Domain([cut]))
    return system, Measure(f"1/sqrt({row.mobility})", params={"beta": 1.5})


def circle(energy="cos(x)"):
    """A circle by a coordinate that is not its length."""
    metric = "(1 + 0.5*cos(x))"
    domain = rs.Domain([(0, 2 * PI)], boundary="periodic")
    return rs.System(energy, rs.Mobility.diagonal(f"1/{metric}**2"), T, domain), metric


def sphere(energy="0*x"):
    return rs.System(energy, temperature=T, domain=rs.Domain([(0, PI)])), "sin(x)"


def globe(energy="0*x"):
    """The sphere by angle from the pole and longitude; the chart ends before the poles, where K is infinite."""
    domain = rs.Domain([(1e-4, PI - 1e-4), (0, 2 * PI)], boundary=["reflecting", "periodic"])
    return rs.System(energy, rs.Mobility.diagonal("1", "1/sin(x)**2"), T, domain), "sin(x)"


def torus(energy="cos(y) + sin(x)"):
    """Radii 2 and 1, both angles."""
    domain = rs.Domain([(0, 2 * PI)] * 2, boundary="periodic")
    return rs.System(energy, rs.Mobility.diagonal("1", "1/(2 + cos(x))**2"), T, domain), "2 + cos(x)"


def on(system, measure, shape):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, shape, measure=measure))


CASES = {"circle": circle, "sphere": lambda: sphere("cos(x)"), "globe": lambda: globe("cos(x)"), "torus": torus} | {
    name: (lambda name=name: hessian(name)) for name in ACTIVATIONS
}


@pytest.mark.parametrize("name", CASES)
def test_the_gibbs_law_of_the_measure_is_at_rest_and_the_flat_one_is_not(name):
    system, measure = CASES[name]()
    shape = 60 if system.dim == 1 else (40, 36)
    fp = on(system, measure, shape)
    rates = np.abs(fp.generator.diagonal()).reshape(fp.grid.shape)

    def moved(generator, p):
        return np.max(np.abs(generator @ p.ravel()).reshape(p.shape) / (rates * p))

    centre = np.asarray(Measure.coerce(measure)(fp.grid.points)).reshape(fp.grid.shape)
    plain = np.exp(-system.energy(fp.grid.points).reshape(fp.grid.shape) / T) * centre
    np.testing.assert_allclose(fp.gibbs, plain / plain.sum(), rtol=0.02)  # as at the middle of each cell, to h^2
    assert moved(fp.generator, fp.gibbs) < 1e-13
    if name == "identity":
        return  # its measure is constant
    flat = rs.FokkerPlanck(system, rs.Grid(system.domain, shape))
    assert moved(flat.generator, fp.gibbs) > 1e-7  # the mutant that drops sqrt(g)
    assert np.abs(flat.gibbs - fp.gibbs).sum() > 0.02


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("globe", "torus")])
def test_masses_and_partition_function_against_quadrature(name):
    system, measure = CASES[name]()
    fp = on(system, measure, 40)
    root = Measure.coerce(measure)

    def weight(x):
        return float(np.exp(-system.energy([x]) / T) * root(np.array([x])))

    pieces = [quad(weight, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in zip(*_ends(fp.grid), strict=True)]
    np.testing.assert_allclose(fp.gibbs, np.array(pieces) / sum(pieces), rtol=1e-7 if name != "softsign" else 1e-3)
    assert fp.log_partition == pytest.approx(np.log(sum(pieces)), rel=1e-5 if name == "softsign" else 1e-7)
    assert system.on_manifold(measure).temperature == T


def _ends(grid):
    return grid.edges[0][:-1], grid.edges[0][1:]


# ---- spectra


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_heat_on_a_hessian_manifold_is_heat_on_an_interval_of_its_length(name):
    """One-dimensional manifolds are flat: rates T (k pi/L)^2 with L the geodesic length."""
    system, measure = hessian(name, "0*x")
    length = float(np.diff(ACTIVATIONS[name].Y(np.array(CUTS[name]), 1.5))[0])
    expected = T * (np.arange(1, 4) * PI / length) ** 2
    errors = [np.abs(on(system, measure, n).spectrum(4).rates[1:] / expected - 1).max() for n in (60, 120)]
    assert errors[1] < 5e-3
    assert errors[0] > 3 * errors[1] or name == "softsign"  # second order; the metric of softsign has a kink
    if name != "identity":
        flat = rs.FokkerPlanck(system, rs.Grid(system.domain, 120))
        assert np.abs(flat.spectrum(4).rates[1:] / expected - 1).max() > 10 * errors[1]


@pytest.mark.parametrize(
    ("name", "order", "error"),
    [("soft_projection", 1.4, 4e-4), ("tanh", 1.4, 4e-4), ("probit", 1.4, 2e-4), ("sin2", 1.8, 2e-5)],
)
def test_whole_ranges_on_whose_ends_the_measure_is_infinite(name, order, error):
    row = ACTIVATIONS[name]
    machine = rs.diffusion_machine("0*x", name, temperature=T, beta=1.5)
    measure = Measure(f"1/sqrt({row.mobility})", params={"beta": 1.5})
    length = float(np.diff(row.Y(np.array(row.range), 1.5))[0])
    errors = []
    for cells in (50, 100, 200):
        fp = on(machine, measure, cells)
        assert fp.log_partition == pytest.approx(np.log(length), abs=1e-6)
        exact = np.diff(row.Y(fp.grid.edges[0], 1.5))  # the law at rest is uniform in Y
        np.testing.assert_allclose(fp.gibbs, exact / length, rtol=1e-5)
        np.testing.assert_allclose(fp.stationary().density, 1 / length, rtol=1e-6)
        errors.append(abs(fp.spectrum(2).rates[1] / (T * (PI / length) ** 2) - 1))
    assert errors[-1] < error
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > order)


def test_in_the_plane_too_the_law_stays_where_the_measure_is_infinite_at_the_walls():
    machine = rs.diffusion_machine("x**2 + y", temperature=0.5, beta=1.0)
    fp = on(machine, "1/sqrt(x*(1 - x)*y*(1 - y))", 24)
    for options in ({}, {"method": "backward-euler", "step": 0.5}):
        path = fp.evolve(rs.initial.gibbs(), [0.0, 1.0], **options)
        np.testing.assert_allclose(path.mass[-1], fp.gibbs, rtol=1e-9)
    assert np.abs(rs.FokkerPlanck(machine, rs.Grid(machine.domain, 24)).gibbs - fp.gibbs).sum() > 0.2


def test_heat_on_a_circle():
    system, measure = circle("0*x")
    length = 2 * PI  # the integral of 1 + cos(x)/2
    rates = on(system, measure, 200).spectrum(5).rates[1:]
    np.testing.assert_allclose(rates, T * (2 * PI / length) ** 2 * np.array([1, 1, 4, 4]), rtol=2e-3)
    assert abs(rs.FokkerPlanck(system, rs.Grid(system.domain, 200)).spectrum(2).rates[1] / T - 1) > 0.1


def test_heat_on_the_sphere_decays_as_l_times_l_plus_one():
    system, measure = sphere()
    errors = []
    for cells in (50, 100, 200):
        fp = on(system, measure, cells)
        found = []
        for l in (1, 2, 3):
            harmonic = Legendre.basis(l)(np.cos(fp.grid.centers[0]))
            start = fp.gibbs * (1 + 0.5 * harmonic)
            path = fp.evolve(start / start.sum(), [0.0, 0.1, 0.3])
            left = path.mass @ harmonic - fp.gibbs @ harmonic
            found.append(np.log(left[1] / left[2]) / 0.2 / (l * (l + 1) * T) - 1)
        errors.append(found)
    errors = np.abs(errors)
    assert np.all(errors[-1] < [1e-4, 2e-4, 4e-4])
    assert np.all(np.log2(errors[:-1] / errors[1:]) > 1.9)
    flat = rs.FokkerPlanck(system, rs.Grid(system.domain, 100)).spectrum(2)
    assert abs(flat.rates[1] / (2 * T) - 1) > 0.3  # without sqrt(g): heat on an interval, rate 1


def test_harmonics_that_turn_with_the_longitude_decay_by_the_same_law():
    system, measure = globe()
    fp = on(system, measure, (60, 80))
    theta, phi = np.meshgrid(*fp.grid.centers, indexing="ij")
    harmonics = {
        1: np.sin(theta) * np.cos(phi),
        2: np.sin(theta) * np.cos(theta) * np.sin(phi),
        3: np.sin(theta) ** 3 * np.cos(3 * phi),
    }
    for l, harmonic in harmonics.items():
        start = fp.gibbs * (1 + 0.5 * harmonic)
        path = fp.evolve(start / start.sum(), [0.0, 0.05, 0.15])
        left = (path.mass * harmonic).sum(axis=(1, 2)) - (fp.gibbs * harmonic).sum()
        assert np.log(left[1] / left[2]) / 0.1 == pytest.approx(l * (l + 1) * T, rel=1e-2)
        assert np.all(np.diff(path.kl) < 0)


# ---- what is reported


def test_density_free_energy_energy_and_entropy_are_those_of_the_measure():
    system, measure = sphere("cos(x)")
    fp = on(system, measure, 120)
    path = fp.evolve(rs.initial.normal([2.0], 0.3), [0.0, 20.0])
    x = fp.grid.centers[0]
    Z = 2 * T * np.sinh(1 / T)  # the integral of exp(-cos/T) sin
    np.testing.assert_allclose(path.density[-1], np.exp(-np.cos(x) / T) / Z, rtol=1e-3)
    np.testing.assert_allclose((path.density * cell_measures(path.system, fp.grid)).sum(axis=1), 1.0, rtol=1e-12)
    record = rs.track(path)
    energy = T - 1 / np.tanh(1 / T)
    assert record.free_energy[-1] == pytest.approx(-T * np.log(Z), rel=1e-9)
    assert path.free_energy[-1] == pytest.approx(-T * np.log(Z), rel=1e-9)
    assert record.energy[-1] == pytest.approx(energy, rel=1e-4)
    assert record.entropy[-1] == pytest.approx(energy / T + np.log(Z), rel=1e-4)
    # at the start, against the integrals themselves
    p, mu = path.density[0], cell_measures(path.system, fp.grid)
    assert record.entropy[0] == pytest.approx(-np.sum(mu[p > 0] * p[p > 0] * np.log(p[p > 0])), abs=2e-3)
    np.testing.assert_allclose(fp.stationary().density, np.exp(-np.cos(x) / T) / Z, rtol=1e-3)


def test_the_proximal_recursion_and_the_finite_volumes_agree_on_a_manifold():
    system, measure = hessian("soft_projection", "4*(x - 1/3)**2", 0.5)
    fp = on(system, measure, 120)
    law, errors = rs.initial.normal([0.6], 0.1), []
    truth = fp.evolve(law, [0, 0.08]).mass[-1]
    for h in (0.02, 0.01):
        path = fp.proximal(law, [0, 0.08], step=h, epsilon=10 * h**2, correct_bias=True)
        errors.append(np.abs(path.mass[-1] - truth).sum())
    assert errors[1] < 0.6 * errors[0] < 0.06
    flat = rs.FokkerPlanck(system, rs.Grid(system.domain, 120)).evolve(law, [0, 0.08]).mass[-1]
    assert np.abs(flat - truth).sum() > 2 * errors[1]


# ---- the system of the particles


@pytest.mark.parametrize("name", CASES)
def test_the_drift_is_the_one_of_ito_on_the_manifold(name):
    """(T/sqrt(g)) d_b(sqrt(g) K^ab) - K^ab d_b E, by differences."""
    system, measure = CASES[name]()
    root, x, h = Measure.coerce(measure), system.domain.sample_points(10), 1e-5
    expected = np.zeros(x.shape)
    for axis in range(system.dim):
        step = h * np.eye(system.dim)[axis]

        def flux(points, axis=axis):
            return root(points) * system.mobility.diagonal_of(points)[:, axis]

        expected[:, axis] = T * (flux(x + step) - flux(x - step)) / (2 * h) / root(x)
    expected -= system.mobility.diagonal_of(x) * system.gradient(x)
    found = system.on_manifold(measure).drift(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    if name != "identity":
        assert np.abs(system.drift(x) - expected).max() > 0.05


def test_on_the_sphere_the_drift_is_the_cotangent():
    system, measure = globe()
    x = np.array([[0.4, 1.0], [2.0, 3.0]])
    np.testing.assert_allclose(
        system.on_manifold(measure).drift(x), np.stack([T / np.tan(x[:, 0]), [0.0, 0.0]], axis=1), atol=1e-12
    )
    np.testing.assert_array_equal(system.drift(x), 0.0)  # the divergence of K alone says nothing


def test_functions_serve_as_texts_do():
    domain = rs.Domain([(0.1, 3.0)])
    text = rs.System("cos(x)", temperature=T, domain=domain).on_manifold("sin(x)")
    function = rs.System(lambda x: np.cos(x[0]), temperature=T, domain=domain).on_manifold(lambda x: np.sin(x[0]))
    x = domain.sample_points(9)
    np.testing.assert_allclose(function.energy(x), text.energy(x), rtol=1e-13)
    np.testing.assert_allclose(function.gradient(x), text.gradient(x), rtol=1e-12)


def test_changed_systems_stay_on_their_manifold():
    system = rs.System(rs.Energy("a*cos(x)", params={"a": 1.0}), temperature=T, domain=rs.Domain([(0.1, 3.0)]))
    curved = system.on_manifold("sin(x)")
    x = np.array([[1.0]])
    for changed, heat, a in ((curved.replace(temperature=2.0), 2.0, 1.0), (curved.with_params(a=3.0), T, 3.0)):
        expected = heat / np.tan(1.0) + a * np.sin(1.0)
        np.testing.assert_allclose(changed.drift(x), [[expected]], rtol=1e-12)
        assert changed.measure == curved.measure
    assert curved.on_manifold("sin(x)") is curved
    assert "on_manifold(Measure('sin(x)'))" in repr(curved)


def test_paths_keep_their_measure_in_files(tmp_path):
    system, measure = hessian("tanh")
    path = on(system, measure, 30).evolve(rs.initial.uniform([CUTS["tanh"]]), [0, 0.2])
    loaded = rs.load(path.save(tmp_path / "curved.npz"))
    np.testing.assert_array_equal(loaded.density, path.density)
    assert loaded.system.measure == path.system.measure
    assert loaded.system.energy(np.array([[0.3]])) == path.system.energy(np.array([[0.3]]))


def test_grids_of_other_measures_are_other_grids():
    domain = rs.Domain([(0.1, 3.0)])
    assert rs.Grid(domain, 8, measure="sin(x)") == rs.Grid(domain, 8, measure=Measure("sin(x)"))
    assert rs.Grid(domain, 8, measure="sin(x)") != rs.Grid(domain, 8)
    assert len({rs.Grid(domain, 8, measure="sin(x)"), rs.Grid(domain, 8, measure="sin(x)")}) == 1


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda d: rs.Grid(d, 8, measure="cos(x)"), InputError, "measure: expected sqrt.g. positive and finite"),
        (lambda d: rs.Grid(d, 8, measure="sin(x"), ExpressionError, "measure"),
        (lambda d: rs.Grid(d, 8, measure="sin(y)"), ShapeError, "uses 2 coordinates, there are 1"),
        (lambda d: rs.Grid(d, 8, measure=3), ExpressionError, "measure: expected text or a function"),
        (lambda d: rs.Grid(d, 8, measure="1 + t"), InputError, "must not depend on the time"),
        (lambda d: rs.System("x", temperature="1 + t", domain=d).on_manifold("sin(x)"), InputError, "moves"),
        (lambda d: rs.System("x", temperature=1.0, domain=d).on_manifold(lambda x: x[0]), InputError, "both as texts"),
        (
            lambda d: rs.System("x", temperature=1.0, domain=d).on_manifold("sin(x)").on_manifold("x"),
            InputError,
            "has Measure",
        ),
        (
            lambda d: rs.System(rs.Energy("a*x", params={"a": 1.0}), temperature=1.0, domain=d).on_manifold(
                Measure("x**a", params={"a": 2.0})
            ),
            InputError,
            "another value in the energy",
        ),
    ],
)
def test_what_is_no_measure(make, kind, words):
    with pytest.raises(kind, match=words):
        make(rs.Domain([(0.1, 3.0)]))
