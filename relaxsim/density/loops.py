"""The antisymmetric part of a mobility: closed loops of four cells with a bounded stream function.

The current T d_b (A^{ab} q) has no divergence. On a grid it runs around the corners (in three dimensions: edges) that
four cells share, so what enters a cell leaves it, and the Gibbs masses stay at rest whatever A is.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.cells import Cells, over_blocks
from relaxsim.density.sheet import taper
from relaxsim.system.field import product_points
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.links import Links
    from relaxsim.density.tensor import Split


class Loops:
    """The loops of one equation at one time.

    Loops that a reflecting wall cuts are left out: the condition of no flux is then n.K (p grad E + T grad p) = 0 with
    all of K = S + A. Loops across the ends of periodic axes wrap.

    Parameters
    ----------
    cells : Cells
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        planes = ((a, b, _corner_values(cells, a, b)) for a, b in combinations(range(cells.grid.dim), 2))
        self._planes = [plane for plane in planes if plane[2].any()]

    def wanted(self) -> FloatArray:
        """The weight that a full S should give the links along each axis, shape (n_cells, dim), in units of cells.

        With less of it their currents are upwinded, which is first order.
        """
        cells = self._cells
        out, into = self._currents(None)
        wanted = np.empty((*cells.grid.shape, cells.grid.dim))
        for axis in range(cells.grid.dim):
            ahead = np.maximum(np.abs(out[axis]), np.abs(into[axis])) / (2 * cells.temperature)
            wanted[..., axis] = np.maximum(ahead, np.roll(ahead, 1, axis))
        for axis, n in enumerate(cells.grid.shape):
            if not cells.grid.periodic[axis] and n > 2:
                # The currents along a wall are of another size, but have wall edges; S has to be split smoothly.
                layers = np.moveaxis(wanted, axis, 0)
                layers[0], layers[-1] = layers[1], layers[-2]
        return wanted.reshape(-1, cells.grid.dim)

    def add(self, links: Links, split: Split | None) -> None:
        """Add the currents to the links between neighbours, with less of the stream function near walls."""
        for axis, (out, into) in enumerate(zip(*self._currents(split), strict=True)):
            links.add_current(axis, out, into)

    def _currents(self, split: Split | None) -> tuple[FloatArray, FloatArray]:
        """Currents to the next cell along each axis, over the mass of this cell and of that one."""
        shape = (self._cells.grid.dim, *self._cells.grid.shape)
        out, into = np.zeros(shape), np.zeros(shape)
        for a, b, turning in self._planes:
            share = turning if split is None else turning * taper(self._cells, split, a, b)
            here, next_a, next_b, across = _stream(self._cells, a, b, share)
            # Around its corner a loop runs i -> i + e_a -> i + e_a + e_b -> i + e_b -> i.
            out[a] += here - np.roll(next_b, 1, b)
            into[a] += next_a - np.roll(across, 1, b)
            out[b] += np.roll(next_a, 1, a) - here
            into[b] += np.roll(across, 1, a) - next_b
        return out, into


def _stream(cells: Cells, a: int, b: int, turning: FloatArray) -> list[FloatArray]:
    """psi over the masses of the four cells i, i + e_a, i + e_b, i + e_a + e_b of the loop that starts at each cell i.

    psi = T A^{ab} / (h_a h_b) times the harmonic mean of the four masses: unlike the Gibbs weight at the corner that
    is bounded by four times the least of them, so rates stay bounded however steep the energy is. None where A^{ab}
    vanishes everywhere.
    """
    grid, m, alive = cells.grid, cells.log_mass.reshape(cells.grid.shape), cells.alive
    pair = alive & cells.ahead(alive, a)
    masses = [m, cells.ahead(m, a), cells.ahead(m, b), cells.ahead(cells.ahead(m, a), b)]
    log_mean = log_harmonic_mean(masses)
    size = np.where(pair & cells.ahead(pair, b), turning, 0.0) * (
        cells.temperature / (grid.spacing[a] * grid.spacing[b])
    )
    return [size * np.exp(log_mean - log_m) for log_m in masses]


def log_harmonic_mean(logs: list[FloatArray]) -> FloatArray:
    """ln of the harmonic mean of exp of some arrays."""
    least = np.minimum.reduce(logs)
    return np.asarray(least + np.log(len(logs)) - np.log(sum(np.exp(least - log_m) for log_m in logs)))


def _corner_values(cells: Cells, a: int, b: int) -> FloatArray:
    """A^{ab} at the corner between each cell and the next ones along a and b; zero where a wall cuts the loop."""
    axes = cells.corners((a, b))
    if cells.density is None:
        values = over_blocks(axes, lambda points: cells.antisymmetric(points)[..., a, b])
    else:
        pair = cells.density + cells.ahead(cells.density, a)
        mean = (pair + cells.ahead(pair, b)) / 4
        points = product_points(axes)
        inside = tuple(slice(0, n) for n in points.shape[:-1])
        values = cells.antisymmetric(points, mean[inside])[..., a, b]
    return cells.padded(values, (a, b))
