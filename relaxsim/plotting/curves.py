"""Free energy, energy, entropy, relative entropy and dissipation against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.errors import InputError
from relaxsim.plotting.style import BLUE, COLOURS, GREY, VERMILION, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from relaxsim.functionals import Relaxation

Array = npt.NDArray[np.float64]

_SHOWN = 2.0  # standard errors that a bar or band reaches to either side
_MANY = 60  # beyond this many times bars run into each other: a band is drawn instead
_ROUNDING = 1e-10  # nats: above, a KL has digits enough to draw a line through
_NEGLIGIBLE = 1e-12  # nats: a KL below is rounding, and would only stretch the logarithmic axis
_LIMIT = "upper limit (hidden by noise)"


def relaxation(*relaxations: Relaxation, gap: float | None = None, labels: Sequence[str] | None = None) -> Figure:
    """Draw one or more relaxations together: F with its equilibrium value, KL, U, S and the dissipation -dF/dt.

    Parameters
    ----------
    *relaxations : Relaxation
        Records from ``relaxsim.track``, of ensembles (points with bars of two standard errors) and of
        densities (lines).
    gap : float, optional
        The spectral gap, ``fp.spectrum(2).gap``: the slope at which KL, and with it F - F_eq = T KL, falls in the end,
        exp(-2 gap t), is drawn through the last value that is not rounding.
    labels : sequence of str, optional
        A name for each record in the legend, such as ``["proximal", "finite volumes"]``; by default "ensemble" and
        "density".

    Returns
    -------
    matplotlib.figure.Figure
        Five axes: F and, on a logarithmic scale, KL at the left; U, S and, on a logarithmic scale, -dF/dt at the right.
        Where E or T depends on time F_eq is a curve, -dF/dt is that at fixed E and T and is left out without a density,
        whose work has an axis below, and so has T if it changes. A panel of which no record knows a number says so.
        All energies are in the units of the system's energy (dimensionless, k_B = 1), S and KL in nats. An ensemble's
        KL or dissipation that two standard errors do not tell from zero is drawn as an arrow that hangs from its upper
        limit. An ensemble's dissipation is a slope between stored times: thin bars add what the length of those
        intervals may do to it, its bias bound.

    Raises
    ------
    InputError
        Nothing to draw, something that is not a Relaxation, a gap of a Gibbs law that moves, another number of labels.
    """
    _check(relaxations)
    colours, names = _colours(relaxations), _names(relaxations, labels)
    with styled():
        right = _right(relaxations)
        figure = new_figure(10.0, 6.4 if len(right) < 4 else 1.9 * len(right))
        panels = _panels(figure, right)
        top = panels["free_energy"]
        for record, colour, shown in zip(relaxations, colours, names, strict=True):
            for name in ("free_energy", "energy", "entropy"):
                _curve(panels[name], record, name, colour, shown)
            _falling_curve(panels["kl"], record, "kl", colour)
            if record.has_dissipation:
                _falling_curve(panels["dissipation"], record, "dissipation", colour)
            if "work" in panels and record.work is not None:
                panels["work"].plot(record.times, record.work, color=colour)
            if "temperature" in panels:
                heat = np.broadcast_to(record.temperature, np.shape(record.times))
                panels["temperature"].plot(record.times, heat, color=GREY)
        if gap is not None:
            _asymptote(panels["kl"], relaxations, gap)
        _explain_limits(panels, relaxations)
        _equilibrium_lines(top, relaxations)
        _dress(panels, relaxations)
        for name, axes in panels.items():
            known = [record for record in relaxations if name != "dissipation" or record.has_dissipation]
            if not any(np.isfinite(np.array(getattr(record, name), dtype=float)).any() for record in known):
                _say_unknown(axes, relaxations)
        figure.align_ylabels()
        _legend(figure, top, names)
    return figure


def _right(relaxations: Sequence[Relaxation]) -> list[str]:
    """What there is to show at the right."""
    names = ["energy", "entropy"]
    names += ["dissipation"] if any(record.has_dissipation for record in relaxations) else []
    names += ["work"] if any(record.moving and record.work is not None for record in relaxations) else []
    return names + (["temperature"] if any(np.ptp(record.temperature) > 0 for record in relaxations) else [])


def _panels(figure: Figure, right: Sequence[str]) -> dict[str, Axes]:
    """F and KL at the left, the others at the right in equal parts of the height."""
    half = len(right)
    grid = figure.add_gridspec(2 * half, 2, width_ratios=[1.55, 1.0])
    top = figure.add_subplot(grid[:half, 0])
    panels = {"free_energy": top, "kl": figure.add_subplot(grid[half:, 0], sharex=top)}
    for k, name in enumerate(right):
        panels[name] = figure.add_subplot(grid[2 * k : 2 * (k + 1), 1], sharex=top)
    return panels


def _check(relaxations: Sequence[Any]) -> None:
    if not relaxations:
        raise InputError("relaxation(...): got nothing to draw; pass at least one record, such as track(path)")
    for number, record in enumerate(relaxations):
        if not hasattr(record, "free_energy") or not hasattr(record, "kl_stderr"):
            raise InputError(
                f"relaxation(...): argument {number} is {type(record).__name__}, expected a Relaxation; "
                "pass track(path) instead of the path itself"
            )


def _is_noisy(record: Relaxation) -> bool:
    """Tell an ensemble, whose values carry noise, from a density."""
    return bool(np.any(np.asarray(record.energy_stderr) > 0))


def _finite(values: Array) -> Array:
    """Leave gaps where a value is infinite (mass where no Gibbs mass is) or unknown."""
    return np.where(np.isfinite(values), values, np.nan)


def _colours(relaxations: Sequence[Relaxation]) -> list[str]:
    """Give ensembles vermilion and densities blue, and further records the next colours of the palette."""
    free = list(COLOURS)
    chosen = []
    for record in relaxations:
        wish = VERMILION if _is_noisy(record) else BLUE
        if wish not in free:
            wish = free[0] if free else GREY
        if wish in free:
            free.remove(wish)
        chosen.append(wish)
    return chosen


def _names(relaxations: Sequence[Relaxation], labels: Sequence[str] | None) -> list[str]:
    """What the legend calls each record."""
    given = [str(record.label) for record in relaxations] if labels is None else [str(label) for label in labels]
    if isinstance(labels, str) or len(given) != len(relaxations):
        raise InputError(
            f"relaxation(...): labels={labels!r}; expected a list of {len(relaxations)} names, one for each record"
        )
    return [
        f"{name} (±{_SHOWN:g} standard errors)" if _is_noisy(record) else name
        for name, record in zip(given, relaxations, strict=True)
    ]


def _curve(axes: Axes, record: Relaxation, name: str, colour: str, label: str) -> None:
    """Draw one quantity: a line for a density, points with bars or a band for an ensemble."""
    values = _finite(getattr(record, name))
    errors = _SHOWN * np.asarray(getattr(record, name + "_stderr"))
    if not _is_noisy(record):
        axes.plot(record.times, values, color=colour, label=label, zorder=2)
    elif len(values) > _MANY:
        axes.fill_between(record.times, values - errors, values + errors, color=colour, alpha=0.3, linewidth=0)
        axes.plot(record.times, values, color=colour, linewidth=1.3, label=label, zorder=3)
    else:
        _points(axes, record.times, values, errors, colour, label)


def _points(axes: Axes, times: Array, values: Array, errors: Array, colour: str, label: str | None) -> None:
    crowded = len(times) > _MANY
    axes.errorbar(
        times, values, errors, fmt="o", markersize=2.8 if crowded else 4.2, color=colour,
        elinewidth=1.2, capsize=0.0 if crowded else 2.0,
        markeredgecolor="white", markeredgewidth=0.5, label=label, zorder=3,
    )  # fmt: skip


def _falling_curve(axes: Axes, record: Relaxation, name: str, colour: str) -> None:
    """Draw one quantity on a logarithmic axis, where an estimate that noise hides has no place of its own."""
    values, errors = _finite(getattr(record, name)), _SHOWN * np.asarray(getattr(record, name + "_stderr"))
    times = np.asarray(record.times)
    if not _is_noisy(record):
        axes.plot(times, np.where(values > _NEGLIGIBLE, values, np.nan), color=colour, zorder=2)
        return
    seen, hidden, limits = _told_apart(record, name)
    # the lower bar stops just above zero, which a logarithmic axis cannot show
    lower = np.minimum(errors, values * (1 - 1e-9))[seen]
    _points(axes, times[seen], values[seen], np.array([lower, errors[seen]]), colour, None)
    if name == "dissipation" and len(times) <= _MANY:
        lower = np.maximum(2 * values - limits, values * 1e-9)
        axes.vlines(times[seen], lower[seen], limits[seen], color=colour, linewidth=0.8, alpha=0.5, zorder=2)
    if np.any(hidden):
        axes.plot(
            times[hidden], limits[hidden], color=colour, linestyle="none", marker=r"$\downarrow$", markersize=9,
            alpha=0.75, zorder=3, label=_LIMIT,
        )  # fmt: skip


def _told_apart(record: Relaxation, name: str) -> tuple[Any, Any, Array]:
    """Which estimates stand out of the noise, which do not, and the upper limits of all.

    The slope of F over an interval may be off by its bias bound besides.
    """
    values, errors = _finite(getattr(record, name)), _SHOWN * np.asarray(getattr(record, name + "_stderr"))
    seen = values > errors
    reach = errors + np.asarray(record.dissipation_bias_bound) if name == "dissipation" else errors
    return seen, ~seen & (values + errors > 0), np.maximum(values, 0.0) + reach


def _explain_limits(panels: dict[str, Axes], relaxations: Sequence[Relaxation]) -> None:
    """Say what the arrows are, once: with KL, or where only the dissipation has them with that."""
    moving = any(record.moving for record in relaxations)
    for name in ("kl", "dissipation"):
        if name in panels and any(line.get_label() == _LIMIT for line in panels[name].lines):
            handles, labels = panels[name].get_legend_handles_labels()
            once = dict(zip(labels, handles, strict=True))
            panels[name].legend(once.values(), once.keys(), loc="best" if moving else "upper right")
            return


def _asymptote(axes: Axes, relaxations: Sequence[Relaxation], gap: float) -> None:
    """The line exp(-2 gap t) through the end of the first density, or of the first record if there is none."""
    given: object = gap
    if not isinstance(given, (int, float, np.integer, np.floating)) or not (np.isfinite(gap) and gap > 0):
        raise InputError(f"relaxation(...): gap={gap!r}; expected a positive rate, such as fp.spectrum(2).gap")
    if any(record.moving for record in relaxations):
        raise InputError(
            "relaxation(...): gap: the energy or temperature depends on time, so KL does not end as exp(-2 gap t); "
            "leave it out"
        )
    record = next((each for each in relaxations if not _is_noisy(each)), relaxations[0])
    times, kl = np.asarray(record.times), np.asarray(record.kl)
    sure = np.flatnonzero(np.isfinite(kl) & (kl > np.maximum(_ROUNDING, _SHOWN * np.asarray(record.kl_stderr))))
    if not sure.size:
        return
    last = sure[-1]
    line = kl[last] * np.exp(-2.0 * gap * (times - times[last]))
    shown = (line < 3.0 * np.nanmax(kl[sure])) & (line > _NEGLIGIBLE)
    label = r"slope $-2\,\lambda_1$" + f" $= {-2.0 * gap:.4g}$"
    axes.plot(times[shown], line[shown], color=GREY, linestyle=(0, (5, 3)), linewidth=1.4, label=label, zorder=1)
    axes.legend(loc="upper right")


def _equilibrium_lines(axes: Axes, relaxations: Sequence[Relaxation]) -> None:
    """Draw F_eq = -T ln Z once for each value that occurs (records of one system share it)."""
    drawn: list[Array] = []
    for record in relaxations:
        heat = np.asarray(record.temperature)
        level = -heat * np.asarray(record.log_partition)  # a number, or one for each time
        known = any(level.shape == other.shape and np.all(np.abs(level - other) <= 1e-3 * heat) for other in drawn)
        if not np.isfinite(level).all() or known:
            continue
        label = r"equilibrium $F_\mathrm{eq}=-T\,\ln Z$" if not drawn else None
        style: Any = {"color": GREY, "linestyle": "--", "linewidth": 1.4, "label": label, "zorder": 1}
        axes.plot(record.times, level, **style) if level.ndim else axes.axhline(float(level), **style)
        drawn.append(level)


def _legend(figure: Figure, axes: Axes, wanted: Sequence[str]) -> None:
    """Put one legend over all panels, in the order of the arguments (matplotlib puts lines before bars)."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: wanted.index(labels[i]) if labels[i] in wanted else len(wanted))
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside upper center",
        ncols=min(4, len(order)),
    )


def _dress(panels: dict[str, Axes], relaxations: Sequence[Relaxation]) -> None:
    """Label the axes with the name and the symbol of what they show."""
    panels["free_energy"].set_ylabel(r"free energy $F = U - T\,S$")
    panels["kl"].set_ylabel(r"$\mathrm{KL}(p\,\Vert\,p_\mathrm{Gibbs})$ [nats]")
    panels["energy"].set_ylabel(r"energy $U=\langle E\rangle$")
    panels["entropy"].set_ylabel(r"entropy $S$ [nats]")
    falls = [record for record in relaxations if record.has_dissipation]
    if "dissipation" in panels:
        moving = any(record.moving for record in falls)
        panels["dissipation"].set_ylabel(r"dissipation $\dot W - \dot F$" if moving else r"dissipation $-dF/dt$")
    if "work" in panels:
        panels["work"].set_ylabel(r"work $W$")
    if "temperature" in panels:
        panels["temperature"].set_ylabel(r"temperature $T(t)$")
    for name, shown in (("kl", relaxations), ("dissipation", falls)):
        if name in panels:
            panels[name].set_yscale("log")
            _limit(panels[name], shown, name)
    lowest = ("kl", list(panels)[-1])
    for name, axes in panels.items():
        if name in lowest:
            axes.set_xlabel(r"time $t$")
        else:
            axes.tick_params(labelbottom=False)
    panels["kl"].locator_params(axis="x", nbins=6)  # shared by all panels; the narrow ones hold no more


def _say_unknown(axes: Axes, relaxations: Sequence[Relaxation]) -> None:
    """Say that there is nothing to see instead of showing ticks of nothing."""
    many = all(record.label == "ensemble" and record.bins is None for record in relaxations)
    axes.text(
        0.5, 0.5, "needs bins: up to 3 dimensions" if many else "not known", transform=axes.transAxes, ha="center",
        va="center", color=GREY,
    )  # fmt: skip
    axes.tick_params(axis="y", which="both", left=False, labelleft=False)


def _limit(axes: Axes, relaxations: Sequence[Relaxation], name: str) -> None:
    """End the logarithmic axis a decade under the noise: a density near rest must not squeeze the rest."""
    values = np.concatenate([np.asarray(getattr(r, name)) for r in relaxations])
    errors = np.concatenate([np.asarray(getattr(r, name + "_stderr")) for r in relaxations])
    positive = values[np.isfinite(values) & (values > _NEGLIGIBLE)]
    if positive.size == 0:
        axes.set_ylim(_NEGLIGIBLE, 1.0)
        return
    noise = errors[errors > 0]
    bottom = max(float(positive.min()), 0.1 * _SHOWN * float(noise.min())) if noise.size else float(positive.min())
    lowest = [bottom, *(low for r in relaxations if _is_noisy(r) for low in _drawn_of(r, name))]
    axes.set_ylim(0.7 * min(lowest), 1.8 * float(positive.max()))


def _drawn_of(record: Relaxation, name: str) -> list[float]:
    """The lowest point or arrow of an ensemble, which may not fall below the axis."""
    seen, hidden, limits = _told_apart(record, name)
    # an arrow hangs from its limit and takes about a third of it
    found = [*_finite(getattr(record, name))[seen], *(0.6 * limits[hidden])]
    return [min(found)] if found and min(found) > _NEGLIGIBLE else []
