"""The look that all pictures share: colours, fonts, and the class of the figures."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito, "Color universal design" (2008): told apart with every common colour blindness and in grey.
VERMILION, BLUE, BLACK = "#D55E00", "#0072B2", "#000000"
COLOURS = (VERMILION, BLUE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#595959"
COLOUR_MAP = "viridis"

_RC: Any = {
    "font.size": 11.0,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 2.0,
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw with relaxsim's settings; the user's own are back afterwards."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


@functools.cache
def _figure_class() -> type[Figure]:
    from matplotlib.figure import Figure

    class RelaxsimFigure(Figure):
        """A figure outside pyplot that notebooks and executed documentation show by themselves."""

        def _repr_html_(self) -> str:
            # Figure knows this hook for one interactive backend only; a notebook would print its repr
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            image = base64.b64encode(buffer.getvalue()).decode("ascii")
            return f'<img alt="relaxsim figure" src="data:image/png;base64,{image}"/>'

    return RelaxsimFigure


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of ``width`` by ``height`` inches that belongs to nobody."""
    return _figure_class()(figsize=(width, height), dpi=140, layout="constrained")


def format_time(time: float) -> str:
    """Write a time as people do: no trailing zeros, six digits at most."""
    return f"{float(time):.6g}"


def coordinate_names(dim: int) -> list[str]:
    """Name the coordinates as texts of energies do: ``x y z w``, beyond four ``x_0 x_1 ...``."""
    return ["x", "y", "z", "w"][:dim] if dim <= 4 else [f"x_{{{axis}}}" for axis in range(dim)]
