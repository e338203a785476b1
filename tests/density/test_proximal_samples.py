"""The proximal recursion on weighted points: against the grid, against closed forms, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.density.proximal_samples import proximal_samples
from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError

pytestmark = pytest.mark.nojit

LINE = rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-6, 6)]))


def normal(x, mean, deviation):
    return np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / deviation


def test_on_the_centres_of_cells_it_is_the_recursion_of_the_grid():
    grid = rs.Grid(LINE.domain, 120)
    x = grid.centers[0]
    start = normal(x, 1.0, 0.5)
    start /= start.sum()
    options = {"step": 0.1, "epsilon": 0.05}
    cells = rs.FokkerPlanck(LINE, grid)
    cells.log_gibbs = -(x**2) / 2  # energies at the points instead of means over cells
    expected = cells.proximal(start, [0, 0.3], **options)
    for volumes in (np.ones(120), np.full(120, 0.1)):
        found = proximal_samples(LINE, x[:, None], start, [0, 0.3], volumes=volumes, **options)
        np.testing.assert_allclose(found.weights[-1], expected.mass[-1], atol=1e-9)
    assert np.all(found.contraction <= found.contraction_bound)
    assert np.all(np.diff(found.free_energy) < 0)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, atol=1e-14)


def uneven(n):
    """Points as dense on the left as four times on the right, and what each stands for."""
    edges = 6 * (2 / 3 * (np.sqrt(1 + 3 * np.linspace(0, 1, n + 1)) - 1) * 1.5 * 2 - 1)
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def test_uneven_points_need_their_volumes():
    x, room = uneven(220)
    assert x.min() > -6
    assert x.max() < 6
    assert room.max() / room.min() > 1.9
    start = normal(x, 1.0, 0.5) * room
    run = {"times": [0, 0.5], "step": 0.1, "epsilon": 0.02, "correct_bias": True}
    exact_mean = 1 / 1.1**5

    def mean(volumes):
        return float(proximal_samples(LINE, x[:, None], start, volumes=volumes, **run).mean(lambda p: p[:, 0])[-1])

    assert mean(room) == pytest.approx(exact_mean, abs=2e-3)
    assert mean(None) == pytest.approx(exact_mean, abs=1e-2)  # estimated from the neighbours
    assert abs(mean(np.ones(x.size)) - exact_mean) > 0.02  # the mutant that takes them as equal


def test_evenly_spread_points_in_the_plane_give_what_the_grid_gives_and_random_ones_do_not():
    system = rs.System("x**2/2 + y**2", temperature=1.0)
    spread = np.mod(np.arange(1, 501)[:, None] * [0.7548776662466927, 0.5698402909980532], 1.0)
    run = {"times": [0, 1.0], "step": 0.25, "epsilon": 0.1, "correct_bias": True}
    found = []
    for unit in (spread, np.random.default_rng(0).random((500, 2))):
        points = 7 * unit - 3.5
        start = normal(points[:, 0], 0.8, 0.6) * normal(points[:, 1], 0.0, 0.6)
        path = proximal_samples(system, points, start, volumes=np.ones(500), **run)
        found.append(np.concatenate([path.mean(lambda p: p)[-1], path.mean(lambda p: p**2)[-1]]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 40, bounds=[(-3.5, 3.5)] * 2))
    mass = fp.proximal(rs.initial.normal([0.8, 0.0], 0.6), **run).mass[-1].ravel()
    expected = np.concatenate([mass @ fp.grid.points, mass @ fp.grid.points**2])
    np.testing.assert_allclose(found[0], expected, atol=0.015)
    assert np.abs(found[1] - expected).max() > 0.05


def test_geodesic_cost_of_a_machine():
    machine = rs.diffusion_machine("4*(x - 1/3)**2", temperature=0.5, beta=2.0)
    grid = rs.Grid(machine.domain, 120)
    x, act = grid.centers[0], rs.activation.lookup("soft_projection")
    cells = rs.FokkerPlanck(machine, grid)
    start = rs.initial.normal([0.6], 0.15).masses(machine, grid)
    cost = act.distance(x[:, None, None], x[None, :, None], 2.0) ** 2
    found = proximal_samples(
        machine, x[:, None], start, [0, 0.04], step=0.02, epsilon=0.004, cost=cost, volumes=np.ones(120)
    )
    expected = cells.proximal(start, [0, 0.04], step=0.02, epsilon=0.004)
    assert np.abs(found.weights[-1] - expected.mass[-1]).sum() < 1e-3


def test_on_a_torus_points_are_as_far_as_around_it():
    """The centres of cells, with a full matrix, give what the grid gives; volumes found there are even."""
    torus = rs.System("cos(2*pi*x/3)", [[1.0, 0.5], [0.5, 0.8]], 0.5, rs.Domain([(1, 4), (-1, 2)], boundary="periodic"))
    grid = rs.Grid(torus.domain, 12)
    cells = rs.FokkerPlanck(torus, grid)
    cells.log_gibbs = -np.cos(2 * np.pi * grid.points[:, 0] / 3).reshape(grid.shape) / 0.5
    start = np.exp(-4 * ((grid.points[:, 0] - 1.2) ** 2 + (grid.points[:, 1] - 1.7) ** 2))
    run = {"times": [0, 0.2], "step": 0.1, "epsilon": 0.1}
    found = proximal_samples(torus, grid.points, start, **run)
    expected = cells.proximal((start / start.sum()).reshape(grid.shape), **run).mass[-1].ravel()
    np.testing.assert_allclose(found.volumes, found.volumes[0], rtol=1e-9)
    np.testing.assert_allclose(found.weights[-1], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"points": [[0.0], [7.0]]}, DomainError, "outside"),
        ({"points": [[0.0], [np.nan]]}, InputError, "finite positions"),
        ({"points": [[0.0]], "weights": [1.0]}, ShapeError, "2 to 6000 points"),
        ({"points": [[0.0, 1.0]]}, ShapeError, "one column a coordinate"),
        ({"weights": [1.0]}, ShapeError, "one number a point"),
        ({"weights": [1.0, -1.0]}, InputError, "zero or positive"),
        ({"step": 0.0}, InputError, "step"),
        ({"epsilon": np.nan}, InputError, "epsilon"),
        ({"cost": np.zeros((2, 3))}, ShapeError, r"\(2, 2\), got \(2, 3\)"),
        ({"cost": -np.ones((2, 2))}, InputError, "zero or positive"),
        ({"volumes": [1.0]}, ShapeError, "volumes"),
        ({"volumes": [1.0, 0.0]}, InputError, "positive finite"),
        ({"points": [[0.0], [0.0]]}, InputError, "coincide"),
        ({"epsilon": 0.5, "correct_bias": True}, InputError, "must be positive"),
        ({"system": rs.System("x**2 + t*x", temperature=1.0)}, InputError, "time"),
        ({"system": rs.System("x**2", rs.Mobility.diagonal("1 + x**2"), 1.0)}, MobilityError, "cost="),
    ],
)
def test_bad_input(change, kind, words):
    given = {
        "system": LINE, "points": [[0.0], [1.0]], "weights": [0.5, 0.5], "times": [0, 0.1], "step": 0.1, "epsilon": 0.1
    } | change  # fmt: skip
    with pytest.raises(kind, match=words):
        proximal_samples(**given)
