"""Merged bins: every block is crowded enough, no block could be cut again, Gibbs masses are exact."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtr

from functionals.gaussian import bin_masses, cell_masses, ensemble, law, make_system
from relaxsim.errors import InputError
from relaxsim.functionals.bins import Bins, merge_cells, weights_to_the_ends
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.system import System

pytestmark = pytest.mark.nojit

expected_points = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=8),
    elements=st.sampled_from([0.0, 0.3, 1.0, 2.5, 5.0, 7.0, 40.0]),
)


def block_of(labels, label):
    where = np.nonzero(labels == label)
    return tuple(slice(w.min(), w.max() + 1) for w in where)


@given(expected_points)
def test_blocks_are_boxes_that_hold_enough_and_cannot_be_cut(expected):
    labels = merge_cells(expected, 5.0)
    n_bins = labels.max() + 1
    assert np.array_equal(np.unique(labels), np.arange(n_bins))
    for label in range(n_bins):
        block = block_of(labels, label)
        assert (labels[block] == label).all()
        inside = expected[block]
        assert n_bins == 1 or inside.sum() >= 5.0
        for axis in range(expected.ndim):
            below = np.cumsum(inside.sum(axis=tuple(a for a in range(expected.ndim) if a != axis)))[:-1]
            assert not ((below >= 5.0) & (inside.sum() - below >= 5.0)).any()


def test_crowded_cells_stay_alone_and_empty_ones_join_a_neighbour():
    expected = np.array([0.0, 1.0, 9.0, 9.0, 9.0, 0.0, 0.0, 6.0])
    assert merge_cells(expected).tolist() == [0, 0, 0, 1, 2, 3, 3, 3]


def test_a_single_point_law_is_one_bin():
    expected = np.zeros((4, 4))
    expected[1, 2] = 1e6
    assert merge_cells(expected).max() == 0


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gibbs_masses_are_exact(dim):
    path = ensemble(make_system(dim), [0.0, 1.0], 3000, 1.0, 0.1, seed=dim)
    bins = Bins.fit(path.system, path.positions)
    assert bins.gibbs.sum() == pytest.approx(1.0, abs=1e-12)
    exact = bin_masses(bins, *law(path.system, np.inf, 0.0, 0.0))
    np.testing.assert_allclose(bins.gibbs, exact, atol=2e-10)  # the box leaves out 1e-10


def test_every_bin_expects_five_points():
    path = ensemble(make_system(2), [0.0, 0.5, 1.0], 2000, 1.0, 0.1, seed=3)
    bins = Bins.fit(path.system, path.positions)
    counts = [np.bincount(bins.index(x), minlength=bins.n_bins) for x in path.positions]
    assert ((np.sum(counts, axis=0) + 2000 * bins.gibbs) / 4 >= 5.0 - 1e-9).all()
    assert bins.n_bins > 50


def test_points_fall_where_their_density_is_summed():
    path = ensemble(make_system(2), [0.0], 500, 1.0, 0.3, seed=4)
    bins = Bins.fit(path.system, path.positions)
    fine = Grid(path.system.domain, (128, 128), bounds=bins.grid.bounds)
    for point in path.positions[0, :50]:
        cell = tuple(int(np.searchsorted(e, c) - 1) for e, c in zip(fine.edges, point, strict=True))
        mass = np.zeros((1, *fine.shape))
        mass[(0, *cell)] = 1.0
        masses = bins.masses(mass, fine)[0]
        assert masses[bins.index(point[None])[0]] == masses.sum() == 1.0


@pytest.mark.parametrize(("shape", "tolerance"), [((64, 128), 1e-13), ((100, 90), 3e-5)])
def test_density_sums_to_the_bins_where_edges_align(shape, tolerance):
    path = ensemble(make_system(2), [0.0], 5000, 0.5, 0.3, seed=5)
    bins = Bins.fit(path.system, path.positions)
    fine = Grid(path.system.domain, shape, bounds=bins.grid.bounds)
    mean, variance = law(path.system, 0.2, 0.5, 0.3)
    masses = bins.masses(cell_masses(fine, mean, variance, reach_out=True)[None], fine)[0]
    np.testing.assert_allclose(masses, bin_masses(bins, mean, variance), atol=tolerance)


def test_a_wider_density_box_is_clipped_into_the_outermost_bins():
    path = ensemble(make_system(1), [0.0], 1000, 0.0, 0.3, seed=6)
    bins = Bins.fit(path.system, path.positions)
    wide = Grid(path.system.domain, (30,), bounds=[(-50.0, 50.0)])
    mass = np.full((1, 30), 1 / 30)
    masses = bins.masses(mass, wide)[0]
    assert masses.sum() == pytest.approx(1.0, abs=1e-14)
    assert masses[0] > 0.4


def test_a_stray_particle_does_not_stretch_the_cells():
    path = ensemble(make_system(1), [0.0, 1.0], 2000, 0.0, 0.3, seed=7)
    spacing = Bins.fit(path.system, path.positions).grid.spacing[0]
    path.positions[1, 17] = 1e30
    bins = Bins.fit(path.system, path.positions)
    assert bins.grid.spacing[0] == pytest.approx(spacing)
    assert bins.index(np.array([[1e30], [-1e30]])).tolist() == [bins.labels[-1], bins.labels[0]]


def test_data_far_from_the_wells_lie_inside_the_box():
    path = ensemble(make_system(1), [0.0], 2000, 30.0, 0.3, seed=8)
    bins = Bins.fit(path.system, path.positions)
    assert bins.grid.bounds[0, 1] > 30
    far = bins.index(np.array([[30.0]]))[0]
    assert bins.log_gibbs[far] < -745  # as a mass it underflows, its logarithm is kept
    assert np.isfinite(bins.log_gibbs).all()


def test_bounded_and_periodic_axes_are_covered_whole():
    domain = Domain([(0.0, 1.0), (-2.0, 2.0)], boundary=["periodic", "reflecting"])
    system = SimpleNamespace(
        dim=2, temperature=1.0, domain=domain, energy=lambda x, t=0.0: np.cos(2 * np.pi * x[..., 0])
    )
    positions = np.random.default_rng(9).uniform([0, -2], [1, 2], (2, 4000, 2))
    bins = Bins.fit(system, positions)
    assert bins.grid.bounds.tolist() == [[0.0, 1.0], [-2.0, 2.0]]
    assert bins.n_bins > 300
    assert repr(bins) == f"Bins({bins.n_bins} bins merged from 32 x 32 cells)"


def test_four_dimensions_are_refused():
    system = SimpleNamespace(dim=4, temperature=1.0, domain=Domain.hypercube(4))
    with pytest.raises(InputError, match="1 to 3 dimensions, got 4"):
        Bins.fit(system, np.zeros((1, 10, 4)))


def test_outermost_cells_reach_to_the_walls_and_to_infinity():
    domain = Domain([(-1, 1), (-np.inf, np.inf)])
    system = System("x**2 + y**2", temperature=0.5, domain=domain)
    grid = Grid(domain, (4, 5), bounds=[(-0.5, 1), (-0.7, 0.4)])
    log_weights, log_partition = weights_to_the_ends(system, grid)
    edges = [np.array(each) for each in grid.edges]
    edges[0][0], edges[1][0], edges[1][-1] = -1.0, -np.inf, np.inf
    exact = np.multiply.outer(*(np.diff(ndtr(2.0 * each)) for each in edges))
    assert abs(log_partition - np.log(exact.sum() * 0.5 * np.pi)) < 1e-9
    np.testing.assert_allclose(np.exp(log_weights), exact / exact.sum(), rtol=1e-8)
