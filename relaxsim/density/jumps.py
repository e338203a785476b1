"""The jumps of a generator: from which cell to which, how fast, and how far apart the two lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.stencil import IntArray
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Jumps:
    """Jumps between cells, one entry for each direction of each pair that has a positive rate.

    Attributes
    ----------
    n_cells : int
    start, end : ndarray of int, shape (n_jumps,)
    rate : ndarray, shape (n_jumps,)
        Of the jump start -> end.
    back : ndarray, shape (n_jumps,)
        Of the jump end -> start, zero where there is none.
    """

    n_cells: int
    start: IntArray
    end: IntArray
    rate: FloatArray
    back: FloatArray

    @classmethod
    def of(cls, generator: Any) -> Jumps:
        """The positive entries off the diagonal of a generator G, dp/dt = G p."""
        entries = generator.tocoo()
        end, start = (np.asarray(index, dtype=np.int64) for index in (entries.row, entries.col))
        used = (start != end) & (entries.data > 0)
        start, end, rate = start[used], end[used], np.asarray(entries.data[used], dtype=np.float64)
        n = int(generator.shape[0])
        order = np.argsort(start * n + end)
        start, end, rate = start[order], end[order], rate[order]
        keys, reverse = start * n + end, end * n + start
        place = np.minimum(np.searchsorted(keys, reverse), max(len(keys) - 1, 0))
        back = np.where(keys[place] == reverse, rate[place], 0.0) if len(keys) else rate
        return cls(n, start, end, rate, back)

    def at_start(self, values: FloatArray) -> FloatArray:
        """Sums (n_cells,) of values (n_jumps,) over the jumps that leave each cell."""
        return np.bincount(self.start, weights=values, minlength=self.n_cells).astype(np.float64)

    def gains(self) -> FloatArray:
        """ln(back / rate), the gain of E/T along a jump in detailed balance; zero where there is no way back."""
        with np.errstate(divide="ignore"):
            ratio = np.log(self.back) - np.log(self.rate)
        return np.where(np.isfinite(ratio), ratio, 0.0)


def displacements(grid: Grid, jumps: Jumps) -> tuple[FloatArray, BoolArray]:
    """Vectors from the start to the end of each jump, and which jumps go around a periodic axis.

    Around a periodic axis the shorter way is taken; a jump over exactly half the axis counts as no displacement, for
    both ways are as long.

    Returns
    -------
    vectors : ndarray, shape (n_jumps, dim)
        In units of the coordinates.
    wrapped : ndarray of bool, shape (n_jumps,)
    """
    steps = np.stack(np.unravel_index(jumps.end, grid.shape), axis=-1).astype(np.int64)
    steps -= np.stack(np.unravel_index(jumps.start, grid.shape), axis=-1)
    wrapped = np.zeros(len(steps), dtype=bool)
    for axis, n in enumerate(grid.shape):
        if grid.periodic[axis]:
            direct = steps[:, axis].copy()
            steps[:, axis] = (direct + n // 2) % n - n // 2
            wrapped |= steps[:, axis] != direct
            steps[2 * np.abs(direct) == n, axis] = 0
    return steps * grid.spacing, wrapped
