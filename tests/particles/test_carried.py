"""Compiled kernels of schemes that carry rows, draw signs and uniforms, weigh or refuse: they are their steps.

A few steps are followed with the naive twin of the packing, to rounding; ensembles at a coarse step say the same of
long runs.
"""

import math

import numpy as np
import pytest

import relaxsim as rs
from naive import particles as naive
from particles.test_scheme_orders import BOX, HLM, changed
from particles.test_schemes import DIAGONAL, FULL, ONE, REFERENCE, VARYING
from particles.transfer import Transfer, gibbs_means
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.model import ArrayModel
from relaxsim.particles.schemes import registry
from statistical_budget import assert_rejected, assert_within

SEED, STEPS, H = 2**40 + 7, 5, 0.1
WALLED = rs.System("2*x + y**2", ["1 + x/2", "1 + x*y/4"], 0.8, rs.Domain.hypercube(2))
TURNED = rs.Domain([(0, 2 * np.pi), (0, 1)], boundary=["periodic", "reflecting"])
MIXED = rs.System("cos(x) + y", ["1 + 0.3*sin(x)*y", "1.2"], 0.6, TURNED)

slow = pytest.mark.slow


def drawn(scheme, dim, noise, particle, k):
    """What one particle draws in one step, in the order of a step's `noise`."""
    kinds = {"gaussian": naive.normals, "three-point": naive.three_point}
    values = list(kinds[noise](SEED, particle, k, dim))
    if scheme.signs is not None and scheme.signs(dim):
        values += list(naive.signs(SEED, particle, k, scheme.signs(dim)))
    return values + [naive.metropolis(SEED, particle, k)] * scheme.uniforms


def followed(scheme, system, positions, noise):
    """States (rows, particles) after some steps on arrays, with noise drawn one number at a time."""
    model = ArrayModel(system, scheme.constants(system) if scheme.constants else ())
    state = [*positions.T, *(scheme.begin(model, list(positions.T), 0.0) if scheme.begin else [])]
    for k in range(STEPS):
        draws = np.array([drawn(scheme, system.dim, noise, p, k) for p in range(len(positions))]).T
        more = [state[system.dim :]] if scheme.carried else []
        state = scheme.step(model, state[: system.dim], k * H, H, list(draws), *more)
        state = [*model.inside(state[: system.dim]), *state[system.dim :]]
    return np.stack(state)


@pytest.mark.parametrize(
    ("scheme", "system", "noise"),
    [
        ("pvd2", FULL, "gaussian"),
        (HLM, VARYING, "gaussian"),
        ("mala", VARYING, "gaussian"),
        pytest.param("pvd2", WALLED, "three-point", marks=slow),
        pytest.param(HLM, WALLED, "three-point", marks=slow),
        pytest.param("heun", FULL, "gaussian", marks=slow),
        pytest.param("heun", WALLED, "gaussian", marks=slow),
        pytest.param("platen", FULL, "gaussian", marks=slow),
        pytest.param("platen", MIXED, "three-point", marks=slow),
        pytest.param("w2ito1", VARYING, "gaussian", marks=slow),
        pytest.param("time-rescaling", VARYING, "gaussian", marks=slow),
        pytest.param("mala", BOX, "gaussian", marks=slow),
    ],
)
def test_kernels_are_their_steps(scheme, system, noise):
    row, n = registry()[scheme], 256
    kernel = Kernel(system, row, noise)
    low, high = system.domain.lower, system.domain.upper
    positions = low + (high - low) * np.random.default_rng(5).random((n, system.dim))
    state = kernel.initial_state(positions)
    assert kernel(state, 0, n, 0, STEPS, 0.0, H, SEED) == -1
    np.testing.assert_allclose(state, followed(row, system, positions, noise), rtol=0, atol=1e-10)


# ---- the same bits

RUN = {"dt": 0.1, "times": [0.0, 0.3, 2.0], "rng": SEED, "stationary": True}


@pytest.mark.parametrize(
    ("scheme", "system"), [("pvd2", FULL), (HLM, VARYING), ("mala", VARYING)], ids=["pvd2", "hlm", "mala"]
)
def test_bits_do_not_depend_on_threads_blocks_or_numbers(scheme, system):
    many = rs.simulate(system, rs.initial.uniform(), n_particles=700, threads=3, scheme=scheme, **RUN)
    few = rs.simulate(system, rs.initial.uniform(), n_particles=200, threads=1, scheme=scheme, **RUN)
    last = rs.simulate(system, rs.initial.uniform(), n_particles=700, threads=1, scheme=scheme, store="final", **RUN)
    assert many.positions.shape == (3, 700, system.dim)
    assert last.positions.shape == (1, 700, system.dim)
    np.testing.assert_array_equal(many.positions[:, :200], few.positions)
    np.testing.assert_array_equal(many.positions[-1:], last.positions)
    assert many.acceptance == last.acceptance


def test_a_step_at_a_time_has_the_same_bits():
    """What is carried goes from one call of a kernel to the next; signs begin in the middle of a call."""
    kernel = Kernel(FULL, registry()["pvd2"])
    positions = np.random.default_rng(6).uniform(0, 6, (128, 2))
    once, piecewise = kernel.initial_state(positions), kernel.initial_state(positions)
    kernel(once, 0, 128, 0, 70, 0.0, H, SEED)
    for k in range(70):
        kernel(piecewise, 0, 128, k, 1, 0.0, H, SEED)
    np.testing.assert_array_equal(once, piecewise)


@pytest.mark.slow
def test_single_precision_follows_double_precision():
    """With the same noise for as long as rounding does not grow; MALA may decide otherwise once in a while."""
    for scheme, system in (("pvd2", FULL), ("mala", VARYING), (HLM, VARYING)):
        arguments = {"n_particles": 256, "noise": "gaussian" if scheme == "mala" else "three-point", "scheme": scheme}
        double = rs.simulate(system, rs.initial.point([1.0] * system.dim), **arguments, **RUN)
        single = rs.simulate(system, rs.initial.point([1.0] * system.dim), dtype="float32", **arguments, **RUN)
        assert single.positions.dtype == np.float32
        if scheme == "mala":
            assert abs(single.acceptance - double.acceptance) < 0.02
        else:
            np.testing.assert_allclose(single.positions[1], double.positions[1], atol=1e-4)


@pytest.mark.slow
def test_turns_are_counted_beside_what_is_carried():
    arguments = {"n_particles": 300, "scheme": "pvd2", **RUN}
    plain = rs.simulate(DIAGONAL, rs.initial.uniform(), **arguments)
    counted = rs.simulate(DIAGONAL, rs.initial.uniform(), store_windings=True, **arguments)
    np.testing.assert_array_equal(plain.positions, counted.positions)
    assert np.any(counted.windings != 0)
    moved = np.diff(counted.unwrapped(), axis=0)
    assert np.abs(moved).max() < 12
    assert plain.weights is None
    assert plain.acceptance is None


# ---- ensembles at a coarse step


def weighted_means(path, observables, first=1):
    """Time averages over the stored times with weights, each with its standard error over particles."""
    x = path.positions[first:, :, 0]
    w = np.ones_like(x) if path.weights is None else path.weights[first:]
    means, errors = [], []
    for phi in observables:
        mean = np.average(phi(x), weights=w)
        means.append(mean)
        errors.append((w * (phi(x) - mean)).mean(axis=0).std() / math.sqrt(x.shape[1]))
    return np.array(means), np.array(errors)


def circle_run(scheme, n, last, **options):
    times = np.r_[0.0, np.arange(24.0, last + 1, 2.0)]
    return rs.simulate(
        VARYING,
        rs.initial.gibbs(),
        n_particles=n,
        dt=0.1,
        times=times,
        scheme=scheme,
        rng=51,
        stationary=True,
        **options,
    )


LAWS = {"heun": "HEUN_STRAT", HLM: "HLM", "time-rescaling": "TIME_RESCALE+LM", "pvd2": "PVD2_MT2", "platen": "PLATEN2"}


def law_of(scheme):
    """Stationary means at h = 0.1 from the reference, the operator, or Gibbs."""
    if scheme in LAWS:
        reference = REFERENCE["methods"][LAWS[scheme]]
        return reference["stationary_mean_of_observables"][reference["h"].index(0.1)]
    return gibbs_means(VARYING, ONE) if scheme == "mala" else Transfer(scheme, VARYING).stationary_means(0.1, ONE)


@pytest.mark.parametrize("scheme", [HLM, "time-rescaling", "mala"])
def test_ensembles_have_the_law_of_their_step(scheme):
    mean, error = weighted_means(circle_run(scheme, 1 << 14, 50), ONE)
    assert error.max() < 2e-3
    assert_within("carried: law of the step", mean, law_of(scheme), error)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["heun", HLM, "time-rescaling", "pvd2", "platen", "w2ito1", "mala"])
def test_ensembles_have_the_law_of_their_step_to_four_digits(scheme):
    """The mutants are another scheme's law, farther off than twice the threshold."""
    mean, error = weighted_means(circle_run(scheme, 1 << 18, 200), ONE)
    assert error.max() < 2.1e-4
    assert_within("carried: law of the step, finely", mean, law_of(scheme), error)
    euler = REFERENCE["methods"]["EM"]["stationary_mean_of_observables"][1]
    assert_rejected("carried: law of the step, finely", mean, euler, error)


def test_weights_are_what_makes_time_rescaling_right():
    path = circle_run("time-rescaling", 1 << 14, 50)
    assert path.weights.shape == path.positions.shape[:2]
    np.testing.assert_allclose(path.weights.mean(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(path.weights[0], 1.0)  # the initial law is what it is
    k = 1 + 0.5 * np.sin(path.positions[1:, :, 0])
    np.testing.assert_allclose(path.weights[1:] * k, np.broadcast_to(1 / (1 / k).mean(axis=1)[:, None], k.shape))
    expected = law_of("time-rescaling")
    mean, error = path.mean("sin(x)")
    assert_within("carried: weighted means of a path", mean[1:], expected[1], error[1:])
    plain = np.sin(path.positions[1:, :, 0])
    assert_rejected(
        "carried: weighted means of a path", plain.mean(axis=1), expected[1], plain.std(axis=1) / math.sqrt(1 << 14)
    )


@pytest.mark.slow
def test_mala_is_exact_in_a_box_with_full_mobility():
    """Corners and all, at a step with which most are refused; without the determinant it is not."""
    arguments = {"n_particles": 1 << 17, "dt": 0.1, "times": [0.0, 12.0], "store": "final", "stationary": True}
    layer = rs.System("2*x + y", 1.0, 0.6, rs.Domain.hypercube(2))
    observables = [lambda x, y: x, lambda x, y: y, lambda x, y: 1.0 * ((x < 0.1) & (y < 0.1))]
    corner = (
        (1 - math.exp(-0.2 / 0.6)) / (1 - math.exp(-2 / 0.6)) * (1 - math.exp(-0.1 / 0.6)) / (1 - math.exp(-1 / 0.6))
    )
    exact = np.array([*gibbs_means(layer, observables[:2], 41), corner])
    mutant = changed("mala", " * model.volume(x, t)[0] / model.volume(p, t)[0]", "")
    for scheme, check in (("mala", assert_within), (mutant, assert_rejected)):
        path = rs.simulate(BOX, rs.initial.gibbs(), scheme=scheme, rng=52, **arguments)
        assert 0.2 < path.acceptance < 0.9
        x = path.positions[-1].T
        assert BOX.domain.contains(x.T).all()
        values = np.array([phi(*x) for phi in observables])
        check("carried: MALA in a box", values.mean(axis=1), exact, values.std(axis=1) / math.sqrt(1 << 17))


def test_acceptance_falls_with_the_step():
    """Of order h**1.5 for small steps; a run without steps has none."""
    found = []
    for h in (0.05, 0.2):
        path = rs.simulate(
            VARYING,
            rs.initial.gibbs(),
            n_particles=4096,
            dt=h,
            times=[0.0, 4.0],
            scheme="mala",
            rng=53,
            stationary=True,
        )
        found.append(path.acceptance)
    assert 0.95 < found[0] < 1
    assert 0.85 < found[1] < 0.91
    with pytest.raises(rs.IncompatibleSchemeError, match="stationary=True"):
        rs.simulate(VARYING, rs.initial.gibbs(), n_particles=10, dt=0.1, times=[0, 1], scheme="mala")
