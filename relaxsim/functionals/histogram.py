"""Entropy and relative entropy from counts in cells, corrected for the number of points and the width of cells."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.bins import merge_cells
from relaxsim.functionals.estimate import Parts
from relaxsim.functionals.samples import Space, Whitened, looks_normal
from relaxsim.functionals.surrogates import corrected, mean_error
from relaxsim.system.validate import as_float_array

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

HISTOGRAM_DIM = 3
CORRECTIONS = ("none", "miller-madow", "psi", "grassberger", "chao-shen")
# Points that a typical cell should hold for 2000 points; more of them with the square root of their number. More make
# cells too wide for the law, fewer leave the bias of counting, which in the tails does not fall with n alone.
_POINTS_A_CELL = {1: 60.0, 2: 20.0, 3: 20.0}
_PAIR_SHAPES = {1: (512,), 2: (96, 96), 3: (32, 32, 32)}
_PAIR_LEAST = {1: 20.0, 2: 6.0, 3: 5.0}  # points of the second ensemble in each bin


def count_entropy(counts: IntArray, correction: str = "miller-madow") -> FloatArray:
    """Entropy of a discrete law (nats) from counts.

    Parameters
    ----------
    counts : ndarray of int, shape (..., m)
        How often each of m outcomes occurred.
    correction : {"miller-madow", "psi", "grassberger", "chao-shen", "none"}
        *miller-madow* adds (occupied - 1)/2n (Miller 1955); *psi* is psi(n) - (1/n) sum n_i psi(n_i) (Grassberger,
        Phys. Lett. A 128 (1988) 369); *grassberger* adds (-1)^n_i/2 (psi((n_i + 1)/2) - psi(n_i/2)) to psi(n_i), which
        has the least bias of these where outcomes are seen once or twice (arXiv:physics/0307138); *chao-shen* weighs
        with the coverage 1 - f1/n, f1 the outcomes seen once (Chao and Shen, Environ. Ecol. Stat. 10 (2003) 429);
        *none* is the plug-in value.

    Returns
    -------
    ndarray, shape (...)
    """
    if correction not in CORRECTIONS:
        raise InputError(f"correction: expected one of {CORRECTIONS}, got {correction!r}")
    n_i = as_float_array(counts, "counts")
    if n_i.ndim == 0:
        raise ShapeError("counts: expected an array (..., m) of how often each outcome occurred, got one number")
    n = n_i.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        if correction in ("psi", "grassberger"):
            return _digamma_entropy(n_i, n[..., 0], alternating=correction == "grassberger")
        p = n_i / n
        if correction == "chao-shen":
            singles = np.count_nonzero(n_i == 1, axis=-1)[..., None]
            p = p * (1.0 - singles / n)
            seen = -np.expm1(n * np.log1p(-p))
            return np.asarray(-np.where(n_i > 0, p * np.log(p) / seen, 0.0).sum(axis=-1))
        plain = -np.where(n_i > 0, p * np.log(p), 0.0).sum(axis=-1)
    if correction == "none":
        return np.asarray(plain)
    return np.asarray(plain + (np.count_nonzero(n_i, axis=-1) - 1) / (2.0 * n[..., 0]))


def _digamma_entropy(n_i: FloatArray, n: FloatArray, alternating: bool) -> FloatArray:
    from scipy.special import digamma

    seen = np.maximum(n_i, 1.0)
    each = digamma(seen)
    if alternating:
        sign = 1.0 - 2.0 * np.mod(seen, 2.0)
        each = each + 0.5 * sign * (digamma((seen + 1.0) / 2.0) - digamma(seen / 2.0))
    whole = np.log(n) if alternating else digamma(n)
    return np.asarray(whole - np.where(n_i > 0, n_i * each, 0.0).sum(axis=-1) / n)


def histogram_entropy(x: FloatArray, space: Space, groups: int) -> Parts:
    """Differential entropy from a histogram in one to three dimensions, see `_extrapolated`.

    In free space points that look normal are corrected by the error on as many normal points: counts in the tails leave
    a bias that the corrections for counting do not take off.
    """
    white = Whitened.of(x, space)
    value, left_out, bound = _extrapolated(white, space, groups)
    found = Parts(value + white.log_volume, left_out + white.log_volume, bound, "histogram")
    return corrected(found, *normal_error(*x.shape)) if space.free and looks_normal(white.points) else found


@lru_cache(maxsize=64)
def normal_error(n: int, dim: int) -> tuple[float, float]:
    """Mean error on standard normal points of this number, and its standard error."""
    repeats = min(64, max(4, 250_000 // n))
    return mean_error(lambda white, space: _extrapolated(white, space, 1)[0], n, dim, repeats)


def _extrapolated(white: Whitened, space: Space, groups: int) -> tuple[float, FloatArray, float]:
    r"""Entropy of whitened points, the same without each group, and a bound of its bias.

    With cells of width h, H(h) = entropy of the counts (Grassberger) + ln of the cell volume. Smoothing by the cells
    raises it by h^2/24 times the integral of \|grad p\|^2/p, which (4 H(h) - H(2h))/3 takes off. On free axes it is the
    mean over two sets of cells, half a cell apart: where the edges happen to lie matters less. The bound of the bias is
    what one more such step would change, and what another correction for the counts (Miller-Madow) would.
    """
    place, width, offsets = _cells(white, space)
    n, dim = place.shape
    label = np.arange(n) % groups
    by_width, smooth, other = np.zeros(3), np.zeros((3, groups)), 0.0
    for k, level in enumerate((1, 2, 4)):
        by_width[k] = math.log(level) * dim
        for offset in offsets:
            index = _number(np.floor(place / level + offset).astype(np.intp))
            m = int(index.max()) + 1
            own = np.bincount(label * m + index, minlength=groups * m).reshape(groups, m)
            counts = own.sum(axis=0)
            found = float(count_entropy(counts, "grassberger"))
            by_width[k] += found / len(offsets)
            if groups > 1:
                smooth[k] += count_entropy(counts - own, "psi") / len(offsets)
            if level == 1:
                other += abs(float(count_entropy(counts)) - found) / len(offsets)
    shift = float(np.log(width).sum())
    value, coarse = (float(4.0 * by_width[k] - by_width[k + 1]) / 3.0 + shift for k in (0, 1))
    # The error of the finer one is a 16th of the coarser's where cells resolve the law; a 4th is allowed.
    bound = abs(value - coarse) / 4.0 + other
    # The alternating sign in Grassberger's correction and the number of occupied cells in Miller's jump when a group is
    # left out, which the jackknife would take for noise; psi does not.
    left_out = (4.0 * smooth[0] - smooth[1]) / 3.0
    return value, value + left_out - left_out.mean(), bound


def _cells(white: Whitened, space: Space) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Places of the points in units of cells (n, dim), widths of the cells (dim,), offsets to try.

    Between two walls is a multiple of four cells, and no offset.
    """
    z = white.points
    n, dim = z.shape
    typical = math.sqrt(2.0 * math.pi * math.e)  # volume an axis that a law of unit variance fills
    h = min(typical * (_POINTS_A_CELL[dim] * math.sqrt(n / 2000.0) / n) ** (1.0 / dim), 1.0)
    width, origin = np.full(dim, h), z.min(axis=0) - 0.5 * h
    for axis in range(dim):
        low, high = space.lower[axis], space.upper[axis]
        if np.isfinite(low) and np.isfinite(high):
            length = (high - low) / white.scale[axis]
            width[axis] = length / (4 * max(1, math.ceil(length / (4.0 * h))))
            origin[axis] = 0.0  # whitened axes with walls begin at the lower one
    free = np.array(
        [not (np.isfinite(low) and np.isfinite(high)) for low, high in zip(space.lower, space.upper, strict=True)]
    )
    offsets = [np.zeros(dim), 0.5 * free] if free.any() else [np.zeros(dim)]
    return np.maximum((z - origin) / width, 0.0), width, offsets


def _number(cell: IntArray) -> IntArray:
    """The occupied ones of cells (n, dim), numbered from zero, shape (n,)."""
    flat = cell[:, 0]
    for axis in range(1, cell.shape[1]):
        _, flat = np.unique(flat, return_inverse=True)
        flat = flat * (int(cell[:, axis].max()) + 1) + cell[:, axis]
    return np.asarray(np.unique(flat, return_inverse=True)[1], dtype=np.intp)


# ------------------------------------------------------------------------------------------------ two ensembles


def histogram_kl(x: FloatArray, y: FloatArray, groups: int) -> Parts:
    """KL of two ensembles on common bins, each holding some points of y (20, 6 or 5 in 1, 2 or 3-D).

    Cells are merged as for `track`. To first order the counts raise sum p ln(p/q) by (m_p - 1)/2n from p and by
    (sum p/q - 1)/2m from q, which is taken off. The KL of laws on bins is less than that of the laws by an order h^2 of
    their width: bins twice as wide tell how much, and (4 KL(h) - KL(2h))/3 takes it off. The bound is all that was
    added for the width and half of what was for the counts.
    """
    least = _PAIR_LEAST[x.shape[1]]
    fine, corrected = _binned_pair(x, y, groups, least)
    coarse, _ = _binned_pair(x, y, groups, least * 2.0 ** x.shape[1])
    found = (4.0 * fine - coarse) / 3.0
    return Parts(float(found[0]), found[1:], float(abs(fine[0] - coarse[0]) / 3.0 + 0.5 * corrected), "histogram")


def _binned_pair(x: FloatArray, y: FloatArray, groups: int, least: float) -> tuple[FloatArray, float]:
    """KL from all points and without each group (groups + 1,), and the size of its correction."""
    shape = _PAIR_SHAPES[x.shape[1]]
    both = np.concatenate([x, y])
    low, high = both.min(axis=0), both.max(axis=0)
    width = np.where(high > low, (high - low) / np.array(shape), 1.0)
    last = np.array(shape) - 1
    cells = [np.minimum((p - low) / width, last).astype(np.intp) for p in (x, y)]
    flat = [np.ravel_multi_index(tuple(c.T), shape) for c in cells]
    crowd = np.bincount(flat[1], minlength=math.prod(shape)).astype(np.float64)
    labels = merge_cells(crowd.reshape(shape), least).ravel()
    m = int(labels.max()) + 1
    counts = []
    for index, p in zip(flat, (x, y), strict=True):
        group = np.arange(len(p)) % groups
        own = np.bincount(group * m + labels[index], minlength=groups * m).reshape(groups, m)
        counts.append(np.concatenate([own.sum(axis=0)[None], own.sum(axis=0) - own]).astype(np.float64))
    n_x, n_y = (c.sum(axis=1) for c in counts)
    p, q = counts[0] / n_x[:, None], np.maximum(counts[1], 0.5) / n_y[:, None]
    plain = (p * np.log(np.where(p > 0, p, 1.0) / q)).sum(axis=1)
    own_bias = (np.count_nonzero(p, axis=1) - 1) / (2.0 * n_x)
    other_bias = ((p / q).sum(axis=1) - 1.0) / (2.0 * n_y)
    return np.asarray(plain - own_bias - other_bias), float(own_bias[0] + other_bias[0])
