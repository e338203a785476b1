"""Pictures of the proximal recursion: its law beside the finite-volume one, its descent, its passes, its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.plotting.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    VERMILION,
    coordinate_names,
    format_time,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.density import DensityPath, ProximalPath


def proximal(path: ProximalPath, reference: DensityPath | None = None, *, index: int = -1, axis: int = 0) -> Figure:
    """Draw a proximal recursion: a law it made, how its steps descend, and how many passes they took.

    Parameters
    ----------
    path : ProximalPath
        From ``fp.proximal(...)``.
    reference : DensityPath, optional
        The finite-volume solution ``fp.evolve(...)`` at the same times, on the same grid.
    index : int, default -1
        Stored time of the law.
    axis : int, default 0
        Coordinate whose density is drawn; others are summed out.

    Returns
    -------
    matplotlib.figure.Figure
        Densities; fall of the free energy and cost of the transport in each step, the sum of which may pass zero by the
        entropic allowance at most; passes of the fixed-point iteration beside those of a contraction by
        h/(h + epsilon/T).

    Raises
    ------
    InputError
        Not a proximal path, a path without a step, a reference of another time or grid, no such index or axis.
    """
    if not hasattr(path, "transport") or not hasattr(path, "contraction_bound"):
        raise InputError(f"proximal(...): got {type(path).__name__}, expected a ProximalPath; pass fp.proximal(...)")
    if path.iterations.size == 0:
        raise InputError("proximal(...): the path has a single time and no step; store a later one")
    if not -len(path.times) <= index < len(path.times):
        raise InputError(f"proximal(...): index={index}; the path has {len(path.times)} times")
    if not 0 <= axis < path.grid.dim:
        raise InputError(f"proximal(...): axis={axis}; the path has {path.grid.dim} coordinates")
    if reference is not None:
        if reference.grid != path.grid:
            raise InputError("proximal(...): the reference is on another grid; make both from one FokkerPlanck")
        if index >= len(reference.times) or not math.isclose(reference.times[index], path.times[index], abs_tol=1e-9):
            raise InputError("proximal(...): the reference has other times; pass the same `times` to both")
    with styled():
        figure = new_figure(12.6, 3.9)
        laws, descent, passes = figure.subplots(1, 3)
        _laws(laws, path, reference, index, axis)
        _descent(descent, path)
        _passes(passes, path)
    return figure


def _laws(axes: Axes, path: ProximalPath, reference: Any, index: int, axis: int) -> None:
    others = tuple(a for a in range(path.grid.dim) if a != axis)
    x, width = path.grid.centers[axis], path.grid.spacing[axis]

    def along(mass: Any) -> Any:
        return np.asarray(mass).sum(axis=others) / width

    axes.plot(x, along(np.exp(path.log_gibbs)), color=GREY, linewidth=1.4, linestyle="--", label="Gibbs law")
    if reference is not None:
        axes.plot(x, along(reference.mass[index]), color=BLACK, label="finite volumes")
    name = "proximal, corrected" if path.corrected else "proximal"
    axes.plot(x, along(path.mass[index]), color=VERMILION, label=name)
    variable = coordinate_names(path.grid.dim)[axis]
    axes.set(xlabel=f"${variable}$", ylabel="density", title=f"$t = {format_time(path.times[index])}$")
    axes.set_ylim(bottom=0.0)
    axes.legend()


def _descent(axes: Axes, path: ProximalPath) -> None:
    times = path.times[0] + path.step * np.arange(1, path.iterations.size + 1)
    falls = np.diff(path.functional)
    axes.plot(times, falls, color=BLUE, label=r"$\Delta F$")
    axes.plot(times, falls + path.transport, color=VERMILION, label=r"$\Delta F + \langle C, M\rangle/2h$")
    axes.plot(times, path.allowance, color=GREY, linestyle="--", label="entropic allowance")
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set(xlabel="$t$", ylabel="a step's change, units of $E$", title="each step descends")
    reach = 4.0 * float(np.abs(path.allowance).max())
    axes.set_ylim(bottom=max(axes.get_ylim()[0], -max(reach, float(np.abs(falls[falls.size // 2 :]).max()))))
    axes.legend(fontsize=9)


def _passes(axes: Axes, path: ProximalPath) -> None:
    steps = np.arange(1, path.iterations.size + 1)
    measured = float(path.contraction.max())
    bound = path.contraction_bound
    axes.plot(steps, path.iterations, "o-", color=BLUE, markersize=4, label="passes")
    # from a first change of one to 1e-9, at the slowest rate that is possible
    slowest = math.log(1e-9 * (1.0 - bound)) / math.log(bound)
    axes.axhline(slowest, color=GREY, linestyle="--", label=f"9 digits at the bound {bound:.4f}")
    axes.set(xlabel="step", ylabel="fixed-point passes", title=f"largest measured contraction {measured:.4f}")
    axes.set_ylim(bottom=0.0)
    axes.locator_params(axis="x", integer=True)
    axes.legend(fontsize=9)


def proximal_convergence(studies: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, of: str = "h") -> Figure:
    """Draw errors against a step or an epsilon, with the slope of each.

    Parameters
    ----------
    studies : mapping of str to (values, errors)
        By name, what was varied and the error at each, both positive and at least two.
    of : str, default "h"
        What was varied, for the axis: a matplotlib math text without dollars.

    Returns
    -------
    matplotlib.figure.Figure
        Doubly logarithmic; the legend has the slope of the least-squares line.

    Raises
    ------
    InputError
        No study, or numbers that no logarithm can show.
    """
    if not studies:
        raise InputError("proximal_convergence(...): got no study; pass {'name': (steps, errors)}")
    with styled():
        figure = new_figure(5.6, 4.2)
        axes = figure.subplots()
        for number, (name, (values, errors)) in enumerate(studies.items()):
            x, y = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
            if x.shape != y.shape or x.ndim != 1 or x.size < 2 or not (np.isfinite(x * y) & (x > 0) & (y > 0)).all():
                raise InputError(
                    f"proximal_convergence(...): {name!r} needs two or more positive values and as many positive errors"
                )
            slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
            axes.loglog(x, y, "o-", color=COLOURS[number % len(COLOURS)], label=f"{name}: slope {slope:.2f}")
        axes.set(xlabel=f"${of}$", ylabel="error")
        axes.legend()
    return figure
