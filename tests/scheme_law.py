"""The law of Euler-Maruyama itself on a grid, without Monte Carlo: its one-step transfer operator as a sparse matrix.

The bias of the scheme at a small step follows from the laws at two larger ones: it is linear in the step.
"""

import numpy as np

import relaxsim as rs


def transfer_operator(system, grid, h, reach=6.5):
    """Column j is the law after one step from the centre of cell j: N(x + h F, 2 T h K), K diagonal, no walls.

    The Gaussian is sampled at cell centres; for a standard deviation of at least 1.5 cells the trapezoidal rule is
    exact to rounding. Mass that would leave the grid is dropped: the grid must be wide enough.
    """
    from scipy.sparse import csr_array

    x = grid.points
    mean = x + h * system.drift(x)
    sigma = np.sqrt(2 * system.temperature * h * np.diagonal(system.mobility(x), axis1=-2, axis2=-1))
    assert np.all(sigma.min(axis=0) > 1.5 * grid.spacing)
    width = int(np.ceil(reach * (sigma / grid.spacing).max()))
    low, n = grid.bounds[:, 0], np.array(grid.shape)
    first = np.floor((mean - low) / grid.spacing).astype(int) - width
    offsets = np.arange(2 * width + 2)
    factors, places = [], []
    for a in range(2):
        cells = first[:, a, None] + offsets
        centre = low[a] + (cells + 0.5) * grid.spacing[a]
        weight = np.exp(-0.5 * ((centre - mean[:, a, None]) / sigma[:, a, None]) ** 2)
        weight *= grid.spacing[a] / (np.sqrt(2 * np.pi) * sigma[:, a, None])
        factors.append(np.where((cells >= 0) & (cells < n[a]), weight, 0.0))
        places.append(np.clip(cells, 0, n[a] - 1))
    values = factors[0][:, :, None] * factors[1][:, None, :]
    rows = places[0][:, :, None] * n[1] + places[1][:, None, :]
    columns = np.broadcast_to(np.arange(grid.n_cells)[:, None, None], values.shape)
    keep = values > 1e-18
    return csr_array((values[keep], (rows[keep], columns[keep])), shape=(grid.n_cells,) * 2)


class LawPath:
    """Cell masses at times, in the form that `rs.track` measures."""

    def __init__(self, system, grid, times, mass):
        from relaxsim.system.relative_entropy import log_cell_weights

        self.system, self.grid, self.times, self.mass = system, grid, np.asarray(times), mass
        self.log_gibbs, self.log_partition = log_cell_weights(system, grid)


def euler_maruyama_law(system, initial, grid, times, h):
    """The law of the scheme with step h at times that are multiples of h."""
    operator = transfer_operator(system, grid, h)
    p = initial.masses(system, grid).ravel()
    mass, step = [], 0
    for t in times:
        while step < round(t / h):
            p, step = operator @ p, step + 1
        mass.append((p / p.sum()).reshape(grid.shape))
    return LawPath(system, grid, times, np.array(mass))


def euler_maruyama_bias(system, initial, times, dt, micro, h=0.02, cells=96):
    """Bias of F, KL and U of Euler-Maruyama at step dt on the bins of `micro`, by extrapolation from h and h/2."""
    grid = rs.Grid(system.domain, (cells, cells))
    coarse, fine = (rs.track(euler_maruyama_law(system, initial, grid, times, s), like=micro) for s in (h, h / 2))
    scale = dt / (h / 2)
    return {
        name: np.abs(getattr(coarse, name) - getattr(fine, name)) * scale for name in ("free_energy", "kl", "energy")
    }
