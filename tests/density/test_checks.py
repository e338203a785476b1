"""What a grid, an energy and a mobility are refused for before anything is built, and what only warns."""

from __future__ import annotations

import re

import numpy as np
import pytest

from density.support import Matrix, defects, field_of, plain_system, swirl, turned, turning
from relaxsim import Domain, FokkerPlanck, Grid, Mobility, System, initial
from relaxsim.density import checks, generator, tensor
from relaxsim.density.generator import build_generator
from relaxsim.density.stencil import selling
from relaxsim.errors import DomainError, InputError, MobilityError
from relaxsim.system.relative_entropy import log_cell_weights

pytestmark = pytest.mark.nojit

SQUARE = Domain([(-1, 1), (-1, 1)])


def test_memory_is_estimated_before_it_is_taken(monkeypatch):
    system = System("x**2 + y**2", 1.0, 0.5, SQUARE)
    monkeypatch.setattr(checks, "free_memory", lambda: 1e6)
    monkeypatch.setattr(checks, "log_cell_weights", None, raising=False)
    with pytest.raises(InputError, match=r"1000000 cells need about 0\.\d+ GiB, of which") as caught:
        FokkerPlanck(system, Grid(SQUARE, 1000))
    fits = int(re.search(r"at most about shape=\((\d+), \1\)", str(caught.value))[1])
    checks.check_memory(system, Grid(SQUARE, fits))
    with pytest.raises(InputError, match="GiB"):
        checks.check_memory(system, Grid(SQUARE, fits + 2))


def test_an_enormous_grid_is_refused_at_once():
    with pytest.raises(InputError, match="cells need about"):
        FokkerPlanck(System("x + y + z", 1.0, 1.0, Domain.hypercube(3)), Grid(Domain.hypercube(3), 20_000))


TURNING = turning(6.0, lambda x: x[..., 0] - x[..., 1])


def share_taken(mobility, dim, n):
    """Bytes that a generator takes while it is assembled, over the estimate of them."""
    import tracemalloc

    domain = Domain([(-1, 1)] * dim)
    system, grid = plain_system(lambda x: x[..., 0] ** 2, mobility, domain), Grid(domain, n)
    weights = log_cell_weights(system, grid)
    build_generator(system, Grid(domain, 8), *log_cell_weights(system, Grid(domain, 8)))  # imports are not counted
    tracemalloc.start()
    build_generator(system, grid, *weights)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return taken / checks.memory_need(system, grid)


@pytest.mark.parametrize(
    ("mobility", "dim", "n"),
    [
        (lambda x: 1 + x**2, 1, 40_000),
        (lambda x: 1 + x**2, 2, 200),
        (Matrix(field_of(turned(6.0, 0.4))), 2, 200),
        (Matrix(TURNING, antisymmetric=swirl(lambda x: 0.5 + 0 * x[..., 0])), 2, 200),
        (lambda x: 1 + x**2, 3, 36),
        (Matrix(field_of(np.eye(3) + 0.2)), 3, 24),
    ],
)
def test_the_estimate_covers_what_is_taken(mobility, dim, n):
    assert 1 / 4 < share_taken(mobility, dim, n) < 1


def test_an_estimate_too_small_and_an_assembly_that_keeps_copies_are_seen(monkeypatch):
    case, original, kept = (Matrix(TURNING), 2, 200), generator.assemble, []

    def hoarding(links):
        kept.extend(original(links) for _ in range(8))
        return kept[-1]

    with monkeypatch.context() as mutant:
        mutant.setattr(checks, "_TENSOR_BYTES", checks._DIAGONAL_BYTES)
        assert share_taken(*case) > 1.1
    monkeypatch.setattr(generator, "assemble", hoarding)
    assert share_taken(*case) > 1.1


def test_free_memory_is_a_number_of_bytes_or_unknown(monkeypatch):
    free = checks.free_memory()
    assert free is None or 1e7 < free < 1e15
    monkeypatch.setattr(checks, "Path", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert checks.free_memory() is None


def test_smallest_eigenvalues():
    rng = np.random.default_rng(0)
    for dim in (1, 2, 3):
        matrices = rng.normal(size=(50, dim, dim))
        matrices = matrices + np.swapaxes(matrices, -1, -2)
        assert np.allclose(checks.smallest_eigenvalue(matrices), np.linalg.eigvalsh(matrices)[:, 0])
    assert checks.smallest_eigenvalue(np.zeros((1, 2, 2))) == 0
    thin = turned(1e10, 0.3)
    assert checks.smallest_eigenvalue(thin) == pytest.approx(1e-10, rel=1e-5)
    for unit in (1e-180, 1e200):  # whose squares are out of range
        assert checks.smallest_eigenvalue(unit * thin) == pytest.approx(unit * 1e-10, rel=1e-5)
        assert checks.smallest_eigenvalue(unit * np.ones((2, 2))) == 0


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (Matrix(field_of([[1.0, 2.0], [2.0, 1.0]])), r"smallest eigenvalue is -1"),
        (Matrix(lambda x: np.where(x[..., :1, None] > 0, np.eye(2), np.nan)), "smallest eigenvalue is nan"),
        (lambda x: x + 0.5, "smallest eigenvalue is -0.25"),
    ],
)
def test_mobilities_that_are_not_positive_at_cell_centres(law, message):
    system = plain_system(lambda x: x[..., 0], law, SQUARE)
    with pytest.raises(MobilityError, match=message):
        checks.check_mobility(system, Grid(SQUARE, 4))


def test_a_mobility_of_the_density_may_vanish_but_not_turn_negative():
    grid, p = Grid(SQUARE, 4), np.zeros((4, 4))
    fine = System("x + y", Mobility.of_density(lambda x, p: p), 1.0, SQUARE)
    checks.check_mobility(fine, grid)
    checks.check_mobility(fine, grid, density=p)
    bad = System("x + y", Mobility.of_density(lambda x, p: 2 * p - 1), 1.0, SQUARE)
    with pytest.raises(MobilityError, match="smallest eigenvalue is -1"):
        checks.check_mobility(bad, grid, density=p)


def test_a_forbidden_region_may_end_at_the_seam_of_a_ring():
    ring = Domain([(0, 1)], boundary="periodic")
    system = plain_system(lambda x: np.where(x[..., 0] < 0.25, np.inf, 0.0), lambda x: np.ones_like(x), ring)
    checks.check_periodic(system, Grid(ring, 8))
    tilted = plain_system(lambda x: x[..., 0], lambda x: np.ones_like(x), ring)
    with pytest.raises(DomainError, match=r"energy: axis 0 is periodic, but at \(0\) and \(1\) the energy is"):
        checks.check_periodic(tilted, Grid(ring, 8))


def test_a_field_that_vanishes_at_the_seam_of_a_ring_may_differ_there_by_rounding():
    ring = Domain([(0, 2 * np.pi)], boundary="periodic")
    grid = Grid(ring, 50)
    FokkerPlanck.from_drift("sin(x)", 1.0, ring, grid)  # 0 and -2.4e-16
    with pytest.raises(DomainError, match="mu: axis 0 is periodic"):
        FokkerPlanck.from_drift("sin(x) + 1e-8*x", 1.0, ring, grid)


# ---- wide offsets


def widest(ratio):
    """The angle at which the offsets of a matrix are the widest, and how wide they are."""
    angles = np.linspace(0, np.pi, 4001)
    weights, offsets = selling(np.stack([turned(ratio, angle) for angle in angles]))
    reach = np.max(np.abs(offsets).max(axis=-1), where=weights > 1e-12, initial=0, axis=-1)
    return angles[np.argmax(reach)], int(reach.max())


def least_cells(law, reach):
    """The smallest square grid near the reach that is taken; the jumps and the cells that refusals before it name."""
    named = None
    for n in range(reach - 1, reach + 3):
        system, grid = plain_system(lambda x: x[..., 0], law, SQUARE), Grid(SQUARE, n)
        weights = log_cell_weights(system, grid)
        try:
            matrix = build_generator(system, grid, *weights)
        except InputError as refusal:
            named = re.search(r"jumps of up to \((\d+), .* use at least shape=\((\d+), \2\)", str(refusal)).groups()
        else:
            return n, named and tuple(map(int, named)), max(defects(matrix, weights[0]).values())
    return None


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("ratio", "reach"), [(50.0, 4), (400.0, 10), (1000.0, 16)])
def test_anisotropy_asks_for_more_cells_than_the_widest_offset(monkeypatch, ratio, reach, constant):
    angle, found = widest(ratio)
    assert found == reach
    matrix = turned(ratio, angle)
    law = matrix if constant else Matrix(field_of(matrix))
    cells, named, worst = least_cells(law, reach)
    assert (cells, named) == (reach + 1, (reach, reach + 1))
    assert worst <= 1
    original = tensor.check_reach  # mutants: one cell less, none at all
    monkeypatch.setattr(tensor, "check_reach", lambda grid, offsets: original(grid, np.maximum(np.abs(offsets) - 1, 0)))
    assert least_cells(law, reach)[:2] == (reach, (reach - 1, reach))
    monkeypatch.setattr(tensor, "check_reach", lambda *_: None)
    assert least_cells(law, reach)[:2] == (reach - 1, None)


# ---- boxes that are too small


def test_a_law_that_presses_against_an_end_of_the_box_is_warned_of():
    """E = x**2/2 at T = 1 in a box that ends after half a standard deviation: F at rest would be off by almost T."""
    system, start = System("x**2/2", temperature=1.0), initial.normal([0.0], 0.1)
    small, wide = (Grid(system.domain, 32, bounds=[(-5.0, end)]) for end in (0.5, 5.0))
    words = (
        r"t = 5 the density at the end of the box along axis 0 is 0\.\d+ of the largest.*Grid.covering\(system, shape\)"
    )
    with pytest.warns(UserWarning, match=words):
        FokkerPlanck(system, small).evolve(start, [0.0, 5.0])
    FokkerPlanck(system, small).evolve(start, [0.0, 1e-3])  # not yet there
    FokkerPlanck(system, wide).evolve(start, [0.0, 5.0])


def test_walls_may_be_pressed_against_but_not_ends_short_of_them():
    system, start = System("0*x", temperature=1.0, domain=Domain([(0, 1)])), initial.normal([0.5], 0.1)
    FokkerPlanck(system, Grid(system.domain, 16)).evolve(start, [0.0, 1.0])
    with pytest.warns(UserWarning, match="the domain goes on there"):
        FokkerPlanck(system, Grid(system.domain, 16, bounds=[(0, 0.8)])).evolve(start, [0.0, 1.0])
    with pytest.warns(UserWarning, match="the domain goes on there"):
        FokkerPlanck(system, Grid(Domain([(0, 0.8)]), 16)).evolve(start, [0.0, 1.0])
