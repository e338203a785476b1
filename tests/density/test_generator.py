"""The generator: exact properties with mutants that break them, its loop twin, what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from density.support import Function, defects, plain_system, systems, turned
from naive import density as naive
from relaxsim.density import generator as module
from relaxsim.density.generator import bernoulli, build_generator
from relaxsim.errors import InputError, MobilityError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import log_cell_weights

pytestmark = pytest.mark.nojit

both_kinds = st.one_of(systems(), systems(tensor=True))


def generator_of(system, grid):
    log_gibbs, log_partition = log_cell_weights(system, grid)
    return build_generator(system, grid, log_gibbs, log_partition), log_gibbs


@settings(max_examples=80)
@given(both_kinds)
def test_exact_properties(case):
    found = defects(*generator_of(*case))
    assert all(value <= 1 for value in found.values()), found


def _lopsided(edges):
    for start, end, forth, back in edges:
        yield start, end, forth * (1 + 1e-9), back


def _negative(edges):
    for start, end, forth, back in edges:
        yield start, end, -forth, -back


def _leaking(matrix):
    matrix = matrix.tolil()
    matrix[0, 0] *= 1 - 1e-12
    return matrix.tocsr()


@pytest.mark.parametrize(
    ("edge_mutant", "matrix_mutant", "caught_by"),
    [(_lopsided, None, "balance"), (_negative, None, "sign"), (None, _leaking, "columns")],
)
@pytest.mark.parametrize("mobility", [lambda x: 1 + 0.5 * np.sin(x) ** 2, turned(4.0, 0.4)])
def test_mutants_break_the_exact_properties(monkeypatch, edge_mutant, matrix_mutant, caught_by, mobility):
    domain = Domain([(-1, 1), (-1, 1)])
    case = plain_system(lambda x: 3 * x[..., 0] ** 2 + x[..., 0] * x[..., 1], mobility, domain), Grid(domain, 8)
    assert max(defects(*generator_of(*case)).values()) <= 1
    original = module.assemble

    def assemble(n_cells, edges):
        matrix = original(n_cells, edge_mutant(edges) if edge_mutant else edges)
        return matrix_mutant(matrix) if matrix_mutant else matrix

    monkeypatch.setattr(module, "assemble", assemble)
    assert defects(*generator_of(*case))[caught_by] > 2


@settings(max_examples=25)
@given(st.one_of(systems(steep=3.0, forbidden=False), systems(tensor=True, steep=3.0, forbidden=False)))
def test_generator_is_the_twin_s(case):
    system, grid = case
    expected = naive.generator(system, grid)
    found, _ = generator_of(system, grid)
    assert np.allclose(found.toarray(), expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


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


def test_a_tensor_that_is_diagonal_uses_neighbours():
    domain = Domain([(0, 1), (0, 2)])
    energy = lambda x: x[..., 0] * x[..., 1]  # noqa: E731
    grid = Grid(domain, (4, 5))
    as_matrix = generator_of(plain_system(energy, np.diag([2.0, 3.0]), domain), grid)[0]
    entries = generator_of(plain_system(energy, lambda x: np.broadcast_to([2.0, 3.0], x.shape), domain), grid)[0]
    assert np.array_equal(as_matrix.toarray(), entries.toarray())


def test_rates_stay_finite_at_high_peclet_numbers_and_low_weights():
    """E/T up to 4000 and jumps of 400 T a cell: masses underflow, rates do not overflow."""
    domain = Domain([(-1, 1)])
    system = plain_system(lambda x: 40 * x[..., 0] ** 2, lambda x: np.ones_like(x), domain, temperature=0.01)
    matrix, log_gibbs = generator_of(system, Grid(domain, 20))
    assert log_gibbs.min() < -3000
    found = defects(matrix, log_gibbs)
    assert all(value <= 1 for value in found.values()), found
    assert matrix.data.max() < 2 * 80 / 0.1  # no rate beyond the upwind ones, |E'| / h


def test_bernoulli_is_smooth_positive_and_balanced():
    x = np.concatenate([-np.logspace(3, -12, 200), [0.0], np.logspace(-12, 3, 200)])
    values = bernoulli(x)
    assert np.all(values >= 0)
    assert np.all(np.diff(values) <= 0)
    near = np.abs(x) < 300
    assert np.allclose(values[::-1][near], values[near] * np.exp(x[near]), rtol=1e-13)
    assert bernoulli(np.array([0.0]))[0] == 1


def test_anisotropy_asks_for_enough_cells():
    domain = Domain([(0, 1), (0, 1)])
    system = plain_system(lambda x: x[..., 0], turned(50.0, 0.3), domain)
    with pytest.raises(InputError, match=r"use at least shape=") as caught:
        generator_of(system, Grid(domain, 3))
    needed = int(re.search(r"use at least shape=\((\d+), \1\)", str(caught.value))[1])
    assert needed > 3
    generator_of(system, Grid(domain, needed))


def test_unsupported_mobilities_and_dimensions_say_what_is_supported():
    domain = Domain([(0, 1)] * 2)
    system = plain_system(lambda x: x[..., 0], np.eye(2), domain)
    system.mobility = Function(lambda x: np.eye(2) * np.ones((*x.shape[:-1], 1, 1)), "tensor")
    with pytest.raises(InputError, match=r"position-dependent full mobility .* a diagonal K"):
        generator_of(system, Grid(domain, 4))
    cube = Domain([(0, 1)] * 3)
    with pytest.raises(InputError, match="one and two dimensions so far, got 3"):
        generator_of(plain_system(lambda x: x[..., 0], np.eye(3), cube), Grid(cube, 3))


def test_a_mobility_that_turns_negative_between_cells_is_refused():
    domain = Domain([(0, 1)])
    system = plain_system(lambda x: x[..., 0], lambda x: np.where(np.abs(x - 0.5) < 0.01, -1.0, 1.0), domain)
    with pytest.raises(MobilityError, match=r"K\[0, 0\] = -1 at \(0.5\) between two cells"):
        generator_of(system, Grid(domain, 4))
