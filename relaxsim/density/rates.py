"""Exponentially fitted jump rates of an edge between two cells (Scharfetter and Gummel)."""

from __future__ import annotations

import numpy as np

from relaxsim.system.validate import FloatArray

_LN2 = float(np.log(2.0))
_STEEP = (2.0, 10.0)  # changes of E/T along an edge between which fitted rates take the place of the weight halfway


def bernoulli(x: FloatArray) -> FloatArray:
    """B(x) = x / (exp(x) - 1), the weight of exponentially fitted rates: B(0) = 1, B(-x) = B(x) exp(x)."""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) < 1e-5  # there the next term of the series, x^4/720, is below rounding
    safe = np.where(small, 1.0, x)
    with np.errstate(over="ignore"):
        return np.where(small, 1.0 - x / 2 + x * x / 12, safe / np.expm1(safe))


def fitted_rates(log_start: FloatArray, log_end: FloatArray, log_middle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Exponentially fitted rates of edges of unit weight, forth and back, in detailed balance.

    The symmetric weight of an edge is the Gibbs weight halfway, but at most twice m_start B(ln m_start - ln
    m_end), which lies between the harmonic and the geometric mean of its ends. Where the grid resolves E the
    two agree to second order, and the weight halfway is the more accurate one. Where it does not, that one may be
    far off: as the change of E/T along an edge goes from 2 to 10 the fitted weight, exact for a constant slope,
    takes its place, less where a barrier stands between the two cells.

    Parameters
    ----------
    log_start, log_end : ndarray
        ln of the Gibbs masses of the two ends, finite.
    log_middle : ndarray
        ln of the Gibbs mass a cell would have halfway; -inf closes the edge.

    References
    ----------
    Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64.
    """
    drop = log_start - log_end
    # From the lighter end B neither underflows nor overflows.
    light = bernoulli(-np.abs(drop))
    rise = log_middle - np.minimum(log_start, log_end)
    steep = np.clip((np.abs(drop) - _STEEP[0]) / (_STEEP[1] - _STEEP[0]), 0.0, 1.0)
    shut = np.isneginf(rise)
    rise = np.where(shut, 0.0, rise)
    halfway, slope = np.minimum(rise - np.log(light), _LN2), np.minimum(rise, 0.0)
    factor = np.where(shut, 0.0, np.exp(halfway + steep * (slope - halfway)))
    heavy = light * np.exp(-np.abs(drop))
    downhill = drop < 0
    return factor * np.where(downhill, light, heavy), factor * np.where(downhill, heavy, light)
