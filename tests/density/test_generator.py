"""The generator: exact properties with mutants that break them, its loop twin, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from density.support import Matrix, defects, field_of, general_systems, plain_system, swirl, systems, turned, turning
from naive import density as naive
from relaxsim import Mobility, System
from relaxsim.density import diagonal, generator, links, loops, rates, tensor, walls
from relaxsim.density.generator import build_generator
from relaxsim.density.rates import bernoulli
from relaxsim.errors import DomainError, InputError, MobilityError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import log_cell_weights

pytestmark = pytest.mark.nojit

any_system = st.one_of(systems(), systems(tensor=True), general_systems())


def generator_of(system, grid, t=0.0, density=None):
    log_gibbs, log_partition = log_cell_weights(system, grid, t)
    return build_generator(system, grid, log_gibbs, log_partition, t, density), log_gibbs


@settings(max_examples=120)
@given(any_system)
def test_exact_properties(case):
    found = defects(*generator_of(*case), reversible=case[0].mobility.reversible)
    assert all(value <= 1 for value in found.values()), found


@settings(max_examples=15)
@given(general_systems(dims=(2, 3), circulating=True, steep=300.0))
def test_currents_keep_the_gibbs_law_and_rates_bounded_where_the_energy_is_steep(case):
    """The stream function is at most four times the least mass around, so no rate grows like exp(change of E/T)."""
    system, grid = case
    matrix, log_gibbs = generator_of(system, grid)
    found = defects(matrix, log_gibbs, reversible=False)
    assert all(value <= 1 for value in found.values()), found
    units = np.outer(grid.spacing, grid.spacing)
    turning_by = np.abs(system.mobility.antisymmetric(grid.points) / units).max() * 1.6
    spread = np.abs(system.mobility.symmetric(grid.points) / units).max() * 100
    climb = np.abs(np.diff(log_gibbs[np.isfinite(log_gibbs)])).max(initial=1.0)
    assert np.abs(matrix.data).max() <= system.temperature * 20 * (spread * (1 + 8 * climb) + 8 * turning_by)


@pytest.mark.parametrize("drop", [0.0, 400.0])
def test_currents_that_cancel_leave_the_gibbs_law_at_rest(drop):
    """All loops of light and heavy cells in turn carry the same, and what they leave is compared with slow jumps."""
    n, domain = 8, Domain([(0, 1), (0, 1)], boundary=["periodic", "reflecting"])

    def energy(x):
        in_turn, between = np.sin(np.pi * n * x).prod(axis=-1), 2 + np.cos(2 * np.pi * n * x).sum(axis=-1)
        return 5 * in_turn + 8 * between + drop * np.floor(n * x[..., 1] - 1e-9)

    system = plain_system(energy, np.eye(2), domain, 1.0, swirl(lambda x: 3.0 + 0 * x[..., 0]))
    found = defects(*generator_of(system, Grid(domain, n)), reversible=False)
    assert all(value <= 1 for value in found.values()), found


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("ratio", [10.0, 100.0, 1000.0])
def test_exact_properties_of_turning_anisotropic_tensors(dim, ratio):
    domain = Domain([(0, 1)] * dim, boundary=["reflecting", "periodic", "reflecting"][:dim])
    plane = turning(ratio, lambda x: 0.3 + 0.5 * np.sin(2 * np.pi * x[..., 1]))

    def tensors(x):
        full = np.broadcast_to(np.eye(dim), (*x.shape[:-1], dim, dim)).copy()
        full[..., :2, :2] = plane(x)
        return full

    system = plain_system(lambda x: np.cos(2 * np.pi * x.sum(axis=-1)), Matrix(tensors), domain, 0.3)
    n = {10.0: 8, 100.0: 12, 1000.0: 24}[ratio]
    found = defects(*generator_of(system, Grid(domain, (n, n, 3)[:dim])))
    assert all(value <= 1 for value in found.values()), found


# ---- mutants of exact properties


def _steep(domain, mobility, antisymmetric=None):
    """Cell Peclet number about 10 on 8 cells of (-1, 1)."""
    energy = lambda x: 40 * x[..., 0] + 3 * x[..., 0] * x[..., 1]  # noqa: E731
    return plain_system(energy, mobility, domain, 0.5, antisymmetric), Grid(domain, 8)


def _central(log_start, log_end, log_middle, log_centers=None):
    """Central differences of the drift: negative from cell Peclet number 2 on."""
    drop = log_start - log_end
    return 1 - drop / 2, 1 + drop / 2


def _lopsided(*logs):
    forth, back = rates.fitted_rates(*logs)
    return forth * (1 + 1e-9), back


def _mutate(monkeypatch, name, mutant):
    for module in (
        diagonal,
        links,
        generator,
        walls,
        tensor,
        loops,
        __import__("relaxsim.density.cells").density.cells,
    ):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, mutant)


@pytest.mark.parametrize(("mutant", "caught_by"), [(_central, "sign"), (_lopsided, "balance")])
@pytest.mark.parametrize("mobility", [lambda x: 1 + 0.5 * np.sin(x) ** 2, turned(4.0, 0.4)])
def test_mutant_rates_break_the_exact_properties(monkeypatch, mutant, caught_by, mobility):
    case = _steep(Domain([(-1, 1), (-1, 1)]), mobility)
    assert max(defects(*generator_of(*case)).values()) <= 1
    _mutate(monkeypatch, "fitted_rates", mutant)
    assert defects(*generator_of(*case))[caught_by] > 2


def test_one_sided_weights_break_detailed_balance(monkeypatch):
    """Ito rates: each cell jumps with its own weight lambda_v(i), instead of both with the mean of two."""
    domain = Domain([(-1, 1), (-1, 1)])
    case = _steep(domain, Matrix(turning(4.0, lambda x: 0.4 + x[..., 0])))
    assert max(defects(*generator_of(*case)).values()) <= 1
    original = links.RateSum.add
    monkeypatch.setattr(
        links.RateSum, "add", lambda self, i, j, forth, back: original(self, i, j, 2 * forth, np.zeros_like(back))
    )
    assert defects(*generator_of(*case))["balance"] > 2


def test_one_corner_of_a_loop_changed_on_one_of_its_links_moves_the_gibbs_law(monkeypatch):
    domain = Domain([(-1, 1), (-1, 1)])
    case = _steep(domain, lambda x: np.ones_like(x), swirl(lambda x: 1 + x[..., 1]))
    assert max(defects(*generator_of(*case), reversible=False).values()) <= 1
    original = links.Links.add_current

    def changed(self, axis, out, into):
        if axis == 0:
            out, into = out.copy(), into.copy()
            out[3, 3], into[3, 3] = out[3, 3] * (1 + 1e-9), into[3, 3] * (1 + 1e-9)
        original(self, axis, out, into)

    monkeypatch.setattr(links.Links, "add_current", changed)
    assert defects(*generator_of(*case), reversible=False)["rest"] > 2


def test_a_leak_breaks_the_column_sums(monkeypatch):
    case = _steep(Domain([(-1, 1), (-1, 1)]), turned(4.0, 0.4))
    original = generator.with_diagonal

    def leaking(jumps):
        matrix = original(jumps).tolil()
        fastest = int(np.argmin(matrix.diagonal()))
        matrix[fastest, fastest] *= 1 - 1e-12
        return matrix.tocsr()

    monkeypatch.setattr(generator, "with_diagonal", leaking)
    assert defects(*generator_of(*case))["columns"] > 2


def test_the_gibbs_weight_at_the_corner_lets_rates_grow_like_the_exponential(monkeypatch):
    """The stream function from a weight in the middle of the loop, instead of the harmonic mean around it."""
    domain = Domain([(-1, 1), (-1, 1)])
    system, grid = _steep(domain, lambda x: np.ones_like(x), swirl(lambda x: 1 + 0 * x[..., 0]))
    bounded = generator_of(system, grid)[0].data.max()
    monkeypatch.setattr(loops, "log_harmonic_mean", lambda logs: sum(logs) / 4)
    assert generator_of(system, grid)[0].data.max() > 50 * bounded


# ---- what it is made of


@settings(max_examples=25)
@given(
    st.one_of(
        systems(steep=3.0, forbidden=False),
        systems(tensor=True, steep=3.0, forbidden=False),
        general_systems(dims=(2,), steep=3.0, ratio=6.0, forbidden=False),
    )
)
def test_generator_is_the_twin_s(case):
    system, grid = case
    expected = naive.generator(system, grid)
    found, _ = generator_of(system, grid)
    assert np.allclose(found.toarray(), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_generator_in_three_dimensions_is_the_twin_s():
    domain = Domain([(0, 1), (0, 2), (-1, 1)], boundary=["periodic", "periodic", "periodic"])
    angle = lambda x: np.pi * np.array([2, 1, 1]) * x  # noqa: E731
    A = np.array([[0.0, 1.0, -0.4], [-1.0, 0.0, 0.3], [0.4, -0.3, 0.0]])
    system = plain_system(
        lambda x: np.cos(angle(x)).sum(axis=-1),
        lambda x: 1 + 0.5 * np.sin(angle(x)) ** 2,
        domain,
        0.7,
        lambda x: A * (1 + 0.5 * np.cos(angle(x)[..., 0]))[..., None, None],
    )
    expected = naive.generator(system, Grid(domain, (3, 4, 3)))
    found, _ = generator_of(system, Grid(domain, (3, 4, 3)))
    assert np.allclose(found.toarray(), expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("boundary", ["periodic", "reflecting"])
@pytest.mark.parametrize("matrix", [np.diag([2.0, 0.3]), turned(6.0, 0.7)])
def test_free_diffusion_on_a_ring_has_the_exact_spectrum(boundary, matrix):
    """A plane wave is an eigenvector; dropping the link across a periodic end breaks it."""
    n, temperature = 8, 0.7
    domain = Domain([(0, 2 * np.pi)] * 2, boundary=boundary)
    system = plain_system(lambda x: np.zeros(x.shape[:-1]), matrix, domain, temperature)
    grid = Grid(domain, n)
    wave = np.exp(1j * (grid.points @ [1, 2]))
    moved = generator_of(system, grid)[0] @ wave
    h = 2 * np.pi / n
    rate = sum(
        2 * temperature * weight / h**2 * (1 - np.cos(h * (v[0] + 2 * v[1])))
        for weight, v in naive.selling_by_search(matrix)
    )
    misfit = np.abs(moved + rate * wave).max() / rate
    assert misfit < 1e-12 if boundary == "periodic" else misfit > 0.1


def test_a_free_current_turns_a_wave():
    """div A of A^12 = a cos(y) on a ring carries plane waves along x with the speed T a sin(y)-like current."""
    domain = Domain([(0, 2 * np.pi)] * 2, boundary="periodic")
    system = plain_system(
        lambda x: np.zeros(x.shape[:-1]),
        np.eye(2),
        domain,
        0.7,
        swirl(lambda x: 0.5 * np.cos(x[..., 1])),
    )
    errors = []
    for n in (16, 32, 64):
        grid = Grid(domain, n)
        x, y = grid.points.T
        moved = generator_of(system, grid)[0] @ np.sin(x)
        # dp/dt = T lap p - div(c p) with c = (T d_y A^12, 0)
        expected = -0.7 * np.sin(x) + 0.7 * 0.5 * np.sin(y) * np.cos(x)
        errors.append(np.abs(moved - expected).max())
    assert np.all(np.log2(np.array(errors[:-1]) / errors[1:]) > 1.8), errors


def test_a_tensor_that_is_diagonal_uses_neighbours():
    domain = Domain([(0, 1), (0, 2)])
    energy = lambda x: x[..., 0] * x[..., 1]  # noqa: E731
    grid = Grid(domain, (4, 5))
    as_matrix = generator_of(plain_system(energy, np.diag([2.0, 3.0]), domain), grid)[0]
    entries = generator_of(plain_system(energy, lambda x: np.broadcast_to([2.0, 3.0], x.shape), domain), grid)[0]
    assert np.array_equal(as_matrix.toarray(), entries.toarray())


def test_a_full_function_that_is_constant_is_the_constant():
    domain = Domain([(0, 1), (0, 2)])
    energy = lambda x: x[..., 0] * x[..., 1]  # noqa: E731
    matrix, grid = turned(4.0, 0.4), Grid(domain, (6, 7))
    constant, varying = (
        generator_of(plain_system(energy, law, domain), grid)[0].toarray() for law in (matrix, Matrix(field_of(matrix)))
    )
    assert np.allclose(constant, varying, rtol=1e-12)


def test_time_enters_energy_mobility_and_temperature():
    domain = Domain([(-1, 1), (-1, 1)])
    moving = System("(1 + t)*x**2 + t*y", ["1 + t*x**2", "2 + t"], "0.5 + t", domain)
    frozen = System("3*x**2 + 2*y", ["1 + 2*x**2", "4"], 2.5, domain)
    found, expected = generator_of(moving, Grid(domain, 5), t=2.0), generator_of(frozen, Grid(domain, 5))
    assert np.array_equal(found[1], expected[1])
    assert np.allclose(found[0].toarray(), expected[0].toarray(), rtol=1e-13)
    full = Mobility.tensor([["1 + t", "0.2*t"], ["0.2*t", "1"]]).with_antisymmetric([["0", "t*x"], ["-t*x", "0"]])
    frozen_full = Mobility.tensor([["3", "0.4"], ["0.4", "1"]]).with_antisymmetric([["0", "2*x"], ["-2*x", "0"]])
    found = generator_of(moving.replace(mobility=full), Grid(domain, 5), t=2.0)[0]
    expected = generator_of(frozen.replace(mobility=frozen_full), Grid(domain, 5))[0]
    assert np.allclose(found.toarray(), expected.toarray(), rtol=1e-12)


# ---- extremes


def test_rates_stay_finite_at_high_peclet_numbers_and_low_weights():
    """E/T up to 4000 and jumps of 400 T a cell: masses underflow, rates do not overflow."""
    domain = Domain([(-1, 1)])
    system = plain_system(lambda x: 40 * x[..., 0] ** 2, lambda x: np.ones_like(x), domain, temperature=0.01)
    matrix, log_gibbs = generator_of(system, Grid(domain, 20))
    assert log_gibbs.min() < -3000
    found = defects(matrix, log_gibbs)
    assert all(value <= 1 for value in found.values()), found
    assert matrix.data.max() < 2 * 80 / 0.1  # no rate beyond the upwind ones, |E'| / h


@pytest.mark.parametrize("temperature", [0.005, 1e-4])
@pytest.mark.parametrize(
    "mobility", [lambda x: 1 + x**2, turned(6.0, 0.4), Matrix(turning(6.0, lambda x: x[..., 0] - x[..., 1]))]
)
def test_cell_peclet_numbers_of_ten_thousand(mobility, temperature):
    """Jumps of up to 1e4 T a cell, with a current: finite rates and weights, the law at rest where it can be seen."""
    domain = Domain([(-1, 1), (-1, 1)])
    turn = swirl(lambda x: 0.5 + 0.2 * x[..., 0])
    if isinstance(mobility, Matrix):
        mobility = Matrix(turning(6.0, lambda x: x[..., 0] - x[..., 1]), antisymmetric=turn)
    energy = lambda x: 25 * (x[..., 0] ** 2 - 0.3) ** 2 + 5 * x[..., 1] ** 2 + 5 * x.prod(axis=-1)  # noqa: E731
    system = plain_system(energy, mobility, domain, temperature, None if isinstance(mobility, Matrix) else turn)
    matrix, log_gibbs = generator_of(system, Grid(domain, 10))
    assert np.isfinite(log_gibbs).all()
    assert log_gibbs.min() < (-1e3 if temperature == 0.005 else -9e4)
    assert np.isfinite(matrix.data).all()
    assert np.abs(matrix.data).max() < 1e5  # not beyond upwinding, K |E'| / h
    found = defects(matrix, log_gibbs, reversible=False)
    assert all(value <= 1 for value in found.values()), found


@pytest.mark.parametrize("height", [1e9, 1e14, 1e22])
def test_loops_of_cells_of_any_energy(height):
    """The core of a pair potential; loops are counted by the masses there are, not by all between them."""
    domain = Domain([(-1, 1), (-1, 1)])
    energy = lambda x: height * np.exp(-8 * np.sum(x**2, axis=-1))  # noqa: E731
    system = plain_system(energy, turned(2.0, 0.3), domain, 1.0, [[0.0, 0.5], [-0.5, 0.0]])
    found = defects(*generator_of(system, Grid(domain, 6)), reversible=False)
    assert all(value <= 1 for value in found.values()), found


def test_a_mobility_that_vanishes_at_the_walls():
    domain = Domain([(0, 1), (0, 1)])
    for law in (lambda x: x * (1 - x), Matrix(lambda x: (x * (1 - x))[..., None] * np.eye(2))):
        system = plain_system(lambda x: x[..., 0] * x[..., 1], law, domain, 0.2)
        found = defects(*generator_of(system, Grid(domain, 6)))
        assert all(value <= 1 for value in found.values()), found


def test_bernoulli_is_smooth_positive_and_balanced():
    x = np.concatenate([-np.logspace(3, -12, 200), [0.0], np.logspace(-12, 3, 200)])
    values = bernoulli(x)
    assert np.all(values >= 0)
    assert np.all(np.diff(values) <= 0)
    near = np.abs(x) < 300
    assert np.allclose(values[::-1][near], values[near] * np.exp(x[near]), rtol=1e-13)
    assert bernoulli(np.array([0.0]))[0] == 1


@pytest.mark.parametrize("steepness", [0.2, 2.0, 6.0, 20.0, 100.0, 500.0, 1e4])
def test_a_slope_is_run_down_at_its_speed_however_steep(steepness):
    """dx/dt = -K grad E of a constant slope, in cells over which E changes by so many T."""
    n, slope = 12, np.array([1.0, 0.3])
    domain = Domain([(-1, 1), (-1, 1)])
    mobility = np.array([2.0, 0.5])
    system = plain_system(lambda x: x @ slope, np.diag(mobility), domain, 2 / n / steepness)
    grid = Grid(domain, n)
    speed = (generator_of(system, grid)[0].T @ grid.points).reshape(n, n, 2)[n // 2, n // 2]
    np.testing.assert_allclose(speed, -mobility * slope, rtol=1e-2)


@pytest.mark.parametrize(
    ("steepness", "errors"),
    [
        (0.25, (0.01, 0.02)),
        (0.5, (0.015, 0.08)),
        (1.4, (0.08, 0.1)),
        (2.0, (0.12, 0.11)),
        (3.0, (0.08, 0.11)),
        (4.0, (0.07, 0.04)),
        (20.0, (1e-9, 1e-9)),
        (1e4, (1e-9, 1e-9)),
    ],
)
@pytest.mark.parametrize("ratio", [4.0, 50.0])
def test_jumps_of_several_cells_run_down_a_slope_at_its_speed(ratio, steepness, errors):
    """In all directions, with jumps of up to four cells; exact on steep ones."""
    error = errors[0] if ratio == 4.0 else errors[1]
    n, domain, mobility = 24, Domain([(-1, 1), (-1, 1)]), turned(ratio, 0.4)
    grid = Grid(domain, n)
    for angle in np.linspace(0, np.pi, 13):
        slope = np.array([np.cos(angle), np.sin(angle)])
        temperature = 2 / n / steepness * np.abs(slope).max()
        system = plain_system(lambda x, slope=slope: x @ slope, mobility, domain, temperature)
        speed = (generator_of(system, grid)[0].T @ grid.points).reshape(n, n, 2)[n // 2, n // 2]
        np.testing.assert_allclose(speed, -mobility @ slope, atol=error * np.abs(mobility @ slope).max())


RIDGES = {
    "tent": lambda x: 8 * np.maximum(1 - np.abs(x[..., 0] - 0.0137) / 0.1, 0),
    "round": lambda x: 8 * np.exp(-(((x[..., 0] - 0.0137) / 0.14) ** 2)),
}


@pytest.mark.parametrize("cells", [24, 31, 48])
@pytest.mark.parametrize("ridge", RIDGES)
def test_a_ridge_is_passed_as_fast_whether_the_mobility_is_diagonal_or_all_but(ridge, cells):
    """Eight T high, at three to seven T a cell: its own slope and bend are not those across the jump over it."""
    domain, gaps = Domain([(-1, 1), (-1, 1)]), []
    for oblique in (0.0, 1e-9):
        system = plain_system(RIDGES[ridge], np.array([[1.0, oblique], [oblique, 0.8]]), domain, 1.0)
        matrix, l = generator_of(system, Grid(domain, (cells, 3)))
        root = np.exp(l.ravel() / 2)
        gaps.append(np.sort(np.linalg.eigvalsh(-matrix.toarray() * root / root[:, None]))[1])
    assert gaps[1] == pytest.approx(gaps[0], rel=0.1)


@pytest.mark.parametrize("jump", [False, True])
def test_the_factor_of_a_weight_stays_between_barriers_and_wells(jump):
    """Twice the fitted weight at most; nothing through a forbidden point; a centre that tells nothing is not asked."""
    heavy, light = np.zeros(7), np.array([0.0, 0.0, 0.0, 0.0, -50.0, 0.0, 0.0])
    middle = np.array([0.0, 5.0, -5.0, -np.inf, -50.0, 0.0, 0.0])
    centers = (np.array([0.0, 0.0, 0.0, 0.0, 0.0, -np.inf, 30.0]), light) if jump else None
    forth, back = rates.fitted_rates(heavy, light, middle, centers)
    down, up = rates.bernoulli(light - heavy), rates.bernoulli(heavy - light)
    np.testing.assert_allclose(back * up, forth * down)  # in balance
    factor = back / down
    assert factor[0] == 1
    assert factor[1] == pytest.approx(2)
    assert 0 < factor[2] < 0.01
    assert factor[3] == 0
    assert 0.4 < factor[4] <= 1  # a step down, with halfway on the upper floor
    assert factor[5] == 1
    assert 0.7 < factor[6] <= 1


# ---- forbidden regions


def _one_way(dim):
    matrix = np.eye(dim)
    matrix[:2, :2] = [[1.0, 0.24], [0.24, 0.06]]
    return matrix


@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 2, 1], [1, 0, 2]])
def test_no_jump_passes_over_a_forbidden_layer_one_cell_thick(order, boundary):
    dim, n = len(order), 40 if len(order) == 2 else 10
    domain, h = Domain([(-1, 1)] * dim, boundary=boundary), 2 / n
    closed = lambda x: ((x > 0) & (x < h))[..., 0] | (x[..., 0] < h - 1)  # noqa: E731
    system = plain_system(lambda x: np.where(closed(x), np.inf, 0.0), _one_way(dim)[np.ix_(order, order)], domain)
    grid = Grid(domain, n)
    matrix = generator_of(system, grid)[0].toarray()
    left = grid.points[:, 0] < 0
    assert not matrix[np.ix_(left, ~left)].any()
    assert not matrix[np.ix_(~left, left)].any()
    far = np.abs(grid.points[:, None, 0] - grid.points[None, :, 0]) > 1.5 * h
    assert matrix[far].any() == (dim == 2 and order == [0, 1])  # where nothing is in the way


def test_no_jump_passes_between_forbidden_cells_that_touch_at_a_corner():
    domain, n = Domain([(0, 1)] * 2), 12
    closed = lambda x: np.floor(n * x).sum(axis=-1) == n - 1  # noqa: E731
    system = plain_system(lambda x: np.where(closed(x), np.inf, 0.0), [[1.0, 0.5], [0.5, 1.0]], domain)
    grid = Grid(domain, n)
    below = np.floor(n * grid.points).sum(axis=-1) < n
    assert not generator_of(system, grid)[0].toarray()[np.ix_(below, ~below)].any()


def test_ways_of_jumps_are_the_cells_that_a_fine_line_crosses():
    for step in ([4, 1], [-3, 2], [5, -3], [1, 2, 3], [-2, 1, 0], [3, 1, -4]):
        parts = (np.arange(12000) + 0.5) / 12000  # none of which is on a face
        line = np.unique(np.floor(parts[:, None] * step + 0.5).astype(int), axis=0).tolist()
        inner = [cell for cell in line if cell != step and any(cell)]
        for way in links.ways(np.array(step)):
            assert len(way) == np.abs(step).sum() - 1
            assert all(cell in way.tolist() for cell in inner)
        # what is on every way is what the line crosses
        shared = set.intersection(*({tuple(cell) for cell in way.tolist()} for way in links.ways(np.array(step))))
        assert shared == {tuple(cell) for cell in inner}


@pytest.mark.parametrize("off", [0.0, 1e-16])
@pytest.mark.parametrize("full", [False, True])
def test_an_energy_that_is_infinite_at_a_point_closes_nothing(full, off):
    """-ln|x| at T = 3, with a face or a cell centre at the point; a thin layer of infinite energy does close.

    Also where the face is off the point by rounding, as that of (-.3, .7) in 20 cells is.
    """
    domain, slow = Domain([(-3, 3)] * (1 + full)), []
    law = [[1.0, 0.2], [0.2, 0.5]] if full else lambda x: np.ones_like(x)
    for n in (20, 21) if full else (50, 51):
        with np.errstate(divide="ignore"):
            matrix, l = generator_of(
                plain_system(lambda x: -np.log(np.abs(x[..., 0] - off)), law, domain, 3.0), Grid(domain, n)
            )
        root = np.exp(l.ravel() / 2)
        slow.append(np.sort(np.linalg.eigvalsh(-matrix.toarray() * root / root[:, None]))[1])
    assert slow[0] == pytest.approx(slow[1], rel=0.05)
    layer = lambda x: np.where(np.abs(x[..., 0]) < 0.005, np.inf, 0.0)  # noqa: E731
    grid = Grid(domain, 20)
    matrix = generator_of(plain_system(layer, law, domain, 3.0), grid)[0].toarray()
    left = grid.points[:, 0] < 0
    neighbours = np.abs(grid.points[:, None] - grid.points[None]).sum(axis=-1) < 1.1 * grid.spacing[0]
    assert not matrix[neighbours & (left[:, None] != left)].any()


# ---- what is refused


def test_four_dimensions_are_refused():
    cube = Domain([(0, 1)] * 4)
    with pytest.raises(InputError, match="in one to three dimensions, got 4"):
        generator_of(plain_system(lambda x: x[..., 0], np.eye(4), cube), Grid(cube, 2))


def test_a_mobility_that_turns_negative_between_cells_is_refused():
    domain = Domain([(0, 1)])
    system = plain_system(lambda x: x[..., 0], lambda x: np.where(np.abs(x - 0.5) < 0.01, -1.0, 1.0), domain)
    with pytest.raises(MobilityError, match=r"K\[0, 0\] = -1 at \(0.5\) between two cells"):
        generator_of(system, Grid(domain, 4))


def test_a_tensor_that_is_not_positive_or_not_finite_is_refused():
    domain = Domain([(0, 1), (0, 1)])
    for value, message in ((2.0, r"must be positive; at \(0.125, 0.125\)"), (np.nan, "expected finite numbers")):
        law = Matrix(field_of([[1.0, value], [value, 1.0]]))
        with pytest.raises(MobilityError, match=message):
            generator_of(plain_system(lambda x: x[..., 0], law, domain), Grid(domain, 4))


@pytest.mark.parametrize(
    ("energy", "mobility", "A", "what"),
    [
        ("t*x", 1.0, None, "energy"),
        ("y**2", ["1 + t*x**2", "1"], None, "mobility"),
        ("y**2", [["2", "t*x/2"], ["t*x/2", "2"]], None, "mobility"),
        ("y**2", 1.0, [["0", "t*x"], ["-t*x", "0"]], "antisymmetric part of the mobility"),
    ],
)
def test_what_is_not_periodic_at_that_time_is_refused(energy, mobility, A, what):
    """All are periodic at t = 0, where the system is checked."""
    domain = Domain([(0, 1), (0, 1)], boundary=["periodic", "reflecting"])
    law = Mobility.coerce(mobility)
    system = System(energy, law if A is None else law.with_antisymmetric(A), 1.0, domain)
    generator_of(system, Grid(domain, 4))
    with pytest.raises(DomainError, match=f"axis 0 is periodic, but .* the {what} is .* at time 1"):
        generator_of(system, Grid(domain, 4), t=1.0)


# ---- mobilities that depend on the density


def test_a_mobility_of_the_density_is_taken_at_the_density_given():
    domain = Domain([(-1, 1), (-1, 1)])
    grid = Grid(domain, 6)
    law = Mobility.of_density(lambda x, p: 1 + p**2)
    system = System("x**2 + x*y", law, 0.5, domain)
    uniform = generator_of(system, grid, density=np.full(grid.shape, 2.0))[0]
    as_tensor = plain_system(system.energy, Matrix(field_of(5 * np.eye(2))), domain, 0.5)
    assert np.allclose(uniform.toarray(), generator_of(as_tensor, grid)[0].toarray(), rtol=1e-12)
    with pytest.raises(InputError, match="density: the mobility depends on the density"):
        generator_of(system, grid)
    with pytest.raises(ShapeError, match=r"density: expected one number for each cell, shape \(6, 6\)"):
        generator_of(system, grid, density=np.ones(35))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_exact_properties_for_any_density(seed, turns):
    domain = Domain([(0, 1), (0, 2)], boundary=["periodic", "reflecting"])
    grid = Grid(domain, (7, 8))
    law = Mobility.of_density(
        lambda x, p: ((1 + p, 0.3 * p / (1 + p)), (0.3 * p / (1 + p), 0.5 + 0 * p)),
        antisymmetric=(lambda x, p: ((0, p), (-p, 0))) if turns else None,
    )
    system = System("3*cos(2*pi*x) + y**2", law, 0.3, domain)
    density = np.random.default_rng(seed).exponential(size=grid.shape)
    found = defects(*generator_of(system, grid, density=density), reversible=not turns)
    assert all(value <= 1 for value in found.values()), found


def test_a_mobility_that_vanishes_with_the_density_moves_nothing_where_there_is_none():
    domain = Domain([(-1, 1), (-1, 1)])
    system = System("x**2 + y**2", Mobility.of_density(lambda x, p: p), 0.5, domain)
    grid, density = Grid(domain, 4), np.zeros((4, 4))
    assert generator_of(system, grid, density=density)[0].nnz == 0
    density[1, 1] = 1.0
    matrix = generator_of(system, grid, density=density)[0].toarray()
    assert sorted(np.flatnonzero(np.diag(matrix))) == [1, 4, 5, 6, 9]


def test_generator_is_a_sparse_array_of_short_indices():
    system, grid = _steep(Domain([(-1, 1), (-1, 1)]), turned(4.0, 0.4))
    matrix = generator_of(system, grid)[0]
    assert isinstance(matrix, sparse.csr_array)
    assert matrix.indices.dtype == np.int32
