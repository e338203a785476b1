"""Currents against closed forms, and the entropy that laws produce."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.density import current
from relaxsim.errors import InputError
from relaxsim.system.relative_entropy import kl_divergence

pytestmark = pytest.mark.nojit

S = np.array([[1.0, 0.4], [0.4, 0.7]])
T = 0.6
WIDE = np.array([[0.8635, 0.3229], [0.3229, 0.2365]])  # ratio 10, turned by 0.4: jumps of up to two cells


def planck(cells, turning=0.0, mobility=S, half=4.0):
    law = rs.Mobility.constant(mobility)
    if turning:
        law = law.with_antisymmetric([[0, turning], [-turning, 0]])
    system = rs.System("x**2/2 + y**2", law, T, rs.Domain([(-half, half)] * 2))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def exact_current(points, mean, variance, turning):
    """-S (p grad E + T grad p) - p A grad E of a normal law."""
    p = np.exp(-0.5 * np.sum((points - mean) ** 2, axis=-1) / variance) / (2 * np.pi * variance)
    force = points * [1.0, 2.0]
    A = np.array([[0, turning], [-turning, 0]])
    return -((force - T * (points - mean) / variance) @ S + force @ A.T) * p[:, None]


@pytest.mark.parametrize("turning", [0.0, 0.5])
def test_currents_of_a_normal_law(turning):
    errors = []
    for cells in (32, 64, 128):
        fp = planck(cells, turning)
        found = fp.probability_current(rs.initial.normal([0.5, -0.3], 0.7)).reshape(-1, 2)
        exact = exact_current(fp.grid.points, np.array([0.5, -0.3]), 0.49, turning)
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
    assert errors[-1] < 0.02
    assert np.log2(errors[-2] / errors[-1]) > 1.7


def test_without_an_antisymmetric_part_nothing_flows_at_rest():
    fp = planck(40)
    rest = np.abs(fp.probability_current(fp.gibbs)).max()
    assert rest < 1e-13 * np.abs(fp.probability_current(rs.initial.normal([0.5, -0.3], 0.7))).max()


def test_current_at_rest_is_that_of_the_antisymmetric_part():
    """J = T A grad q = -A (q grad E)."""
    errors = []
    for cells in (32, 64, 128):
        fp = planck(cells, 0.8, np.eye(2))
        found = fp.probability_current(fp.gibbs).reshape(-1, 2)
        density = fp.gibbs.reshape(-1, 1) / fp.grid.cell_volume
        x, y = fp.grid.points.T
        exact = 0.8 * np.stack([-2 * y, x], axis=-1) * density
        errors.append(np.abs(found - exact).max() / np.abs(exact).max())
    assert errors[-1] < 0.02
    assert np.log2(errors[-2] / errors[-1]) > 1.8


def test_in_one_dimension_it_is_the_mean_of_the_fluxes_through_both_faces():
    system = rs.System("x**2/2", "1 + x**2/3", T, rs.Domain([(-3, 3)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 60))
    p = rs.initial.normal([1.0], 0.5).masses(system, fp.grid)
    through = -np.cumsum(fp.generator @ p)  # what has left the cells up to each face
    faces = np.concatenate([[0.0], through])
    np.testing.assert_allclose(fp.probability_current(p)[:, 0], (faces[1:] + faces[:-1]) / 2, atol=1e-12)


def test_around_a_ring_the_current_is_seamless():
    ring = rs.System("cos(x)", 1.0, T, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    fp = rs.FokkerPlanck(ring, rs.Grid(ring.domain, 90))
    law = np.exp(np.cos(fp.grid.centers[0] + 0.4))  # centred at the seam
    found = fp.probability_current(law / law.sum())[:, 0]
    assert np.abs(np.diff(found, append=found[0])).max() < 0.15 * np.abs(found).max()


@pytest.mark.parametrize("mobility", [np.eye(2), S])
def test_entropy_production_is_the_fall_of_kl(mobility):
    """Without an antisymmetric part: sigma = -dKL/dt, to rounding."""
    fp = planck(36, mobility=mobility)
    p = rs.initial.normal([0.5, -0.3], 0.7).masses(fp.system, fp.grid)
    falls = -float((fp.generator @ p.ravel()) @ (np.log(p) - fp.log_gibbs).ravel())
    assert fp.entropy_production(p) == pytest.approx(falls, rel=1e-11)
    assert abs(fp.entropy_production()) < 1e-12
    later = p.ravel() + 1e-6 * (fp.generator @ p.ravel())
    fall = kl_divergence(p, fp.log_gibbs) - kl_divergence(later.reshape(p.shape), fp.log_gibbs)
    assert fall == pytest.approx(1e-6 * falls, rel=1e-3)


def test_at_rest_the_circulation_produces_entropy():
    """v = -A grad E: sigma = <v.(T S)^-1 v> = a^2 <4 y^2 + x^2>/T, with <x^2> = T, <y^2> = T/2."""
    errors = [planck(cells, 0.8, np.eye(2), 4.0).entropy_production() / (3 * 0.64) - 1 for cells in (32, 64, 128)]
    assert abs(errors[-1]) < 0.03
    assert np.log2(errors[-2] / errors[-1]) > 1.7


def test_relaxation_and_circulation_add_up():
    """The whole of a normal law against the integral of J.(T S)^-1 J / p."""
    fp = planck(128, 0.5)
    mean, variance = np.array([0.5, -0.3]), 0.49
    found = fp.entropy_production(rs.initial.normal(mean, np.sqrt(variance)))
    points = fp.grid.points
    J = exact_current(points, mean, variance, 0.5)
    p = np.exp(-0.5 * np.sum((points - mean) ** 2, axis=-1) / variance) / (2 * np.pi * variance)
    exact = np.sum(np.einsum("na,ab,nb->n", J, np.linalg.inv(T * S), J) / p) * fp.grid.cell_volume
    assert found == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("units", [(1e-9, 1.0), (1e-12, 1e3)])
def test_units_of_the_axes_leave_entropy_production_alone(units):
    """As where one coordinate is a length in metres and the other an angle."""

    def produced(a, b):
        law = rs.Mobility.constant(S * np.outer([a, b], [a, b])).with_antisymmetric([[0, a * b], [-a * b, 0]])
        system = rs.System(f"(x/{a})**2/2 + (y/{b})**2", law, T, rs.Domain([(-4 * a, 4 * a), (-4 * b, 4 * b)]))
        fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 16))
        moved = np.roll(fp.gibbs, 2, axis=1)
        return fp.entropy_production(), fp.entropy_production(moved)

    assert produced(*units) == pytest.approx(produced(1.0, 1.0), rel=1e-10)


def test_currents_that_ignore_the_ring_are_seen(monkeypatch):
    """A mutant: jumps around the seam count with their long way back."""
    ring = rs.System("cos(x)", 1.0, T, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    fp = rs.FokkerPlanck(ring, rs.Grid(ring.domain, 90))
    law = np.exp(np.cos(fp.grid.centers[0] + 0.4))
    right = fp.probability_current(law / law.sum())

    def naive(grid, jumps):
        return (grid.points[jumps.end] - grid.points[jumps.start]), np.zeros(len(jumps.start), dtype=bool)

    monkeypatch.setattr(current, "displacements", naive)
    assert np.abs(fp.probability_current(law / law.sum()) - right).max() > np.abs(right).max()


def test_laws_that_are_refused():
    fp = planck(24)
    with pytest.raises(InputError, match="sum to one"):
        fp.probability_current(np.ones((24, 24)))
    with pytest.raises(rs.ShapeError, match="p: expected cell masses of the grid's shape"):
        fp.entropy_production(np.ones(24) / 24)
    with pytest.raises(InputError, match=r"got DensityPath; write path.mass\[k\] for one of its times"):
        fp.probability_current(fp.evolve(fp.gibbs, [0.0]))
    walls = rs.System("0*x", temperature=1.0, domain=rs.Domain([(0, 1)], boundary="absorbing"))
    with pytest.raises(rs.ShapeError, match="p: expected cell masses of the grid's shape"):
        rs.FokkerPlanck(walls, rs.Grid(walls.domain, 9)).probability_current(np.ones(8) / 8)
    for t in ("a", np.nan, True):
        with pytest.raises(InputError, match="t: expected a finite time"):
            fp.probability_current(fp.gibbs, t=t)


# ---- circulation that ends at walls


def boxed(cells, energy="x + y**2", mobility=((1, 0), (0, 1))):
    law = rs.Mobility.constant(mobility).with_antisymmetric([[0, 1], [-1, 0]])
    system = rs.System(energy, law, 1.0, rs.Domain([(0, 1)] * 2))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


@pytest.mark.parametrize("cells", [10, 40])
def test_a_constant_circulation_in_a_flat_box_flows_nowhere(cells):
    """J = T div(A q) = 0; the sheet T A q along the walls, smeared over a cell, would be 1/h."""
    fp = boxed(cells, "0*x + 0*y")
    assert np.abs(fp.probability_current(fp.gibbs)).max() < 1e-12
    assert fp.entropy_production() < 1e-20


@pytest.mark.parametrize("law", ["rest", "uniform"])
@pytest.mark.parametrize("mobility", [np.eye(2), WIDE])
def test_currents_along_walls_are_those_of_the_bulk(law, mobility):
    """J = -S (p grad E + T grad p) - p A grad E at order h^2, up to the walls, also under jumps of two cells."""
    errors = []
    for cells in (20, 40, 80):
        fp = boxed(cells, mobility=mobility)
        p = fp.gibbs if law == "rest" else np.full(fp.grid.shape, 1 / fp.grid.n_cells)
        x, y = fp.grid.points.T.reshape(2, *fp.grid.shape)
        force = np.stack([1 + 0 * x, 2 * y], axis=-1)
        exact = np.stack([-force[..., 1], force[..., 0]], axis=-1) - (law == "uniform") * force @ mobility
        found = fp.probability_current(p) - exact * (p / fp.grid.cell_volume)[..., None]
        errors.append(np.abs(found).max())
    assert errors[-1] < 1e-3
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 1.7)


@pytest.mark.parametrize("part", ["relaxing", "at rest"])
def test_currents_in_the_cells_at_walls_that_are_not_continued_are_off_at_order_one(part, monkeypatch):
    plain = current.continued

    def left(grid, values, known, alive, otherwise):
        spared = (part == "relaxing") != np.isscalar(otherwise)
        return values if spared else plain(grid, values, known, alive, otherwise)

    monkeypatch.setattr(current, "continued", left)
    fp = boxed(40)
    flat = np.full(fp.grid.shape, 1 / fp.grid.n_cells)
    y = fp.grid.points[:, 1].reshape(fp.grid.shape)
    exact = np.stack([-2 * y - 1, 1 - 2 * y], axis=-1)
    assert np.abs(fp.probability_current(flat) - exact).max() > 0.4


def test_entropy_production_in_a_box_is_of_second_order():
    """sigma = <|grad E|^2> = <1 + 4 y^2> with weights exp(-y^2) on (0, 1)."""
    y, w = np.polynomial.legendre.leggauss(40)
    y, w = (y + 1) / 2, w * np.exp(-(((y + 1) / 2) ** 2))
    exact = np.sum(w * (1 + 4 * y**2)) / w.sum()
    errors = np.array([boxed(cells).entropy_production() - exact for cells in (10, 20, 40)])
    assert abs(errors[-1]) < 2e-3
    assert np.all(np.log2(errors[:-1] / errors[1:]) > 1.9)


def test_around_a_forbidden_region_no_sheet_is_left():
    def energy(x):
        return np.where(np.maximum(np.abs(x[0] - 0.5), np.abs(x[1] - 0.5)) < 0.25, np.inf, 0.0)

    law = rs.Mobility.constant(np.eye(2)).with_antisymmetric([[0, 1], [-1, 0]])
    free = rs.Energy(energy, grad=lambda x: (0 * x[0], 0 * x[1]), dim=2)
    system = rs.System(free, law, 1.0, rs.Domain([(0, 1)] * 2))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 24))
    assert np.sum(fp.gibbs == 0) == 144
    assert np.abs(fp.probability_current(fp.gibbs)).max() < 1e-12


# ---- equations that change with time or with the density


def test_currents_and_entropy_production_at_a_time():
    """What moves with time is taken at t: as for a system that stands still there."""
    domain = rs.Domain([(-3, 3)])
    moving = rs.System("(x - t)**2/2", temperature=rs.Temperature("0.5 + t/4"), domain=domain)
    still = rs.System("(x - 1)**2/2", temperature=0.75, domain=domain)
    now, then = (rs.FokkerPlanck(each, rs.Grid(domain, 60)) for each in (moving, still))
    p = rs.initial.normal([0.3], 0.6)
    np.testing.assert_allclose(now.probability_current(p, t=1.0), then.probability_current(p), rtol=1e-10, atol=1e-13)
    assert now.entropy_production(p, t=1.0) == pytest.approx(then.entropy_production(p), rel=1e-10)
    assert abs(now.entropy_production(t=1.0)) < 1e-12
    assert np.abs(now.probability_current(p, t=1.0) - now.probability_current(p)).max() > 0.1


def test_the_time_is_that_of_the_system_wherever_a_path_begins():
    """The current of a path from t = 2 on is what moves its masses then; `t` is not counted from its start."""
    domain = rs.Domain([(-3, 3)])
    fp = rs.FokkerPlanck(
        rs.System("(x - sin(t))**2/2", "1 + 0.5*cos(t)", rs.Temperature("0.5 + t/4"), domain), rs.Grid(domain, 60)
    )
    path = fp.evolve(rs.initial.normal([0.3], 0.6), [2.0, 2.999, 3.0, 3.001])
    moved = -np.cumsum((path.mass[3] - path.mass[1]) / (path.times[3] - path.times[1]))
    faces = np.concatenate([[0.0], moved])
    middle = (faces[1:] + faces[:-1]) / 2
    found = fp.probability_current(path.mass[2], t=path.times[2])[:, 0]
    np.testing.assert_allclose(found, middle, atol=1e-5)
    assert np.abs(fp.probability_current(path.mass[2], t=1.0)[:, 0] - middle).max() > 0.05
    fall = (kl_divergence(path.mass[3], path.log_gibbs[2]) - kl_divergence(path.mass[1], path.log_gibbs[2])) / 0.002
    assert fp.entropy_production(path.mass[2], t=3.0) == pytest.approx(-fall, rel=1e-3)


def test_absorbing_walls_at_a_time():
    domain = rs.Domain([(0, 1)], boundary="absorbing")
    moving = rs.System("0*x", temperature=rs.Temperature("1 + t"), domain=domain)
    still = rs.System("0*x", temperature=2.0, domain=domain)
    now, then = (rs.FokkerPlanck(each, rs.Grid(domain, 20)) for each in (moving, still))
    p = np.full(20, 0.05)
    np.testing.assert_allclose(now.probability_current(p, t=1.0), then.probability_current(p), rtol=1e-12, atol=1e-13)


def of_density(law=None, turning=None):
    domain = rs.Domain([(-2, 2)] * 2)
    law = (
        rs.Mobility.of_density(lambda x, p: ((1 + p, 0.3), (0.3, 1 + p)), antisymmetric=turning) if law is None else law
    )
    system = rs.System("x**2 + y**2", law, 0.5, domain)
    return rs.FokkerPlanck(system, rs.Grid(system.domain, 16))


@pytest.mark.parametrize("turns", [False, True])
def test_mobilities_of_the_density_are_taken_at_the_law(turns):
    fp = of_density(turning=(lambda x, p: ((0, 1 + p), (-1 - p, 0))) if turns else None)
    flat = np.full((16, 16), 1 / 256)  # density 1/16 everywhere
    law = rs.Mobility.constant([[17 / 16, 0.3], [0.3, 17 / 16]])
    frozen = of_density(law.with_antisymmetric([[0, 17 / 16], [-17 / 16, 0]]) if turns else law)
    np.testing.assert_allclose(fp.probability_current(flat), frozen.probability_current(flat), rtol=1e-9, atol=1e-12)
    assert fp.entropy_production(flat) == pytest.approx(frozen.entropy_production(flat), rel=1e-9)
    np.testing.assert_allclose(fp.stationary().mass, fp.gibbs, rtol=1e-14)
    if not turns:
        assert np.abs(fp.probability_current(fp.gibbs)).max() < 1e-12
        assert abs(fp.entropy_production()) < 1e-12


@pytest.mark.parametrize(
    "ask",
    [lambda fp: fp.spectrum(2), lambda fp: fp.mean_first_passage_time("x > 1"), lambda fp: fp.committor("x<-1", "x>1")],
)
def test_what_needs_one_generator_says_so(ask):
    with pytest.raises(InputError, match=r"the mobility depends on the density.*freeze it"):
        ask(of_density())


# ---- noise that vanishes along a direction


def test_currents_along_directions_without_noise_cost_without_bound():
    plane = rs.Domain([(-4, 4)] * 2)
    driven = rs.FokkerPlanck.from_drift(["y", "-x - y"], [[0, 0], [0, 2]], plane, rs.Grid(plane, 16))
    assert driven.entropy_production() == np.inf


def test_directions_without_noise_and_without_current_cost_nothing():
    velocity, noise = np.array([[0.0, 2.0], [3.0, 0.0]]), np.array([[[0.0, 0], [0, 4.0]], [[1.0, 0], [0, 1.0]]])
    np.testing.assert_allclose(current._cost(velocity, noise), [1.0, 9.0])
    assert np.isinf(current._cost(velocity, noise[:, ::-1, ::-1].copy())[0])
