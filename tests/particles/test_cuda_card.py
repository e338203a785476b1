"""On a real graphics card: the same integers as on the CPU, states to a tolerance, laws by test.

Run with ``pytest -m gpu`` on a machine with a card, with ``relaxsim[cuda12]`` or ``relaxsim[cuda13]`` installed.
"""

import math

import numpy as np
import pytest

import relaxsim as rs
from particles.cuda_cases import CASES, SYSTEMS, cuda_kernel, starting_positions
from relaxsim.particles import random
from relaxsim.particles.kernel import Kernel
from relaxsim.particles.schemes import NOISES, registry
from statistical_budget import assert_rejected, assert_within
from systems import OrnsteinUhlenbeck

pytestmark = pytest.mark.gpu

SEED, N, STEPS, H = 2**40 + 7, 1024, 1000, 0.01


@pytest.fixture(scope="module", autouse=True)
def adapter():
    from relaxsim.particles import cuda

    if cuda.SIMULATED:
        pytest.skip("this is the simulator")
    try:
        cuda.card()
    except rs.GPUUnavailableError as error:
        pytest.skip(str(error))
    return cuda


def test_integers_are_the_same(adapter):
    cuda = adapter.cuda
    words = random.random_words

    @adapter.kernel
    def draw(out, first, step, stream, number, seed):
        i = cuda.grid(1)
        w0, w1, w2, w3 = words(seed, np.uint64(first + i), step, stream, number)
        out[0, i], out[1, i], out[2, i], out[3, i] = w0, w1, w2, w3

    first, particles = 2**40 + 17, np.arange(N, dtype=np.uint64)
    for step in (0, 2**32 - 1, 2**52 + 3):
        address = [np.uint64(value) for value in (step, random.METROPOLIS, 2**15 + 1, 2**64 - 59)]
        out = adapter.to_card(np.zeros((4, N), dtype=np.uint64))
        adapter.launch(draw, N // 128, 128, out, first, *address)
        seed = address.pop()
        assert np.array_equal(out.copy_to_host(), words(seed, particles + np.uint64(first), *address))


def both(system, scheme, noise="gaussian", h=H, **options):
    positions, states = starting_positions(system, N), []
    for kind in (Kernel, cuda_kernel):
        kernel = kind(system, registry()[scheme], noise, **options)
        state = kernel.initial_state(positions)
        assert kernel(state, 0, N, 3, STEPS, 0.0, h, SEED) == -1
        states.append(np.concatenate([state, kernel.report(state, STEPS + 3, 0.0, h, SEED)]))
    return states


@pytest.mark.parametrize(("scheme", "system", "noise"), CASES)
def test_states_after_a_thousand_steps(scheme, system, noise):
    expected, got = both(SYSTEMS[system], scheme, noise)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("walls", ["mirror", "lepingle"])
@pytest.mark.parametrize("system", ["interval", "turned", "oblique"])
def test_states_at_walls_with_turns(system, walls):
    expected, got = both(SYSTEMS[system], "euler-maruyama", walls=walls, count_turns=True)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("system", ["constant", "full", "interval", "machine"])
def test_states_in_single_precision(system, noise):
    expected, got = both(SYSTEMS[system], "euler-maruyama", noise, dtype="float32")
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_law_of_a_run(dtype):
    """Mean and covariance of a process whose law under the scheme is known."""
    case, n, dt, n_steps = OrnsteinUhlenbeck("ou2d_aniso"), 1 << 20, 0.1, 20
    mean, cov = case.euler_maruyama(dt, n_steps)
    for temperature, check in ((1.0, assert_within), (1.05, assert_rejected)):
        system = case.system()
        path = rs.simulate(
            system.replace(temperature=system.temperature * temperature), case.initial(), n_particles=n, dt=dt,
            times=[0.0, n_steps * dt], scheme="euler-maruyama", rng=11, store="final", dtype=dtype, device="cuda",
        )  # fmt: skip
        x = path.positions[0].astype(np.float64) - mean
        products = np.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2])
        expected = [0.0, 0.0, cov[0, 0], cov[0, 1], cov[1, 1]]
        stderr = products.std(axis=1) / math.sqrt(n)
        check("cuda: law of a run on a card", products.mean(axis=1), expected, stderr, bias=1e-6)


def test_a_run_with_all_that_goes_with_it(tmp_path):
    settings = {
        "n_particles": 5000, "dt": 0.05, "times": [0.0, 1.0, 2.0], "rng": SEED, "scheme": "milstein",
        "store_windings": True, "checkpoint_every": 1e-9,
    }  # fmt: skip
    settings |= {"observables": {"passage": rs.FirstPassage("x > 3"), "moments": rs.Moments(2)}}
    cpu, card = (
        rs.simulate(
            SYSTEMS["turned"], rs.initial.uniform(), device=device, checkpoint=tmp_path / f"{device}.npz", **settings
        )
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(card.positions, cpu.positions, rtol=1e-9, atol=1e-9)
    assert np.array_equal(card.windings, cpu.windings)
    for name, observable in cpu.observables.items():
        for key, value in observable.state().items():
            np.testing.assert_allclose(card.observables[name].state()[key], value, rtol=1e-9, atol=1e-9)
    assert np.array_equal(rs.resume(tmp_path / "cuda.npz").positions, card.positions)


def test_a_particle_that_diverges_is_found():
    with pytest.raises(rs.DivergedError) as caught, pytest.warns(rs.StabilityWarning):
        rs.simulate(
            rs.System("x**4/4", temperature=0.5), rs.initial.normal(0.0, 3.0), n_particles=1000, dt=0.5,
            times=[0.0, 5.0], rng=3, scheme="euler-maruyama", device="cuda",
        )  # fmt: skip
    assert caught.value.particle < 1000
