"""The product of a square matrix with a block of particles, for kernels.

Every entry is summed over the columns of the matrix in their order, whatever the tile that it lies in: a particle's
bits do not depend on where in a block it stands.
"""

from __future__ import annotations

import math

import numpy as np

from relaxsim.particles.random import BLOCK

ROWS, VECTORS = 8, 2  # of a tile: its sums stay in registers while the columns of the matrix go by


def product(matrix: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Write ``matrix @ x`` to `out`; `matrix` is flat, `x` and `out` are flat arrays of rows of 128."""
    dim = math.isqrt(matrix.size)
    out[:] = (matrix.reshape(dim, dim) @ x.reshape(dim, BLOCK)).reshape(-1)
