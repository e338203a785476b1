"""Factorised matrices I - tau G, kept while they are of use."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.density.chessboard import Colours, colours
from relaxsim.errors import InputError

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

_WORTH_COLOURING = 10_000  # cells
_CACHED_FACTORS = 6
_CACHED_ENTRIES = 60_000_000  # numbers held in factors, about 0.7 GB with their indices
_LARGEST = 1_500_000_000  # numbers a factor may be expected to have before it is refused


def factorised(generator: Any, tau: complex, grid: Grid | None = None) -> Any:
    """Factors of I - tau G, with a method `solve` for vectors and their number of entries `nnz`.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G; columns sum to zero.
    tau : float or complex
        With a positive real part.
    grid : Grid, optional
        Whose cells the first rows stand for: large matrices are factorised faster with it.
    """
    from scipy import sparse

    generator = generator.tocsr()
    matrix = sparse.eye_array(generator.shape[0], format="csr") - tau * generator
    found = None if grid is None or grid.n_cells < _WORTH_COLOURING else colours(generator, grid)
    return sparse_lu(matrix) if found is None else Halved(matrix, found)


def sparse_lu(matrix: Any, ordered: bool = False) -> Any:
    """LU factors of a sparse matrix that is diagonally dominant by column, `scipy.sparse.linalg.SuperLU`.

    Such a matrix needs no pivoting, and a symmetric ordering fills in least, if its rows are not `ordered` as they are.
    Narrow panels serve factors as sparse as those of a grid.
    """
    from scipy.sparse.linalg import splu

    matrix = matrix.tocsc()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    ordering, options = "NATURAL" if ordered else "MMD_AT_PLUS_A", {"SymmetricMode": True}
    return splu(matrix, ordering, diag_pivot_thresh=0.0, relax=12, panel_size=2, options=options)


class Halved:
    """Factors of a matrix M with red cells, which have no links among themselves, and black ones.

    (M_bb - M_br M_rr^-1 M_rb) x_b = y_b - M_br M_rr^-1 y_r, where M_rr is diagonal. The matrix in brackets is
    diagonally dominant by column where M is.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, n)
    cells : Colours
    """

    def __init__(self, matrix: Any, cells: Colours) -> None:
        from scipy import sparse

        self._cells, self._diagonal = cells, matrix.diagonal()[cells.red]
        reds, blacks = matrix[cells.red], matrix[cells.black]
        self._pull, self._push = reds[:, cells.black], blacks[:, cells.red]
        through = self._push @ (sparse.diags_array(1.0 / self._diagonal) @ self._pull)
        self._factor = sparse_lu(blacks[:, cells.black] - through, cells.ordered)
        self.nnz = int(self._factor.nnz)

    def solve(self, y: NDArray[Any]) -> NDArray[Any]:
        """x of M x = y, shape (n,)."""
        red, black = self._cells.red, self._cells.black
        found = self._factor.solve(y[black] - self._push @ (y[red] / self._diagonal))
        x = np.empty(y.shape, dtype=found.dtype)  # complex for a complex M and a real y
        x[black], x[red] = found, (y[red] - self._pull @ found) / self._diagonal
        return x


def expected_fill(shape: tuple[int, ...]) -> float:
    """About how many numbers the factors of a grid's matrix have."""
    n = float(math.prod(shape))
    wide = sum(length > 1 for length in shape)
    if wide <= 1:
        return 4.0 * n
    return 2.5 * n * math.log2(max(n, 2.0)) if wide == 2 else 9.0 * n ** (4.0 / 3.0)


def check_fill(shape: tuple[int, ...]) -> None:
    """Refuse to factorise what will not fit into memory.

    Raises
    ------
    InputError
        The factors are expected to have more than 1.5e9 numbers.
    """
    fill = expected_fill(shape)
    if fill > _LARGEST:
        raise InputError(
            f"method: the factors of a matrix on {' x '.join(map(str, shape))} cells would take about "
            f"{fill * 12 / 2**30:.0f} GB; use method='chebyshev', which keeps vectors only, or fewer cells"
        )


class Factors:
    """The factors of recent step sizes of one generator."""

    def __init__(self, generator: Any, grid: Grid | None = None) -> None:
        self._generator, self._grid = generator.tocsr(), grid
        self._kept: OrderedDict[complex, Any] = OrderedDict()
        self.made = 0

    def __call__(self, tau: complex) -> Any:
        """Factors of I - tau G."""
        if tau in self._kept:
            self._kept.move_to_end(tau)
            return self._kept[tau]
        factor = factorised(self._generator, tau, self._grid)
        self.made += 1
        self._kept[tau] = factor
        while len(self._kept) > _CACHED_FACTORS or (
            len(self._kept) > 2 and sum(f.nnz for f in self._kept.values()) > _CACHED_ENTRIES
        ):
            self._kept.popitem(last=False)
        return factor
