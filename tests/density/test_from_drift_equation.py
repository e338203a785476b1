"""`FokkerPlanck.from_drift`: rest, rates, passages and paths of a process that has no energy."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

import relaxsim as rs
from relaxsim.errors import InputError

pytestmark = pytest.mark.nojit

PLANE = rs.Domain([(-5, 5), (-5, 5)])
MATRIX = np.array([[1.0, 1.2], [-0.8, 0.7]])  # dx = -MATRIX x dt
NOISE = np.array([[1.5, 0.3], [0.3, 0.8]])


def turning(cells):
    return rs.FokkerPlanck.from_drift(["-x - 1.2*y", "0.8*x - 0.7*y"], NOISE, PLANE, rs.Grid(PLANE, cells))


def test_rest_rates_and_entropy_production_of_a_turning_drift():
    """C with M C + C M^T = Sigma; rates are the eigenvalues of M; sigma = tr(v C v^T D^-1), v = -M + D C^-1."""
    C = solve_continuous_lyapunov(MATRIX, NOISE)
    D = NOISE / 2
    v = -MATRIX + D @ np.linalg.inv(C)
    produced = np.trace(np.linalg.inv(D) @ v @ C @ v.T)
    slow = np.linalg.eigvals(MATRIX)
    errors = []
    for cells in (32, 64):
        fp = turning(cells)
        p, points = fp.stationary().mass.ravel(), fp.grid.points
        rates = fp.spectrum(3).rates[1:]
        errors.append(
            [
                np.abs((points.T * p) @ points - C).max(),
                np.abs(np.sort_complex(rates) - np.sort_complex(slow)).max(),
                abs(fp.entropy_production() / produced - 1),
            ]
        )
    assert np.all(np.array(errors[1]) < [0.06, 0.06, 0.06])
    assert np.all(np.log2(np.array(errors[0]) / errors[1]) > 1.6)


def test_a_drift_that_has_an_energy_gives_what_the_energy_gives():
    line = rs.Domain([(-3, 3)])
    grid = rs.Grid(line, 300)
    known = rs.FokkerPlanck(rs.System("(x**2 - 1)**2", temperature=0.5, domain=line), grid)
    drawn = rs.FokkerPlanck.from_drift("-4*x*(x**2 - 1)", 1.0, line, grid)
    np.testing.assert_allclose(drawn.gibbs, known.gibbs, atol=6e-4 * known.gibbs.max())
    np.testing.assert_allclose(drawn.spectrum(4).rates, known.spectrum(4).rates, rtol=1e-3, atol=1e-9)
    assert not np.iscomplexobj(drawn.spectrum(4).rates)
    np.testing.assert_allclose(
        drawn.mean_first_passage_time("x > 1"), known.mean_first_passage_time("x > 1"), rtol=2e-3, atol=1e-4
    )
    np.testing.assert_allclose(drawn.committor("x < -1", "x > 1"), known.committor("x < -1", "x > 1"), atol=1e-3)
    assert abs(drawn.entropy_production()) < 1e-6


def test_a_path_goes_to_rest_and_keeps_its_mass():
    fp = turning(32)
    path = fp.evolve(rs.initial.normal([2.0, 0.0], 0.4), np.linspace(0, 12, 13))
    assert np.all(path.mass >= 0)
    np.testing.assert_allclose(path.mass.sum(axis=(1, 2)), 1.0, atol=1e-9)
    assert np.all(np.diff(path.kl) < 1e-9)
    np.testing.assert_allclose(path.mass[-1], fp.gibbs, atol=1e-4 * fp.gibbs.max() + 1e-6)


def test_the_current_at_rest_turns():
    fp = turning(48)
    J = fp.probability_current(fp.gibbs)
    x, y = fp.grid.points.reshape(48, 48, 2).transpose(2, 0, 1)
    assert np.sum(x * J[..., 1] - y * J[..., 0]) > 0  # counter-clockwise
    assert np.abs(J).max() > 0.01


def test_a_drift_that_moves_in_time():
    line = rs.Domain([(-4, 4)])
    fp = rs.FokkerPlanck.from_drift("-(x - t)", 1.0, line, rs.Grid(line, 80))
    path = fp.evolve(rs.initial.normal([0.0], 0.7), [0.0, 1.0], method="backward-euler", step=0.02)
    # d<x>/dt = t - <x>: <x>(1) = 1/e
    assert path.mass[-1] @ fp.grid.centers[0] == pytest.approx(np.exp(-1), abs=0.02)


def test_walls_that_absorb_are_refused():
    domain = rs.Domain([(0, 1)], boundary="absorbing")
    with pytest.raises(InputError, match="reflecting and periodic walls only"):
        rs.FokkerPlanck.from_drift("-x", 1.0, domain, rs.Grid(domain, 10))


def test_what_needs_an_energy_says_so():
    """Instead of an AttributeError of the system that is not there."""
    line = rs.Domain([(-3, 3)])
    fp = rs.FokkerPlanck.from_drift("-x", 2.0, line, rs.Grid(line, 20))
    path = fp.evolve(fp.gibbs, [0.0, 0.1])
    with pytest.raises(InputError, match=r"no energy, so neither F nor U.* is path.kl"):
        rs.track(path)
    both = rs.initial.mixture([rs.initial.normal(0.0, 0.5), rs.initial.gibbs()])
    for law in (rs.initial.gibbs(), both):
        with pytest.raises(InputError, match=r"initial: gibbs\(\) needs an energy.* fp.gibbs"):
            fp.evolve(law, [0.0, 0.1])
    with pytest.raises(InputError, match=r"proximal: .*no free energy to descend; use evolve\(\)"):
        fp.proximal(fp.gibbs, [0.0, 0.1], step=0.1, epsilon=0.1)


# ---- files


def moving_plane(mu):
    return rs.FokkerPlanck.from_drift(mu, [[1.0, "0.2*x"], ["0.2*x", 2]], PLANE, rs.Grid(PLANE, 12))


def test_a_path_comes_back_from_a_file(tmp_path):
    fp = moving_plane(["-x - 1.2*y*cos(t)", "0.8*x - 0.7*y"])
    path = fp.evolve(rs.initial.normal([1.0, 0.0], 0.6), [0.0, 0.05, 0.1], step=0.05)
    file = path.save(tmp_path / "path.npz")
    for back in (rs.load(file), rs.load(file, system=fp.system)):
        for name in ("times", "mass", "log_gibbs", "log_partition", "kl", "density"):
            np.testing.assert_array_equal(getattr(back, name), getattr(path, name))
        np.testing.assert_array_equal(back.system.drift(fp.grid.points, 0.3), fp.system.drift(fp.grid.points, 0.3))
        assert back.system.time_dependent
    with pytest.raises(InputError, match=r"mu at .* is \[.*\], this one's"):
        rs.load(file, system=moving_plane(["-x - 1.3*y*cos(t)", "0.8*x - 0.7*y"]).system)
    with pytest.raises(InputError, match="mu depends on other things"):
        rs.load(file, system=moving_plane(["-x", "0.8*x - 0.7*y"]).system)
    with pytest.raises(InputError, match="a process given by its drift, got System"):
        rs.load(file, system=rs.System("x**2 + y**2", temperature=1.0, domain=PLANE))


def test_functions_are_recognised_by_their_values(tmp_path):
    line = rs.Domain([(-3, 3)])

    def drawn(slope):
        return rs.FokkerPlanck.from_drift(lambda x: -slope * x[0], 2.0, line, rs.Grid(line, 20))

    fp = drawn(1.0)
    file = fp.evolve(fp.gibbs, [0.0, 0.1]).save(tmp_path / "path.npz")
    with pytest.raises(InputError, match=r"Python functions \(.*lambda.*\), which are not stored"):
        rs.load(file)
    assert rs.load(file, system=drawn(1.0).system).grid.shape == (20,)
    with pytest.raises(InputError, match="is not the one of the file: its mu at"):
        rs.load(file, system=drawn(1.01).system)
    half = rs.Domain([(-2, 2)])
    shorter = rs.FokkerPlanck.from_drift("-x", 2.0, half, rs.Grid(half, 20))
    with pytest.raises(InputError, match="its domain is"):
        rs.load(file, system=shorter.system)
