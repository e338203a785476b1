"""Factors of I - tau G, with and without one colour of cells eliminated first."""

import numpy as np
import pytest
from scipy import sparse

import relaxsim as rs
from relaxsim.density import solve
from relaxsim.density.solve import Halved, factorised

WELL = "(x**2 - 1)**2 + y**2/2 + 0.3*x*y"
BOX = [(-2.0, 2.0)] * 2


def generator(energy=WELL, mobility=1.0, boundary="reflecting", shape=(15, 14)):
    system = rs.System(energy, mobility, 0.5, rs.Domain(BOX, boundary=boundary))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, shape)).generator


GENERATORS = {
    "walls": generator(),
    "even periodic axes": generator("cos(pi*x) + sin(pi*y)", boundary="periodic", shape=(12, 14)),
    "an odd periodic axis": generator("cos(pi*x) + y**2", boundary=["periodic", "reflecting"]),
    "cells without jumps": sparse.block_diag([sparse.csr_array((3, 3)), generator()], format="csr"),
}
TENSOR = generator(mobility=[["1", "0.4"], ["0.4", "1"]])


@pytest.mark.parametrize("tau", [0.3, 40.0, 0.2 + 0.1j])
@pytest.mark.parametrize("name", GENERATORS)
def test_eliminating_a_colour_solves_the_same_system(name, tau, monkeypatch):
    monkeypatch.setattr(solve, "_WORTH_HALVING", 0)
    given = GENERATORS[name]
    factor = factorised(given, tau)
    assert isinstance(factor, Halved)
    y = np.random.default_rng(1).random(given.shape[0]).astype(type(tau))
    dense = np.eye(given.shape[0]) - tau * given.toarray()
    np.testing.assert_allclose(factor.solve(y), np.linalg.solve(dense, y), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tau", [0.3, 0.2 + 0.1j])
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_the_kind_of_a_solution_is_that_of_the_factors(tau, kind, monkeypatch):
    monkeypatch.setattr(solve, "_WORTH_HALVING", 0)
    given = GENERATORS["walls"]
    y = np.arange(given.shape[0], dtype=kind)
    dense = np.eye(given.shape[0]) - tau * given.toarray()
    np.testing.assert_allclose(factorised(given, tau).solve(y), np.linalg.solve(dense, y), rtol=1e-12, atol=1e-10)


def test_colours_are_eliminated_where_most_cells_have_one(monkeypatch):
    """Links along diagonals join cells of one colour; few cells are left that could be eliminated together."""
    assert not isinstance(factorised(GENERATORS["walls"], 1.0), Halved)  # a small matrix is not worth it
    monkeypatch.setattr(solve, "_WORTH_HALVING", 0)
    assert not isinstance(factorised(TENSOR, 1.0), Halved)


def test_links_between_red_cells_would_be_lost():
    """The mutant: all cells an odd number of jumps away, with those that a periodic axis of odd length links."""
    given = GENERATORS["an odd periodic axis"]
    matrix = (sparse.eye_array(given.shape[0]) - given).tocsr()
    odd = np.indices((15, 14)).sum(axis=0).ravel() % 2 == 1
    y = np.ones(given.shape[0])
    assert np.abs(matrix @ Halved(matrix, odd).solve(y) - y).max() > 1e-3
    assert np.abs(matrix @ Halved(matrix, solve._red(given)).solve(y) - y).max() < 1e-12
