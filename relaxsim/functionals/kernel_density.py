"""Entropy from a kernel density that leaves out the point it is taken at: a control for the other estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.estimate import Parts
from relaxsim.functionals.samples import Space, Whitened

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

KERNEL_SAMPLES = 4000  # the cost grows with the square of the number
_CHUNK = 1 << 22  # pairs at a time


def bandwidth(n: int, dim: int) -> float:
    """0.9 times Silverman's rule for points of unit covariance (Density Estimation, 1986, section 4.3.2).

    The rule is the best for a normal law, and smooths the wells of others away.
    """
    return 0.9 * float((4.0 / ((dim + 2.0) * n)) ** (1.0 / (dim + 4.0)))


def leave_one_out(z: FloatArray, groups: int = 1, label: IntArray | None = None) -> tuple[float, FloatArray]:
    """-mean ln p_i(z_i), p_i the density of all other points with Gaussian kernels; and the same without each group.

    Cost O(n^2); the bias is positive, of order n^(-4/(d + 4)) (Hall and Morton, Ann. Inst. Stat. Math. 45 (1993) 69).
    Point i is of group i mod groups, or of group label[i].
    """
    n, dim = z.shape
    h = bandwidth(n, dim)
    label = np.arange(n) % groups if label is None else label
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
    """Differential entropy by `leave_one_out` on whitened points, extrapolated in their number.

    A bias c n^-g is (H(n/2) - H(n))/(2^g - 1), which is taken off. Half of it, or the larger bias that n/4 points
    tell of, stays as the bound.
    """
    white = Whitened.of(x, space)
    n, dim = x.shape
    label = np.arange(n) % groups
    whole, whole_left = leave_one_out(white.points, groups)
    half, half_left = _mean_of_shares(white.points, label, groups, 2)
    quarter, _ = _mean_of_shares(white.points, label, groups, 4)
    # Beside a wall half of the kernel sticks out: the bias is then of the order of the bandwidth.
    growth = 2.0 ** ((1.0 if space.walls else 4.0) / (dim + 4.0))
    bias, earlier = (half - whole) / (growth - 1.0), (quarter - half) / growth / (growth - 1.0)
    left_out = whole_left - (half_left - whole_left) / (growth - 1.0)
    bound = max(0.5 * abs(bias), abs(earlier - bias))
    value = whole - bias + white.log_volume
    return Parts(value, left_out + white.log_volume, bound, "kernel density")


def _mean_of_shares(z: FloatArray, label: IntArray, groups: int, shares: int) -> tuple[float, FloatArray]:
    """Mean of the estimates on so many shares of the points, and the same without each group of all points.

    Each share has points of every group, so that leaving one out changes all shares alike.
    """
    share = np.arange(len(z)) // min(groups, len(z) // 16) % shares
    found = [leave_one_out(z[share == r], groups, label[share == r]) for r in range(shares)]
    return float(np.mean([value for value, _ in found])), np.mean([left_out for _, left_out in found], axis=0)
