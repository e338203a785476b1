"""Entropy from a kernel density that leaves out the point it is taken at: a control for the other estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.estimate import Parts, trend_bound
from relaxsim.functionals.samples import Space, Whitened

FloatArray = NDArray[np.float64]

KERNEL_SAMPLES = 4000  # the cost grows with the square of the number
_CHUNK = 1 << 22  # pairs at a time


def bandwidth(n: int, dim: int) -> float:
    """Silverman's rule for points of unit covariance (Density Estimation, 1986, section 4.3.2)."""
    return float((4.0 / ((dim + 2.0) * n)) ** (1.0 / (dim + 4.0)))


def leave_one_out(z: FloatArray, groups: int = 1) -> tuple[float, FloatArray]:
    """-mean ln p_i(z_i), p_i the density of all other points with Gaussian kernels; and the same without each group.

    Cost O(n^2); the bias is positive, of order n^(-4/(d + 4)) (Hall and Morton, Ann. Inst. Stat. Math. 45 (1993) 69).
    """
    n, dim = z.shape
    h = bandwidth(n, dim)
    label = np.arange(n) % groups
    member = (label[:, None] == np.arange(groups)).astype(np.float64)
    sums = np.empty((n, groups))
    scaled = z / h
    square = np.einsum("na,na->n", scaled, scaled)
    rows = max(1, _CHUNK // n)
    for start in range(0, n, rows):
        stop = min(n, start + rows)
        distance = square[start:stop, None] + square - 2.0 * scaled[start:stop] @ scaled.T
        kernel = np.exp(-0.5 * np.maximum(distance, 0.0))
        kernel[np.arange(stop - start), np.arange(start, stop)] = 0.0
        sums[start:stop] = kernel @ member
    log_norm = 0.5 * dim * math.log(2.0 * math.pi) + dim * math.log(h)
    total = sums.sum(axis=1)

    def value(kernel_sum: FloatArray) -> float:
        # A point out of reach of every other has the density of one kernel's edge, not none.
        return float(log_norm + math.log(kernel_sum.size - 1) - np.mean(np.log(np.maximum(kernel_sum, 1e-300))))

    left_out = []
    if groups > 1:
        for r in range(groups):
            rest = label != r
            left_out.append(value(total[rest] - sums[rest, r]))
    return value(total), np.array(left_out)


def kernel_entropy(x: FloatArray, space: Space, groups: int) -> Parts:
    """Differential entropy by `leave_one_out` on whitened points."""
    white = Whitened.of(x, space)
    raw, left_out = leave_one_out(white.points, groups)

    def of_share(share: int) -> float:
        return float(np.mean([leave_one_out(white.points[r::share])[0] for r in range(share)]))

    # Beside a wall half of the kernel sticks out: the bias is then of the order of the bandwidth.
    exponent = (1.0 if space.walls else 4.0) / (x.shape[1] + 4.0)
    bound = trend_bound(raw, of_share, exponent)
    return Parts(raw + white.log_volume, left_out + white.log_volume, bound, "kernel density")
