"""Initial laws: what is drawn for an ensemble and what a grid gets are the same law."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim import initial
from relaxsim.particles.random import INITIAL, Address
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

N = 100_000
BOX = rs.System("(x**2 - 1)**2", 1.0, 0.2, rs.Domain([(-3, 3)]))
CIRCLE = rs.System("cos(2*pi*x)", 1.0, 0.5, rs.Domain([(0, 1)], boundary="periodic"))
SQUARE = rs.System("(x**2 - 1)**2 + y**2/2", 1.0, 0.2, rs.Domain([(-3, 3), (-3, 3)]))
TORUS = rs.System("cos(2*pi*(x + y))", 1.0, 0.5, rs.Domain([(0, 1), (0, 1)], boundary="periodic"))
SLANTED = [[0.09, 0.08], [0.08, 0.09]]
MOVING = rs.System("(x - 2*t)**2/2", 1.0, "0.2 + t", rs.Domain.unbounded(1))
LAWS = {
    "normal": (BOX, initial.normal(0.3, 0.7), 12),
    "normal, half outside": (BOX, initial.normal(-3.0, 0.3), 12),
    "normal, narrow": (BOX, initial.normal(0.01, 0.02), 12),
    "normal on a circle": (CIRCLE, initial.normal(0.95, 0.2), 8),
    "normal, slanted": (SQUARE, initial.normal([0.4, -0.2], SLANTED), 6),
    "normal, slanted and narrow": (SQUARE, initial.normal([0.01, 0.1], np.array(SLANTED) / 900), 10),
    "normal, slanted on a torus": (TORUS, initial.normal([0.9, 0.1], SLANTED), 5),
    "uniform": (BOX, initial.uniform([(-1.3, 2.2)]), 7),
    "uniform across the seam": (CIRCLE, initial.uniform([(0.9, 1.2)]), 8),
    "gibbs": (BOX, initial.gibbs(), 12),
    "gibbs in the plane": (SQUARE, initial.gibbs(), 6),
    "gibbs at a time": (MOVING, initial.gibbs().at(0.7), rs.Grid(MOVING.domain, 12, bounds=[(-3.6, 6.4)])),
    "density": (BOX, initial.density("(1 + x**2)*exp(-x)"), 9),
    "density in part of a cell": (BOX, initial.density("0.5 - x", bounds=[(-0.7, 0.5)]), 5),
    "density in part of a circle": (CIRCLE, initial.density("x", bounds=[(0.2, 0.5)]), 7),
    "samples": (BOX, initial.samples(np.linspace(-2, 1, 100)), 7),
    "mixture": (BOX, initial.mixture([initial.normal(0, 0.3), initial.normal(-3, 0.3)], [1, 3]), 6),
    "mixture with rejection": (
        BOX,
        initial.mixture([initial.uniform([(-3, 0)]), initial.density("exp(-30*abs(x - 1))")]),
        6,
    ),
}


def address(n=N):
    return Address(20261121, INITIAL, np.arange(n, dtype=np.uint64))


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.filterwarnings("ignore:initial")
def test_draws_and_cell_masses_are_the_same_law(name):
    """Pearson's statistic over the cells, with the normal approximation of its law; sparse cells are left out."""
    system, law, cells = LAWS[name]
    grid = cells if isinstance(cells, rs.Grid) else rs.Grid(system.domain, cells)
    masses = law.masses(system, grid).ravel()
    counts = np.histogramdd(law.sample(system, address()), bins=list(grid.edges))[0].ravel()
    if name == "samples":
        assert np.abs(counts / N - masses).max() < 1e-3
        return
    crowded = masses * N >= 10
    expected = np.append(masses[crowded], max(masses[~crowded].sum(), 1e-12)) * N
    observed = np.append(counts[crowded], counts[~crowded].sum())
    chi2, dof = np.sum((observed - expected)[expected > 10] ** 2 / expected[expected > 10]), (expected > 10).sum() - 1
    if dof == 0:  # all in one cell
        assert observed[0] == pytest.approx(N, abs=100)
        return
    # Wilson and Hilferty: the cube root of chi2/dof is nearly normal
    z = ((chi2 / dof) ** (1 / 3) - (1 - 2 / (9 * dof))) / np.sqrt(2 / (9 * dof))
    assert_within("initial: draws against masses", max(z, 0.0), 0.0, 1.0)
    moved = np.roll(masses, 1) * N + 10
    wrong = np.sum((counts - moved) ** 2 / moved)
    z = ((wrong / dof) ** (1 / 3) - 1) / np.sqrt(2 / (9 * dof))
    assert_rejected("initial: draws against masses", z, 0.0, 1.0)


def test_a_mixture_keeps_its_weights_when_a_component_is_redrawn():
    law = initial.mixture([initial.uniform([(-3, 0)]), initial.density("exp(-30*abs(x - 1))")])
    share = (law.sample(BOX, address()) > 0).mean()
    assert_within("initial: weights of a mixture", share, 0.5, 0.5 / np.sqrt(N))
    # the mutant chooses a component anew with every draw, so that one that rejects comes out too rarely
    accepted = law.laws[1].propose(BOX, address(), 0)[1].mean()
    assert_rejected("initial: weights of a mixture", accepted / (1 + accepted), 0.5, 0.5 / np.sqrt(N))


def test_a_slanted_normal_has_its_exact_masses():
    """Bivariate normal in one quadrant: 1/4 + asin(rho)/(2 pi)."""
    grid = rs.Grid(SQUARE.domain, (2, 2))
    for scale in (1.0, 1e-3, 1e-8):
        masses = initial.normal([0, 0], scale * np.array(SLANTED)).masses(SQUARE, grid)
        assert masses[0, 0] == pytest.approx(0.25 + np.arcsin(8 / 9) / (2 * np.pi), abs=1e-10)
        assert masses.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("law", "system", "error", "message"),
    [
        (initial.gibbs(), rs.System("0.3*log(x)", 1.0, 1.0, rs.Domain([(0, 1)])), rs.ConvergenceError, "not bounded"),
        (initial.density("1", bounds=[(0, 9)]), BOX, rs.InputError, "reach beyond"),
        (initial.density("1", bounds=[(0, 1), (0, 1)]), BOX, rs.ShapeError, "1 pairs"),
        (initial.density("x"), BOX, rs.InputError, "negative or not finite"),
        (initial.density("y"), BOX, rs.ShapeError, "uses 2 coordinates"),
        (initial.density("1"), rs.System("x**2", 1.0, 1.0), rs.InputError, "bounds"),
        (initial.uniform(), rs.System("x**2", 1.0, 1.0), rs.InputError, "needs a bounded domain"),
        (initial.normal(0, 1), SQUARE, rs.ShapeError, "1 coordinates, the system has 2"),
    ],
)
def test_laws_that_do_not_fit(law, system, error, message):
    with pytest.raises(error, match=message):
        law.sample(system, address(100))


# ---- Gibbs laws that move


def frozen(t):
    """The system as it is at a time."""
    energy = rs.Energy("(x - c)**2/2", params={"c": 2 * t})  # one kernel for all times
    return rs.System(energy, 1.0, MOVING.temperature(t), MOVING.domain)


@pytest.mark.parametrize("start", [0.0, 0.7, -0.1])
def test_a_density_starts_from_the_gibbs_law_of_the_first_time(start):
    fp = rs.FokkerPlanck(MOVING, rs.Grid(MOVING.domain, 120, bounds=[(-6, 8)]))
    path = fp.evolve(initial.gibbs(), [start, start + 0.1])
    np.testing.assert_allclose(path.mass[0], np.exp(fp.weights_at(start)[0]), atol=1e-13)
    assert path.kl[0] < 1e-13 < 1e-4 < path.kl[1]
    if start != 0.0:
        assert np.abs(path.mass[0] - fp.gibbs).sum() > 0.1  # the mutant: that of time zero
    assert np.abs(fp.probability_current(initial.gibbs(), t=start)).max() < 1e-12
    assert fp.entropy_production(initial.gibbs(), t=start) < 1e-20
    half = initial.mixture([initial.gibbs(), initial.normal(1.0, 0.5)])
    np.testing.assert_allclose(
        fp.evolve(half, [start]).mass[0], half.masses(frozen(start), fp.grid), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("start", [0.0, 0.7, -0.1])
def test_particles_start_from_the_gibbs_law_of_the_first_time(start, tmp_path):
    more = {"n_particles": 2000, "dt": 0.01, "times": [start, start + 0.01], "rng": 3}
    mixed = initial.mixture([initial.gibbs(), initial.normal(1.0, 0.5)])
    for law in (initial.gibbs(), mixed):
        found, expected = (rs.simulate(system, law, **more).positions for system in (MOVING, frozen(start)))
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-9, atol=1e-12)
        mutant = rs.simulate(frozen(0.0), law, **more).positions[0]
        assert start == 0.0 or np.abs(mutant - found[0]).max() > 0.05
    file = tmp_path / "run.npz"
    kept = rs.simulate(MOVING, initial.gibbs(), checkpoint=file, **more)
    again = rs.resume(file, system=MOVING, initial=initial.gibbs())
    np.testing.assert_array_equal(again.positions, kept.positions)


def test_a_density_has_no_time():
    with pytest.raises(rs.InputError, match="one time"):
        initial.density("exp(-(x - t)**2)")


def test_laws_say_what_they_are():
    laws = [
        initial.normal([-1, 0], 0.3),
        initial.uniform(),
        initial.point([1.0]),
        initial.samples(np.zeros((5, 2))),
        initial.gibbs(),
        initial.density("exp(-x)"),
    ]
    assert [repr(law) for law in laws] == [
        "normal([-1.0, 0.0], [0.3, 0.3])",
        "uniform()",
        "point([1.0])",
        "samples(5 positions, dim 2)",
        "gibbs()",
        "density('exp(-x)')",
    ]
    assert repr(initial.mixture(laws[1:3])) == "mixture([uniform(), point([1.0])], [0.5, 0.5])"
