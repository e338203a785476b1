"""Numbers from a grid, with the tolerance that a grid of wider cells gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relaxsim.theorems.check import Measurement

ROUNDING = 1e-12  # relative to max(1, |value|): sums over some thousand cells


def refined(
    name: str, value: Callable[[int], float], expected: float, cells: int, *, extra: float = 0.0, ratio: int = 2
) -> Measurement:
    """A number of second order or better in the width of the cells, compared with its exact value.

    An error c h^2 that is left on the grid is 4 c h^2 on the one of twice the width, so the two differ by three times
    what is left: that difference is the tolerance. It is the same for a mutant, whose number converges as well, but to
    something else.

    Parameters
    ----------
    name : str
    value : callable
        ``value(n)`` with n cells an axis.
    expected : float
    cells : int
        Cells an axis of the finer grid, a multiple of `ratio`.
    extra : float
        What else may be missed, such as by the tails outside the box.
    ratio : int
        How much wider the other grid's cells are; with 3 the centers of its cells are centers of the finer one too.
    """
    fine, coarse = value(cells), value(cells // ratio)
    return Measurement(name, fine, expected, abs(fine - coarse) + rounding(fine) + extra)


def component(values: Callable[[int], Any], *index: int) -> Callable[[int], float]:
    """One entry of an array that depends on the number of cells, for `refined`."""
    return lambda cells: float(values(cells)[index])


def rounding(value: float) -> float:
    """What rounding may do to a number of this size."""
    return ROUNDING * max(1.0, abs(value))
