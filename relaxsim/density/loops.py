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

_RANGE = 500.0  # of ln m, within which currents are in one unit
_ROUNDING = 1e12  # ln of the heaviest mass over one whose loops are left out: rounding would unbalance them


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
        """Currents to the next cell along each axis, over the mass of this cell and of that one.

        Loops may nearly cancel on a link, and what is left has to balance in every cell to its own rounding. So
        currents are differences of one number for each loop, in units of the largest mass (or of a lighter one, where
        they would underflow), and are divided by the masses of the cells only then.
        """
        cells = self._cells
        shape = (cells.grid.dim, *cells.grid.shape)
        m, out, into = cells.log_mass.reshape(cells.grid.shape), np.zeros(shape), np.zeros(shape)
        top = float(np.max(cells.log_mass, where=cells.alive.ravel(), initial=-np.inf))
        streams = []
        for a, b, turning in self._planes:
            share = turning if split is None else turning * taper(cells, split, a, b)
            size, log_mean = _stream(cells, a, b, share)
            below = np.maximum(top - log_mean, 0)
            levels = np.where((size != 0) & (below < _ROUNDING), below // _RANGE, -1)
            streams.append((a, b, size, log_mean, levels))
        for level in sorted({float(level) for *_, levels in streams for level in np.unique(levels)} - {-1.0}):
            current, unit = np.zeros(shape), top - level * _RANGE
            for a, b, size, log_mean, levels in streams:
                psi = size * np.exp(np.where(levels == level, log_mean - unit, -np.inf))
                # Around its corner a loop runs i -> i + e_a -> i + e_a + e_b -> i + e_b -> i.
                current[a] += psi - np.roll(psi, 1, b)
                current[b] += np.roll(psi, 1, a) - psi
            for axis, flow in enumerate(current):
                used = flow != 0
                out[axis][used] += flow[used] * np.exp(unit - m[used])
                into[axis][used] += flow[used] * np.exp(unit - cells.ahead(m, axis)[used])
        return out, into


def _stream(cells: Cells, a: int, b: int, turning: FloatArray) -> tuple[FloatArray, FloatArray]:
    """psi of the loops over the cells i, i + e_a, i + e_b, i + e_a + e_b: a factor, and ln of the mass it goes with.

    psi = T A^{ab} / (h_a h_b) times the harmonic mean of the four masses: unlike the Gibbs weight at the corner that
    is bounded by four times the least of them, so rates stay bounded however steep the energy is.
    """
    grid, m, alive = cells.grid, cells.log_mass.reshape(cells.grid.shape), cells.alive
    pair = alive & cells.ahead(alive, a)
    masses = [m, cells.ahead(m, a), cells.ahead(m, b), cells.ahead(cells.ahead(m, a), b)]
    size = np.where(pair & cells.ahead(pair, b), turning, 0.0) * (
        cells.temperature / (grid.spacing[a] * grid.spacing[b])
    )
    return size, log_harmonic_mean(masses)


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
