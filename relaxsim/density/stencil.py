"""Integer offsets on a grid: Selling's split of a 2-D tensor, its wall edges, pairs of neighbours.

A symmetric positive definite S in units of cells (S_ab / (h_a h_b)) is a sum of at most three nonnegative
multiples of v v^T with integer vectors v. Jumps along these v then have the tensor's diffusion and
nonnegative rates, whatever the anisotropy; the price is that v grows with it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.system.validate import FloatArray

IntArray = NDArray[np.int64]

_MAX_REDUCTIONS = 10_000  # about one for each cell of the widest offset: more than a 2-D grid is wide


def selling(tensor: FloatArray) -> tuple[FloatArray, IntArray]:
    """Split a symmetric positive definite 2 x 2 matrix into nonnegative multiples of integer v v^T.

    Parameters
    ----------
    tensor : ndarray, shape (2, 2)
        S in units of cells.

    Returns
    -------
    weights : ndarray, shape (3,)
        lambda_v >= 0.
    offsets : ndarray of int, shape (3, 2)
        v, one of each pair of opposite vectors; sum lambda_v v v^T = S.

    Raises
    ------
    InputError
        A tensor that is close to singular.

    Notes
    -----
    Selling (1874): make all products of a superbase (b0, b1, b2), b0 + b1 + b2 = 0, nonpositive,
    b_i . S b_j <= 0; then lambda_k = -b_i . S b_j belongs to v = b_k turned by a right angle. See Fehrenbach
    and Mirebeau, J. Math. Imaging Vision 49 (2014) 123.
    """
    s00, s01, s11 = float(tensor[0, 0]), float(tensor[0, 1]), float(tensor[1, 1])

    def product(u: tuple[int, int], w: tuple[int, int]) -> float:
        return u[0] * (s00 * w[0] + s01 * w[1]) + u[1] * (s01 * w[0] + s11 * w[1])

    base = [(1, 0), (0, 1), (-1, -1)]
    # Products of the size of rounding count as zero, or the loop would chase its own noise.
    tolerance = 1e-14 * (s00 + s11)
    for _ in range(_MAX_REDUCTIONS):
        obtuse = [(i, j, 3 - i - j) for i, j in ((0, 1), (1, 2), (2, 0)) if product(base[i], base[j]) > tolerance]
        if not obtuse:
            break
        i, j, k = obtuse[0]
        (u0, u1), (w0, w1) = base[i], base[j]
        base[i], base[k] = (-u0, -u1), (u0 - w0, u1 - w1)
    else:
        raise InputError(
            f"grid: the mobility in units of its cells, {tensor.tolist()}, is too close to singular to be split "
            "into jumps; use a milder anisotropy, or cells of another aspect ratio"
        )
    weights = np.array([max(0.0, -product(base[1], base[2])), max(0.0, -product(base[2], base[0])),
                        max(0.0, -product(base[0], base[1]))])  # fmt: skip
    return weights, np.array([_upper((-b[1], b[0])) for b in base], dtype=np.int64)


def _upper(v: tuple[int, int]) -> tuple[int, int]:
    """The one of v and -v that points to higher flat indices."""
    return v if v[0] > 0 or (v[0] == 0 and v[1] > 0) else (-v[0], -v[1])


def wall_weight(tensor: FloatArray, weights: FloatArray, offsets: IntArray, normal: int) -> float:
    """Weight of tangential nearest-neighbour edges in the layer of cells at a wall with normal axis `normal`.

    Edges that would cross a reflecting wall are dropped, and with them a strip of the Dirichlet form of width
    |v_n|/2 cells; the sum over v of (1/2) lambda_v |v_n| (v_t - v_n S_tn / S_nn)^2 gives it back and restores
    second order. Zero when S is aligned with the wall.

    Parameters
    ----------
    tensor, weights, offsets : ndarray
        S in units of cells and its split by `selling`.
    normal : {0, 1}
        Axis perpendicular to the wall.

    Returns
    -------
    float
        Weight in the units of `tensor`, zero or positive.
    """
    along = 1 - normal
    slip = offsets[:, along] - offsets[:, normal] * tensor[along, normal] / tensor[normal, normal]
    return float(0.5 * np.sum(weights * np.abs(offsets[:, normal]) * slip**2))


def neighbours(
    shape: tuple[int, ...], periodic: tuple[bool, ...], offset: tuple[int, ...]
) -> tuple[IntArray, IntArray]:
    """Flat indices (C order) of all pairs (i, i + offset): wrapped on periodic axes, dropped at other ends.

    Parameters
    ----------
    shape : tuple of int
        Cells along each axis.
    periodic : tuple of bool
        Which axes wrap.
    offset : tuple of int
        Shorter than the axis on every axis.

    Returns
    -------
    start, end : ndarray of int, shape (n_pairs,)
    """
    index = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    shifted = np.roll(index, tuple(-v for v in offset), axis=tuple(range(len(shape))))
    keep = tuple(
        slice(None) if wraps else slice(max(0, -v), n - max(0, v))
        for n, wraps, v in zip(shape, periodic, offset, strict=True)
    )
    return index[keep].ravel(), shifted[keep].ravel()
