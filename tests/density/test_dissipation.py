"""How fast the free energy falls on a grid, exactly, and the balance of work when energy and temperature move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import splu

from density.support import Matrix, general_systems, plain_system, swirl, systems, turned, turning
from relaxsim import Domain, Grid, Mobility, System
from relaxsim.density import rates
from relaxsim.density.generator import build_generator
from relaxsim.system.relative_entropy import kl_divergence, log_cell_weights

pytestmark = pytest.mark.nojit


def generator_of(system, grid, t=0.0, density=None):
    log_gibbs, log_partition = log_cell_weights(system, grid, t)
    return build_generator(system, grid, log_gibbs, log_partition, t, density), log_gibbs, log_partition


def flows(generator, masses):
    """Ordered pairs i != j and the flow m_i r_ij at rest from i to j, as (i, j, flow)."""
    jumps = sparse.coo_array(generator)
    off = jumps.row != jumps.col
    return jumps.col[off], jumps.row[off], jumps.data[off] * masses[jumps.col[off]]


def random_density(log_gibbs, seed, spread=1.0):
    """f = p/m within a few factors of one, on cells that carry mass."""
    m = np.exp(log_gibbs.ravel())
    p = m * np.exp(spread * np.random.default_rng(seed).normal(size=m.size))
    return p / p.sum(), m


def reversible_rate(generator, p, m):
    """-(1/2) sum w_ij (f_i - f_j) ln(f_i / f_j) over ordered pairs, with symmetric w."""
    i, j, w = flows(generator, m)
    f = p / m
    return -0.5 * np.sum(w * (f[i] - f[j]) * np.log(f[i] / f[j]))


def rate_of_kl(generator, p, m):
    """d KL/dt = sum (dp/dt) ln(p/m)."""
    return float((generator @ p) @ np.log(p / m))


@settings(max_examples=60)
@given(
    st.one_of(
        systems(steep=3.0, forbidden=False),
        systems(tensor=True, steep=3.0, forbidden=False),
        general_systems(circulating=False, steep=3.0, forbidden=False),
    ),
    st.integers(0, 2**32 - 1),
)
def test_without_currents_the_free_energy_falls_by_the_sum_over_edges(case, seed):
    system, grid = case
    generator, log_gibbs, _ = generator_of(system, grid)
    p, m = random_density(log_gibbs, seed)
    expected = system.temperature * reversible_rate(generator, p, m)
    assert expected <= 0
    assert system.temperature * rate_of_kl(generator, p, m) == pytest.approx(expected, rel=1e-10)


@settings(max_examples=60)
@given(general_systems(circulating=True, steep=3.0, forbidden=False), st.integers(0, 2**32 - 1))
def test_with_currents_the_square_norm_falls_by_the_sum_over_edges(case, seed):
    """d/dt sum p^2/m = -sum (w + kappa)(f_i - f_j)^2: the symmetric part of the flows, upwinding included."""
    system, grid = case
    generator, log_gibbs, _ = generator_of(system, grid)
    p, m = random_density(log_gibbs, seed)
    f = p / m
    i, j, flow = flows(generator, m)
    expected = -np.sum(flow * (f[i] - f[j]) ** 2)  # over ordered pairs, so of the symmetric part
    assert 2 * float((generator @ p) @ f) == pytest.approx(expected, rel=1e-10)


def test_a_current_that_does_not_close_breaks_the_square_law():
    domain = Domain([(-1, 1), (-1, 1)])
    system = plain_system(lambda x: x.sum(axis=-1), np.eye(2), domain, 1.0, swirl(lambda x: 1 + x[..., 0]))
    generator, log_gibbs, _ = generator_of(system, Grid(domain, 8))
    p, m = random_density(log_gibbs, 0)
    broken = sparse.csr_array(generator + sparse.csr_array(([1e-6, -1e-6], ([1, 0], [0, 0])), shape=generator.shape))
    f = p / m
    i, j, flow = flows(broken, m)
    assert 2 * float((broken @ p) @ f) != pytest.approx(-np.sum(flow * (f[i] - f[j]) ** 2), rel=1e-10)


def test_what_a_current_adds_to_the_fall_of_kl_vanishes_with_the_square_of_the_cell_width():
    domain = Domain([(0, 1), (0, 1)], boundary="periodic")
    turn = 2 * np.pi
    angle = lambda x: 0.4 + 0.3 * np.sin(turn * x[..., 0])  # noqa: E731
    energy = lambda x: np.cos(turn * x[..., 0]) * np.sin(turn * x[..., 1])  # noqa: E731
    A = swirl(lambda x: 0.4 + 0.2 * np.cos(turn * x[..., 1]))
    system = plain_system(energy, Matrix(turning(2.0, angle), antisymmetric=A), domain, 1.0)
    added = []
    for n in (16, 32, 64, 128):
        grid = Grid(domain, n)
        generator, log_gibbs, _ = generator_of(system, grid)
        m = np.exp(log_gibbs.ravel())
        p = m * np.exp(np.sin(turn * grid.points[:, 0]) + 0.5 * np.cos(turn * grid.points.sum(axis=1)))
        i, j, flow = flows(generator, m)
        f = p / p.sum() / m
        both = -0.5 * np.sum(flow * (f[i] - f[j]) * np.log(f[i] / f[j]))
        added.append(abs(rate_of_kl(generator, p / p.sum(), m) / both - 1))
    orders = np.log2(np.array(added[:-1]) / added[1:])
    assert added[0] > 1e-5
    assert np.all(orders > 1.8), (added, orders)


def test_mutant_weights_break_the_identity(monkeypatch):
    """A lopsided edge has no symmetric weight: the sum over edges is not the rate any more."""
    from relaxsim.density import cells

    def lopsided(*logs):
        forth, back = rates.fitted_rates(*logs)
        return forth * (1 + 1e-6), back

    domain = Domain([(-1, 1), (-1, 1)])
    system = plain_system(lambda x: x.sum(axis=-1), turned(4.0, 0.4), domain)
    monkeypatch.setattr(cells, "fitted_rates", lopsided)
    generator, log_gibbs, _ = generator_of(system, Grid(domain, 8))
    p, m = random_density(log_gibbs, 3)
    assert rate_of_kl(generator, p, m) != pytest.approx(reversible_rate(generator, p, m), rel=1e-10)


# ---- energies and temperatures that move: one backward Euler step with the generator of its end


def step(generator, p, tau):
    matrix = (sparse.eye_array(len(p)) - tau * generator).tocsc()
    moved = splu(matrix).solve(p)
    assert abs(moved.sum() - 1) < 1e-11
    return np.maximum(moved, 0) / moved.sum()


moving = System(
    "(x**2 - 1)**2*(1 + t/2) + y**2/2 + 0.3*x*y*cos(t)",
    Mobility.tensor([["1 + x**2/4", "0.3*cos(t)"], ["0.3*cos(t)", "1"]]).with_antisymmetric([["0", "t"], ["-t", "0"]]),
    "0.4 + 0.2*exp(-t)",
    Domain([(-1.5, 1.5), (-1.5, 1.5)]),
)


@pytest.mark.parametrize("tau", [1e-3, 0.1, 10.0])
def test_a_step_lowers_kl_to_the_law_of_its_end_and_the_rest_is_work(tau):
    grid, t, boltzmann = Grid(moving.domain, 12), 0.0, 1.0
    rng = np.random.default_rng(5)
    p = rng.exponential(size=grid.n_cells)
    p /= p.sum()
    _, log_gibbs, log_partition = generator_of(moving, grid, t)

    def free_energy(p, log_gibbs, log_partition, t):
        return moving.temperature_at(t) * (kl_divergence(p, log_gibbs.ravel()) - log_partition) * boltzmann

    for _ in range(5):
        t_next = t + tau
        generator, log_next, partition_next = generator_of(moving, grid, t_next)
        moved = step(generator, p, tau)
        before, after = (kl_divergence(q, log_next.ravel()) for q in (p, moved))
        assert after <= before
        work = free_energy(p, log_next, partition_next, t_next) - free_energy(p, log_gibbs, log_partition, t)
        # cell averages of E are -T (ln m + ln Z - ln volume); H is that of the density
        heat, heat_next = moving.temperature_at(t), moving.temperature_at(t_next)
        E, E_next = (
            -T * (logs.ravel() + z - np.log(grid.cell_volume))
            for T, logs, z in ((heat, log_gibbs, log_partition), (heat_next, log_next, partition_next))
        )
        entropy = -np.sum(p * np.log(p / grid.cell_volume))
        assert work == pytest.approx(p @ (E_next - E) - (heat_next - heat) * entropy, rel=1e-10, abs=1e-12)
        p, t, log_gibbs, log_partition = moved, t_next, log_next, partition_next


def test_the_law_of_the_start_is_the_wrong_one_to_compare_with():
    """KL to the Gibbs law of the beginning of the step may rise: the mutant of the test above."""
    grid = Grid(moving.domain, 12)
    generator = generator_of(moving, grid, 3.0)[0]
    log_gibbs = generator_of(moving, grid, 0.0)[1]
    start = np.exp(log_gibbs.ravel())
    assert kl_divergence(step(generator, start, 10.0), log_gibbs.ravel()) > 1e-2


@pytest.mark.parametrize("tau", [1e-2, 1.0, 100.0])
def test_kl_falls_for_mobilities_of_the_density_frozen_over_each_step(tau):
    law = Mobility.of_density(
        lambda x, p: ((0.2 + p, 0.1 * x[0]), (0.1 * x[0], 0.3 + p**2)), antisymmetric=lambda x, p: ((0, p), (-p, 0))
    )
    system = System("x**2 + y**2*(1 + x/2)", law, 0.5, Domain([(-1, 1), (-1, 1)]))
    grid = Grid(system.domain, 10)
    p = np.random.default_rng(2).exponential(size=grid.n_cells)
    p /= p.sum()
    falls = []
    for _ in range(4):
        generator, log_gibbs, _ = generator_of(system, grid, density=p.reshape(grid.shape) / grid.cell_volume)
        moved = step(generator, p, tau)
        falls.append(kl_divergence(p, log_gibbs.ravel()) - kl_divergence(moved, log_gibbs.ravel()))
        p = moved
    assert min(falls) >= -1e-14
    assert falls[0] > 1e-3
