"""`assert_detailed_balance`: does every jump, or every pair of visits, occur as often as its reverse?"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import CheckFailedError, InputError, ShapeError
from relaxsim.functionals.samples import check_samples
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, kind_of
from relaxsim.testing.laws import (
    DEFAULT_ALPHA,
    LEAST_EXPECTED,
    check_alpha,
    check_tolerance,
    generator,
    real_array,
)
from relaxsim.testing.same_law import equal_cells

IntArray = NDArray[np.int64]

_SHAPES = {1: 128, 2: 32, 3: 12}
_MOST_STATES = 2000  # of a matrix whose law at rest is sought
_ZERO_SUM = 1e-9  # relative to the diagonal: rows or columns of rates that sum to nothing
_CELLS = 16
_LEAST_CELLS = 4  # at rest as many leave one of two cells as come back, whatever turns


def assert_detailed_balance(
    what: Any,
    law: Any = None,
    *,
    alpha: float = DEFAULT_ALPHA,
    tolerance: float = 1e-9,
    rng: int | np.random.Generator = 0,
) -> None:
    r"""Fail unless a process at rest looks the same backwards in time.

    Parameters
    ----------
    what : System, FokkerPlanck, array_like, sparse matrix, or EnsemblePath
        The rates of a system on a grid, those of a solver, or a matrix (n, n) of jump rates, or of probabilities of a
        step, whose columns belong to the states that are left (as in dp/dt = G p) or whose rows do. Or an ensemble that
        is at rest at all its times.
    law : array_like, shape (n,), optional
        The law at rest of a matrix; by default it is solved for.
    alpha : float, default 1e-6
        Probability that an ensemble in detailed balance is rejected; rates have none.
    tolerance : float, default 1e-9
        Difference of the flows between two states that is forgiven, as a share of the largest flow, for rates.
    rng : int or numpy.random.Generator
        Of the rotation of the cells that an ensemble is counted in.

    Raises
    ------
    CheckFailedError
        A pair of states with different flows, or an ensemble of which no particle changes its cell; an AssertionError
        with the numbers.
    InputError, ShapeError
        A matrix that is neither of rates nor of probabilities, or whose law at rest is not unique; an ensemble without
        two times, or whose particles lie in two cells, where no current can be seen.

    Notes
    -----
    *Rates.* The rates of a system are in balance exactly where its mobility has no antisymmetric part; those of a bare
    drift (`FokkerPlanck.from_drift`) are in general up to the error of the grid, which takes a larger `tolerance`. Of
    all pairs of states the largest :math:`|G_{ij} p_j - G_{ji} p_i|`, over the largest flow between any two, is at most
    `tolerance`.

    *Ensemble.* Cells that hold the same number of points are cut as in `assert_same_law`, from both times together, and
    N(i, j) counts the particles that were in i at a stored time and in j at the next. Given N(i, j) + N(j, i), half of
    them are expected to be in N(i, j), with binomial error, particles being independent: the sum of (N(i, j) -
    N(j, i))^2/(N(i, j) + N(j, i)) is chi-square (Bowker's test of symmetry). Pairs of times share `alpha`. Store times
    about as far apart as a cell takes to be left: far apart, all memory of the direction is lost.

    References
    ----------
    A. H. Bowker, J. Am. Stat. Assoc. 43 (1948) 572.
    """
    __tracebackhide__ = True
    alpha, tolerance, random = check_alpha(alpha), check_tolerance(tolerance), generator(rng)
    _check_kind(what, law)
    if hasattr(what, "positions") and hasattr(what, "times"):
        _ensemble(what, alpha, random)
        return
    if isinstance(what, System):
        from relaxsim.density.fokker_planck import FokkerPlanck

        if what.dim not in _SHAPES:
            raise InputError(f"what: rates are made in one to three dimensions, got {what.dim}; pass an EnsemblePath")
        what = FokkerPlanck(what, Grid.covering(what, _SHAPES[what.dim]))
    grid = getattr(what, "grid", None)
    if grid is not None:
        law = what.stationary().mass.ravel() if law is None else law
        what = what.generator
    _matrix(what, law, tolerance, grid)


def _check_kind(what: Any, law: Any) -> None:
    if isinstance(law, System):
        raise InputError("law: got a System, expected numbers (n,); a system comes first and needs no law")
    path = hasattr(what, "mass") and hasattr(what, "times")
    if path or isinstance(what, (str, bytes)) or what is None or callable(what):
        raise InputError(
            "what: expected a System, a FokkerPlanck, a matrix (n, n) of rates or probabilities or an EnsemblePath, "
            f"got {kind_of(what)}" + ("; a density has no pairs of visits: pass its system" if path else "")
        )


# ------------------------------------------------------------------------------------------------- rates


def _matrix(given: Any, law: Any, tolerance: float, grid: Grid | None) -> None:
    __tracebackhide__ = True
    from scipy import sparse

    if np.iscomplexobj(given):
        raise InputError("what: expected real numbers, got complex ones")
    G = sparse.csr_array(given if sparse.issparse(given) else real_array(given, "what"))
    if G.ndim != 2 or G.shape[0] != G.shape[1]:
        hint = "; snapshots are given as an EnsemblePath" if G.ndim == 2 else ""
        raise ShapeError(f"what: expected a square matrix of rates or probabilities, got shape {G.shape}{hint}")
    if not np.isfinite(G.data).all():
        raise InputError("what: expected finite rates or probabilities")
    G, total = _leaving_by_columns(G)
    if grid is None:
        _check_signs(G, rates=total == 0.0)
    p = _at_rest(G) if law is None else _checked_law(law, G)
    flow = (G * p[None, :]).tocsr()  # [i, j]: from j to i
    flow.setdiag(0.0)
    difference = abs(flow - flow.T).tocoo()
    largest = float(flow.max())
    worst = int(np.argmax(difference.data)) if difference.nnz else 0
    off = float(difference.data[worst]) / largest if difference.nnz and largest > 0 else 0.0
    if off <= tolerance:
        return
    i, j = int(difference.coords[0][worst]), int(difference.coords[1][worst])
    names = [f"{k}" if grid is None else f"{k} around {np.array2string(grid.points[k], precision=3)}" for k in (i, j)]
    raise CheckFailedError(
        f"assert_detailed_balance: the flow from state {names[1]} to state {names[0]} is {flow[i, j]:.6g} and back "
        f"{flow[j, i]:.6g}; the difference is {off:.3g} of the largest flow, expected at most {tolerance:g} (exact, no "
        "standard error). Likely: a current at rest, from an antisymmetric part of the mobility or a force without an "
        "energy, or a law that is not the one at rest"
    )


def _leaving_by_columns(G: Any) -> tuple[Any, float]:
    """The matrix, transposed if its rows are what sums to 0 or 1, and which of the two."""
    for total in (0.0, 1.0):
        for axis, matrix in ((0, G), (1, G.T.tocsr())):
            size = np.maximum(abs(G).sum(axis=axis), total)  # of each state, which may be far below the largest
            if (np.abs(G.sum(axis=axis) - total) <= _ZERO_SUM * size).all():
                return matrix, total
    raise InputError(
        "what: neither columns nor rows sum to 0 (rates) or to 1 (probabilities of a step); put minus the rate of "
        "leaving on the diagonal"
    )


def _check_signs(G: Any, rates: bool) -> None:
    """Rates and probabilities of jumps are not negative; nor are the probabilities to stay."""
    jumps = G.tocoo()
    wrong = jumps.data < -1e-14 * max(1.0, float(abs(G).max()))
    if rates:
        wrong &= jumps.coords[0] != jumps.coords[1]
    if wrong.any():
        k = int(np.argmax(wrong))
        kind = "rates, whose columns or rows sum to 0," if rates else "probabilities, whose columns or rows sum to 1,"
        raise InputError(
            f"what: {kind} must not be negative{' off the diagonal' if rates else ''}, got {jumps.data[k]:.6g} between "
            f"states {int(jumps.coords[0][k])} and {int(jumps.coords[1][k])}"
        )


def _checked_law(law: Any, G: Any) -> FloatArray:
    p = real_array(law, "law").ravel()
    if p.shape != (G.shape[0],):
        raise ShapeError(f"law: expected {G.shape[0]} numbers, one a state, got {p.size}")
    if not (np.isfinite(p).all() and p.min() >= 0.0 and p.sum() > 0.0):
        raise InputError("law: expected finite numbers >= 0, not all 0")
    return np.asarray(p / p.sum())


def _at_rest(G: Any) -> FloatArray:
    """The law that the matrix keeps, from its singular vector of value zero."""
    n = G.shape[0]
    if n > _MOST_STATES:
        raise InputError(f"law: give the law at rest of a matrix of more than {_MOST_STATES} states, this one has {n}")
    dense = G.toarray()
    rates = dense - np.eye(n) if np.abs(dense.sum(axis=0) - 1.0).max() <= _ZERO_SUM else dense
    _, values, right = np.linalg.svd(rates)
    if n > 1 and values[-2] <= 1e-12 * values[0]:
        raise InputError("law: the matrix falls into parts that do not reach each other; give the law at rest")
    p = right[-1] / right[-1].sum()
    return np.asarray(np.maximum(p, 0.0))


# ---------------------------------------------------------------------------------------------- ensembles


def _ensemble(path: Any, alpha: float, rng: np.random.Generator) -> None:
    __tracebackhide__ = True
    from scipy.special import chdtri

    positions = np.asarray(path.positions)
    times = np.asarray(path.times, dtype=np.float64)
    if len(positions) != len(times) or len(times) < 2:
        raise InputError("what: an ensemble needs positions at two times or more; simulate with store='all'")
    if getattr(path, "weights", None) is not None:
        raise InputError("what: weighted ensembles are not served; resample the particles to equal weights")
    snapshots = [check_samples(x, "what") for x in positions]
    for k, (before, after) in enumerate(itertools.pairwise(snapshots)):
        forth, back = _exchanges(before, after, rng)
        if not len(forth):
            raise CheckFailedError(
                f"assert_detailed_balance: cannot tell: between t = {times[k]:g} and {times[k + 1]:g} fewer than "
                f"{LEAST_EXPECTED:.0f} of {len(before)} particles changed their cell. Store times farther apart, or "
                "simulate more particles"
            )
        statistic = float(np.sum((forth - back) ** 2 / (forth + back)))
        threshold = float(chdtri(len(forth), alpha / (len(times) - 1)))
        if statistic <= threshold:
            continue
        worst = int(np.argmax((forth - back) ** 2 / (forth + back)))
        mean = (forth + back)[worst] / 2
        raise CheckFailedError(
            f"assert_detailed_balance: {len(before)} particles between t = {times[k]:g} and {times[k + 1]:g} do not "
            f"look the same backwards: chi-square {statistic:.1f} over {len(forth)} pairs of cells, expected about "
            f"{len(forth)}, threshold {threshold:.1f} (alpha = {alpha:g} over {len(times) - 1} pairs of times). Most "
            f"off: {forth[worst]:.0f} one way and {back[worst]:.0f} back, expected {mean:.1f} with standard error "
            f"{np.sqrt(mean / 2):.1f}. Likely: a current at rest (a force without an energy, noise of different "
            "temperatures); or the ensemble is not at rest; dt too large: lower it; particles that are not independent"
        )


def _exchanges(before: FloatArray, after: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Particles that went from cell i to j, and from j to i, for the pairs i < j; the rare pairs together."""
    n = len(before)
    most = min(_CELLS, max(_LEAST_CELLS, int(np.sqrt(n / LEAST_EXPECTED))))
    cells = equal_cells(np.concatenate([before, after]), most, rng)
    size = int(cells.max()) + 1
    if size < 3:
        raise InputError(
            f"what: {n} particles in {size} cells, where no current can be seen; it takes three or more: give "
            "particles of which few coincide"
        )
    N = np.bincount(cells[:n] * size + cells[n:], minlength=size * size).reshape(size, size).astype(float)
    i, j = np.triu_indices(size, 1)
    forth, back = N[i, j], N[j, i]
    rare = forth + back < LEAST_EXPECTED
    if rare.all():  # put together they tell no direction
        return forth[~rare], back[~rare]
    together = [np.array([side[rare].sum()]) for side in (forth, back)]
    forth, back = (np.concatenate([side[~rare], rest]) for side, rest in zip((forth, back), together, strict=True))
    kept = forth + back >= LEAST_EXPECTED
    return forth[kept], back[kept]
