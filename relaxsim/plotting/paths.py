"""Single trajectories of an ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.errors import InputError
from relaxsim.plotting.laws import Law, gibbs_law, view
from relaxsim.plotting.style import BLACK, BLUE, VERMILION, coordinate_names, format_time, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.particles import EnsemblePath

Array = npt.NDArray[np.float64]
Marks = npt.NDArray[np.bool_]


def trajectories(ensemble: EnsemblePath, n: int = 50, *, axis: int | None = None) -> Figure:
    """Draw the first particles of an ensemble.

    Parameters
    ----------
    ensemble : EnsemblePath
        A path with at least two stored times (``store="all"``).
    n : int
        How many particles; the first ones, so that the choice does not depend on their fate.
    axis : int, optional
        Draw this coordinate against time, with the law of the whole ensemble at the last time at the right.
        The default is 0, except in 2-D, where the default draws paths in the plane over the Gibbs law.

    Returns
    -------
    matplotlib.figure.Figure
        Lines join stored times and are no finer than those. Where a particle crosses a periodic wall its
        line is broken.

    Raises
    ------
    InputError
        Not an ensemble, fewer than two stored times, `n` below 1, or no such `axis`.
    """
    _check(ensemble, n, axis)
    positions = np.asarray(ensemble.positions[:, :n], dtype=np.float64)
    with styled():
        if axis is None and ensemble.system.dim == 2:
            return _in_plane(ensemble, positions)
        return _against_time(ensemble, positions, axis or 0)


def _check(ensemble: Any, n: int, axis: int | None) -> None:
    if not hasattr(ensemble, "positions"):
        raise InputError(f"trajectories(...): got {type(ensemble).__name__}, expected an EnsemblePath from simulate")
    if len(ensemble.positions) < 2:
        raise InputError(
            f"trajectories(...): the ensemble stores {len(ensemble.positions)} time(s), expected at least 2; "
            'simulate with store="all"'
        )
    if n < 1:
        raise InputError(f"trajectories(...): n={n}, expected at least 1")
    if axis is not None and not 0 <= axis < ensemble.system.dim:
        raise InputError(f"trajectories(...): axis={axis}, expected 0 to {ensemble.system.dim - 1}")


def _broken(ensemble: EnsemblePath, positions: Array, axis: int) -> Marks:
    """Mark, for each step of each particle, whether it jumped through a periodic wall of `axis`."""
    domain = ensemble.system.domain
    if domain.boundary[axis] != "periodic":
        return np.zeros(positions[1:, :, axis].shape, dtype=bool)
    turn = domain.upper[axis] - domain.lower[axis]
    return np.asarray(np.abs(np.diff(positions[:, :, axis], axis=0)) > turn / 2)


def _lines(columns: list[Array], jumps: Marks) -> list[Array]:
    """Join each particle's points to polylines ``(points, 2)``, cut where it jumped through a wall."""
    lines = []
    for particle in range(jumps.shape[1]):
        points = np.column_stack([column[:, particle] for column in columns])
        lines += np.split(points, np.flatnonzero(jumps[:, particle]) + 1)
    return lines


def _add_lines(axes: Axes, lines: list[Array], count: int) -> None:
    from matplotlib.collections import LineCollection

    axes.add_collection(
        LineCollection(lines, colors=VERMILION, linewidths=0.9, alpha=float(np.clip(8 / count, 0.15, 0.8)))
    )


def _against_time(ensemble: EnsemblePath, positions: Array, axis: int) -> Figure:
    figure = new_figure(9.2, 4.4)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[4.0, 1.0])
    n = positions.shape[1]
    times = np.repeat(np.asarray(ensemble.times)[:, None], n, axis=1)
    _add_lines(left, _lines([times, positions[:, :, axis]], _broken(ensemble, positions, axis)), n)
    left.autoscale_view()
    whole = np.asarray(ensemble.positions[:, :, axis])
    if ensemble.system.domain.boundary[axis] != "periodic":  # on a circle the mean of a coordinate says nothing
        mean = whole.mean(axis=1) if ensemble.weights is None else (ensemble.weights * whole).mean(axis=1)
        left.plot(ensemble.times, mean, color=BLUE, linewidth=2.2, label="mean of the whole ensemble")
        left.legend(loc="best")
    name = coordinate_names(ensemble.system.dim)[axis]
    left.set_xlabel("time $t$")
    left.set_ylabel(f"${name}$")
    left.set_title(f"{n} of {whole.shape[1]} particles")
    bins = int(np.clip(2 * whole.shape[1] ** (1 / 3), 8, 80))
    weights = None if ensemble.weights is None else ensemble.weights[-1]
    heights, edges = np.histogram(whole[-1], bins=bins, density=True, weights=weights)
    right.stairs(heights, edges, orientation="horizontal", fill=True, color=VERMILION, alpha=0.3, label="ensemble")
    gibbs = gibbs_law(ensemble, (axis,))
    if gibbs is not None:
        centres = (gibbs.edges[0][1:] + gibbs.edges[0][:-1]) / 2
        right.plot(gibbs.values, centres, color=BLACK, linewidth=1.5, linestyle=(0, (5, 3)), label="Gibbs")
    right.set_title(f"$t = {format_time(ensemble.times[-1])}$")
    right.set_xlabel("probability density")
    right.set_xlim(left=0.0)
    right.legend(loc="best", handlelength=1.4)
    low, high = float(positions[:, :, axis].min()), float(positions[:, :, axis].max())
    margin = 0.04 * (high - low) or 0.5
    left.set_ylim(min(low, float(edges[0])) - margin, max(high, float(edges[-1])) + margin)
    return figure


def _in_plane(ensemble: EnsemblePath, positions: Array) -> Figure:
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    gibbs = gibbs_law(ensemble, (0, 1))
    if gibbs is not None:
        centres = [(edges[1:] + edges[:-1]) / 2 for edges in gibbs.edges]
        # levels that fall by factors show the valleys as well as the wells
        levels = float(gibbs.values.max()) * np.array([0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 1.01])
        axes.contourf(*centres, gibbs.values.T, levels=levels, cmap="Greys", alpha=0.35)
    jumps = _broken(ensemble, positions, 0) | _broken(ensemble, positions, 1)
    _add_lines(axes, _lines([positions[:, :, 0], positions[:, :, 1]], jumps), positions.shape[1])
    for row, colour, label in ((0, BLUE, ensemble.times[0]), (-1, VERMILION, ensemble.times[-1])):
        axes.scatter(
            positions[row, :, 0], positions[row, :, 1], s=26, color=colour, edgecolor="white", linewidth=0.7,
            zorder=3, label=f"$t = {format_time(label)}$",
        )  # fmt: skip
    axes.grid(False)
    for which, (low, high) in enumerate(_limits(positions, gibbs)):
        (axes.set_xlim, axes.set_ylim)[which](low, high)
    axes.set_aspect("equal" if _similar(positions) else "auto")
    axes.set_xlabel("$x$")
    axes.set_ylabel("$y$")
    axes.set_title(f"{positions.shape[1]} of {ensemble.positions.shape[1]} particles over the Gibbs law")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.1)
    return figure


def _limits(positions: Array, gibbs: Law | None) -> list[tuple[float, float]]:
    """Frame what is drawn: the particles and the visible part of the Gibbs law."""
    limits = []
    for axis in (0, 1):
        low, high = float(positions[..., axis].min()), float(positions[..., axis].max())
        if gibbs is not None:
            inside = view([gibbs], axis, 0.01)
            low, high = min(low, inside[0]), max(high, inside[1])
        margin = 0.04 * (high - low) or 0.5
        limits.append((low - margin, high + margin))
    return limits


def _similar(positions: Array) -> bool:
    """Tell whether the two coordinates spread alike, so that equal scales leave a readable picture."""
    spread = np.ptp(positions.reshape(-1, positions.shape[-1]), axis=0)
    return bool(np.all(spread > 0) and 1 / 3 < spread[0] / spread[1] < 3)
