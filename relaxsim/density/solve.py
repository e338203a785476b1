"""Factorised matrices I - tau G, kept while they are of use."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np

from relaxsim.errors import InputError

_CACHED_FACTORS = 6
_CACHED_ENTRIES = 60_000_000  # numbers held in factors, about 0.7 GB with their indices
_LARGEST = 2_000_000_000  # numbers a factor may be expected to have before it is refused


def factorised(generator: Any, tau: complex) -> Any:
    """LU factors of I - tau G, `scipy.sparse.linalg.SuperLU`.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G; columns sum to zero.
    tau : float or complex
        With a positive real part.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    csc = generator.tocsc()
    matrix = (sparse.eye_array(csc.shape[0], format="csc") - tau * csc).tocsc()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    # For real tau the matrix is column diagonally dominant: no pivoting is needed, and a symmetric ordering fills in
    # least.
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


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
