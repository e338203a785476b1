"""Exponentially fitted jump rates of an edge between two cells (Scharfetter and Gummel)."""

from __future__ import annotations

import numpy as np

from relaxsim.system.validate import FloatArray

_LN2 = float(np.log(2.0))
_STEEP_FACE = (2.0, 10.0)  # changes of E/T along an edge over a face between which the factor halfway gives way
_STEEP_JUMP = (2.0, 6.0)  # the same of a jump
_STEEP_ACROSS = (0.05, 0.2)  # ln of mass over weight at the centre, of both ends, beyond what E does along a jump
_NEUTRAL = 4.0 / 3.0  # power of q halfway over that of the ends
_WELL = 0.5  # by how much ln of the weight at a centre may exceed that of the cell's mass


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
    mean of its ends and is exact for a constant slope however steep. It gets a factor, at most two, that tends to one
    at second order. Where the grid resolves E the factor makes the Gibbs weight halfway of it, the more accurate one.
    Where it does not, that weight may be far off, and the factor becomes one that is one on a constant slope. Of a jump
    it is told by masses over weights at centres how steep E is across: what the slope along it does not explain.

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
    if log_centers is None:
        rise = middle - np.minimum(log_start, log_end)
        coarse, steep = np.minimum(rise, 0.0), _between(np.abs(drop), _STEEP_FACE)
    else:
        start, end = _seen(log_centers[0], log_start), _seen(log_centers[1], log_end)
        bent = _bent(start, middle, end)
        # By this masses are above weights at points for what E does across the jump; so would a mean over a face be.
        first = log_start - start - _excess(middle - start)
        second = log_end - end - _excess(middle - end)
        least = np.minimum(np.abs(first), np.abs(second))
        across = _between(least, _STEEP_ACROSS)
        shift = np.where(first * second > 0, across * np.copysign(least, first), 0.0)
        rise = middle + shift - np.minimum(log_start, log_end)
        along = np.where(rise < 0, rise, np.maximum(bent, 0.0))
        coarse = along + across * (bent - along)
        steep = np.maximum(_between(np.abs(drop), _STEEP_JUMP), across)
    halfway, coarse = np.minimum(rise - np.log(light), _LN2), np.minimum(coarse, _LN2)
    factor = np.where(shut, 0.0, np.exp(halfway + steep * (coarse - halfway)))
    heavy = light * np.exp(-np.abs(drop))
    downhill = drop < 0
    return factor * np.where(downhill, light, heavy), factor * np.where(downhill, heavy, light)


def _between(x: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """0 below the limits, 1 above them, linear between them."""
    return np.clip((x - limits[0]) / (limits[1] - limits[0]), 0.0, 1.0)


def _seen(log_center: FloatArray, log_mass: FloatArray) -> FloatArray:
    """ln of the weight at a centre, unless it says little of its cell: infinite energies, and wells inside."""
    return np.minimum(np.where(np.isneginf(log_center), log_mass, log_center), log_mass + _WELL)


def _excess(change: FloatArray) -> FloatArray:
    """ln of the mean of q over a cell over that at its centre, ln (sinh x)/x for a slope by x over half a cell."""
    x = np.abs(change)
    safe = np.maximum(x, 1e-3)
    return np.where(x < 1e-3, x * x / 6, safe + np.log(-np.expm1(-2 * safe) / (2 * safe)))


def _bent(start: FloatArray, middle: FloatArray, end: FloatArray) -> FloatArray:
    """ln of the factor (q_middle / sqrt(q_start q_end))^(4/3) of a jump, of which only barriers make less than half.

    It is one on a constant slope. In the mean over the Gibbs law, where <|grad E|^2> = T <Laplace E>, the weight then
    is q_middle to second order: B takes a 24th of the square of the change of E/T, the factor gives a third of its
    second difference over 8.
    """
    bend = _NEUTRAL * (middle - (start + end) / 2)
    return np.maximum(bend, np.minimum(middle - np.minimum(start, end), 0.0) - _LN2)
