"""A number for each cell: a committor, a mean first passage time, an energy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.errors import InputError, ShapeError
from relaxsim.plotting.laws import Law, view
from relaxsim.plotting.style import BLUE, COLOUR_MAP, coordinate_names, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.density import FokkerPlanck

Array = npt.NDArray[np.float64]

_LIGHT = 1e-6  # of the highest density at rest: lighter ground is cut off the picture


def cell_values(equation: FokkerPlanck, values: Any, *, label: str = "", levels: Any = 8) -> Figure:
    """Draw a number for each cell, such as a committor or a mean first passage time, with lines of equal value.

    Parameters
    ----------
    equation : FokkerPlanck
        Whose cells they are; places that its Gibbs law leaves empty are cut off.
    values : array_like, shape grid.shape
        What to draw, such as ``fp.committor(a, b)``; nan and infinite cells stay blank.
    label : str
        What the values are, beside the scale, such as ``"committor"``.
    levels : int or sequence of float, default 8
        In two dimensions: about how many lines of equal value, or the values they have, such as ``[0.1, 0.5, 0.9]``;
        0 for none.

    Returns
    -------
    matplotlib.figure.Figure
        In one dimension a curve, in two colours.

    Raises
    ------
    InputError, ShapeError
        Not a FokkerPlanck, more than two dimensions, values of another shape, none that is finite.

    Examples
    --------
    >>> import relaxsim as rs
    >>> system = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-2, 2)]))
    >>> fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 100))
    >>> figure = rs.plotting.cell_values(fp, fp.committor("x < -1", "x > 1"), label="committor")
    """
    shown = _checked(equation, values)
    grid = equation.grid
    rest = Law("Gibbs law", grid.edges, np.exp(equation.log_gibbs) / grid.cell_volume)
    limits = [view([rest], axis, blank=_LIGHT) for axis in range(grid.dim)]
    names = coordinate_names(grid.dim)
    with styled():
        figure = new_figure(7.0, 4.4) if grid.dim == 1 else new_figure(6.4, 5.0)
        axes = figure.add_subplot()
        if grid.dim == 1:
            axes.plot(grid.centers[0], shown, color=BLUE)
            axes.set_ylabel(label)
        else:
            _plane(figure, axes, grid, shown, limits, label, levels)
            axes.set(ylabel=f"${names[1]}$", ylim=limits[1])
        axes.set(xlabel=f"${names[0]}$", xlim=limits[0])
    return figure


def _checked(equation: Any, values: Any) -> Array:
    if not hasattr(type(equation), "committor"):
        raise InputError(f"cell_values(...): got {type(equation).__name__}, expected a FokkerPlanck, then the values")
    if equation.grid.dim > 2:
        raise InputError(
            f"cell_values(...): drawn in one and two dimensions, got {equation.grid.dim}; pass a slice of the values "
            "with the FokkerPlanck of a plane"
        )
    shown = np.asarray(values, dtype=np.float64)
    if shown.shape != equation.grid.shape:
        raise ShapeError(
            f"cell_values(...): expected a number for each cell, shape {equation.grid.shape}, got {shown.shape}"
        )
    if not np.isfinite(shown).any():
        raise InputError("cell_values(...): no value is finite, so there is nothing to draw")
    return np.where(np.isfinite(shown), shown, np.nan)


def _plane(figure: Figure, axes: Axes, grid: Any, shown: Array, limits: Any, label: str, levels: Any) -> None:
    """Colours, scaled to what is in the picture, and lines of equal value over them."""
    inside = [(c > low) & (c < high) for c, (low, high) in zip(grid.centers, limits, strict=True)]
    seen = shown[np.ix_(*inside)]
    seen = shown if np.isnan(seen).all() else seen
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    axes.grid(False)
    mesh = axes.pcolormesh(*grid.edges, shown.T, cmap=COLOUR_MAP, vmin=low, vmax=high, rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.set_label(label)
    heights = _heights(levels, low, high)
    if heights:
        lines = axes.contour(*grid.centers, shown.T, levels=heights, colors="white", linewidths=1.0)
        axes.clabel(lines, fontsize=9)


def _heights(levels: Any, low: float, high: float) -> list[float]:
    """The values of the lines. None is at an extreme value, where a line would follow the edges of cells."""
    if np.ndim(levels):
        return sorted(float(level) for level in levels)
    if levels == 0 or not high > low:
        return []
    from matplotlib.ticker import MaxNLocator

    margin = 1e-3 * (high - low)
    return [
        float(each)
        for each in MaxNLocator(levels + 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        if low + margin < each < high - margin
    ]
