"""Ensembles: the law of the Ornstein-Uhlenbeck process, bits, walls, and what bad input gets."""

import logging
import math

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.schemes import Scheme
from relaxsim.system.elementary import sqrt
from statistical_budget import assert_rejected, assert_within
from systems import OrnsteinUhlenbeck, demo_system

N = 100_000
TIMES = np.array([0.0, 0.1, 0.3, 0.6, 1.0, 2.0])
DT = 0.005


def half_noise(model, x, t, h, noise):
    """A mutant of Euler-Maruyama with 2 % too much noise."""
    drift = model.drift(x, t)
    kick = model.kick(x, t, noise)
    return [x[a] + h * drift[a] + 1.02 * sqrt(h) * kick[a] for a in range(len(x))]


def mutant(step):
    from relaxsim.particles.schemes import registry

    row = registry()["euler-maruyama"]
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return Scheme(**{**fields, "id": "mutant", "step": step})


def moments(path, k):
    """Mean and covariance at a stored time, each with its standard error."""
    x = path.positions[k]
    away = x - x.mean(axis=0)
    products = np.einsum("ia,ib->iab", away, away)
    covariance, error = products.mean(axis=0), products.std(axis=0) / math.sqrt(len(x))
    return x.mean(axis=0), x.std(axis=0) / math.sqrt(len(x)), covariance, error


@pytest.mark.parametrize("case", ["ou1d", "ou2d_aniso"])
def test_ornstein_uhlenbeck(case):
    """Mean and covariance at five times: closed form within the threshold plus the scheme's exactly known bias."""
    ou = OrnsteinUhlenbeck(case)
    arguments = {"n_particles": N, "dt": DT, "times": TIMES, "rng": 20261121, "scheme": "euler-maruyama"}
    path = rs.simulate(ou.system(), ou.initial(), **arguments)
    for k in range(1, len(TIMES)):
        mean, mean_error, covariance, covariance_error = moments(path, k)
        exact_mean, exact_covariance = ou.exact(TIMES[k])
        own_mean, own_covariance = ou.euler_maruyama(DT, round(TIMES[k] / DT))
        assert_within("ou: mean of the ensemble", mean, exact_mean, mean_error, abs(own_mean - exact_mean))
        bias = abs(own_covariance - exact_covariance)
        assert_within("ou: covariance of the ensemble", covariance, exact_covariance, covariance_error, bias)
    assert np.max(bias / covariance_error) < 6  # the allowance for the bias does not drown the statement


def test_ornstein_uhlenbeck_rejects_wrong_noise():
    ou = OrnsteinUhlenbeck("ou1d")
    path = rs.simulate(
        ou.system(), ou.initial(), n_particles=4 * N, dt=DT, times=[0.0, 2.0], rng=5, scheme=mutant(half_noise)
    )
    _, _, covariance, error = moments(path, 1)
    own = ou.euler_maruyama(DT, 400)[1]
    assert_rejected("ou: covariance of the ensemble", covariance, ou.exact(2.0)[1], error, abs(own - ou.exact(2.0)[1]))


def slow_drift(model, x, t, h, noise):
    """A mutant of Euler-Maruyama whose drift is 20 % too weak."""
    drift = model.drift(x, t)
    kick = model.kick(x, t, noise)
    return [x[a] + 0.8 * h * drift[a] + sqrt(h) * kick[a] for a in range(len(x))]


def test_ornstein_uhlenbeck_rejects_a_wrong_drift():
    ou = OrnsteinUhlenbeck("ou1d")
    path = rs.simulate(
        ou.system(), ou.initial(), n_particles=N, dt=DT, times=[0.0, 0.6], rng=5, scheme=mutant(slow_drift)
    )
    mean, error, _, _ = moments(path, 1)
    own = ou.euler_maruyama(DT, round(0.6 / DT))[0]
    assert_rejected("ou: mean of the ensemble", mean, ou.exact(0.6)[0], error, abs(own - ou.exact(0.6)[0]))


def test_reference_numbers_of_the_closed_form():
    """The formula used above gives the 22-digit numbers of tests/data/ou.json."""
    for case in ("ou1d", "ou2d_aniso"):
        ou = OrnsteinUhlenbeck(case)
        for expected in ou.expected:
            mean, covariance = ou.exact(expected["t"])
            np.testing.assert_allclose(mean, np.ravel(expected["mean"]["value"]), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(np.ravel(covariance), np.ravel(expected["cov"]["value"]), rtol=1e-12)


def test_same_bits_for_any_threads_and_inside_a_larger_ensemble():
    arguments = {"dt": 2e-3, "times": [0.0, 0.02, 0.1], "rng": 7}
    initial = rs.initial.normal([-1, 0], 0.3)
    full = rs.simulate(demo_system(), initial, n_particles=100_000, threads=1, **arguments)
    two = rs.simulate(demo_system(), initial, n_particles=100_000, threads=2, **arguments)
    many = rs.simulate(demo_system(), initial, n_particles=100_000, threads=7, **arguments)
    small = rs.simulate(demo_system(), initial, n_particles=1000, threads=1, **arguments)
    np.testing.assert_array_equal(full.positions, two.positions)
    np.testing.assert_array_equal(full.positions, many.positions)
    np.testing.assert_array_equal(full.positions[:, :1000], small.positions)
    other = rs.simulate(demo_system(), initial, n_particles=1000, **{**arguments, "rng": 8})
    assert not np.any(other.positions == small.positions)


def test_a_trajectory_does_not_depend_on_what_is_stored():
    arguments = {"n_particles": 300, "dt": 0.01, "rng": 1}
    many = rs.simulate(demo_system(), rs.initial.point([0, 0]), times=np.linspace(0, 1, 101), **arguments)
    few = rs.simulate(demo_system(), rs.initial.point([0, 0]), times=[0.0, 1.0], store="final", **arguments)
    np.testing.assert_array_equal(many.positions[-1], few.positions[0])
    np.testing.assert_array_equal(few.times, [1.0])
    shifted = rs.simulate(demo_system(), rs.initial.point([0, 0]), times=[5.0, 6.0], **arguments)
    np.testing.assert_allclose(shifted.positions[-1], few.positions[0], rtol=1e-12)


def test_single_precision_has_the_same_law():
    arguments = {"n_particles": N, "dt": 5e-3, "times": [0.0, 1.0], "store": "final", "scheme": "euler-maruyama"}
    start = rs.initial.normal([-1, 0], 0.3)
    single = rs.simulate(demo_system(), start, rng=21, dtype="float32", **arguments)
    double = rs.simulate(demo_system(), start, rng=22, **arguments)
    assert single.positions.dtype == np.float32
    for observable in ("x", "y", "x**2", "y**2"):
        (one, error), (other, other_error) = single.mean(observable), double.mean(observable)
        assert_within("simulate: single precision", one, other, np.hypot(error, other_error))
    assert_rejected("simulate: single precision", 1.1 * one + 0.1, other, np.hypot(error, other_error))
    again = rs.simulate(demo_system(), start, rng=21, dtype="float32", **{**arguments, "n_particles": 1000})
    np.testing.assert_array_equal(again.positions, single.positions[:, :1000])


def test_an_odd_number_of_particles_and_one_particle():
    arguments = {"dt": 0.01, "times": [0.0, 0.1], "rng": 3}
    one = rs.simulate(demo_system(), rs.initial.point([0, 0]), n_particles=1, **arguments)
    some = rs.simulate(demo_system(), rs.initial.point([0, 0]), n_particles=131, **arguments)
    assert some.positions.shape == (2, 131, 2)
    np.testing.assert_array_equal(one.positions[:, 0], some.positions[:, 0])


def test_seeds():
    arguments = {"n_particles": 10, "dt": 0.01, "times": [0.0, 0.1]}
    start = rs.initial.point([0, 0])
    from_generator = rs.simulate(demo_system(), start, rng=np.random.default_rng(3), **arguments)
    again = rs.simulate(demo_system(), start, rng=from_generator.seed, **arguments)
    np.testing.assert_array_equal(from_generator.positions, again.positions)
    drawn = rs.simulate(demo_system(), start, rng=None, **arguments)
    assert 0 <= drawn.seed < 2**64
    assert drawn.seed != from_generator.seed
    assert rs.simulate(demo_system(), start, rng=2**64 - 1, **arguments).seed == 2**64 - 1


# ---- walls: the stationary law is Gibbs up to a stated bias of order dt


def box_mean(slope):
    """Mean of exp(-slope x) on (0, 1)."""
    return 1 / slope - 1 / math.expm1(slope)


def test_gibbs_with_a_full_tensor_in_a_box():
    """E = 2x + y, K12 = 0.6: oblique reflection; the mutant reflects along the normal, which no dt cures."""
    box = rs.System("2*x + y", [[1.0, 0.6], [0.6, 1.0]], 1.0, rs.Domain.hypercube(2))
    arguments = {"n_particles": N, "dt": 1e-3, "times": [0.0, 2.0], "store": "final"}
    path = rs.simulate(box, rs.initial.uniform(), rng=11, **arguments)
    x = path.positions[-1]
    exact = np.array([box_mean(2.0), box_mean(1.0)])
    bias = 0.3 * 1e-3 / 2.5e-3 * 9e-3  # measured: 2.4e-3 at h = .0025 for K12 = .6, order 1
    assert_within("simulate: Gibbs at walls", x.mean(axis=0), exact, x.std(axis=0) / math.sqrt(N), bias)
    diagonal_walls = normal_reflection(box, 1e-3, 2000, 20_000)
    error = diagonal_walls.std(axis=0) / math.sqrt(len(diagonal_walls))
    worst = np.argmax(abs(diagonal_walls.mean(axis=0) - exact) / error)
    assert_rejected("simulate: Gibbs at walls", diagonal_walls.mean(axis=0)[worst], exact[worst], error[worst], bias)


def normal_reflection(system, h, n_steps, n):
    """Euler-Maruyama in the unit square with mirror images along the normals."""
    rng = np.random.default_rng(2)
    x = rng.random((n, 2))
    factor = np.linalg.cholesky(system.mobility([0.5, 0.5])).T
    for _ in range(n_steps):
        x = x + h * system.drift(x) + math.sqrt(2 * system.temperature * h) * rng.normal(size=(n, 2)) @ factor
        x = 1 - abs(1 - np.mod(x, 2))
    return x


def test_gibbs_on_the_circle_and_between_walls():
    circle = rs.System("cos(x) + 0.5*sin(2*x)", "1 + sin(x)/2", 0.8, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    path = rs.simulate(circle, rs.initial.uniform(), n_particles=N, dt=2e-3, times=[0.0, 20.0], rng=3, store="final")
    for name, exact in (("cos(x)", -0.5267639614044404), ("sin(x)", 0.14815315681019436)):  # gibbs.json, periodic_P1
        mean, error = path.mean(name)
        assert_within(
            "simulate: Gibbs at walls", mean, exact, error, bias=0.3 * 2e-3
        )  # integrators.json: 0.03 at h = 0.1
    machine = rs.System("x", "2*x*(1 - x)", 0.3, rs.Domain.hypercube(1))
    path = rs.simulate(machine, rs.initial.uniform(), n_particles=N, dt=1e-3, times=[0.0, 4.0], rng=4, store="final")
    exact = 0.26300629340996445  # diffusion_machine.json, dm_linear
    mean, error = path.mean("x")
    assert_within("simulate: Gibbs at walls", mean, exact, error, bias=8e-4)  # measured: 2.1e-2 at h = .04, order .9


# ---- initial laws


@pytest.mark.nojit
def test_initial_laws_have_their_moments():
    box = rs.System("x**2 + y**2", 1.0, 0.5, rs.Domain([(-1, 1), (-1, 1)]))
    free = rs.System("x**2 + y**2", 1.0, 0.5)
    from relaxsim.particles.random import INITIAL, Address

    address = Address(5, INITIAL, np.arange(40_000, dtype=np.uint64))
    covariance = [[0.5, 0.2], [0.2, 0.3]]
    x = rs.initial.normal([0.1, -0.2], covariance).sample(free, address)
    error = np.sqrt(np.diag(covariance) / np.array(40_000))
    assert_within("simulate: initial laws", x.mean(axis=0), [0.1, -0.2], error)
    u = rs.initial.uniform([(-0.5, 0.5), (0, 1)]).sample(box, address)
    assert_within("simulate: initial laws", u.mean(axis=0), [0.0, 0.5], 1 / math.sqrt(12 * 40_000))
    g = rs.initial.gibbs().sample(free, address)
    assert_within("simulate: initial laws", (g**2).mean(axis=0), [0.25, 0.25], 0.25 * math.sqrt(2 / 40_000))
    d = rs.initial.density("(1 + x)*(1 + y**2)").sample(box, address)  # <x> = 1/3, <y^2> = 2/5
    assert_within("simulate: initial laws", d[:, 0].mean(), 1 / 3, d[:, 0].std() / 200)
    assert_within("simulate: initial laws", (d[:, 1] ** 2).mean(), 2 / 5, (d[:, 1] ** 2).std() / 200)
    two = rs.initial.mixture([rs.initial.point([-0.5, 0.0]), rs.initial.point([0.5, 0.0])], [1, 3]).sample(box, address)
    assert_within("simulate: initial laws", two[:, 0].mean(), 0.25, two[:, 0].std() / 200)
    assert_rejected("simulate: initial laws", two[:, 0].mean(), 0.0, two[:, 0].std() / 200)


@pytest.mark.nojit
def test_samples_and_point():
    from relaxsim.particles.random import INITIAL, Address

    free = rs.System("x**2", 1.0, 0.5)
    address = Address(5, INITIAL, np.arange(5, dtype=np.uint64))
    np.testing.assert_array_equal(rs.initial.samples([1.0, 2.0]).sample(free, address)[:, 0], [1, 2, 1, 2, 1])
    np.testing.assert_array_equal(rs.initial.point(3.0).sample(free, address)[:, 0], [3] * 5)


@pytest.mark.nojit
def test_a_law_is_conditioned_on_the_domain_with_a_warning():
    from relaxsim.particles.random import INITIAL, Address

    box = rs.System("x**2", 1.0, 0.5, rs.Domain([(-1, 1)]))
    address = Address(5, INITIAL, np.arange(2000, dtype=np.uint64))
    with pytest.warns(UserWarning, match=r"% of the normal law lies outside"):
        x = rs.initial.normal(0.9, 0.5).sample(box, address)
    assert np.all(abs(x) <= 1)
    with pytest.warns(UserWarning, match="lies outside"):
        masses = rs.initial.normal(0.9, 0.5).masses(box, rs.Grid(box.domain, 50))
    assert masses.sum() == pytest.approx(1.0, abs=1e-14)


# ---- what bad input gets

START = rs.initial.point([0, 0])
GOOD = {"n_particles": 10, "dt": 0.02, "times": [0.0, 1.0], "rng": 1}


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_particles": 0}, rs.InputError, "n_particles: expected an integer >= 1"),
        ({"n_particles": 1.5}, rs.InputError, "n_particles"),
        ({"n_particles": "many"}, rs.InputError, "n_particles"),
        ({"dt": 0.0}, rs.InputError, "dt: expected a positive"),
        ({"dt": math.nan}, rs.InputError, "dt"),
        ({"dt": 0.3}, rs.InputError, r"dt = 0.333\d* fits all times"),
        ({"times": [0.0, 1.0, math.pi]}, rs.InputError, "multiples of dt"),
        ({"times": []}, rs.ShapeError, "times"),
        ({"times": [[0.0, 1.0]]}, rs.ShapeError, "times"),
        ({"times": [0.0, 1.0, 1.0]}, rs.InputError, r"got 1 followed by 1; store each time once, np.unique\(times\)"),
        ({"dt": np.float32(0.01)}, rs.InputError, r"lies 100.000002\d* steps of 0.0099999997\d*.*dt = 0.01 fits all"),
        ({"times": [0.0, math.inf]}, rs.InputError, "times must be finite"),
        ({"rng": -1}, rs.InputError, "rng: expected an integer with 0 <= rng"),
        ({"rng": 2**64}, rs.InputError, "rng"),
        ({"rng": 1.5}, rs.InputError, "rng"),
        ({"rng": True}, rs.InputError, "rng"),
        ({"threads": 0}, rs.InputError, "threads"),
        ({"store": "some"}, rs.InputError, "store: expected 'all', 'final' or 'none'"),
        ({"scheme": "milstien"}, rs.IncompatibleSchemeError, "unknown scheme"),
    ],
)
def test_bad_arguments(change, error, message):
    with pytest.raises(error, match=message):
        rs.simulate(demo_system(), START, **{**GOOD, **change})


@pytest.mark.nojit
def test_a_bare_drift_is_no_ensemble():
    line = rs.Domain([(-3, 3)])
    bare = rs.FokkerPlanck.from_drift("-x", 1.0, line, rs.Grid(line, 8)).system
    with pytest.raises(rs.InputError, match="got DriftProcess; a bare drift is run as a density only"):
        rs.simulate(bare, rs.initial.point([0]), **GOOD)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("initial", "error", "message"),
    [
        ([0, 0], rs.InputError, r"expected a law such as.*initial.samples\(array\)"),
        (rs.initial.point([0, 0, 0]), rs.ShapeError, "3 coordinates, the system has 2"),
        (rs.initial.point([9, 0]), rs.InputError, r"\(9, 0\) lies outside"),
        (rs.initial.normal([50, 0], 0.1), rs.InputError, "still outside the domain"),
    ],
)
@pytest.mark.filterwarnings("ignore:initial")
def test_bad_initial_laws(initial, error, message):
    with pytest.raises(error, match=message):
        rs.simulate(demo_system(), initial, **GOOD)


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.initial.normal([0, 0], -1.0), rs.InputError, "must be positive"),
        (lambda: rs.initial.normal([0, 0], [1.0, 2.0, 3.0]), rs.ShapeError, "scale"),
        (lambda: rs.initial.normal([0, math.nan], 1.0), rs.InputError, "finite"),
        (lambda: rs.initial.normal([0, 0], [[1, 2], [2, 1]]), rs.InputError, "positive definite"),
        (lambda: rs.initial.uniform([(1, 0)]), rs.InputError, "low < high"),
        (lambda: rs.initial.samples(np.ones((2, 2, 2))), rs.ShapeError, "shape"),
        (lambda: rs.initial.samples([[1.0, math.inf]]), rs.InputError, "not finite"),
        (lambda: rs.initial.mixture([]), rs.InputError, "list of laws"),
        (lambda: rs.initial.mixture([START, START], [1, -1]), rs.InputError, "nonnegative"),
        (lambda: rs.initial.density("x.real"), rs.ExpressionError, "dot"),
    ],
)
def test_bad_laws(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_divergence_names_particle_step_time_position_and_a_smaller_dt():
    stiff = rs.System("x**4", temperature=1.0)
    arguments = {"n_particles": 1000, "times": [0.0, 50.0], "rng": 1}
    with pytest.warns(rs.StabilityWarning, match="dt lambda = "), pytest.raises(rs.DivergedError) as caught:
        rs.simulate(stiff, rs.initial.normal(0, 1.0), dt=0.5, threads=1, **arguments)
    error = caught.value
    assert 0 <= error.particle < 1000
    assert error.time == error.step * 0.5
    assert all(map(math.isfinite, error.last_position))
    assert error.dt_hint < 0.5
    assert all(word in str(error) for word in (str(error.particle), "step", "finite position", "dt"))
    # the same particle, alone in its block, does diverge there and not before
    with pytest.warns(rs.StabilityWarning), pytest.raises(rs.DivergedError) as again:
        rs.simulate(stiff, rs.initial.normal(0, 1.0), dt=0.5, threads=2, **arguments)
    assert again.value.step == error.step or again.value.particle != error.particle
    assert issubclass(rs.DivergedError, FloatingPointError)


DIVERGING = {
    "one particle in a block of its own": (rs.System("x**4", temperature=1.0), [0.3], 0.25, 1),
    "box, scalar K": (rs.System("1000*(x**4 + y**4)", 1.0, 1.0, rs.Domain([(-1, 1)] * 2)), [0.9, 0.9], 5.0, 300),
    "box, full K": (
        rs.System("1000*(x**4 + y**4)", [[1.0, 0.5], [0.5, 1.0]], 1.0, rs.Domain([(-1, 1)] * 2)), [0.9, 0.9], 5.0, 300
    ),
    "box, exponential force": (rs.System("exp(40*x)", 1.0, 1.0, rs.Domain([(0.1, 1)])), [0.9], 1.0, 129),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [name if name == "box, full K" else pytest.param(name, marks=pytest.mark.slow) for name in DIVERGING]
)
@pytest.mark.filterwarnings("ignore::relaxsim.StabilityWarning")
def test_divergence_is_neither_hidden_by_walls_nor_waited_for(case):
    """Mirrors would fold any overshoot back into the box; particles that only fill a block must not be waited for."""
    system, start, dt, n = DIVERGING[case]
    with pytest.raises(rs.DivergedError) as caught:
        rs.simulate(
            system, rs.initial.point(start), n_particles=n, dt=dt, times=[0, 200 * dt], rng=0, scheme="euler-maruyama"
        )
    assert 0 <= caught.value.particle < n


@pytest.mark.filterwarnings("ignore::relaxsim.StabilityWarning")
def test_particles_that_fill_the_last_block_do_not_matter():
    """129 particles of which none diverges, in two blocks of which the fillers may."""
    system = rs.System("x**4", temperature=1.0)
    arguments = {"dt": 0.1, "times": [0.0, 24.0], "scheme": "euler-maruyama"}
    for seed in range(6):
        try:
            many = rs.simulate(system, rs.initial.point([0.3]), n_particles=256, rng=seed, **arguments)
        except rs.DivergedError as error:
            few = error.particle  # the first that diverges in the first step that has one; those before did not, then
            assert few < 256
            continue
        one = rs.simulate(system, rs.initial.point([0.3]), n_particles=129, rng=seed, **arguments)
        np.testing.assert_array_equal(one.positions, many.positions[:, :129])


def test_the_diverging_particle_is_named_and_not_its_neighbours():
    start = np.full((300, 1), -1.4)
    start[200] = 1.0
    steep = rs.System("cosh(300*(x + 1.4))", 1e-6, 1.0, rs.Domain([(-5, 5)]))
    with pytest.raises(rs.DivergedError) as caught:
        rs.simulate(steep, rs.initial.samples(start), n_particles=300, dt=1e-3, times=[0, 1], rng=0)
    assert caught.value.particle == 200
    assert caught.value.last_position == (1.0,)


def test_a_mobility_that_is_not_positive_is_said_to_be():
    bump = "1.5*exp(-200*(x - 0.1)**2)"  # hidden between the points that are probed
    system = rs.System("x**2 + y**2", [["1", bump], [bump, "1"]], 1.0)
    with pytest.raises(rs.DivergedError, match=r"mobility is not positive there: its smallest eigenvalue is -0\."):
        rs.simulate(system, rs.initial.point([0, 0]), n_particles=300, dt=0.01, times=[0, 2], rng=0)
    later = rs.System("x**2 + y**2", [["1", "1.5*t"], ["1.5*t", "1"]], 1.0)
    with pytest.raises(rs.MobilityError, match="at time 1"):
        rs.simulate(later, rs.initial.point([0, 0]), n_particles=300, dt=0.01, times=[0, 1, 2], rng=0)


def test_periodic_positions_stay_in_their_period_beside_oblique_walls():
    domain = rs.Domain([(0, 1)] * 2, boundary=["reflecting", "periodic"])
    system = rs.System("x + 0.2*cos(2*pi*y)", [[1.0, 0.8], [0.8, 1.0]], 1.0, domain)
    path = rs.simulate(system, rs.initial.uniform(), n_particles=20_000, dt=0.01, times=[0, 0.5], rng=0)
    assert np.all((path.positions[..., 1] >= 0) & (path.positions[..., 1] < 1))
    assert np.all((path.positions[..., 0] >= 0) & (path.positions[..., 0] <= 1))


def test_observables_know_the_time_and_the_coordinates():
    path = rs.simulate(demo_system(), START, n_particles=10, dt=0.02, times=[0.0, 1.0, 2.0], rng=1)
    np.testing.assert_array_equal(path.mean("0*x + t")[0], [0.0, 1.0, 2.0])
    with pytest.raises(rs.ShapeError, match="uses 3 coordinates"):
        path.mean("z")


def test_a_run_says_what_it_was(caplog):
    with caplog.at_level(logging.INFO, logger="relaxsim"):
        path = rs.simulate(demo_system(), START, **GOOD)
    assert "kernel for milstein ready" in caplog.text
    assert path.scheme == "milstein"
    assert (path.n_particles, path.dim, path.seed, path.t0) == (10, 2, 1, 0.0)
    assert "10 particles" in repr(path)
    assert path.packing_version == 1


def test_progress_is_shown_when_asked_for(capsys):
    rs.simulate(demo_system(), START, progress=True, **GOOD)
    assert "ensemble" in capsys.readouterr().err
    rs.simulate(demo_system(), START, **GOOD)
    assert capsys.readouterr().err == ""


def test_an_interrupt_leaves_nothing_half_done(monkeypatch):
    """Ctrl-C while the kernel runs raises KeyboardInterrupt; no path is returned and no thread stays behind."""
    import threading

    from relaxsim.particles import simulate as _  # noqa: F401
    from relaxsim.particles.kernel import Kernel

    calls = []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return -1

    monkeypatch.setattr(Kernel, "__call__", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        rs.simulate(demo_system(), START, n_particles=1000, dt=1e-3, times=[0.0, 100.0], rng=1, threads=2)
    assert threading.active_count() == before
