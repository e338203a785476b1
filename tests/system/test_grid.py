"""Grids: geometry, covering boxes, bad input."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.special import erfc

from relaxsim.errors import DomainError, InputError, ShapeError
from relaxsim.system import covering_box
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.mobility import Mobility
from relaxsim.system.system import System

pytestmark = pytest.mark.nojit


def test_geometry():
    grid = Grid(Domain([(-1, 1), (0, 6)], boundary=["periodic", "reflecting"]), (4, 3))
    assert grid.dim == 2
    assert grid.spacing.tolist() == [0.5, 2.0]
    assert grid.cell_volume == 1.0
    assert grid.n_cells == 12
    assert grid.periodic == (True, False)
    assert grid.centers[1].tolist() == [1, 3, 5]
    assert grid.edges[0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert grid.points.shape == (12, 2)
    assert grid.points[1].tolist() == [-0.75, 3.0]  # C order: the last axis runs fastest
    assert grid == pickle.loads(pickle.dumps(grid))
    assert hash(grid) == hash(Grid(grid.domain, [4, 3]))
    assert grid != Grid(grid.domain, 4)
    assert repr(Grid(Domain([(0, 1)]), 3)).endswith("shape=(3,), bounds=[(0, 1)])")
    with pytest.raises(ValueError, match="read-only"):
        grid.bounds[0, 0] = 0


def test_one_number_serves_all_axes_and_none_keeps_bounds():
    mixed = Domain([(-np.inf, np.inf), (0, 1)])
    grid = Grid(mixed, 5, bounds=[(-3, 3), None])
    assert grid.shape == (5, 5)
    assert grid.bounds.tolist() == [[-3, 3], [0, 1]]
    assert Grid(Domain.unbounded(1), np.int64(4), bounds=(-1, 1)).bounds.tolist() == [[-1, 1]]


@pytest.mark.parametrize(
    ("domain", "shape", "bounds", "error", "message"),
    [
        (Domain.unbounded(1), 8, None, DomainError, r"axis 0 is unbounded: .* Grid.covering"),
        (Domain([(0, 1)]), 1, None, InputError, "shape: expected integers >= 2, .* got 1"),
        (Domain([(0, 1)]), 3.5, None, InputError, "shape: expected integers >= 2, .* got 3.5"),
        (Domain([(0, 1)]), True, None, InputError, "shape: expected integers >= 2"),
        (Domain([(0, 1)]), "8", None, InputError, "shape: expected integers >= 2, .* got '8'"),
        (Domain([(0, 1)] * 2), (3, 4, 5), None, ShapeError, "shape: expected 2 numbers .* got 3"),
        (Domain([(0, 1)] * 2), (3, 0), None, InputError, "shape: .* got 0"),
        (Domain([(0, 1)] * 2), 4, [(0, 1)], ShapeError, "bounds: expected 2 pairs"),
        (Domain([(0, 1)] * 2), 4, [(0, 1), (0, 1), None], ShapeError, "bounds: expected 2 pairs"),
        (Domain([(0, 1)]), 4, "wide", ShapeError, "bounds: expected 1 pairs .* got 'wide'"),
        (Domain([(0, 1)]), 4, (0.5, 0.2), DomainError, r"bounds\[0\]: expected low < high, got \(0.5, 0.2\)"),
        (Domain([(0, 1)]), 4, (0, 2), DomainError, r"\(0, 2\) reaches beyond the domain's \(0, 1\)"),
        (Domain([(0, 1)], boundary="periodic"), 4, (0, 0.5), DomainError, "axis 0 is periodic and is covered whole"),
        (Domain.unbounded(1), 4, (-1, np.inf), DomainError, "axis 0 is unbounded"),
        (Domain([(0, 1)]), 1, (0, 2), InputError, "2 problems with the input"),
        ([(0, 1)], 4, None, InputError, "domain: expected a Domain, got list"),
    ],
)
def test_bad_input(domain, shape, bounds, error, message):
    with pytest.raises(error, match=message):
        Grid(domain, shape, bounds=bounds)


@pytest.mark.parametrize("tail", [1e-4, 1e-10])
@pytest.mark.parametrize(("middle", "stiffness"), [(0.0, 1.0), (1e4, 1e6), (-3.0, 1e-6)])
def test_covering_leaves_out_at_most_the_tail_and_not_much_less(tail, middle, stiffness):
    system = System(f"{stiffness} * (x - {middle})**2 / 2", temperature=0.5)
    grid = Grid.covering(system, 10, tail=tail)
    sigma = np.sqrt(0.5 / stiffness)
    outside = 0.5 * sum(erfc(abs(end - middle) / sigma / np.sqrt(2)) for end in grid.bounds[0])
    assert tail / 100 < outside <= tail
    assert grid.left_out == pytest.approx(outside, rel=0.05)
    assert grid.bounds[0, 0] < middle < grid.bounds[0, 1]


def test_covering_finds_both_wells_at_low_temperature():
    grid = Grid.covering(System("(x**2 - 1)**2 + 5e-6*x", temperature=1e-5), 10)
    assert grid.bounds[0, 0] < -1.005
    assert grid.bounds[0, 1] > 1.005
    assert np.all(np.abs(grid.bounds) < 1.1)


def test_covering_follows_a_tilted_valley_and_keeps_bounded_axes():
    valley = Grid.covering(System("100*(x - y)**2 + 0.1*y**2", temperature=0.5), 8)
    assert np.allclose(np.abs(valley.bounds), 6.5 * np.sqrt(0.5 / 0.2), rtol=0.1)
    domain = Domain([(-np.inf, np.inf), (0, 6)], boundary=["reflecting", "periodic"])
    mixed = Grid.covering(System("x**2 + cos(2*pi*y/6)", temperature=0.5, domain=domain), 8)
    assert mixed.bounds[1].tolist() == [0, 6]
    assert mixed.bounds[0, 1] == pytest.approx(3.3, rel=0.05)
    bounded = Domain([(0, 1)])
    assert Grid.covering(System("x", temperature=1.0, domain=bounded), 4) == Grid(bounded, 4)
    cube = Grid.covering(System("x**2 + y**2 + 2*z**2", temperature=0.5), 4, tail=1e-6)
    assert np.all((cube.bounds[:, 1] > 1.7) & (cube.bounds[:, 1] < 3.5))


def mass_beyond(grid, t):
    """Mass beyond a box of the Gibbs law of (x - 20 t)^2/2 at T = 0.1 + 10 t, in closed form."""
    return 0.5 * sum(erfc(abs(end - 20 * t) / np.sqrt(2 * (0.1 + 10 * t))) for end in grid.bounds[0])


@pytest.mark.parametrize("tail", [1e-4, 1e-10])
def test_covering_all_times_of_a_well_that_moves_and_widens(tail):
    system, times = System("(x - 20*t)**2/2", temperature="0.1 + 10*t"), [0.0, 0.3, 0.5, 1.0]
    grid = Grid.covering(system, 64, tail, times)
    left_out = [mass_beyond(grid, t) for t in times]
    assert left_out[-1] <= tail  # the hottest
    assert max(left_out) <= max(tail, 1e-6)
    assert max(left_out) <= grid.left_out <= max(tail, 1e-6)
    assert Grid.covering(system, 64, tail, times[::-1]) == grid
    for mutant in (Grid.covering(system, 64, tail), Grid.covering(system, 64, tail, times[-1])):  # of one time only
        assert max(mass_beyond(mutant, t) for t in times) > 1e-3
    alone = Grid.covering(System("(x - 10)**2/2", temperature=5.1), 64, tail)
    np.testing.assert_allclose(Grid.covering(system, 64, tail, 0.5).bounds, alone.bounds, rtol=1e-12)


def test_covering_all_times_keeps_bounded_axes_and_laws_that_stay():
    domain = Domain([(-np.inf, np.inf), (0, 6)], boundary=["reflecting", "periodic"])
    orbit = System("(x - 3*sin(t))**2 + cos(2*pi*y/6 - t)", temperature=0.5, domain=domain)
    grid = Grid.covering(orbit, 8, times=np.linspace(0, 2 * np.pi, 9))
    assert grid.bounds[1].tolist() == [0, 6]
    assert np.all((np.abs(grid.bounds[0]) > 3 + 4.7 * 0.5) & (np.abs(grid.bounds[0]) < 3 + 6.7 * 0.5))
    still = System("x**2", Mobility.diagonal("1 + t**2"), temperature=0.5)
    assert Grid.covering(still, 8, times=[0, 9]) == Grid.covering(still, 8)


@pytest.mark.parametrize("text", ["(x**2 - 1)**2 + 0.3*x", "(x**2 - 1)**2 + (y - x)**2", "x**2 + y**4 + (z - y)**2"])
def test_the_box_does_not_depend_on_how_many_points_are_looked_at_at_once(monkeypatch, text):
    system, found = System(text, temperature=0.5), []
    for points in (1, 700, 2**17):
        monkeypatch.setattr(covering_box, "_POINTS", points)
        found.append(covering_box.covering_box(system, 1e-9))
    for box, left_out in found[1:]:
        np.testing.assert_array_equal(box, found[0][0])
        assert left_out == pytest.approx(found[0][1], rel=1e-9)


@pytest.mark.parametrize("text", ["0*x", "-x**2", "x", "0.2*log(1 + x**2)", "x**2 + 0*y", "exp(-x**2)"])
def test_covering_refuses_what_has_no_gibbs_law(text):
    with pytest.raises(InputError, match="not normalisable"):
        Grid.covering(System(text, temperature=0.5), 8)


def test_covering_says_what_else_is_wrong():
    with pytest.raises(InputError, match="tail: expected a Gibbs mass between"):
        Grid.covering(System("x**2", temperature=0.5), 8, tail=0)
    with pytest.raises(InputError, match=r"up to 3 dimensions, got 4; pass bounds="):
        Grid.covering(System("x**2 + y**2 + z**2 + w**2", temperature=0.5), 8)
    moving = System("x**2/2", temperature="1 - t")
    with pytest.raises(InputError, match=r"temperature: expected a positive finite number at every time, got 0 at t ="):
        Grid.covering(moving, 16, times=[0.0, 1.0])
    for bad in ([], [np.nan], [[0.0]]):
        with pytest.raises(InputError, match=r"times: expected finite times such as path.times"):
            Grid.covering(moving, 16, times=bad)
