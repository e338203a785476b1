"""Sums over particles that have the same bits however the work is divided.

Particles 256 l ... 256 l + 255 are leaf l. Sums over a leaf and over all leaves follow fixed binary trees, so they do
not depend on threads, on how many leaves are looked at together, or on where a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relaxsim.system.validate import FloatArray

LEAF = 256
PIECE = 1 << 15  # particles that are drawn, reported or looked at together: a power of two of leaves
GROUPS = 24  # groups i mod 24 of the particles, whose spread gives standard errors of accumulated means


def in_leaves(values: FloatArray) -> FloatArray:
    """Numbers of particles (m,) as (n_leaves, 256), the last leaf filled up with zeros."""
    n_leaves = -(-len(values) // LEAF)
    if n_leaves * LEAF == len(values):
        return values.reshape(n_leaves, LEAF)
    filled = np.zeros(n_leaves * LEAF)
    filled[: len(values)] = values
    return filled.reshape(n_leaves, LEAF)


def leaf_sums(values: FloatArray) -> FloatArray:
    """Sums (n_leaves,) of (n_leaves, 256): halves are added to halves."""
    width = LEAF
    while width > 1:
        width //= 2
        values = values[:, :width] + values[:, width:]
    return values[:, 0]


def group_sums(values: FloatArray, first_leaf: int) -> FloatArray:
    """Sums (n_leaves, 24) of values (n_leaves, 256) over the particles of each leaf with i mod 24 = 0 ... 23."""
    n_leaves, rows = len(values), -(-LEAF // GROUPS)
    filled = np.zeros((n_leaves, rows * GROUPS))
    filled[:, :LEAF] = values
    dealt = filled.reshape(n_leaves, rows, GROUPS)
    sums = dealt[:, 0].copy()
    for row in range(1, rows):
        sums += dealt[:, row]
    column = (np.arange(GROUPS) - LEAF * (first_leaf + np.arange(n_leaves))[:, None]) % GROUPS
    return np.take_along_axis(sums, column, axis=1)


def add(one: FloatArray, two: FloatArray) -> FloatArray:
    """The sum of two nodes."""
    return one + two


def tree(nodes: FloatArray, combine: Callable[[FloatArray, FloatArray], FloatArray] = add) -> FloatArray:
    """One node of many (n, ...): neighbours are combined until one is left, an odd last one waits.

    The nodes of 2, 4, 8, ... leaves are the same whether all leaves are given at once or, in a second call, the nodes
    of aligned pieces that hold a power of two of them.
    """
    while len(nodes) > 1:
        even = len(nodes) // 2 * 2
        nodes = np.concatenate([combine(nodes[0:even:2], nodes[1:even:2]), nodes[even:]])
    return np.asarray(nodes[0])


# ---- nodes that hold a weighted mean: rows sum w, mean, sum w^2, sum w^2 (f - mean), sum w^2 (f - mean)^2


def mean_nodes(values: FloatArray, weights: FloatArray | None) -> FloatArray:
    """The nodes (n_leaves, 5) of numbers of particles (m,)."""
    f = in_leaves(values)
    w = in_leaves(np.ones(len(values)) if weights is None else weights)
    total = leaf_sums(w)
    mean = leaf_sums(w * f) / total
    away = w * (f - mean[:, None])
    return np.stack([total, mean, leaf_sums(w * w), leaf_sums(w * away), leaf_sums(away * away)], axis=1)


def combine_means(one: FloatArray, two: FloatArray) -> FloatArray:
    """The node of two sets of particles, (..., 5) each: Chan, Golub & LeVeque's update, with weights.

    References
    ----------
    Chan, Golub, LeVeque, "Algorithms for computing the sample variance", Am. Stat. 37 (1983) 242.
    """
    both = np.empty(np.broadcast_shapes(one.shape, two.shape))
    both[..., 0] = one[..., 0] + two[..., 0]
    both[..., 1] = one[..., 1] + (two[..., 1] - one[..., 1]) * (two[..., 0] / both[..., 0])
    both[..., 2:] = 0.0
    for node in (one, two):
        shift = both[..., 1] - node[..., 1]
        both[..., 2] += node[..., 2]
        both[..., 3] += node[..., 3] - shift * node[..., 2]
        both[..., 4] += node[..., 4] - 2.0 * shift * node[..., 3] + shift**2 * node[..., 2]
    return both


def mean_and_error(node: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Mean and standard error s/sqrt(n) of nodes (..., 5); with weights that of the ratio sum(w f)/sum(w)."""
    if n < 2:
        return node[..., 1], np.full(node.shape[:-1], np.nan)
    return node[..., 1], np.sqrt(node[..., 4] * n / (n - 1.0)) / node[..., 0]
