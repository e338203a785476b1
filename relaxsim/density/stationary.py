"""The law at rest: the Gibbs masses where an energy is known, else the solution of G p = 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.solve import sparse_lu
from relaxsim.density.stencil import IntArray
from relaxsim.errors import ConvergenceError, InputError
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

REST = 1e-10  # of what leaves a cell: the imbalance at which a law still counts as one at rest
_SHIFT = 1e-9  # of the fastest rate, where inverse iteration starts
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Density:
    """One law on the cells of a grid.

    Attributes
    ----------
    mass : ndarray, shape grid.shape
        Probability of each cell.
    density : ndarray, shape grid.shape
        Mass over cell volume.
    """

    mass: FloatArray
    density: FloatArray

    def __repr__(self) -> str:
        return f"Density(shape={self.mass.shape}, highest density {self.density.max():.4g})"


def imbalance(generator: Any, mass: FloatArray) -> float:
    """The largest |G p|_i in units of what leaves cell i, |G_ii| p_i; cells whose masses underflow are left out."""
    p = mass.ravel()
    flow = np.abs(np.asarray(generator @ p))
    leaving = -np.asarray(generator.diagonal()) * p
    looked = leaving > 1e-280
    return float(np.max(flow[looked] / leaving[looked], initial=0.0))


def check_rest(generator: Any, mass: FloatArray) -> None:
    """Raise unless a law is at rest.

    Raises
    ------
    ConvergenceError
        Some cell gains or loses more than rounding explains.
    """
    worst = imbalance(generator, mass)
    if not worst <= REST:
        raise ConvergenceError(
            f"stationary: in some cell gain and loss differ by {worst:.2e} of the loss, expected less than {REST:g}; "
            "the rates of this grid span too many orders of magnitude: use more cells or a higher temperature"
        )


def solve_rest(generator: Any) -> FloatArray:
    """The law p >= 0, sum p = 1, with G p = 0, by inverse iteration; flat, shape (n_cells,).

    (s - G)^-1 is positive for every s > 0, so every iterate is a law and none can turn negative; the error falls by
    s/(s + gap) a round.

    Raises
    ------
    InputError
        Several laws are at rest, for some cells cannot be left for others.
    ConvergenceError
        No law was found: the slowest rate is below what double precision resolves.
    """
    from scipy import sparse

    stays = _closed_class(generator)
    inner = generator.tocsr()[stays][:, stays]
    n = len(stays)
    fastest = float(np.max(-inner.diagonal(), initial=0.0))
    p, worst = np.full(n, 1.0 / n), np.inf if n > 1 else 0.0
    for shift in (_SHIFT, 1e-3 * _SHIFT, 1e-5 * _SHIFT):
        if worst <= 0.01 * REST:
            break
        factor = sparse_lu(shift * fastest * sparse.eye_array(n) - inner)
        for _ in range(_ROUNDS):
            before = p
            p = np.maximum(factor.solve(p), 0.0)
            p /= p.sum()
            worst = imbalance(inner, p)
            # Light cells come last: their error falls by the same factor a round, to masses that fall far below it.
            if worst <= 0.01 * REST or np.all(np.abs(p - before) <= 1e-14 * p):
                break
    if not worst <= REST:
        raise ConvergenceError(
            f"stationary: inverse iteration stopped where gain and loss of a cell differ by {worst:.2e} of the loss; "
            f"the slowest rate is too far below the fastest, {fastest:.2e}. Use fewer cells or a smoother drift"
        )
    whole = np.zeros(generator.shape[0])
    whole[stays] = p
    return whole


def log_rest(generator: Any, grid: Grid) -> tuple[FloatArray, float]:
    """ln of the law at rest, shape grid.shape, and 0 for the partition function that there is not.

    Cells that are empty at rest get 1e-300, so that relative entropies to it are finite.
    """
    return np.log(np.maximum(solve_rest(generator), 1e-300)).reshape(grid.shape), 0.0


def _closed_class(generator: Any) -> IntArray:
    """The cells that are never left for others; more than one set of them has more than one law at rest."""
    from scipy.sparse.csgraph import connected_components

    jumps = generator.T.tocsr()  # entry (i, j): the rate i -> j
    count, label = connected_components(jumps, directed=True, connection="strong")
    entries = jumps.tocoo()
    leaving = (entries.data > 0) & (label[entries.row] != label[entries.col])
    closed = np.setdiff1d(np.arange(count), label[entries.row[leaving]])
    if len(closed) > 1:
        raise InputError(
            f"stationary: {len(closed)} sets of cells cannot be left once entered, so there is no single law at rest; "
            "join them (noise that vanishes? forbidden cells?) or treat each on a grid of its own"
        )
    return np.flatnonzero(label == closed[0])
