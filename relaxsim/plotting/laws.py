"""One moment of a relaxation: the ensemble's histogram, the density and the Gibbs law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from relaxsim.errors import InputError
from relaxsim.plotting.style import (
    BLACK,
    BLUE,
    COLOUR_MAP,
    VERMILION,
    coordinate_names,
    format_time,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.density import DensityPath
    from relaxsim.particles import EnsemblePath

Array = npt.NDArray[np.float64]
Ends = tuple[float, float]

_CELLS = {1: 400, 2: 160}  # cells a side on which the Gibbs law is drawn when no density brings a grid
_BLANK = 2e-3  # a rim where every law stays below this part of the highest value is cut off the picture


@dataclass(frozen=True)
class Law:
    """A density on cells: what one panel shows. ``values`` has one entry for each cell of ``edges``.

    What a bare drift rests in stands where the Gibbs law does, under a name of its own.
    """

    kind: Literal["ensemble", "density", "Gibbs law"]
    edges: tuple[Array, ...]
    values: Array
    n_particles: int = 0
    title: str = ""

    @property
    def name(self) -> str:
        if self.kind != "ensemble":
            return self.title or self.kind
        count = f"{self.n_particles:,}".replace(",", r"\,")
        return f"ensemble ($n={count}$)"


def density(
    path: DensityPath | EnsemblePath | None = None,
    ensemble: EnsemblePath | None = None,
    *,
    index: int | None = None,
    time: float | None = None,
    axes: Sequence[int] | None = None,
    bins: int | None = None,
) -> Figure:
    """Draw the law at one stored time beside the Gibbs law, or, for a bare drift, the law at rest.

    Parameters
    ----------
    path : DensityPath or EnsemblePath, optional
        The density to draw; an ensemble alone is welcome too.
    ensemble : EnsemblePath, optional
        Its histogram is drawn over (1-D) or beside (2-D) the density; both need the same time at `index`.
    index : int, optional
        Which stored time; the default is the last one.
    time : float, optional
        The same said as a time: the stored one next to it is drawn.
    axes : sequence of int, optional
        One or two coordinates to show; the others are summed out. The default is all, which needs
        ``dim <= 2``.
    bins : int, optional
        Bins a side of the histogram; the default follows from the number of particles.

    Returns
    -------
    matplotlib.figure.Figure
        In 1-D one axes with the histogram, the density and the Gibbs law. In 2-D one panel for each of
        them, on one colour scale with one colour bar.

    Raises
    ------
    InputError
        Nothing to draw, two paths of one kind, times or numbers of coordinates that differ, both an index and a time,
        or more than two coordinates.
    """
    macro, micro = sorted_paths(path, ensemble)
    index = chosen_index(macro if macro is not None else micro, index, time)
    time = common_time(macro, micro, index)
    source: Any = macro if macro is not None else micro
    shown = shown_axes(source.system.dim, axes)
    laws = laws_at(macro, micro, index, shown, bins)
    gibbs = gibbs_law(source, shown, index)
    if gibbs is not None:
        laws.append(gibbs)
    names = [coordinate_names(source.system.dim)[axis] for axis in shown]
    with styled():
        return draw_line(laws, names[0], time) if len(shown) == 1 else draw_fields(laws, names, time)


def chosen_index(path: Any, index: int | None, time: float | None) -> int:
    """The index that was asked for, or that of the stored time next to the one that was."""
    if time is None:
        return -1 if index is None else index
    if index is not None:
        raise InputError(f"got index={index} and time={time}, expected one of them")
    given: object = time
    if isinstance(given, bool) or not isinstance(given, (int, float, np.integer, np.floating)):
        raise InputError(
            f"time={given!r}; expected a number, one of the stored times or near one"
            + ("; snapshots(path, times=[...]) draws several" if np.ndim(time) else "")
        )
    times = np.asarray(path.times)
    if not times[0] <= time <= times[-1]:
        raise InputError(f"time={time:g} is outside the stored times, {times[0]:g} to {times[-1]:g}; store more")
    return int(np.argmin(np.abs(times - time)))


def laws_at(
    macro: Any, micro: Any, index: int, shown: tuple[int, ...], bins: int | None, ends: Sequence[Ends] | None = None
) -> list[Law]:
    """The ensemble's histogram and the density at one stored time, those of them that are given."""
    laws = []
    if micro is not None:
        laws.append(_histogram(micro, index, shown, bins, ends))
    if macro is not None:
        laws.append(_on_grid(macro.grid, np.asarray(macro.mass)[index], shown, "density"))
    return laws


def sorted_paths(path: Any, ensemble: Any) -> tuple[DensityPath | None, EnsemblePath | None]:
    """Tell density and ensemble apart by what they carry, in whichever order they were given."""
    given = [each for each in (path, ensemble) if each is not None]
    if not given:
        raise InputError("got no path; pass a DensityPath, an EnsemblePath or both")
    macros = [each for each in given if hasattr(each, "mass")]
    micros = [each for each in given if hasattr(each, "positions")]
    for each in given:
        if each not in macros and each not in micros:
            raise InputError(
                f"path: got {type(each).__name__}, expected a DensityPath (from FokkerPlanck.evolve) "
                "or an EnsemblePath (from simulate)"
                + ("; a time is given by its name, time=..." if np.isscalar(each) else "")
            )
    if len(macros) > 1 or len(micros) > 1:
        raise InputError("path, ensemble: got two paths of one kind, expected one density and one ensemble")
    if macros and micros and macros[0].system.dim != micros[0].system.dim:
        raise InputError(
            f"path, ensemble: the density has {macros[0].system.dim} coordinate(s), the ensemble "
            f"{micros[0].system.dim}; expected two paths of one system"
        )
    return (macros[0] if macros else None), (micros[0] if micros else None)


def common_time(macro: Any, micro: Any, index: int) -> float:
    times = []
    for path in (macro, micro):
        if path is None:
            continue
        if not -len(path.times) <= index < len(path.times):
            raise InputError(
                f"index={index} is outside the {len(path.times)} stored times of the "
                f"{'density' if path is macro else 'ensemble'}"
            )
        times.append(float(path.times[index]))
    if len(times) == 2 and not np.isclose(times[0], times[1], rtol=1e-9, atol=1e-12):
        raise InputError(
            f"path, ensemble: at index={index} the density is at t={times[0]:g} and the ensemble at "
            f"t={times[1]:g}; expected the same time: run both with the same `times`"
        )
    return times[0]


def shown_axes(dim: int, axes: Sequence[int] | None) -> tuple[int, ...]:
    if axes is None:
        if dim > 2:
            raise InputError(f"axes: the system has dim={dim}; pass axes=(i, j) to say which two to show")
        return tuple(range(dim))
    shown = tuple(int(axis) for axis in axes)
    if len(shown) not in (1, 2) or len(set(shown)) != len(shown) or not all(0 <= axis < dim for axis in shown):
        raise InputError(f"axes={axes!r}; expected one or two different numbers from 0 to {dim - 1}")
    return shown


def _histogram(
    micro: EnsemblePath, index: int, shown: tuple[int, ...], bins: int | None, ends: Sequence[Ends] | None
) -> Law:
    """Bin the particles: about n^(1/3) bins in 1-D and n^(1/4) a side in 2-D keep noise and blur alike."""
    points = np.asarray(micro.positions[index])[:, list(shown)]
    n = len(points)
    if bins is None:
        bins = int(np.clip(round(2.2 * n ** (1 / 3)) if len(shown) == 1 else round(2.0 * n**0.25), 8, 80))
    if bins < 1:
        raise InputError(f"bins={bins}; expected at least 1")
    weights = None if micro.weights is None else micro.weights[index]
    ranges = list(ends or ends_of(micro, [index], shown))
    counts, edges = np.histogramdd(points, bins=bins, range=ranges, weights=weights)
    volumes = _volumes(tuple(edges))
    return Law("ensemble", tuple(edges), counts / (n * volumes), n_particles=n)


def ends_of(micro: EnsemblePath, indices: Sequence[int], shown: tuple[int, ...]) -> list[Ends]:
    """Where the histogram ends along each axis, to hold the particles of some stored times."""
    domain = micro.system.domain
    found = []
    for axis in shown:
        lowest = min(float(micro.positions[index][:, axis].min()) for index in indices)
        highest = max(float(micro.positions[index][:, axis].max()) for index in indices)
        found.append(_range(lowest, highest, float(domain.lower[axis]), float(domain.upper[axis])))
    return found


def _range(low: float, high: float, wall_low: float, wall_high: float) -> Ends:
    """End the histogram at the walls the particles come near, otherwise where the particles end."""
    margin = 0.02 * (high - low)
    if margin == 0:
        half = 1e-3 * max(1.0, abs(low))  # all at one point
        return low - half, high + half
    return (wall_low if low - wall_low < margin else low), (wall_high if wall_high - high < margin else high)


def _volumes(edges: tuple[Array, ...]) -> Array:
    widths = [np.diff(edge) for edge in edges]
    return widths[0] if len(widths) == 1 else np.multiply.outer(widths[0], widths[1])


def _on_grid(
    grid: Any, mass: Array, shown: tuple[int, ...], kind: Literal["density", "Gibbs law"], title: str = ""
) -> Law:
    """Sum the cell masses over the coordinates not shown and divide by the cells' size."""
    others = tuple(axis for axis in range(mass.ndim) if axis not in shown)
    marginal = np.asarray(mass.sum(axis=others))
    if len(shown) == 2 and shown[0] > shown[1]:
        marginal = marginal.T
    edges = tuple(np.asarray(grid.edges[axis]) for axis in shown)
    return Law(kind, edges, marginal / _volumes(edges), title=title)


def gibbs_law(path: Any, shown: tuple[int, ...], index: int = -1) -> Law | None:
    """Take the Gibbs law of a stored time from the density's grid, or from a fresh grid in 1-D and 2-D; None beyond."""
    if hasattr(path, "log_gibbs"):
        log_gibbs = np.asarray(path.log_gibbs)
        if log_gibbs.ndim > path.grid.dim:  # it moves with the energy or the temperature
            log_gibbs = log_gibbs[index]
        title = "" if hasattr(path.system, "energy") else "law at rest"
        return _on_grid(path.grid, np.exp(log_gibbs), shown, "Gibbs law", title)
    system = path.system
    if system.dim > 2:
        return None
    from relaxsim.system.grid import Grid
    from relaxsim.system.relative_entropy import log_cell_weights

    shape = (_CELLS[system.dim],) * system.dim
    grid = Grid(system.domain, shape) if system.domain.bounded else Grid.covering(system, shape)
    log_weights, _ = log_cell_weights(system, grid, t=float(path.times[index]))
    return _on_grid(grid, np.exp(log_weights), shown, "Gibbs law")


def _smooth(laws: Sequence[Law]) -> Sequence[Law]:
    """Leave the histogram out where there is another: its single particles should not set scales."""
    return [law for law in laws if law.kind != "ensemble"] or laws


def view(laws: Sequence[Law], axis: int, blank: float = _BLANK) -> tuple[float, float]:
    """Find the range of one coordinate outside which every law is blank."""
    low, high = np.inf, -np.inf
    for law in _smooth(laws):
        profile = law.values if law.values.ndim == 1 else law.values.max(axis=1 - axis)
        inked = np.flatnonzero(profile > blank * law.values.max())
        edges = law.edges[axis]
        low, high = min(low, float(edges[inked[0]])), max(high, float(edges[inked[-1] + 1]))
    return low, high


def draw_line(laws: Sequence[Law], name: str, time: float) -> Figure:
    figure = new_figure(7.6, 4.4)
    axes = figure.add_subplot()
    for law in laws:
        centres = (law.edges[0][1:] + law.edges[0][:-1]) / 2
        if law.kind == "ensemble":
            axes.stairs(law.values, law.edges[0], fill=True, color=VERMILION, alpha=0.30, label=law.name)
            axes.stairs(law.values, law.edges[0], color=VERMILION, linewidth=1.0)
        elif law.kind == "density":
            axes.plot(centres, law.values, color=BLUE, linewidth=2.4, label=law.name)
        else:
            axes.plot(centres, law.values, color=BLACK, linewidth=1.6, linestyle=(0, (5, 3)), label=law.name)
    axes.set_xlim(*view(laws, 0))
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(f"${name}$")
    axes.set_ylabel(f"probability density $p({name}, t)$")
    axes.set_title(f"$t = {format_time(time)}$")
    axes.legend()
    return figure


def draw_fields(
    laws: Sequence[Law], names: Sequence[str], time: float, limits: Sequence[tuple[float, float]] | None = None
) -> Figure:
    limits = limits or (view(laws, 0), view(laws, 1))
    width, height = limits[0][1] - limits[0][0], limits[1][1] - limits[1][0]
    # equal scales show shapes as they are, unless one side would become a thread
    equal = 1 / 3 < width / height < 3
    tall = float(np.clip(3.3 * height / width, 2.6, 4.4)) if equal else 3.3
    broad = tall * width / height if equal else 3.3
    figure = new_figure(len(laws) * (broad + 0.35) + 1.5, tall + 1.1)  # room for title, ticks and label
    panels = np.atleast_1d(figure.subplots(1, len(laws), sharex=True, sharey=True))
    top = max(float(law.values.max()) for law in _smooth(laws))
    noisier = any(float(law.values.max()) > 1.001 * top for law in laws)
    mesh = None
    for axes, law in zip(panels, laws, strict=True):
        mesh = draw_field(axes, law, top)
        axes.set_title(law.name if law.kind == "Gibbs law" else f"{law.name}, $t = {format_time(time)}$")
        axes.set_xlabel(f"${names[0]}$")
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])
        if equal:
            axes.set_aspect("equal")
    panels[0].set_ylabel(f"${names[1]}$")
    assert mesh is not None
    bar = figure.colorbar(mesh, ax=list(panels), extend="max" if noisier else "neither", shrink=0.9, pad=0.015)
    bar.set_label("probability density")
    return figure


def draw_field(axes: Axes, law: Law, top: float) -> Any:
    import matplotlib

    axes.grid(False)
    axes.set_facecolor(matplotlib.colormaps[COLOUR_MAP](0.0))  # beyond the last particle the histogram is zero
    return axes.pcolormesh(
        law.edges[0], law.edges[1], law.values.T, cmap=COLOUR_MAP, vmin=0.0, vmax=top, shading="flat",
        rasterized=True,
    )  # fmt: skip
