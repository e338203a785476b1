"""Integer offsets on a grid: Selling's split of symmetric tensors in two and three dimensions.

A symmetric positive definite S in units of cells (S_ab / (h_a h_b)) is a sum of nonnegative multiples of v v^T with
integer vectors v: three of them in two dimensions, six in three. Jumps along these v then have the tensor's diffusion
and nonnegative rates, whatever the anisotropy; the price is that v grows with it.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.system.validate import FloatArray

IntArray = NDArray[np.int32] | NDArray[np.int64]

_MAX_REDUCTIONS = 5_000  # about one for each cell of the widest offset: more than a grid is wide
_BLOCK = 1 << 15  # matrices split at a time
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


def selling(tensors: FloatArray) -> tuple[FloatArray, IntArray]:
    """Split symmetric positive definite matrices into nonnegative multiples of integer v v^T, all at once.

    Parameters
    ----------
    tensors : ndarray, shape (..., d, d), d = 1, 2 or 3
        S in units of cells. Diagonal ones may be singular.

    Returns
    -------
    weights : ndarray, shape (..., k), k = d (d + 1) / 2
        lambda_v >= 0.
    offsets : ndarray of int, shape (..., k, d)
        v, one of each pair of opposite vectors; sum lambda_v v v^T = S.

    Raises
    ------
    InputError
        A tensor that is close to singular.

    Notes
    -----
    Selling (1874): make all products of a superbase b_0, ..., b_d (whole vectors that add up to zero) nonpositive,
    b_i . S b_j <= 0; then lambda = -b_i . S b_j belongs to v that is orthogonal to the others: b_k turned by a right
    angle in two dimensions, b_k x b_l in three. See Fehrenbach and Mirebeau, J. Math. Imaging Vision 49 (2014) 123,
    and Conway and Sloane, Proc. R. Soc. Lond. A 436 (1992) 55.
    """
    dim = tensors.shape[-1]
    if dim == 1:
        return tensors[..., 0].copy(), np.ones((*tensors.shape[:-2], 1, 1), dtype=np.int32)
    flat, shape = tensors.reshape(-1, dim, dim), tensors.shape[:-2]
    count = dim * (dim + 1) // 2
    weights, offsets = np.empty((len(flat), count)), np.empty((len(flat), count, dim), dtype=np.int32)
    for start in range(0, len(flat), _BLOCK):
        part = slice(start, start + _BLOCK)
        weights[part], offsets[part] = _split(np.ascontiguousarray(flat[part]))
    return weights.reshape(*shape, count), offsets.reshape(*shape, count, dim)


def _split(tensors: FloatArray) -> tuple[FloatArray, IntArray]:
    dim = tensors.shape[-1]
    base = _obtuse(tensors)
    pairs = list(combinations(range(dim + 1), 2))
    weights = np.maximum(-_products(tensors, base, pairs), 0.0)
    if dim == 2:
        others = base[:, [3 - i - j for i, j in pairs]]
        return weights, _upper(np.stack([-others[..., 1], others[..., 0]], axis=-1))
    rest = [[k for k in range(4) if k not in pair] for pair in pairs]
    return weights, _upper(np.cross(base[:, [k for k, _ in rest]], base[:, [l for _, l in rest]]))


def _obtuse(tensors: FloatArray) -> IntArray:
    """Superbases (n, d + 1, d) whose products b_i . S b_j are nonpositive up to rounding."""
    n, dim = tensors.shape[:2]
    pairs = list(combinations(range(dim + 1), 2))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    start = np.vstack([np.eye(dim, dtype=np.int64), -np.ones((1, dim), dtype=np.int64)])
    base = np.tile(start, (n, 1, 1))
    size = np.trace(tensors, axis1=1, axis2=2)
    active = np.arange(n)
    for _ in range(_MAX_REDUCTIONS):
        b = base[active]
        products = _products(tensors[active], b, pairs)
        # Products of the size of rounding count as zero, or the loop would chase its own noise.
        length = np.sqrt(np.sum(b * b, axis=-1, dtype=np.float64))
        products -= _ROUNDING * size[active, None] * length[:, first] * length[:, second]
        worst = np.argmax(products, axis=1)
        open_ = products[np.arange(len(active)), worst] > 0
        active, worst = active[open_], worst[open_]
        if not len(active):
            return base
        i, j = first[worst], second[worst]
        turned, kept = base[active, i], base[active, j]
        if dim == 2:
            base[active, 3 - i - j] = turned - kept
        else:
            rows = np.arange(len(active))
            other = b[open_] + turned[:, None]
            other[rows, i], other[rows, j] = -turned, kept
            base[active] = other
        base[active, i] = -turned
    raise InputError(
        f"grid: the mobility in units of its cells, {tensors[active[0]].tolist()}, is too close to singular to be "
        "split into jumps; use a milder anisotropy, or cells of another aspect ratio"
    )


def _products(tensors: FloatArray, base: IntArray, pairs: list[tuple[int, int]]) -> FloatArray:
    """b_i . S b_j for all pairs, shape (n, len(pairs))."""
    axes, real = range(base.shape[-1]), base.astype(np.float64)
    # By components: einsum is slow on matrices this small.
    images: list[Any] = [sum(tensors[:, a, b, None] * real[..., b] for b in axes) for a in axes]
    products: list[Any] = [sum(real[:, i, a] * images[a][:, j] for a in axes) for i, j in pairs]
    return np.stack(products, axis=-1)


def _upper(offsets: NDArray[Any]) -> IntArray:
    """The one of v and -v whose first entry that is not zero is positive."""
    sign = np.zeros(offsets.shape[:-1], dtype=offsets.dtype)
    for axis in range(offsets.shape[-1]):
        sign = np.where(sign == 0, np.sign(offsets[..., axis]), sign)
    return np.asarray(offsets * sign[..., None], dtype=np.int32)
