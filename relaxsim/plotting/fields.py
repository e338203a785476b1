"""Fields that were estimated from trajectories, energies that were reconstructed, and the tail of KL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.plotting.style import BLACK, BLUE, COLOUR_MAP, GREY, VERMILION, coordinate_names, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.functionals.kramers_moyal import KramersMoyal
    from relaxsim.functionals.potential import Reconstruction
    from relaxsim.functionals.relaxation import Relaxation
    from relaxsim.functionals.tail import TailFit
    from relaxsim.system.system import System

Array = NDArray[np.float64]

_SHOWN = 2.0  # standard errors that a bar reaches to either side
_ARROWS = 20


def kramers_moyal(estimate: KramersMoyal, system: System | None = None) -> Figure:
    """Draw an estimated drift and diffusion, beside the true ones if these are given.

    Parameters
    ----------
    estimate : KramersMoyal
        In one or two dimensions. In one: points with bars of two standard errors. In two: the drift as arrows, the
        entries of D as colours, and below each its standard error (of the drift, of its length).
    system : System, optional
        The true one, drawn as lines in one dimension and as grey arrows in two.

    Returns
    -------
    matplotlib.figure.Figure
    """
    dim = _plane(estimate.grid.dim, "estimate")
    with styled():
        if dim == 1:
            return _fields_on_a_line(estimate, system)
        figure = new_figure(12.0, 6.0)
        axes, below = figure.subplots(2, 4)
        _arrows(axes[0], estimate.grid, estimate.drift, VERMILION, "estimate")
        if system is not None:
            points = estimate.grid.points.reshape(*estimate.grid.shape, 2)
            _arrows(
                axes[0], estimate.grid, np.where(np.isnan(estimate.drift), np.nan, system.drift(points)), GREY, "true"
            )
            axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=2)
        axes[0].set_title(r"drift $\mu$")
        for axis, (a, b) in zip(axes[1:], ((0, 0), (0, 1), (1, 1)), strict=True):
            _colours(axis, estimate.grid, estimate.diffusion[..., a, b], f"$D^{{{a + 1}{b + 1}}}$")
        errors = [np.sqrt(np.sum(estimate.drift_stderr**2, axis=-1))]
        errors += [estimate.diffusion_stderr[..., a, b] for a, b in ((0, 0), (0, 1), (1, 1))]
        for axis, error in zip(below, errors, strict=True):
            _colours(axis, estimate.grid, error, "standard error")
        for axis in (*axes, *below):
            _name(axis)
    return figure


def reconstruction(result: Reconstruction, energy: Any = None) -> Figure:
    """Draw a reconstructed energy, beside the true one if it is given, and the current.

    Parameters
    ----------
    result : Reconstruction
        In one or two dimensions.
    energy : System or Energy or callable, optional
        The true E of points (..., dim); it is shifted to the same normalisation.

    Returns
    -------
    matplotlib.figure.Figure
        In one dimension E with bars of two standard errors. In two: E, the true E if it is given, the standard error of
        E, and the current over the density with the length of its longest arrow: noise, where no curl was found.
    """
    dim = _plane(result.grid.dim, "result")
    true = _true_energy(result, energy)
    with styled():
        if dim == 1:
            figure = new_figure(6.4, 4.2)
            axes = figure.add_subplot()
            x = result.grid.centers[0]
            _bars(axes, x, result.energy, result.energy_stderr, "reconstructed (±2 standard errors)")
            if true is not None:
                axes.plot(x, true, color=BLACK, linewidth=1.4, label="true")
            axes.set_xlabel("$x$")
            axes.set_ylabel("energy $E$")
            axes.legend(loc="best")
            return figure
        figure = new_figure(11.5 if true is None else 15.0, 3.7)
        left, *middle, right = figure.subplots(1, 3 if true is None else 4)
        low, high = float(np.nanmin(result.energy)), float(np.nanmax(result.energy))
        _colours(left, result.grid, result.energy, "reconstructed $E$", low, high)
        if true is not None:
            _colours(middle[0], result.grid, true, "true $E$", low, high)
        _colours(middle[-1], result.grid, result.energy_stderr, "standard error of $E$")
        x, y = result.grid.centers
        right.pcolormesh(x, y, result.density.T, cmap="Greys", alpha=0.6, rasterized=True)
        _arrows(right, result.grid, result.current, BLUE, "current")
        found = "current over the density" if result.reversible is not True else "no curl found: only noise"
        longest = np.sqrt(np.nanmax((result.current**2).sum(axis=-1)))
        right.set_title(f"{found},\nlongest arrow {longest:.3g}")
        for axis in (left, *middle, right):
            _name(axis)
    return figure


def kl_tail(record: Relaxation, fit: TailFit) -> Figure:
    """Draw KL on a logarithmic axis with the fitted tail and the local rates.

    The gap stands with, and is shaded by, two standard errors and its bias bound.

    Parameters
    ----------
    record : Relaxation
    fit : TailFit
        From ``gap_from_tail(record)``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with styled():
        figure = new_figure(10.0, 4.0)
        left, right = figure.subplots(1, 2)
        seen = record.kl > np.maximum(1e-12, _SHOWN * record.kl_stderr)
        t, kl, error = record.times[seen], record.kl[seen], _SHOWN * record.kl_stderr[seen]
        if np.any(error > 0):
            _bars(left, t, kl, error / _SHOWN, "KL (±2 standard errors)")
        else:
            left.plot(t, kl, color=BLUE, label="KL")
        if np.isfinite(fit.gap):
            window = np.linspace(fit.start, fit.end, 50)
            spread = _SHOWN * fit.stderr + fit.bias_bound
            label = rf"$\propto e^{{-2\lambda t}}$, $\lambda$ = {fit.gap:.3g} ± {spread:.2g}"
            left.plot(window, fit.kl(window), color=BLACK, linestyle="--", linewidth=1.5, label=label)
            right.axhline(fit.gap, color=BLACK, linestyle="--", linewidth=1.5)
            right.axhspan(fit.gap - spread, fit.gap + spread, color=GREY, alpha=0.25, linewidth=0)
        left.set_yscale("log")
        left.set_ylabel(r"$\mathrm{KL}(p\,\Vert\,p_\mathrm{Gibbs})$ [nats]")
        left.legend(loc="best")
        if fit.local_rates_stderr is None:
            right.plot(fit.local_times, fit.local_rates, "o-", color=VERMILION, markersize=4)
        else:
            _bars(right, fit.local_times, fit.local_rates, fit.local_rates_stderr, None)
        right.set_ylabel(r"local rate $-\frac{1}{2}\,d\ln\mathrm{KL}/dt$")
        for axis in (left, right):
            axis.set_xlabel("time $t$")
    return figure


def _plane(dim: int, name: str) -> int:
    if dim > 2:
        raise InputError(f"{name}: pictures are drawn in one or two dimensions, got {dim}")
    return dim


def _true_energy(result: Reconstruction, energy: Any) -> Array | None:
    if energy is None:
        return None
    function = getattr(energy, "energy", energy)
    values = np.asarray(function(result.grid.points), dtype=np.float64).reshape(result.grid.shape)
    values = np.where(np.isnan(result.energy), np.nan, values)
    reduced = values / result.temperature
    lowest = np.nanmin(reduced)
    total = np.nansum(np.exp(lowest - reduced)) * result.grid.cell_volume
    return np.asarray(values + result.temperature * (np.log(total) - lowest))


def _fields_on_a_line(estimate: KramersMoyal, system: System | None) -> Figure:
    figure = new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2)
    x = estimate.grid.centers[0]
    _bars(left, x, estimate.drift[:, 0], estimate.drift_stderr[:, 0], "estimate (±2 standard errors)")
    _bars(right, x, estimate.diffusion[:, 0, 0], estimate.diffusion_stderr[:, 0, 0], None)
    if system is not None:
        fine = np.linspace(x[0], x[-1], 300)[:, None]
        left.plot(fine[:, 0], system.drift(fine)[:, 0], color=BLACK, linewidth=1.4, label="true")
        diffusion = system.temperature_at(0.0) * system.mobility.symmetric(fine)[:, 0, 0]
        right.plot(fine[:, 0], diffusion, color=BLACK, linewidth=1.4)
    left.set_ylabel(r"drift $\mu$")
    right.set_ylabel(r"diffusion $D = T S$")
    left.legend(loc="best")
    for axis in (left, right):
        axis.set_xlabel("$x$")
    return figure


def _bars(axes: Axes, x: Array, values: Array, errors: Array, label: str | None) -> None:
    axes.errorbar(
        x, values, _SHOWN * errors, fmt="o", markersize=3.6, color=VERMILION, elinewidth=1.1, capsize=1.6,
        markeredgecolor="white", markeredgewidth=0.4, label=label, zorder=3,
    )  # fmt: skip


def _arrows(axes: Axes, grid: Any, field: Array, colour: str, label: str) -> None:
    steps = tuple(slice(None, None, max(1, n // _ARROWS)) for n in grid.shape)
    x, y = (centres[step] for centres, step in zip(grid.centers, steps, strict=True))
    shown = field[steps]
    axes.quiver(
        *np.meshgrid(x, y, indexing="ij"), shown[..., 0], shown[..., 1], color=colour, pivot="mid", label=label,
        angles="xy", width=0.008,
    )  # fmt: skip


def _colours(
    axes: Axes, grid: Any, values: Array, title: str, low: float | None = None, high: float | None = None
) -> None:
    mesh = axes.pcolormesh(*grid.centers, values.T, cmap=COLOUR_MAP, vmin=low, vmax=high, rasterized=True)
    figure: Any = axes.figure
    figure.colorbar(mesh, ax=axes, shrink=0.85)
    axes.set_title(title)


def _name(axes: Axes) -> None:
    x, y = coordinate_names(2)
    axes.grid(False)
    axes.set_xlabel(f"${x}$")
    axes.set_ylabel(f"${y}$")
