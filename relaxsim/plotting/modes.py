"""The slowest modes of a relaxation: their rates and their eigenfunctions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.plotting.laws import Law, view
from relaxsim.plotting.style import BLUE, COLOURS, coordinate_names, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.density import Spectrum

_LIGHT = 1e-6  # of the highest density at rest: lighter ground is cut off the picture


def spectrum(found: Spectrum, *, n_functions: int = 3) -> Figure:
    """Draw relaxation rates, and the functions of the slowest modes.

    Parameters
    ----------
    found : Spectrum
        From ``fp.spectrum(k)``, in one or two dimensions.
    n_functions : int, default 3
        Left eigenfunctions that are drawn, those after the constant one; of complex ones the real part.

    Returns
    -------
    matplotlib.figure.Figure
        The rates (in the complex plane if they are complex) and the functions beside them: curves in 1-D, fields in 2-D
        on a symmetric scale each.

    Raises
    ------
    InputError
        Not a spectrum, or one in more than two dimensions.
    """
    if not hasattr(found, "rates") or not hasattr(found, "functions"):
        raise InputError(f"spectrum(...): got {type(found).__name__}, expected a Spectrum; pass fp.spectrum(6)")
    dim = found.grid.dim
    if dim > 2:
        raise InputError(f"spectrum(...): functions are drawn in one and two dimensions, got {dim}")
    last = min(len(found.rates), 1 + max(0, n_functions))
    chosen = list(range(1, last)) or [0]
    with styled():
        wide = 4.2 + (4.6 if dim == 1 else 3.1 * len(chosen))
        figure = new_figure(wide, 3.8)
        columns = 2 if dim == 1 else 1 + len(chosen)
        panels = np.atleast_1d(figure.subplots(1, columns, width_ratios=[1.0] + [1.1] * (columns - 1)))
        _rates(panels[0], found.rates)
        if dim == 1:
            _curves(panels[1], found, chosen)
        else:
            for axes, k in zip(panels[1:], chosen, strict=True):
                _field(figure, axes, found, k)
    return figure


def _rates(axes: Axes, rates: Any) -> None:
    if np.iscomplexobj(rates) and np.abs(rates.imag).max() > 0:
        axes.plot(rates.real, rates.imag, "o", color=BLUE)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set(xlabel=r"relaxation rate $\mathrm{Re}\,\lambda$", ylabel=r"frequency $\mathrm{Im}\,\lambda$")
        return
    axes.vlines(range(len(rates)), 0.0, rates.real, color=BLUE, linewidth=1.2)
    axes.plot(range(len(rates)), rates.real, "o", color=BLUE)
    axes.set(xlabel="mode $k$", ylabel=r"relaxation rate $\lambda_k$")
    axes.locator_params(axis="x", integer=True)


def _name(rates: Any, k: int) -> str:
    if np.iscomplexobj(rates) and abs(rates[k].imag) > 0:
        return rf"Re $\psi_{{{k}}}$, $\lambda = {rates[k].real:.4g} {rates[k].imag:+.3g}i$"
    return rf"$\psi_{{{k}}}$, $\lambda = {np.real(rates[k]):.4g}$"


def _visible(found: Spectrum, axis: int) -> tuple[float, float]:
    rest = np.abs(found.modes[0]) / found.grid.cell_volume
    return view([Law("Gibbs law", found.grid.edges, rest)], axis, blank=_LIGHT)


def _curves(axes: Axes, found: Spectrum, chosen: Sequence[int]) -> None:
    x, (low, high) = found.grid.centers[0], _visible(found, 0)
    inside = (x > low) & (x < high)
    axes.axhline(0.0, color="black", linewidth=0.8)
    for number, k in enumerate(chosen):
        colour = COLOURS[(number + 1) % len(COLOURS)]
        axes.plot(x[inside], np.real(found.functions[k])[inside], color=colour, label=_name(found.rates, k))
    axes.set(xlabel="$x$", ylabel="left eigenfunction", xlim=(low, high))
    axes.legend(fontsize=9)


def _field(figure: Figure, axes: Axes, found: Spectrum, k: int) -> None:
    limits = [_visible(found, axis) for axis in range(2)]
    inside = [(c > low) & (c < high) for c, (low, high) in zip(found.grid.centers, limits, strict=True)]
    values = np.real(found.functions[k])
    size = float(np.abs(values[np.ix_(*inside)]).max()) or 1.0
    axes.grid(False)
    mesh = axes.pcolormesh(*found.grid.edges, values.T, cmap="RdBu_r", vmin=-size, vmax=size, rasterized=True)
    names = coordinate_names(2)
    axes.set(xlim=limits[0], ylim=limits[1], xlabel=f"${names[0]}$", ylabel=f"${names[1]}$")
    axes.set_title(_name(found.rates, k), fontsize=10)
    figure.colorbar(mesh, ax=axes, shrink=0.85, pad=0.02)
