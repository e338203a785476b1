"""Factorised matrices I - tau G, kept while they are of use.

Where jumps lead between cells of two colours only, as on a chessboard, one colour is eliminated by a division: what is
left has half the size and its factors take two thirds of the time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError

_WORTH_HALVING = 10_000  # cells
_ENOUGH = 0.4  # share of red cells
_CACHED_FACTORS = 6
_CACHED_ENTRIES = 60_000_000  # numbers held in factors, about 0.7 GB with their indices
_LARGEST = 2_000_000_000  # numbers a factor may be expected to have before it is refused


def factorised(generator: Any, tau: complex) -> Any:
    """Factors of I - tau G, with a method `solve` for vectors and their number of entries `nnz`.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G; columns sum to zero.
    tau : float or complex
        With a positive real part.
    """
    from scipy import sparse

    generator = generator.tocsr()
    matrix = sparse.eye_array(generator.shape[0], format="csr") - tau * generator
    if matrix.shape[0] < _WORTH_HALVING:
        return sparse_lu(matrix)
    red = _red(generator)
    return sparse_lu(matrix) if red.mean() < _ENOUGH else Halved(matrix, red)


def sparse_lu(matrix: Any) -> Any:
    """LU factors of a sparse matrix that is diagonally dominant by column, `scipy.sparse.linalg.SuperLU`.

    Such a matrix needs no pivoting, and a symmetric ordering fills in least. Narrow panels serve factors as sparse as
    those of a grid.
    """
    from scipy.sparse.linalg import splu

    matrix = matrix.tocsc()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    options = {"SymmetricMode": True}
    return splu(matrix, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, relax=12, panel_size=2, options=options)


class Halved:
    """Factors of a matrix M with cells, the red ones, that have no links among themselves.

    With black ones b and red ones r, (M_bb - M_br M_rr^-1 M_rb) x_b = y_b - M_br M_rr^-1 y_r, where M_rr is diagonal.
    The matrix in brackets is diagonally dominant by column where M is.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, n)
    red : ndarray of bool, shape (n,)
    """

    def __init__(self, matrix: Any, red: NDArray[np.bool_]) -> None:
        from scipy import sparse

        self._red, self._black = np.flatnonzero(red), np.flatnonzero(~red)
        reds, blacks = matrix[self._red], matrix[self._black]
        self._diagonal = matrix.diagonal()[self._red]
        self._pull, self._push = reds[:, self._black], blacks[:, self._red]
        through = self._push @ (sparse.diags_array(1.0 / self._diagonal) @ self._pull)
        self._factor = sparse_lu(blacks[:, self._black] - through)
        self.nnz = int(self._factor.nnz)

    def solve(self, y: NDArray[Any]) -> NDArray[Any]:
        """x of M x = y, shape (n,)."""
        black = self._factor.solve(y[self._black] - self._push @ (y[self._red] / self._diagonal))
        x = np.empty(y.shape, dtype=black.dtype)  # complex for a complex M and a real y
        x[self._black], x[self._red] = black, (y[self._red] - self._pull @ black) / self._diagonal
        return x


def _red(generator: Any) -> NDArray[np.bool_]:
    """Cells an odd number of jumps away from a busy one, without those that are linked to another of them."""
    from scipy.sparse.csgraph import breadth_first_order

    start = int(np.argmax(-generator.diagonal()))
    order, nearer = breadth_first_order(generator, start, directed=False)
    red = np.zeros(nearer.size, dtype=bool)
    red[order[1:]] = True
    nearer[~red] = start
    while np.any(nearer != start):  # the parity of the way to a cell ever nearer to the start
        red ^= red[nearer]
        nearer = nearer[nearer]
    links = generator.tocoo()
    red[links.col[red[links.row] & red[links.col] & (links.row != links.col)]] = False
    return red


def expected_fill(shape: tuple[int, ...]) -> float:
    """About how many numbers the factors of a grid's matrix have."""
    n = float(math.prod(shape))
    wide = sum(length > 1 for length in shape)
    if wide <= 1:
        return 6.0 * n
    return 3.3 * n * math.log2(max(n, 2.0)) if wide == 2 else 12.0 * n ** (4.0 / 3.0)


def check_fill(shape: tuple[int, ...]) -> None:
    """Refuse to factorise what will not fit into memory.

    Raises
    ------
    InputError
        The factors are expected to have more than 2e9 numbers.
    """
    fill = expected_fill(shape)
    if fill > _LARGEST:
        raise InputError(
            f"method: the factors of a matrix on {' x '.join(map(str, shape))} cells would take about "
            f"{fill * 12 / 2**30:.0f} GB; use method='chebyshev', which keeps vectors only, or fewer cells"
        )


class Factors:
    """The factors of recent step sizes of one generator."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator.tocsc()
        self._kept: OrderedDict[complex, Any] = OrderedDict()
        self.made = 0

    def __call__(self, tau: complex) -> Any:
        """Factors of I - tau G."""
        if tau in self._kept:
            self._kept.move_to_end(tau)
            return self._kept[tau]
        factor = factorised(self._generator, tau)
        self.made += 1
        self._kept[tau] = factor
        while len(self._kept) > _CACHED_FACTORS or (
            len(self._kept) > 2 and sum(f.nnz for f in self._kept.values()) > _CACHED_ENTRIES
        ):
            self._kept.popitem(last=False)
        return factor
