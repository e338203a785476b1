"""Second order in the cell width, against the equation solved without cells; mutants are first order or worse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import bicgstab, splu

from density.galerkin import Step
from density.support import Matrix, field_of, gaussian_masses, plain_system, swirl, turned, turning
from relaxsim.density import diagonal, generator, loops, tensor
from relaxsim.density.cells import CellGeometry
from relaxsim.density.generator import build_generator
from relaxsim.density.links import Links
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import checked_energy, log_cell_weights

pytestmark = pytest.mark.nojit

WAVE = 2 * np.pi / 2.4  # one turn over the box
SQUARE = [(-1.2, 1.2)] * 2
SIZES = (16, 32, 64, 128)
CENTER = np.array([-0.3, 0.2, 0.1])
LONG = 2.0  # so that mass reaches the walls


def masses(system, shape, tau=LONG, variance=0.3, weights=log_cell_weights):
    """Cell masses after one backward Euler step, the same on every grid: only the error in space differs."""
    grid = Grid(system.domain, shape)
    begin = gaussian_masses(grid, CENTER[: grid.dim], variance * np.eye(grid.dim), 4).ravel()
    matrix = sparse.eye_array(grid.n_cells) - tau * build_generator(system, grid, *weights(system, grid))
    if grid.dim == 3:
        found, failed = bicgstab(matrix, begin, rtol=1e-11, M=sparse.diags_array(1 / matrix.diagonal()), maxiter=5000)
        assert failed == 0
    else:
        options = {"SymmetricMode": True}
        factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        found = factor.solve(begin)
    return found.reshape(grid.shape)


def errors_of(system, sizes, tau=LONG, variance=0.3, functions=30, weights=log_cell_weights):
    """L1 errors on grids, by a solution without cells that is better than the finest of them by far."""

    def start(x):
        return np.exp(-np.sum((x - CENTER[: system.dim]) ** 2, axis=-1) / (2 * variance))

    exact = Step(system, start, tau, functions)
    found = [(exact.masses((n,) * system.dim), masses(system, n, tau, variance, weights)) for n in sizes]
    return np.array([np.abs(on_cells - expected).sum() for expected, on_cells in found])


def slopes(system, sizes, **how):
    """Slopes from each grid to the next one, of twice as many cells."""
    errors = errors_of(system, sizes, **how)
    return np.log2(errors[:-1] / errors[1:])


def overall(slopes):
    """The slope over all the grids, by least squares."""
    logs = -np.concatenate([[0.0], np.cumsum(slopes)])
    return -np.polyfit(np.arange(len(logs)), logs, 1)[0]


# ---- energies and mobilities, with waves for periodic axes; at reflecting walls there is mass


def wavy(x):
    return (
        0.6 * np.cos(WAVE * x[..., 0]) + 0.4 * np.sin(WAVE * x[..., 1]) + 0.3 * np.cos(WAVE * (x[..., 0] - x[..., 1]))
    )


def well(x):
    return 0.5 * (x[..., 0] ** 2 - 1) ** 2 + 0.5 * x[..., 1] ** 2 + 0.3 * x[..., 0] * x[..., 1]


def steep_well(x):
    return 4 * (x[..., 0] ** 2 + x[..., 1] ** 2 + 0.5 * x[..., 0] * x[..., 1])


def wavy_angle(x):
    return 0.5 + 0.6 * np.sin(WAVE * x[..., 0]) * np.cos(WAVE * x[..., 1])


def leaning(x):
    return 0.4 + 0.5 * x[..., 0] - 0.3 * x[..., 1]


wavy_swirl = swirl(lambda x: 0.8 * (1 + 0.5 * np.sin(WAVE * (x[..., 0] + x[..., 1]))))
leaning_swirl = swirl(lambda x: 0.8 * (1 + 0.5 * np.sin(x[..., 0] + 2 * x[..., 1])))


def swirl_of(a):
    return [[0.0, a], [-a, 0.0]]


def wavy_diagonal(x):
    return 1 + 0.5 * np.stack([np.sin(WAVE * x[..., 0]), np.cos(WAVE * x[..., 1])], axis=-1)


def case(name):
    ring, box = Domain(SQUARE, boundary="periodic"), Domain(SQUARE)
    half = Domain(SQUARE, boundary=["periodic", "reflecting"])
    half_well = lambda x: 0.6 * np.cos(WAVE * x[..., 0]) + 0.5 * x[..., 1] ** 2  # noqa: E731
    half_angle = lambda x: 0.4 + 0.3 * np.sin(WAVE * x[..., 0]) + 0.3 * x[..., 1]  # noqa: E731
    made = {
        "no mass at the walls": (steep_well, Matrix(turning(10.0, leaning)), box),
        "diagonal, reflecting": (well, lambda x: 1 + 0.5 * np.sin(x + x[..., ::-1]) ** 2, box),
        "diagonal, periodic": (wavy, wavy_diagonal, ring),
        "diagonal, mixed": (half_well, wavy_diagonal, half),
        "constant tensor, reflecting": (well, turned(4.0, 0.4), box),
        "ratio 4, reflecting": (well, Matrix(turning(4.0, leaning)), box),
        "ratio 4, periodic": (wavy, Matrix(turning(4.0, wavy_angle)), ring),
        "ratio 10, reflecting": (well, Matrix(turning(10.0, leaning)), box),
        "ratio 10, mixed": (half_well, Matrix(turning(10.0, half_angle)), half),
        "ratio 50, reflecting": (well, turned(50.0, 0.4), box),
        "ratio 50 turning, reflecting": (well, Matrix(turning(50.0, leaning)), box),
        "diagonal, current, periodic": (wavy, wavy_diagonal, ring, 0.5, wavy_swirl),
        "diagonal, current, reflecting": (well, wavy_diagonal, box, 0.5, leaning_swirl),
        "ratio 4, current, periodic": (wavy, Matrix(turning(4.0, wavy_angle), antisymmetric=wavy_swirl), ring),
        "ratio 4, current, reflecting": (well, Matrix(turning(4.0, leaning), antisymmetric=leaning_swirl), box),
        "ratio 10, current, reflecting": (well, Matrix(turning(10.0, leaning), antisymmetric=leaning_swirl), box),
        "ratio 50, current, reflecting": (well, Matrix(turning(50.0, leaning), antisymmetric=leaning_swirl), box),
        "ratio 10, constant current, reflecting": (well, turned(10.0, 0.4), box, 0.5, swirl_of(0.8)),
        "ratio 10, opposite current, reflecting": (well, turned(10.0, 0.4), box, 0.5, swirl_of(-0.8)),
        "ratio 10, weak current, reflecting": (well, turned(10.0, 0.4), box, 0.5, swirl_of(0.3)),
        "ratio 10, weak opposite current, reflecting": (well, turned(10.0, 0.4), box, 0.5, swirl_of(-0.3)),
    }[name]
    return plain_system(*made, **({} if len(made) > 3 else {"temperature": 0.5}))


QUICK = (
    "diagonal, reflecting",
    "diagonal, mixed",
    "constant tensor, reflecting",
    "ratio 4, reflecting",
    "diagonal, current, reflecting",
    "ratio 10, constant current, reflecting",
)


@pytest.mark.parametrize("name", QUICK)
def test_second_order_on_small_grids(name):
    orders = slopes(case(name), (12, 24, 48))
    assert np.all((orders > 1.8) & (orders < 2.2)), orders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("diagonal, reflecting", 0),
        ("diagonal, periodic", 0),
        ("diagonal, mixed", 0),
        ("constant tensor, reflecting", 0),
        ("ratio 4, reflecting", 0),
        ("ratio 4, periodic", 0),
        ("ratio 10, reflecting", 0),
        ("ratio 10, mixed", 0),
        ("diagonal, current, periodic", 0),
        ("diagonal, current, reflecting", 0),
        ("ratio 4, current, periodic", 1),
        ("ratio 4, current, reflecting", 0),
        ("ratio 10, current, reflecting", 0),
        ("ratio 10, constant current, reflecting", 0),
        ("ratio 10, opposite current, reflecting", 1),
        ("ratio 10, weak current, reflecting", 0),
        ("ratio 10, weak opposite current, reflecting", 0),
    ],
)
def test_second_order_over_four_grids(name, resolved):
    """The slope over all of them, and those from each to the next where the coarsest does not upwind its currents."""
    orders = slopes(case(name), SIZES)
    assert 1.8 < overall(orders) < 2.2, orders
    assert np.all((orders > 1.8) & (orders < 2.2), where=np.arange(3) >= resolved), orders


@pytest.mark.slow
@pytest.mark.parametrize("edges", [True, False])
def test_second_order_without_mass_at_the_walls_needs_no_wall_edges(monkeypatch, edges):
    if not edges:
        monkeypatch.setattr(generator, "wall_links", lambda *_: None)
    orders = slopes(case("no mass at the walls"), SIZES, variance=0.06)
    assert np.all((orders > 1.8) & (orders < 2.2)), orders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("ratio 50, reflecting", 1.75),
        ("ratio 50 turning, reflecting", 1.85),
        ("ratio 50, current, reflecting", 1.7),
    ],
)
def test_order_of_wide_offsets_over_four_grids(name, least):
    orders = slopes(case(name), SIZES, functions=40)
    assert overall(orders) > least, orders
    assert np.all(orders[1:] > least), orders


@pytest.mark.slow
def test_ratio_1000_with_turning_axes_is_accurate_to_half_a_percent(monkeypatch):
    system = plain_system(well, Matrix(turning(1000.0, lambda x: 0.5 + 0.5 * x[..., 0])), Domain(SQUARE), 0.5)
    errors = errors_of(system, (64, 128, 256), functions=42)
    assert errors[-1] < 2.5e-3
    assert np.all(np.diff(errors) < 0)
    original = tensor.selling

    def short(tensors):
        weights, offsets = original(tensors)
        return np.where(np.abs(offsets).max(axis=-1) > 4, 0.0, weights), offsets

    monkeypatch.setattr(tensor, "selling", short)  # the mutant: no jumps beyond four cells
    assert errors_of(system, (256,), functions=42)[0] > 1e-2


def test_one_dimension_with_position_dependent_mobility_and_mass_at_the_walls():
    system = plain_system(
        lambda x: (x[..., 0] ** 2 - 1) ** 2 + 0.5 * x[..., 0],
        lambda x: 1 + 0.8 * np.sin(2 * x),
        Domain([(-1.3, 1.1)]),
        temperature=0.4,
    )
    orders = slopes(system, SIZES)
    assert np.all((orders > 1.9) & (orders < 2.1)), orders


# ---- three dimensions


def well_3d(x):
    return well(x) + 0.4 * x[..., 2] ** 2 - 0.2 * x[..., 1] * x[..., 2]


def tilted(ratio, antisymmetric=None):
    """S(x) in three dimensions with an axis off the grid's, turning with the position."""
    frame = np.linalg.qr(np.array([[1, 0.3, 0.2], [0.1, 1, -0.4], [-0.3, 0.2, 1.0]]))[0]
    plane = turning(ratio, lambda x: 0.4 + 0.5 * x[..., 2] - 0.3 * x[..., 1])

    def tensors(x):
        full = np.broadcast_to(np.eye(3), (*x.shape[:-1], 3, 3)).copy()
        full[..., :2, :2] = plane(x)
        return frame @ full @ frame.T

    return Matrix(tensors, antisymmetric=antisymmetric)


CURL = np.array([[0, 0.5, -0.3], [-0.5, 0, 0.4], [0.3, -0.4, 0]])
CUBE = Domain([(-1.2, 1.2)] * 3)


def diagonal_3d(x):
    return 1 + 0.5 * np.sin(x + np.roll(x, 1, axis=-1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mobility", "A", "least"),
    [
        (diagonal_3d, None, 1.9),
        (tilted(5.0), None, 1.75),
        (diagonal_3d, CURL, 1.8),
    ],
)
def test_order_in_three_dimensions_with_mass_at_the_walls(mobility, A, least):
    orders = slopes(plain_system(well_3d, mobility, CUBE, 0.5, A), (12, 24, 48), functions=20)
    assert np.all((orders > least) & (orders < 2.2)), orders


@pytest.mark.slow
def test_currents_of_an_oblique_tensor_in_a_box_of_three_dimensions_are_not_of_second_order():
    """The sheets along the walls are partly upwinded, on every grid: where they run the wall edges do not."""
    orders = slopes(plain_system(well_3d, tilted(5.0, field_of(CURL)), CUBE, 0.5), (12, 24, 48), functions=20)
    assert np.all((orders > 1.3) & (orders < 1.8)), orders


def test_falling_errors_in_three_dimensions():
    errors = errors_of(plain_system(well_3d, tilted(5.0), CUBE, 0.5), (5, 10, 20), functions=14)
    assert np.all(errors[1:] < errors[:-1] / 2.5), errors


# ---- mutants


@pytest.mark.slow
def test_currents_without_a_diffusion_of_their_own_lose_the_order(monkeypatch):
    """Nothing of S is kept for the links that the currents run on: most of them are upwinded."""
    monkeypatch.setattr(tensor, "granted", lambda tensors, wanted: np.zeros_like(wanted))
    for name in ("ratio 10, current, reflecting", "ratio 50, current, reflecting"):
        orders = slopes(case(name), SIZES, functions=40)
        assert np.all(orders < 1.6), (name, orders)
        assert overall(orders) < 1.4, (name, orders)


def test_a_sheet_in_the_first_layer_alone_is_first_order(monkeypatch):
    """The loops of A whole up to those that a wall cuts, whatever the reach of the jumps."""
    monkeypatch.setattr(loops, "taper", lambda cells, *_: np.ones(cells.grid.shape))
    orders = slopes(case("ratio 10, opposite current, reflecting"), (12, 24, 48))
    assert np.all(orders < 1.65), orders


@pytest.mark.slow
def test_sheets_without_a_diffusion_of_their_own_lose_the_order(monkeypatch):
    monkeypatch.setattr(tensor, "want_for_sheets", lambda *_: None)
    orders = slopes(case("ratio 10, weak opposite current, reflecting"), (32, 64, 128))
    assert orders[-1] < 1.7, orders


def test_without_wall_edges_the_order_is_lost(monkeypatch):
    monkeypatch.setattr(generator, "wall_links", lambda *_: None)
    for name in ("constant tensor, reflecting", "ratio 4, reflecting", "diagonal, current, reflecting"):
        orders = slopes(case(name), (12, 24, 48))
        assert orders[-1] < 1.65, (name, orders)


@pytest.mark.slow
def test_without_wall_edges_wide_offsets_lose_the_order(monkeypatch):
    monkeypatch.setattr(generator, "wall_links", lambda *_: None)
    for name, most in (
        ("ratio 10, reflecting", 1.6),
        ("ratio 50, reflecting", 1.6),
        ("ratio 50 turning, reflecting", 1.72),
        ("ratio 50, current, reflecting", 1.6),
    ):
        orders = slopes(case(name), SIZES, functions=40)
        assert overall(orders) < most, (name, orders)


@pytest.mark.slow
def test_a_mobility_taken_beside_the_face_is_first_order(monkeypatch):
    original = diagonal._checked_mobility

    def before(cells, points, axis):
        return original(cells, points - np.eye(cells.grid.dim)[axis] * cells.grid.spacing / 2, axis)

    monkeypatch.setattr(diagonal, "_checked_mobility", before)
    assert np.all(slopes(case("diagonal, reflecting"), SIZES) < 1.4)
    orders = slopes(plain_system(well_3d, diagonal_3d, CUBE, 0.5), (12, 24, 48), functions=20)
    assert np.all(orders < 1.4), orders


@pytest.mark.slow
def test_without_wall_edges_the_order_is_lost_in_three_dimensions(monkeypatch):
    monkeypatch.setattr(generator, "wall_links", lambda *_: None)
    orders = slopes(plain_system(well_3d, tilted(5.0), CUBE, 0.5), (12, 24, 48), functions=20)
    assert orders[-1] < 1.6, orders
    orders = slopes(plain_system(well_3d, tilted(5.0, field_of(CURL)), CUBE, 0.5), (12, 24, 48), functions=20)
    assert orders[-1] < 1.3, orders


def test_a_dropped_periodic_link_is_caught(monkeypatch):
    original = CellGeometry.linked

    def walled(self, axis):
        found = original(self, axis)
        found[(slice(None),) * axis + (-1,)] = False
        return found

    monkeypatch.setattr(CellGeometry, "linked", walled)
    errors = errors_of(case("diagonal, mixed"), (12, 24, 48))
    assert errors[2] > errors[0] / 4, errors  # second order would be 16


def test_a_dropped_periodic_edge_of_a_tensor_is_caught(monkeypatch):
    original = Links.shifted

    def walled(self, start, offset):
        end, inside = original(self, start, offset)
        there = self.coordinates[0][start] + offset[:, 0]
        return end, inside & (there >= 0) & (there < self.cells.grid.shape[0])

    monkeypatch.setattr(Links, "shifted", walled)
    errors = errors_of(case("ratio 4, periodic"), (12, 24, 48))
    assert errors[2] > errors[0] / 4, errors


def test_a_stream_function_from_the_value_at_one_cell_is_first_order(monkeypatch):
    """psi from the mass of the cell where the loop starts, instead of the mean of the four."""
    monkeypatch.setattr(
        loops, "log_harmonic_mean", lambda logs: np.minimum(logs[0], np.minimum.reduce(logs) + np.log(4))
    )
    orders = slopes(case("diagonal, current, reflecting"), (12, 24, 48))
    assert np.all(orders < 1.6), orders


def point_weights(system, grid):
    """ln of point values of exp(-E/T) at the cell centres: the mutant of cell masses."""
    log_q = -checked_energy(system, grid.points).reshape(grid.shape) / system.temperature
    log_sum = np.log(np.exp(log_q).sum())
    return log_q - log_sum, log_sum + np.log(grid.cell_volume)


def test_point_masses_are_far_less_accurate_near_rest():
    system = case("diagonal, reflecting")
    system.temperature = 0.1
    exact, mutant = (
        errors_of(system, (16,), 50.0, weights=weights)[0] for weights in (log_cell_weights, point_weights)
    )
    assert mutant > 20 * exact, (mutant, exact)
