"""Gibbs weights of cells and relative entropies against closed forms."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_ndtr, ndtr

from naive import density as naive
from relaxsim.errors import InputError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.energy import Energy
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import kl_divergence, log_cell_weights
from relaxsim.system.system import System

pytestmark = pytest.mark.nojit


def test_weights_of_a_gaussian():
    domain = Domain([(-40, 40)])
    system = System("x**2 / 2", temperature=1.0, domain=domain)
    grid = Grid(domain, 400)
    log_weights, log_partition = log_cell_weights(system, grid)
    edges = grid.edges[0]
    middle = slice(160, 240)
    assert np.allclose(np.exp(log_weights)[middle], np.diff(ndtr(edges))[middle], rtol=1e-12)
    left = log_ndtr(edges[1:201]) + np.log1p(-np.exp(log_ndtr(edges[:200]) - log_ndtr(edges[1:201])))
    assert np.allclose(log_weights[:200], left, rtol=1e-9)  # down to exp(-800), where masses underflow
    assert log_partition == pytest.approx(0.5 * np.log(2 * np.pi), rel=1e-13)


def test_weights_are_those_of_the_loop_and_do_not_see_a_constant():
    domain = Domain([(-1, 2), (0, 1)])
    texts = ["sin(x*y) + 2*x", "sin(x*y) + 2*x + 4096"]
    systems = [System(text, temperature=0.25, domain=domain) for text in texts]
    grid = Grid(domain, (5, 4))
    weights, partition = naive.cell_weights(systems[0], grid)
    found, log_partition = log_cell_weights(systems[0], grid)
    assert np.allclose(np.exp(found).ravel(), list(weights.values()), rtol=1e-12)
    assert log_partition == pytest.approx(np.log(partition), rel=1e-12)
    raised, raised_partition = log_cell_weights(systems[1], grid)
    assert np.allclose(raised, found, atol=1e-10)
    assert raised_partition == pytest.approx(log_partition - 4 * 4096, rel=1e-12)


def test_large_grids_are_done_in_chunks(monkeypatch):
    domain = Domain([(-1, 2), (0, 1)])
    system = System("x*y", temperature=0.5, domain=domain)
    grid = Grid(domain, (11, 7))
    whole = log_cell_weights(system, grid)
    monkeypatch.setattr("relaxsim.system.relative_entropy._CHUNK", 600)
    parts = log_cell_weights(system, grid)
    assert np.allclose(parts[0], whole[0], rtol=0, atol=1e-14)
    assert parts[1] == pytest.approx(whole[1], rel=1e-14)


def test_forbidden_cells_weigh_nothing():
    domain = Domain([(0, 1)])
    half = System(Energy(lambda x: np.where(x[0] > 0.5, np.inf, 0.0), grad=lambda x: (0 * x[0],)), 1.0, 1.0, domain)
    log_weights, log_partition = log_cell_weights(half, Grid(domain, 4))
    assert np.exp(log_weights).tolist() == pytest.approx([0.5, 0.5, 0, 0])
    assert log_partition == pytest.approx(np.log(0.5))
    closed = half.replace(domain=Domain([(0, 2)]))
    with pytest.raises(InputError, match="infinite in every cell"):
        log_cell_weights(closed, Grid(closed.domain, 4, bounds=[(1, 2)]))


def test_divergence_of_small_laws():
    m = np.array([0.5, 0.25, 0.25])
    p = np.array([[0.5, 0.5, 0.0], m, [1.0, 0.0, 0.0]])
    assert np.allclose(kl_divergence(p, np.log(m)), [0.5 * np.log(2), 0, np.log(2)], atol=1e-16)
    assert isinstance(kl_divergence(p[0], np.log(m)), float)
    with np.errstate(divide="ignore"):
        closed = np.log([0.5, 0.5, 0.0])
    assert kl_divergence([0.5, 0.25, 0.25], closed) == np.inf
    assert kl_divergence([0.5, 0.5, 0.0], closed) == 0
    assert kl_divergence([0.5, 0.5, 0.0], np.array([-2000.0, 0.0, -1e9])) == pytest.approx(
        0.5 * np.log(0.5) + 0.5 * 2000 + 0.5 * np.log(0.5), rel=1e-12
    )
    with pytest.raises(ShapeError, match=r"shape \(..., \(3,\)\), got \(2,\)"):
        kl_divergence(np.ones(2) / 2, closed)


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(0.01, 1)),
    hnp.arrays(np.float64, 6, elements=st.floats(-1, 1)),
    st.floats(-9, 0),
)
def test_divergence_near_equilibrium_keeps_its_digits(weights, direction, exponent):
    m = weights / weights.sum()
    p = m * (1 + 10.0**exponent * (direction - direction @ m))
    if p.min() <= 0:
        return
    with mpmath.workdps(50):
        terms = [
            mpmath.mpf(float(a)) * mpmath.log(mpmath.mpf(float(a)) / mpmath.mpf(float(b))) - float(a) + float(b)
            for a, b in zip(p, m, strict=True)
        ]
        exact = float(sum(terms))
    found = kl_divergence(p, np.log(m))
    assert found >= 0
    # ln m rounds, so m is known to eps |ln m| only; the divergence feels that in first order of p - m.
    assert abs(found - exact) <= 1e-12 * exact + 40 * np.finfo(float).eps * np.abs(p - m).sum() + 1e-30


@given(hnp.arrays(np.float64, 8, elements=st.floats(0, 1)), hnp.arrays(np.float64, 8, elements=st.floats(-900, 0)))
def test_divergence_is_never_negative(p, log_m):
    log_m = log_m - np.logaddexp.reduce(log_m)
    p = p + 1e-9
    assert kl_divergence(p / p.sum(), log_m) >= 0
