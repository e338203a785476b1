"""Pearson's chi-square of counts, with the distance from the expected law that is forgiven."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ChiSquare:
    """A chi-square test.

    Attributes
    ----------
    statistic, threshold : float
        Of right laws a share alpha lies above the threshold.
    freedom : int
        Degrees of freedom.
    """

    statistic: float
    threshold: float
    freedom: int

    @property
    def passed(self) -> bool:
        """Whether the statistic stays within the threshold."""
        return self.statistic <= self.threshold


def judge(statistic: float, freedom: int, alpha: float, points: float, tolerance: float = 0.0) -> ChiSquare:
    """Compare a statistic of so many points with the quantile 1 - alpha.

    Laws whose KL is at most `tolerance` nats give at most a noncentral chi-square with noncentrality 2 n `tolerance`:
    KL is half of the chi-square distance to leading order.
    """
    if tolerance > 0.0:
        from scipy.stats import ncx2

        return ChiSquare(statistic, float(ncx2.isf(alpha, freedom, 2.0 * points * tolerance)), freedom)
    from scipy.special import chdtri

    return ChiSquare(statistic, float(chdtri(freedom, alpha)), freedom)


def one_sample(counts: FloatArray, expected: FloatArray, alpha: float, tolerance: float = 0.0) -> ChiSquare:
    """Test counts of independent points in bins against the numbers that a law expects, which have the same sum."""
    statistic = float(np.sum((counts - expected) ** 2 / expected))
    return judge(statistic, len(counts) - 1, alpha, float(expected.sum()), tolerance)


def two_sample(one: FloatArray, other: FloatArray, alpha: float, tolerance: float = 0.0) -> ChiSquare:
    """Test whether the counts of two independent samples in the same bins, none empty in both, are of one law."""
    n, m = float(one.sum()), float(other.sum())
    statistic = float(np.sum((np.sqrt(m / n) * one - np.sqrt(n / m) * other) ** 2 / (one + other)))
    return judge(statistic, len(one) - 1, alpha, n * m / (n + m), tolerance)


def pool(counts: FloatArray, expected: FloatArray, least: float) -> tuple[FloatArray, FloatArray]:
    """Put the emptiest bins together until each expects `least` points."""
    order = np.argsort(expected)
    running = np.cumsum(expected[order])
    few = int(np.searchsorted(expected[order], least))  # bins that expect too little on their own
    if few == 0:
        return counts, expected
    last = max(few, int(np.searchsorted(running, least)) + 1)
    merged, kept = order[:last], order[last:]
    return (
        np.append(counts[kept], counts[merged].sum()),
        np.append(expected[kept], expected[merged].sum()),
    )
