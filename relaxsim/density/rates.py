"""Exponentially fitted jump rates of an edge between two cells (Scharfetter and Gummel)."""

from __future__ import annotations

import numpy as np

from relaxsim.system.validate import FloatArray

_LN2 = float(np.log(2.0))
_STEEP = (2.0, 10.0)  # changes of E/T along an edge between which fitted rates take the place of the weight halfway
_MUCH = (0.1, 0.3)  # differences of ln between which the weight halfway of a jump is taken for the mean it stands for
_LEAST = 0.5  # what ln of a mass may fall short of that of the weight at its centre, or bends of E add to it


def bernoulli(x: FloatArray) -> FloatArray:
    """B(x) = x / (exp(x) - 1), the weight of exponentially fitted rates: B(0) = 1, B(-x) = B(x) exp(x)."""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) < 1e-5  # there the next term of the series, x^4/720, is below rounding
    safe = np.where(small, 1.0, x)
    with np.errstate(over="ignore"):
        return np.where(small, 1.0 - x / 2 + x * x / 12, safe / np.expm1(safe))


def fitted_rates(
    log_start: FloatArray,
    log_end: FloatArray,
    log_middle: FloatArray,
    log_centers: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Exponentially fitted rates of edges of unit weight, forth and back, in detailed balance.

    The fitted weight of an edge is m_start B(ln m_start - ln m_end), which lies between the harmonic and the geometric
    mean of its ends and is exact for a constant slope however steep. It gets a factor that makes it the Gibbs weight
    halfway, but twice it at most. Where the grid resolves E the two agree to second order, and the weight halfway is
    the more accurate one. Where it does not, that one may be far off: as the change of E/T along an edge goes from 2
    to 10 the factor goes to one, or less where a barrier stands between the two cells.

    Parameters
    ----------
    log_start, log_end : ndarray
        ln of the Gibbs masses of the two ends, finite.
    log_middle : ndarray
        ln of the Gibbs weight halfway in units of masses, of a point or the mean over a face; -inf closes the edge.
    log_centers : tuple of two ndarray, optional
        ln of the weight at the centres of the two ends, for jumps along one direction while E may change along others
        as well. Without them an edge leads over the face between two neighbours.

    References
    ----------
    Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64.
    """
    drop = log_start - log_end
    # From the lighter end B neither underflows nor overflows.
    light = bernoulli(-np.abs(drop))
    shut = np.isneginf(log_middle)
    middle = np.where(shut, 0.0, log_middle)
    if log_centers is not None:
        middle = middle + _widening(log_start, log_end, middle, *log_centers)
    rise = middle - np.minimum(log_start, log_end)
    halfway, slope = np.minimum(rise - np.log(light), _LN2), np.minimum(rise, 0.0)
    steep = _between(np.abs(drop), _STEEP)
    factor = np.where(shut, 0.0, np.exp(halfway + steep * (slope - halfway)))
    heavy = light * np.exp(-np.abs(drop))
    downhill = drop < 0
    return factor * np.where(downhill, light, heavy), factor * np.where(downhill, heavy, light)


def _between(x: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """0 below the limits, 1 above them, linear between them."""
    return np.clip((x - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)


def _widening(
    log_start: FloatArray, log_end: FloatArray, middle: FloatArray, start: FloatArray, end: FloatArray
) -> FloatArray:
    """What ln of the weight halfway of a jump lacks where E is steep, by the ends, where masses and points are known.

    The masses are means over cells. Over a jump to the next cell the weight that is exact for a constant slope is the
    mean over their face; over several cells it is less than at the point. Both follow from the mean over a cell less
    that over the length of the jump, for a slope and a bend of E along it. Steep is what both ends say.
    """
    start, end = _seen(start, log_start), _seen(end, log_end)
    bend = np.clip((start + end - 2 * middle) / 6, -_LEAST, _LEAST)
    first = log_start - start - _log_mean(middle - start) - bend
    second = log_end - end - _log_mean(middle - end) - bend
    least = np.minimum(np.abs(first), np.abs(second))
    return np.where(first * second > 0, _between(least, _MUCH) * np.copysign(least, first), 0.0)


def _seen(log_center: FloatArray, log_mass: FloatArray) -> FloatArray:
    """ln of the weight at a centre, unless it says little of its cell: infinite energies, and wells inside."""
    return np.minimum(np.where(np.isneginf(log_center), log_mass, log_center), log_mass + _LEAST)


def _log_mean(change: FloatArray) -> FloatArray:
    """ln of the mean of q over that in the middle, ln (sinh x)/x for a constant slope by x over half the length."""
    x = np.abs(change)
    safe = np.maximum(x, 1e-3)
    return np.where(x < 1e-3, x * x / 6, safe + np.log(-np.expm1(-2 * safe) / (2 * safe)))
