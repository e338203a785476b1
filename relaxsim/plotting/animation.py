"""A relaxation as a moving picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.plotting.laws import (
    Law,
    draw_fields,
    draw_line,
    ends_of,
    gibbs_law,
    laws_at,
    shown_axes,
    sorted_paths,
    view,
)
from relaxsim.plotting.style import coordinate_names, format_time, styled
from relaxsim.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from relaxsim.density import DensityPath
    from relaxsim.particles import EnsemblePath

_FRAMES = 120  # at most, by default
_SETTLED = 2.0  # times the highest value of the later half: where the scale ends, though the start may be sharper


def animate(
    path: DensityPath | EnsemblePath,
    file: str | os.PathLike[str],
    ensemble: EnsemblePath | None = None,
    *,
    axes: Sequence[int] | None = None,
    bins: int | None = None,
    fps: float = 12.0,
    dpi: int = 90,
) -> Path:
    """Write the laws at the stored times as an animated GIF, beside the Gibbs law.

    Parameters
    ----------
    path : DensityPath or EnsemblePath
        What moves.
    file : path-like
        A name that ends in ``.gif``.
    ensemble : EnsemblePath, optional
        Its histogram is drawn over or beside the density; both need the same times.
    axes : sequence of int, optional
        One or two coordinates to show, as in `density`.
    bins : int, optional
        Bins a side of the histogram.
    fps : float, default 12
        Frames a second; there is one for each stored time, at most 120, evenly chosen.
    dpi : int, default 90
        Points an inch.

    Returns
    -------
    Path
        `file`.

    Raises
    ------
    InputError
        A name with another ending, a single time, times that differ, fps that is not positive.
    StorageError
        The file cannot be written; one that was there before is as it was.
    """
    target = Path(file)
    if target.suffix.lower() != ".gif":
        raise InputError(f"animate(...): got {target.name!r}, expected a name that ends in .gif")
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"animate(...): fps={fps!r}; expected a positive number of frames a second")
    macro, micro = sorted_paths(path, ensemble)
    times = _times(macro, micro)
    source: Any = macro if macro is not None else micro
    shown = shown_axes(source.system.dim, axes)
    chosen = np.unique(np.linspace(0, len(times) - 1, min(_FRAMES, len(times))).round().astype(int))
    moving = bool(getattr(source.system, "time_dependent", False))
    still = None if moving else gibbs_law(source, shown)
    # the same bins in all frames: none may jump
    ends = None if micro is None else ends_of(micro, chosen.tolist(), shown)
    frames = []
    for index in map(int, chosen):
        rest = gibbs_law(source, shown, index) if moving else still
        frames.append(laws_at(macro, micro, index, shown, bins, ends) + ([] if rest is None else [rest]))
    names = [coordinate_names(source.system.dim)[axis] for axis in shown]
    with styled():
        images = _drawn(frames, names, times[chosen], dpi)
    _write(target, images, fps)
    return target


def _times(macro: Any, micro: Any) -> Any:
    times = [np.asarray(each.times) for each in (macro, micro) if each is not None]
    if len(times[0]) < 2:
        raise InputError("animate(...): the path has a single time; store more of them")
    if len(times) == 2 and (
        len(times[0]) != len(times[1]) or not np.allclose(times[0], times[1], rtol=1e-9, atol=1e-12)
    ):
        raise InputError("animate(...): density and ensemble have other times; run both with the same `times`")
    return times[0]


def _drawn(frames: list[list[Law]], names: list[str], times: Any, dpi: int) -> list[Any]:
    """One image a frame: the figure is laid out once, then only its data change."""
    every = [law for frame in frames for law in frame]
    later = [law for frame in frames[len(frames) // 2 :] for law in frame]
    top = min(max(law.values.max() for law in every), _SETTLED * max(law.values.max() for law in later))
    limits = [view(every, axis, blank=5e-3) for axis in range(len(names))]
    line = len(names) == 1
    figure = draw_line(frames[0], names[0], times[0]) if line else draw_fields(frames[0], names, times[0], limits)
    figure.set_dpi(dpi)
    panels = figure.axes if line else figure.axes[:-1]
    panels[0].set_xlim(*limits[0])
    if line:
        panels[0].set_ylim(0.0, 1.05 * top)
    else:
        for panel in panels:
            panel.collections[0].set_clim(0.0, top)
    images = []
    for laws, time in zip(frames, times, strict=True):
        for number, law in enumerate(laws):
            _move(panels[0 if line else number], law, line)
            title = f"$t = {format_time(time)}$"
            if line:
                panels[0].set_title(title)
            elif law.kind != "Gibbs law":
                panels[number].set_title(f"{law.name}, {title}")
        images.append(_image(figure))
        figure.set_layout_engine("none")  # laid out by the first frame; nothing may jump
    return images


def _move(axes: Any, law: Law, line: bool) -> None:
    """Give what stands for a law its values at another time."""
    if not line:
        axes.collections[0].set_array(law.values.T)
    elif law.kind == "ensemble":
        for patch in axes.patches:
            patch.set_data(law.values)
    else:
        next(each for each in axes.lines if each.get_label() == law.name).set_ydata(law.values)


def _image(figure: Figure) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _write(target: Path, images: list[Any], fps: float) -> None:
    # One palette for all frames, from one in the middle, so that colours do not flicker.
    palette = images[len(images) // 2].quantize(255)
    frames = [image.quantize(palette=palette, dither=0) for image in images]

    def write(place: Any) -> None:
        frames[0].save(
            place, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0
        )  # fmt: skip

    write_atomic(target, write)
