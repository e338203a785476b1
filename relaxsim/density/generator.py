"""The generator on cell masses: jump rates in detailed balance with the Gibbs masses, and loops that keep them.

dp/dt = G p for the masses p of the cells. Every edge (i, j) has rates r_ij, r_ji >= 0 with m_i r_ij = m_j
r_ji, where m are the Gibbs masses of `log_cell_weights`. So G conserves mass, keeps p nonnegative, has m at
rest and lowers the relative entropy to m, exactly and not up to the grid's error. An antisymmetric part of the
mobility adds currents around loops of four cells, which keep all of that but the detailed balance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.cells import Cells
from relaxsim.density.checks import check_periodic
from relaxsim.density.diagonal import diagonal_links
from relaxsim.density.links import Links
from relaxsim.density.loops import Loops
from relaxsim.density.tensor import tensor_links
from relaxsim.density.walls import wall_links
from relaxsim.errors import InputError, ShapeError
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid
    from relaxsim.system.system import System

MAX_DIM = 3


def build_generator(
    system: System,
    grid: Grid,
    log_gibbs: FloatArray,
    log_partition: float,
    t: float = 0.0,
    density: FloatArray | None = None,
) -> Any:
    """Assemble the generator at a time.

    Diagonal K(x): nearest neighbours with the conductance T <K_aa q>_face / h_a^2, averaged over their common
    face by Gauss-Legendre quadrature, over the exact cell masses. Full symmetric K(x): Selling's
    offsets with the mean weight of both ends and the Gibbs weight halfway, and tangential edges along reflecting
    walls. Rates are bounded by twice those of exponential fitting (Scharfetter and Gummel). Antisymmetric part: loops
    of four cells, for whose links a full S keeps the weight that they need not to be upwinded, up to half of it.

    Parameters
    ----------
    system : System
        One to three dimensions.
    grid : Grid
        The cells.
    log_gibbs : ndarray, shape grid.shape
        ln m of the cells at time `t`.
    log_partition : float
        ln of the integral of exp(-E/T) over the box at time `t`.
    t : float, default 0
        Time at which energy, mobility and temperature are taken.
    density : ndarray, shape grid.shape, optional
        Probability density in the cells (mass over volume) at which a mobility of `Mobility.of_density` is taken.

    Returns
    -------
    scipy.sparse.csr_array, shape (n_cells, n_cells)
        Columns sum to zero; cells are numbered in C order.

    Raises
    ------
    InputError
        More than three dimensions, a grid too coarse for the mobility, a density missing.
    MobilityError
        A mobility that is not positive or not finite.
    DomainError
        An energy or mobility that is not periodic on a periodic axis.

    References
    ----------
    Jump rates: Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64. Offsets: Fehrenbach and Mirebeau, J.
    Math. Imaging Vision 49 (2014) 123.
    """
    full = needs_tensor(system)
    check_periodic(system, grid, t)
    cells = Cells(system, grid, log_gibbs, log_partition, t, _checked_density(system, grid, density))
    links = Links(cells)
    loops = Loops(cells) if cells.turns else None
    split = None
    if full:
        split = tensor_links(cells, links, None if loops is None else loops.wanted())
    else:
        diagonal_links(cells, links)
    if loops is not None:
        loops.add(links, split)
    wall_links(cells, links, split)
    return assemble(links)


def needs_tensor(system: System) -> bool:
    """Whether K is split into offsets cell by cell; raises where the dimension is not supported."""
    if system.dim > MAX_DIM:
        raise InputError(
            f"system: densities are evolved in one to three dimensions, got {system.dim}; use "
            "simulate for an ensemble, or a marginal of the system"
        )
    mobility = system.mobility
    if mobility.depends_on_density:
        return True
    if system.dim == 1 or mobility.structure != "tensor":
        return False
    if not mobility.symmetric_is_constant:
        return True
    matrix = np.asarray(mobility.symmetric(system.domain.sample_points(1)[0]))
    return bool(np.any(matrix != np.diag(np.diag(matrix))))


def _checked_density(system: System, grid: Grid, density: FloatArray | None) -> FloatArray | None:
    if not system.mobility.depends_on_density:
        return None
    if density is None:
        raise InputError(
            "density: the mobility depends on the density; pass the one it is to be taken at, shape grid.shape"
        )
    array = np.asarray(density, dtype=np.float64)
    if array.size != grid.n_cells:
        raise ShapeError(f"density: expected one number for each cell, shape {grid.shape}, got {array.shape}")
    return array


def assemble(links: Links) -> Any:
    """Sum the rates of edges into a sparse matrix whose diagonal makes every column sum to zero.

    A pair of cells with the symmetric weight w (mass times rate) and the current C from i to j gets the one-way flows
    max(w + C/2, C, 0) and max(w - C/2, -C, 0): their difference is C, central where |C| <= 2 w and upwinded beyond,
    just as much as rates that are not negative need.
    """
    jumps, turning = links.edges.total(), links.currents.total()
    if turning.nnz:
        jumps = (jumps + turning / 2).maximum(turning)
        np.maximum(jumps.data, 0.0, out=jumps.data)
        jumps.eliminate_zeros()
    return with_diagonal(jumps)


def with_diagonal(jumps: Any) -> Any:
    """The generator of a sparse matrix of rates j -> i at [i, j]."""
    from scipy import sparse

    return (jumps - sparse.diags_array(jumps.sum(axis=0))).tocsr()
