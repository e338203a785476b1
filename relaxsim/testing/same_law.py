"""`assert_same_law`: do two ensembles, or an ensemble and a density, have one law?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import CheckFailedError, InputError, ShapeError
from relaxsim.functionals.bins import cell_of, merge_cells
from relaxsim.functionals.chi_square import one_sample, two_sample
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.validate import FloatArray
from relaxsim.testing.laws import (
    DEFAULT_ALPHA,
    DEFAULT_TOLERANCE,
    LEAST_EXPECTED,
    Cells,
    Points,
    bins_of_equal_mass,
    check_alpha,
    check_power,
    check_tolerance,
    generator,
    law_of,
)

IntArray = NDArray[np.int64]

MOST_CELLS = 64


def assert_same_law(
    a: Any,
    b: Any,
    *,
    alpha: float = DEFAULT_ALPHA,
    tolerance: float = DEFAULT_TOLERANCE,
    time: float | None = None,
    rng: int | np.random.Generator = 0,
) -> None:
    """Fail unless two laws are the same.

    Parameters
    ----------
    a, b : EnsemblePath, DensityPath or array_like, shape (n, dim)
        Each at one time. Two samples must be independent of each other: ensembles of one seed share their noise, and
        differences of their laws are then harder to see. Angles of two arrays must lie in one period.
    alpha : float, default 1e-6
        Probability that equal laws are told apart, where there is a sample; two densities have none.
    tolerance : float, default 1e-3
        KL between the laws that is forgiven, in nats: the error of dt and of the grid.
    time : float, optional
        A stored time of the paths, by default the last of each.
    rng : int or numpy.random.Generator
        Of the rotation of the bins of two samples.

    Raises
    ------
    CheckFailedError
        The laws differ; an AssertionError with the numbers.
    InputError, ShapeError
        Different dimensions or grids; fewer than 100 points, or so few that no data could fail at this `alpha`.

    Notes
    -----
    *Two samples.* Both together are cut at their medians, along the axes of a random rotation of the scaled space in
    turn (in more than three dimensions first by the distance from the centre), into 64 cells or as many as leave 50
    points of each sample; the cuts do not know which sample a point is of. The two-sample chi-square of the counts is
    compared with the noncentral chi-square law with noncentrality 2 n m/(n + m) times `tolerance`. Below 200 points
    there are two cells, which see that a law has moved but not that it is wider.

    *Sample and density.* Pearson's chi-square over blocks of cells of equal mass; points beyond the grid belong to its
    outermost cells.

    *Two densities* on one grid. KL(a|b) is at most `tolerance`.

    Examples
    --------
    >>> import numpy as np, relaxsim as rs
    >>> rng = np.random.default_rng(1)
    >>> rs.testing.assert_same_law(rng.standard_normal(5000), rng.standard_normal(5000))
    """
    __tracebackhide__ = True
    alpha, tolerance, random = check_alpha(alpha), check_tolerance(tolerance), generator(rng)
    one, other = law_of(a, "a", time), law_of(b, "b", time)
    if isinstance(one, Points) and isinstance(other, Points):
        _samples(one, other, alpha, tolerance, random)
    elif isinstance(one, Cells) and isinstance(other, Cells):
        _densities(one, other, tolerance)
    elif isinstance(one, Points):
        _against(one, other, alpha, tolerance)  # type: ignore[arg-type]
    else:
        _against(other, one, alpha, tolerance)  # type: ignore[arg-type]


def _samples(one: Points, other: Points, alpha: float, tolerance: float, rng: np.random.Generator) -> None:
    __tracebackhide__ = True
    n, dim = one.x.shape
    if other.x.shape[1] != dim:
        raise ShapeError(f"b: expected points of {dim} coordinates as a has, got {other.x.shape[1]}")
    if np.array_equal(one.x, other.x):
        raise InputError("b: these are the points of a; two independent samples are needed")
    both = np.concatenate([one.x, other.x])
    cells = equal_cells(both, min(MOST_CELLS, int(min(n, len(other.x)) / LEAST_EXPECTED)), rng)
    size = int(cells.max()) + 1
    if size < 2:
        return  # all points of both samples are one point
    counts = np.bincount(cells[:n], minlength=size), np.bincount(cells[n:], minlength=size)
    result = two_sample(counts[0].astype(float), counts[1].astype(float), alpha, tolerance)
    total = (counts[0] + counts[1]).astype(float)
    apart = np.diff(np.minimum(np.concatenate([[0.0], np.cumsum(total)]), n))  # sample a fills the first cells
    most = two_sample(apart, total - apart, alpha, tolerance).statistic
    check_power(most, result, "a, b", f"{n} and {len(other.x)} points in {size} cells", alpha)
    if result.passed:
        return
    effective = n * len(other.x) / (n + len(other.x))
    means = [x.mean(axis=0) for x in (one.x, other.x)]
    errors = np.sqrt(sum(x.var(axis=0, ddof=1) / len(x) for x in (one.x, other.x)))
    with np.errstate(divide="ignore", invalid="ignore"):
        axis = int(np.argmax(np.nan_to_num(np.abs(means[0] - means[1]) / errors)))
    raise CheckFailedError(
        f"assert_same_law: the laws of {one} and {other} differ: chi-square {result.statistic:.1f} over {size} cells, "
        f"expected about {result.freedom + 2 * effective * tolerance:.0f} at most, threshold {result.threshold:.1f} "
        f"(alpha = {alpha:g}, tolerance {tolerance:g} nats; they are about "
        f"{max(0.0, result.statistic - result.freedom) / (2 * effective):.2g} nats apart). Means along axis {axis}: "
        f"{means[0][axis]:.5g} and {means[1][axis]:.5g}, standard error of the difference {errors[axis]:.2g}. "
        "Likely: another drift or noise (T div K missing, the factor 2T), another system, time or start; dt too large: "
        "lower it; points of a sample that are not independent"
    )


def equal_cells(x: FloatArray, most: int, rng: np.random.Generator) -> IntArray:
    """The cell of each point (n, dim), cut at medians in turn along the axes of the rotated scaled space.

    In more than three dimensions the distance from the centre is cut first: one cut an axis tells no widths.
    """
    spread = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if x.shape[1] > 1:
        z = z @ np.linalg.qr(rng.standard_normal((x.shape[1], x.shape[1])))[0]
    if x.shape[1] > 3:
        z = np.column_stack([np.linalg.norm(z, axis=1), z])
    cells = np.zeros(len(x), dtype=np.int64)
    for level in range(int(np.log2(max(most, 1)))):
        along = z[:, level % z.shape[1]]
        upper = np.zeros(len(x), dtype=np.int64)
        for cell in range(int(cells.max()) + 1):
            here = np.flatnonzero(cells == cell)
            if len(here):
                upper[here] = _above_median(along[here])
        cells = 2 * cells + upper
    return np.unique(cells, return_inverse=True)[1].astype(np.int64)


def _above_median(z: FloatArray) -> NDArray[np.bool_]:
    """The upper half, by value so that ties stay together; with more than half of all at the top, these."""
    above = z > np.median(z)
    return np.asarray(above if above.any() else z == z.max())


def _against(points: Points, cells: Cells, alpha: float, tolerance: float) -> None:
    __tracebackhide__ = True
    n, grid = len(points.x), cells.grid
    if points.x.shape[1] != grid.dim:
        raise ShapeError(f"a: expected points of {grid.dim} coordinates as the density has, got {points.x.shape[1]}")
    mass = cells.mass / cells.mass.sum()
    labels = merge_cells(n * mass, bins_of_equal_mass(n, MOST_CELLS))
    expected = n * np.asarray(np.bincount(labels.ravel(), weights=mass.ravel()), dtype=np.float64)
    if len(expected) < 2:
        raise InputError(f"a: {n} particles fill one bin only, or the density lies in one cell")
    counts = np.bincount(labels.ravel()[cell_of(grid.domain.wrap(points.x), grid)], minlength=len(expected)).astype(
        float
    )
    result = one_sample(counts, expected, alpha, tolerance)
    check_power(n * (n / expected.min() - 1), result, "a", f"{n} particles in {len(expected)} bins", alpha)
    if result.passed:
        return
    worst = int(np.argmax((counts - expected) ** 2 / expected))
    here = labels.ravel() == worst
    where = np.average(grid.points[here], axis=0, weights=mass.ravel()[here])
    raise CheckFailedError(
        f"assert_same_law: the laws of {points} and of {cells} differ: chi-square {result.statistic:.1f} over "
        f"{len(expected)} bins, expected about {result.freedom + 2 * n * tolerance:.0f} at most, threshold "
        f"{result.threshold:.1f} (alpha = {alpha:g}, tolerance {tolerance:g} nats). Most off is the bin around "
        f"({', '.join(f'{value:.3g}' for value in where)}): got {counts[worst]:.0f} particles, expected "
        f"{expected[worst]:.1f} with standard error {np.sqrt(expected[worst] * (1 - expected[worst] / n)):.1f}. "
        "Likely: another drift or noise (T div K missing, the factor 2T), another system, time or start; dt or cells "
        "too large: lower them; particles that are not independent"
    )


def _densities(one: Cells, other: Cells, tolerance: float) -> None:
    __tracebackhide__ = True
    if one.grid.shape != other.grid.shape or not np.allclose(one.grid.bounds, other.grid.bounds, rtol=1e-12):
        raise InputError("b: expected a density on the grid of a; evolve both on the same cells")
    with np.errstate(divide="ignore"):
        kl = float(np.asarray(kl_divergence(one.mass, np.log(other.mass))))
    if not kl <= tolerance:
        worst = int(np.argmax(np.abs(one.mass - other.mass)))
        raise CheckFailedError(
            f"assert_same_law: {one} and {other} differ: KL = {kl:.4g}, expected at most {tolerance:g} (exact, no "
            f"standard error). Most off is the cell around {one.grid.points[worst]}: masses "
            f"{one.mass.ravel()[worst]:.4g} and {other.mass.ravel()[worst]:.4g}. Likely: another system, time or "
            "start; cells or steps too large"
        )
