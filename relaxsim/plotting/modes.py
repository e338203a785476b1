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
        Left eigenfunctions that are drawn, those after the constant one; of a pair of complex ones, which are each
        other's conjugates, the real and the imaginary part.

    Returns
    -------
    matplotlib.figure.Figure
        The rates (in the complex plane if they are complex) and the functions beside them: curves in 1-D, each divided
        by its largest value, fields in 2-D on a symmetric scale each.

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


def _shown(found: Spectrum, k: int) -> tuple[str, Any]:
    """What is drawn of a mode, with its name: of the second of two conjugates the imaginary part."""
    rate, values = found.rates[k], found.functions[k]
    if not np.iscomplexobj(found.rates) or rate.imag == 0:
        return rf"$\psi_{{{k}}}$, $\lambda = {_number(np.real(rate), 4)}$", np.real(values)
    again = k > 0 and abs(found.rates[k - 1] - np.conj(rate)) <= 1e-9 * abs(rate)
    part, values = ("Im", np.imag(values)) if again else ("Re", np.real(values))
    sign = "+" if rate.imag > 0 else "-"
    return rf"{part} $\psi_{{{k}}}$, $\lambda = {_number(rate.real, 4)} {sign} {_number(abs(rate.imag), 3)}i$", values


def _number(value: float, digits: int) -> str:
    """A number in mathtext, with a power of ten where it needs one."""
    digits_and_power = f"{value:.{digits}g}".split("e")
    if len(digits_and_power) == 1:
        return digits_and_power[0]
    return rf"{digits_and_power[0]} \times 10^{{{int(digits_and_power[1])}}}"


def _visible(found: Spectrum, axis: int) -> tuple[float, float]:
    rest = np.abs(found.modes[0]) / found.grid.cell_volume
    return view([Law("Gibbs law", found.grid.edges, rest)], axis, blank=_LIGHT)


def _curves(axes: Axes, found: Spectrum, chosen: Sequence[int]) -> None:
    x, (low, high) = found.grid.centers[0], _visible(found, 0)
    inside = (x > low) & (x < high)
    axes.axhline(0.0, color="black", linewidth=0.8)
    for number, k in enumerate(chosen):
        colour = COLOURS[(number + 1) % len(COLOURS)]
        name, values = _shown(found, k)
        # behind a high barrier one of them is larger than the others by powers of ten
        size = float(np.abs(values[inside]).max()) or 1.0
        axes.plot(x[inside], values[inside] / size, color=colour, label=name)
    axes.set(xlabel="$x$", ylabel="left eigenfunction / its largest value", xlim=(low, high))
    axes.legend(fontsize=9)


def _field(figure: Figure, axes: Axes, found: Spectrum, k: int) -> None:
    limits = [_visible(found, axis) for axis in range(2)]
    inside = [(c > low) & (c < high) for c, (low, high) in zip(found.grid.centers, limits, strict=True)]
    name, values = _shown(found, k)
    size = float(np.abs(values[np.ix_(*inside)]).max()) or 1.0
    axes.grid(False)
    mesh = axes.pcolormesh(*found.grid.edges, values.T, cmap="RdBu_r", vmin=-size, vmax=size, rasterized=True)
    names = coordinate_names(2)
    axes.set(xlim=limits[0], ylim=limits[1], xlabel=f"${names[0]}$", ylabel=f"${names[1]}$")
    axes.set_title(name, fontsize=10)
    figure.colorbar(mesh, ax=axes, shrink=0.85, pad=0.02)
