"""The laws of several times beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.plotting.laws import (
    Law,
    chosen_index,
    common_time,
    draw_field,
    ends_of,
    gibbs_law,
    laws_at,
    shown_axes,
    sorted_paths,
    view,
)
from relaxsim.plotting.style import BLACK, COLOUR_MAP, coordinate_names, format_time, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.density import DensityPath
    from relaxsim.particles import EnsemblePath

_MOST = 8  # times that fit beside each other


def snapshots(
    path: DensityPath | EnsemblePath,
    ensemble: EnsemblePath | None = None,
    *,
    times: Sequence[float],
    axes: Sequence[int] | None = None,
    bins: int | None = None,
) -> Figure:
    """Draw the laws of several stored times beside each other, and the Gibbs law.

    Parameters
    ----------
    path : DensityPath or EnsemblePath
        What moves.
    ensemble : EnsemblePath, optional
        Its histograms are drawn over the density (1-D) or in a row of their own (2-D); both need the same times.
    times : sequence of float
        Up to eight times, such as ``[0, 0.5, 2, 10]``; the stored ones next to them are drawn.
    axes : sequence of int, optional
        One or two coordinates to show, as in `density`.
    bins : int, optional
        Bins a side of the histograms.

    Returns
    -------
    matplotlib.figure.Figure
        In 1-D one axes, with a colour for each time and the Gibbs law dashed. In 2-D a column for each time and one for
        the Gibbs law, on one colour scale. A Gibbs law that moves is left out: see `density`.

    Raises
    ------
    InputError
        No times or too many, times that are not stored, paths of other times, more than two coordinates.
    """
    macro, micro = sorted_paths(path, ensemble)
    source: Any = macro if macro is not None else micro
    if not np.ndim(times) or not 1 <= len(times) <= _MOST:
        raise InputError(f"snapshots(...): times={times!r}; expected a list of 1 to {_MOST} times, such as [0, 1, 10]")
    indices = [chosen_index(source, None, float(time)) for time in times]
    shown = shown_axes(source.system.dim, axes)
    ends = None if micro is None else ends_of(micro, indices, shown)
    moments = [common_time(macro, micro, index) for index in indices]
    columns = [laws_at(macro, micro, index, shown, bins, ends) for index in indices]
    rest = None if getattr(source.system, "time_dependent", False) else gibbs_law(source, shown)
    names = [coordinate_names(source.system.dim)[axis] for axis in shown]
    with styled():
        return _lines(columns, rest, moments, names[0]) if len(names) == 1 else _fields(columns, rest, moments, names)


def _lines(columns: list[list[Law]], rest: Law | None, moments: list[float], name: str) -> Figure:
    import matplotlib

    figure = new_figure(7.6, 4.6)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps[COLOUR_MAP](np.linspace(0.0, 0.88, len(columns)))
    for laws, moment, colour in zip(columns, moments, colours, strict=True):
        label: str | None = f"$t = {format_time(moment)}$"
        for law in reversed(laws):  # the density first, if there is one: its line stands in the legend
            if law.kind == "ensemble":
                axes.stairs(law.values, law.edges[0], color=colour, linewidth=1.0, alpha=0.8, label=label)
            else:
                axes.plot((law.edges[0][1:] + law.edges[0][:-1]) / 2, law.values, color=colour, label=label)
            label = None
    if rest is not None:
        centres = (rest.edges[0][1:] + rest.edges[0][:-1]) / 2
        axes.plot(centres, rest.values, color=BLACK, linewidth=1.6, linestyle=(0, (5, 3)), label=rest.name)
    axes.set_xlim(*view(_every(columns, rest), 0))
    axes.set_ylim(bottom=0.0)
    axes.set(xlabel=f"${name}$", ylabel=f"probability density $p({name}, t)$")
    axes.legend()
    return figure


def _fields(columns: list[list[Law]], rest: Law | None, moments: list[float], names: Sequence[str]) -> Figure:
    every = _every(columns, rest)
    limits = [view(every, axis) for axis in range(2)]
    top = max(float(law.values.max()) for law in every if law.kind != "ensemble" or len(columns[0]) == 1)
    rows, across = len(columns[0]), len(columns) + (rest is not None)
    ratio = float(np.clip((limits[1][1] - limits[1][0]) / (limits[0][1] - limits[0][0]), 0.6, 1.6))
    figure = new_figure(1.9 * across + 1.4, (1.9 * ratio + 0.35) * rows + 0.6)
    panels = figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False)
    mesh: Any = None
    for row in range(rows):
        for column, (laws, moment) in enumerate(zip(columns, moments, strict=True)):
            mesh = draw_field(panels[row, column], laws[row], top)
            if row == 0:
                panels[row, column].set_title(f"$t = {format_time(moment)}$")
        panels[row, 0].set_ylabel(f"{columns[0][row].kind}\n${names[1]}$")
        if rest is not None:
            _rest(panels[row, -1], rest, top, row == rows - 1)
    for axes in panels[-1]:
        axes.set_xlabel(f"${names[0]}$")
    panels[0, 0].set(xlim=limits[0], ylim=limits[1])
    figure.colorbar(mesh, ax=panels, pad=0.015).set_label("probability density")
    return figure


def _rest(axes: Axes, rest: Law, top: float, last: bool) -> None:
    """The Gibbs law once, in the last row; above it there is nothing."""
    if last:
        draw_field(axes, rest, top)
        axes.set_title(rest.name)
    else:
        axes.set_axis_off()


def _every(columns: list[list[Law]], rest: Law | None) -> list[Law]:
    return [law for laws in columns for law in laws] + ([] if rest is None else [rest])
