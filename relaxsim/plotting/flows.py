"""Where probability flows: the current of a law as arrows over its density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.errors import InputError
from relaxsim.plotting.laws import Law, draw_field, shown_axes, view
from relaxsim.plotting.style import BLUE, VERMILION, coordinate_names, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from relaxsim.density import FokkerPlanck

Array = npt.NDArray[np.float64]

_NONE = 1e-9  # of the largest arrow: below, nothing flows


def current(
    equation: FokkerPlanck, p: Any, *, t: float = 0.0, axes: Sequence[int] | None = None, arrows: int = 22
) -> Figure:
    """Draw the probability current of a law: arrows over the density, in one dimension a curve under it.

    Parameters
    ----------
    equation : FokkerPlanck
        Whose current it is.
    p : initial law or ndarray
        A law of `relaxsim.initial`, or cell masses of shape grid.shape, such as ``path.mass[5]`` or ``equation.gibbs``.
    t : float, default 0
        Time of the system at which energy, mobility and temperature are taken, where they change, such as
        ``path.times[5]``.
    axes : sequence of int, optional
        One or two coordinates to show; the others are summed out. The default is all, which needs ``dim <= 2``.
    arrows : int, default 22
        Arrows a side, each for the mean current of its patch.

    Returns
    -------
    matplotlib.figure.Figure
        The current J of dp/dt = -div J, as `FokkerPlanck.probability_current` gives it.

    Raises
    ------
    InputError
        Something that has no current; more than two coordinates; no arrows.
    """
    if not hasattr(equation, "probability_current"):
        raise InputError(
            f"current(...): got {type(equation).__name__}, expected a FokkerPlanck; write current(equation, "
            "path.mass[0])"
        )
    if arrows < 1:
        raise InputError(f"current(...): arrows={arrows}; expected at least 1")
    grid = equation.grid
    shown = shown_axes(grid.dim, axes)
    flow = np.asarray(equation.probability_current(p, t=t))
    mass = np.asarray(p.at(t).masses(equation.system, grid) if hasattr(p, "masses") else p, dtype=np.float64)
    hidden = tuple(axis for axis in range(grid.dim) if axis not in shown)
    width = float(np.prod([grid.spacing[axis] for axis in hidden]))
    size = np.prod([grid.spacing[axis] for axis in shown])
    values, parts = mass.sum(axis=hidden) / size, [flow[..., axis].sum(axis=hidden) * width for axis in shown]
    if len(shown) == 2 and shown[0] > shown[1]:
        values, parts = values.T, [part.T for part in parts]
    law = Law("density", tuple(grid.edges[axis] for axis in shown), values)
    names = [coordinate_names(grid.dim)[axis] for axis in shown]
    with styled():
        return _line(law, parts[0], names[0]) if len(shown) == 1 else _arrows(law, parts, names, arrows)


def _line(law: Law, flow: Array, name: str) -> Figure:
    figure = new_figure(7.6, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1.0])
    centres = (law.edges[0][1:] + law.edges[0][:-1]) / 2
    top.plot(centres, law.values, color=BLUE)
    top.set_ylim(bottom=0.0)
    top.set_ylabel(f"density $p({name})$")
    bottom.axhline(0.0, color="black", linewidth=0.8)
    bottom.plot(centres, flow, color=VERMILION)
    bottom.set_ylabel(f"current $J({name})$")
    bottom.set_xlabel(f"${name}$")
    top.set_xlim(*view([law], 0))
    return figure


def _arrows(law: Law, parts: Sequence[Array], names: Sequence[str], arrows: int) -> Figure:
    limits = view([law], 0), view([law], 1)
    width, height = (high - low for low, high in limits)
    equal = 1 / 3 < width / height < 3
    tall = float(np.clip(4.6 * height / width, 3.2, 5.6)) if equal else 4.4
    figure = new_figure((tall * width / height if equal else 4.8) + 1.9, tall + 0.8)
    axes = figure.add_subplot()
    mesh = draw_field(axes, law, float(law.values.max()))
    (x, y), means = _patches(law, parts, limits, arrows)
    longest = float(np.hypot(*means).max())
    if longest > 0:
        weak = np.hypot(*means) < _NONE * longest
        u, v = (np.where(weak, np.nan, part) for part in means)
        step = min(width / arrows, height / arrows)
        axes.quiver(x, y, u.T, v.T, color="white", angles="xy", scale_units="xy", scale=longest / (1.6 * step))
    axes.set(xlabel=f"${names[0]}$", ylabel=f"${names[1]}$", xlim=limits[0], ylim=limits[1])
    axes.set_title(f"probability current, longest arrow {longest:.3g}")
    if equal:
        axes.set_aspect("equal")
    figure.colorbar(mesh, ax=axes, shrink=0.9, pad=0.015).set_label("probability density")
    return figure


def _patches(
    law: Law, parts: Sequence[Array], limits: Sequence[tuple[float, float]], arrows: int
) -> tuple[list[Array], list[Array]]:
    """Means of the current over patches of the picture, and the middles of these."""
    middles, starts, inside = [], [], []
    for edges, (low, high) in zip(law.edges, limits, strict=True):
        centres = (edges[1:] + edges[:-1]) / 2
        within = np.flatnonzero((centres > low) & (centres < high))
        cut = np.array_split(within, min(arrows, len(within)))
        middles.append(np.array([centres[part].mean() for part in cut]))
        starts.append(np.array([part[0] - within[0] for part in cut]))
        inside.append(within)
    means = []
    for part in parts:
        values = part[np.ix_(*inside)]
        for axis, start in enumerate(starts):
            sizes = np.diff(np.append(start, values.shape[axis]))
            shape = [-1 if a == axis else 1 for a in range(2)]
            values = np.add.reduceat(values, start, axis=axis) / sizes.reshape(shape)
        means.append(values)
    return middles, means
