"""The fused loop against plain products, for matrices of every pattern; it is vectorised, cached and small."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from density.support import gaussian_masses, plain_system, turned
from naive.action import recur
from relaxsim import _jit
from relaxsim.density import FokkerPlanck, action
from relaxsim.density.action import Action
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid


def line(n, wraps=False):
    jumps = sparse.diags_array([np.linspace(1, 2, n - 1), np.linspace(2, 1, n - 1)], offsets=[-1, 1]).tolil()
    if wraps:
        jumps[0, n - 1], jumps[n - 1, 0] = 0.5, 0.7
    return closed(jumps)


def closed(jumps):
    jumps = jumps.tocsr()
    return (jumps - sparse.diags_array(jumps.sum(axis=0))).tocsr()


def square(n, offsets, share, seed=0):
    """Random rates on a square's diagonals, with gaps."""
    rng = np.random.default_rng(seed)
    cells = n * n
    jumps = sparse.csr_array((cells, cells))
    for offset in offsets:
        rates = rng.exponential(size=cells - abs(offset)) * (rng.random(cells - abs(offset)) < share)
        jumps = jumps + sparse.diags_array(rates, offsets=offset, shape=(cells, cells))
    return closed(jumps)


def scattered(n, seed=1):
    rng = np.random.default_rng(seed)
    jumps = sparse.random_array((n, n), density=3 / n, rng=rng, format="lil")
    jumps.setdiag(0.0)
    return closed(jumps)


PATTERNS = {
    "line": lambda: line(700),
    "ring": lambda: line(650, wraps=True),
    "five points": lambda: square(24, [-24, -1, 1, 24], 1.0),
    "an odd number": lambda: square(24, [-24, -1, 1], 1.0),
    "gaps": lambda: square(24, [-25, -23, -24, -1, 1, 24, 23, 25], 0.5),
    "a few cells": lambda: square(4, [-4, -1, 1, 4], 1.0),
    "scattered": lambda: scattered(500),
    "nothing": lambda: closed(sparse.csr_array((10, 10))),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("depth", [None, 3])
def test_the_loop_makes_the_same_terms_as_its_naive_twin(pattern, depth, monkeypatch):
    monkeypatch.setattr(action, "_BLOCK", 96)  # so that there are blocks inside and at the ends
    monkeypatch.setattr(action, "_PIECE", 100)  # and that diagonals are stored piece by piece
    generator = PATTERNS[pattern]()
    if generator.nnz == 0:
        assert Action(generator, compiled=True).rate == 0
        return
    rng = np.random.default_rng(3)
    start, before = rng.random(generator.shape[0]), rng.random(generator.shape[0])
    weights = rng.random((2, 2 * action._GATHERED + 3))  # as many as SciPy's products are gathered in three times
    weights[1, 20:] = 0.0
    expected_sums = np.zeros((2, start.size))
    how = (1.1, 0.05, 0.8)  # terms that stay of one size, so that each is seen in the sums
    expected = recur(generator, start, before, *how, weights, expected_sums)
    for compiled in (True, False):
        tool = Action(generator, compiled)
        if compiled and depth is not None and tool._depth > 1:
            tool._depth = depth
        sums = np.zeros_like(expected_sums)
        tool.recur(start.copy(), before.copy(), 1.0, 0.0, 0.0, weights, np.zeros_like(sums))  # another polynomial
        found = tool.recur(start.copy(), before.copy(), *how, weights, sums)
        for one, other in zip((*found, sums), (*expected, expected_sums), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())


def test_one_entry_left_out_is_seen():
    generator = PATTERNS["gaps"]()
    tool = Action(generator, compiled=True)
    tool._entries[len(tool._entries) // 2] = 0.0
    sums, start = np.zeros((1, generator.shape[0])), np.random.default_rng(0).random(generator.shape[0])
    expected = np.zeros_like(sums)
    recur(generator, start, 0 * start, 1.0, 0.0, 0.0, np.ones((1, 2)), expected)
    tool.recur(start.copy(), 0 * start, 1.0, 0.0, 0.0, np.ones((1, 2)), sums)
    assert np.abs(sums - expected).max() > 1e-8


def test_turning_tensors_are_stored_in_long_runs():
    domain = Domain([(-1.5, 1.5)] * 2)
    system = plain_system(lambda x: np.sum(x**2, axis=-1), turned(20.0, 0.4), domain)
    tool = Action(FokkerPlanck(system, Grid(domain, 48)).generator, compiled=True)
    assert tool._entries.size == 0 or tool._entries.size / tool._rows.size > 8
    assert tool.doubles < 20


def test_the_spectrum_is_bounded_closely():
    """The bound holds, and is below twice the largest rate where the drift is steep."""
    domain = Domain([(-3.0, 3.0)])
    system = plain_system(lambda x: 8 * x[..., 0] ** 2, lambda x: np.ones_like(x), domain, temperature=0.5)
    fp = FokkerPlanck(system, Grid(domain, 200))
    symmetric = fp.generator.toarray() * np.exp(0.5 * (fp.log_gibbs - fp.log_gibbs[:, None]))
    fastest = -np.linalg.eigvalsh(symmetric)[0]
    tool = Action(fp.generator, compiled=False, log_gibbs=fp.log_gibbs)
    assert fastest <= tool.spread * tool.rate < 1.1 * fastest
    assert tool.spread < 1.9
    assert Action(fp.generator, compiled=False).spread == 2.0
    dead = np.where(fp.grid.centers[0] > 2.9, -np.inf, fp.log_gibbs)
    assert Action(fp.generator, compiled=False, log_gibbs=dead).spread == 2.0


def test_the_loop_is_packed():
    """Multiplications and additions of the loops over cells work on several cells at a time."""
    if _jit.jit_disabled():
        pytest.skip("needs the compiler")
    loop = _jit.kernel_uncached(action.recurrence().py_func)  # what comes from the disk cache cannot be inspected
    state = (np.ones(64), np.ones(64), 1.0, 0.0, 0.0, np.ones((1, 1)), np.zeros((1, 64)))
    loop(*Action(line(64), compiled=True).arguments(*state))
    text = "\n".join(loop.inspect_asm().values())
    packed, single = (len(re.findall(rf"v?f?(?:mul|add|madd\w*){kind}\b", text)) for kind in ("pd", "sd"))
    assert packed > 12, (packed, single)


def test_memory_of_the_matrix_free_path():
    """At most forty numbers a cell, the generator included."""
    n = 160
    domain = Domain([(-2.0, 2.0)] * 2)
    system = plain_system(lambda x: np.sum(x**2, axis=-1) + x[..., 0] * x[..., 1], np.eye(2), domain)
    fp = FokkerPlanck(system, Grid(domain, n))
    mass = gaussian_masses(fp.grid, np.array([0.5, 0.0]), 0.1 * np.eye(2))
    fp.evolve(mass, [0.0, 0.5], "chebyshev")  # imports and compiles
    cells = n * n
    generator = (fp.generator.data.nbytes + fp.generator.indices.nbytes + fp.generator.indptr.nbytes) / 8 / cells
    tracemalloc.start()
    fp.evolve(mass, [0.0, 0.5], "chebyshev")
    peak = tracemalloc.get_traced_memory()[1] / 8 / cells
    tracemalloc.stop()
    assert generator + peak < 40, (generator, peak)
