"""Links of a diagonal mobility: conductances averaged over the faces between neighbouring cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relaxsim.density.cells import NEEDLE, Cells, blocks
from relaxsim.density.rates import fitted_rates
from relaxsim.errors import MobilityError
from relaxsim.system.field import format_point
from relaxsim.system.relative_entropy import checked_energy, log_mean, quadrature_nodes
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.density.links import Links


def diagonal_links(cells: Cells, links: Links) -> None:
    """Rates T <K_aa q> / h_a^2 over cell masses along each axis, with the mean over the common face.

    Raises
    ------
    MobilityError
        A negative mobility on a face.
    """
    grid = cells.grid
    for axis in range(grid.dim):
        linked = cells.linked(axis)
        log_face, mobility = _faces(cells, axis)
        log_face += cells.unit
        log_m = cells.log_mass.reshape(grid.shape)
        weight = cells.padded(mobility, (axis,))[linked] * (cells.temperature / grid.spacing[axis] ** 2)
        forth, back = np.zeros(grid.shape), np.zeros(grid.shape)
        forth[linked], back[linked] = fitted_rates(
            log_m[linked], cells.ahead(log_m, axis)[linked], cells.padded(log_face, (axis,))[linked]
        )
        forth[linked] *= weight
        back[linked] *= weight
        links.add_axis(axis, forth, back)


def _faces(cells: Cells, axis: int) -> tuple[FloatArray, FloatArray]:
    """ln of the averages of q = exp(-E/T) over the faces towards the next cell along `axis`, and the averages
    of K_aa over those faces, weighted with q.

    On a periodic axis the last face is the one the axis wraps at.
    """
    grid = cells.grid
    nodes, weights = quadrature_nodes(grid.dim)
    axes = [(c[:, None] + h * nodes).ravel() for c, h in zip(grid.centers, grid.spacing, strict=True)]
    axes[axis] = cells.corners((axis,))[axis]
    along = [a for a in range(grid.dim) if a != axis]
    lighter, done = _lighter(cells, axis), 0
    multiple = 1 if axis == 0 else nodes.size  # rows of points for one of faces
    faces, flows = [], []
    for points in blocks(axes, multiple):
        log_q = -checked_energy(cells.system, points, cells.t) / cells.temperature
        least = lighter[done : done + len(points) // multiple]
        done += len(least)
        for a in along:
            least = np.repeat(least, nodes.size, axis=a)
        low = log_q < least - NEEDLE
        if low.any():
            log_q[low] = cells.past_needles(log_q[low], points[low], grid.spacing * np.eye(grid.dim)[axis])
        faces.append(log_mean(log_q, weights, axes=along))
        with np.errstate(divide="ignore"):
            log_flow = np.log(_checked_mobility(cells, points, axis))
            log_flow += log_q
        flows.append(log_mean(log_flow, weights, axes=along))
    log_face, log_flow = np.concatenate(faces), np.concatenate(flows)
    shut = np.isneginf(log_face)
    return log_face, np.exp(np.where(shut, -np.inf, log_flow - np.where(shut, 0.0, log_face)))


def _lighter(cells: Cells, axis: int) -> FloatArray:
    """ln of the mean of q over the lighter one of the two cells at each face."""
    found = np.minimum(cells.log_m, cells.ahead(cells.log_m, axis)) - cells.unit
    return found if cells.grid.periodic[axis] else np.delete(found, -1, axis)


def _checked_mobility(cells: Cells, points: FloatArray, axis: int) -> FloatArray:
    with np.errstate(all="ignore"):
        diagonal = cells.system.mobility.diagonal_of(points, cells.t)
    mobility = np.asarray(diagonal, dtype=np.float64)[..., axis]
    bad = ~(mobility >= 0) | np.isinf(mobility)
    if bad.any():
        where = format_point(points[bad][0])
        raise MobilityError(
            f"system: K[{axis}, {axis}] = {mobility[bad][0]:g} at {where} between two cells, expected a "
            "finite number >= 0; mend the mobility there or shrink the grid's bounds"
        )
    return mobility
