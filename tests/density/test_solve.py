"""Factors of I - tau G, with and without one colour of cells eliminated first."""

import numpy as np
import pytest
from scipy import sparse

import relaxsim as rs
from relaxsim.density import solve
from relaxsim.density.chessboard import Colours, colours
from relaxsim.density.flow import Flow
from relaxsim.density.solve import Halved, factorised

WELL = "(x**2 - 1)**2 + y**2/2 + 0.3*x*y"


def equation(energy=WELL, mobility=1.0, boundary="reflecting", shape=(15, 14)):
    domain = rs.Domain([(-2.0, 2.0)] * len(shape), boundary=boundary)
    return rs.FokkerPlanck(rs.System(energy, mobility, 0.5, domain), rs.Grid(domain, shape))


def closed(fp):
    """G with the cell that collects what walls absorb, and the grid."""
    return Flow(fp).generator, fp.grid


EQUATIONS = {
    "walls": equation(),
    "three dimensions": equation("x**2 + y**2 + x*z", shape=(5, 6, 7)),
    "even periodic axes": equation("cos(pi*x) + sin(pi*y)", boundary="periodic", shape=(12, 14)),
    "an odd periodic axis": equation("cos(pi*x) + y**2", boundary=["periodic", "reflecting"]),
    "absorbing walls": equation(boundary="absorbing"),
    "A at right angles": equation(mobility=rs.Mobility.constant(1.0).with_antisymmetric([["0", "0.5"], ["-0.5", "0"]])),
}


@pytest.fixture(autouse=True)
def _small_grids_too(monkeypatch):
    monkeypatch.setattr(solve, "_WORTH_COLOURING", 0)


@pytest.mark.parametrize("tau", [0.3, 40.0, 0.2 + 0.1j])
@pytest.mark.parametrize("name", EQUATIONS)
def test_eliminating_a_colour_solves_the_same_system(name, tau):
    given, grid = closed(EQUATIONS[name])
    factor = factorised(given, tau, grid)
    assert isinstance(factor, Halved)
    y = np.random.default_rng(1).random(given.shape[0]).astype(type(tau))
    dense = np.eye(given.shape[0]) - tau * given.toarray()
    np.testing.assert_allclose(factor.solve(y), np.linalg.solve(dense, y), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "fp",
    [equation(mobility=[["1", "0.4"], ["0.4", "1"]]), equation("x**2", shape=(300,))],
    ids=["links along diagonals", "a line"],
)
def test_where_nothing_is_gained_all_cells_are_factorised_as_before(fp):
    assert colours(*closed(fp)) is None
    assert not isinstance(factorised(fp.generator, 1.0, fp.grid), Halved)


@pytest.mark.parametrize("tau", [0.3, 0.2 + 0.1j])
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_the_kind_of_a_solution_is_that_of_the_factors(tau, kind):
    given, grid = closed(EQUATIONS["walls"])
    y = np.arange(grid.n_cells, dtype=kind)
    dense = np.eye(grid.n_cells) - tau * given.toarray()
    np.testing.assert_allclose(factorised(given, tau, grid).solve(y), np.linalg.solve(dense, y), rtol=1e-12, atol=1e-10)


def test_links_between_red_cells_would_be_lost():
    """The mutant: all cells an odd number of jumps away, with those that a periodic axis of odd length links."""
    given, grid = closed(EQUATIONS["an odd periodic axis"])
    matrix, y = (sparse.eye_array(grid.n_cells) - given).tocsr(), np.ones(grid.n_cells)
    odd = np.indices(grid.shape).sum(axis=0).ravel() % 2 == 1
    wrong = Halved(matrix, Colours(np.flatnonzero(odd), np.flatnonzero(~odd), False))
    assert np.abs(matrix @ wrong.solve(y) - y).max() > 1e-3
    assert np.abs(matrix @ Halved(matrix, colours(given, grid)).solve(y) - y).max() < 1e-12


@pytest.mark.parametrize(("shape", "energy", "share"), [((64, 64), WELL, 0.96), ((20, 20, 20), "x**2 + y*z", 0.9)])
def test_dissection_fills_in_less(shape, energy, share):
    """Than the minimum degree ordering of the same cells, and far less than the order in which they are numbered."""
    fp = equation(energy, shape=shape)
    found = colours(fp.generator, fp.grid)
    matrix = sparse.eye_array(fp.grid.n_cells, format="csr") - fp.generator
    dissected = Halved(matrix, found).nnz
    assert dissected < share * Halved(matrix, found._replace(ordered=False)).nnz
    assert dissected < 0.6 * Halved(matrix, found._replace(black=np.sort(found.black))).nnz
