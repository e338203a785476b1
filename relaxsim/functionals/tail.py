"""The spectral gap from the last part of a relaxation, where KL falls like exp(-2 gap t)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.free_energy import Relaxation
from relaxsim.functionals.replicates import jackknife_stderr
from relaxsim.system.validate import as_float_array

FloatArray = NDArray[np.float64]

MIN_TIMES = 4
_CLEAR = 6.0  # standard errors above zero, and bias bounds, that a KL needs to take part
_AGREE = 2.0  # standard errors within which later starts count as the same rate
_SMALL = 0.3  # nats: above, KL is no quadratic distance to rest, and need not fall like a mode
_FLOOR = 1e-11  # nats: rounding of a density's KL


@dataclass(frozen=True, eq=False)
class TailFit:
    """A gap from the tail of KL(t) = amplitude exp(-2 gap t).

    Attributes
    ----------
    gap : float
        nan where there is no tail to fit; `reason` says why.
    stderr : float
        From groups of particles, or from the given errors; zero for a density.
    bias_bound : float
        How much the faster modes may still have changed it: the change of the gap when the fit starts later.
    amplitude : float
    start, end : float
        Times of the window.
    local_rates, local_times : ndarray
        -d ln KL / 2 dt between neighbouring times that were usable.
    n_times : int
        In the window.
    reason : str
    """

    gap: float
    stderr: float
    bias_bound: float
    amplitude: float
    start: float
    end: float
    local_rates: FloatArray
    local_times: FloatArray
    n_times: int
    reason: str

    def kl(self, t: Any) -> FloatArray:
        """The fitted KL at times t."""
        return np.asarray(self.amplitude * np.exp(-2 * self.gap * np.asarray(t, dtype=np.float64)))


def gap_from_tail(
    relaxation: Any, kl: Any = None, stderr: Any = None, *, start: float | None = None, end: float | None = None
) -> TailFit:
    r"""Estimate the spectral gap from how KL to the Gibbs law ends.

    Parameters
    ----------
    relaxation : Relaxation or array_like, shape (n_times,)
        From `track`; or the times.
    kl : array_like, shape (n_times,), optional
        KL at these times, without a record.
    stderr : array_like, shape (n_times,), optional
        Its standard errors, independent from time to time; none means that KL is exact.
    start, end : float, optional
        Ends of the window; by default the end is the last time before KL sinks into its noise, and the start the
        earliest from which on later starts change nothing.

    Returns
    -------
    TailFit

    Raises
    ------
    InputError, ShapeError
        Times that do not increase, arrays that do not fit, values that are not finite.

    Notes
    -----
    Near rest KL is half the chi-square distance, and that falls like exp(-2 lambda t) for a reversible system whose
    start has a part in the slowest mode. Modes beside it make the rate at finite times larger. Exact values: the local
    rates r_k converge geometrically, Aitken's extrapolation takes off what is left, and the size of that is the bound.
    Noisy values: a least-squares fit of A exp(-2 lambda t), weighted; its error from fits without one group of
    particles each, so that correlations between times count. Without a reversible system the slowest modes can be a
    pair that turns, and the rates oscillate: `bias_bound` is then large.

    References
    ----------
    Bakry, Gentil and Ledoux, *Analysis and Geometry of Markov Diffusion Operators* (2014), section 4.2.
    """
    times, values, errors, bias, groups = _read(relaxation, kl, stderr)
    exact = not np.any(errors > 0)
    usable = values > (_FLOOR if exact else np.maximum(_CLEAR * errors, _CLEAR * bias))
    stop = int(np.argmin(usable)) if not usable.all() else times.size  # up to the first one that is hidden
    usable &= np.arange(times.size) < stop
    if end is not None:
        usable &= times <= end
    window = np.flatnonzero(usable & (times >= (times[0] if start is None else start)))
    if window.size < 2:
        return _nothing("KL is not above its noise at two times; start farther from rest or take more particles")
    t, y = times[window], values[window]
    rates, middles = -np.diff(np.log(y)) / (2 * np.diff(t)), (t[1:] + t[:-1]) / 2
    if window.size < MIN_TIMES:
        return _nothing(
            f"{window.size} times are too few, {MIN_TIMES} are needed; store more in the tail", rates, middles
        )
    if not exact:
        return _noisy(t, y, errors[window], None if groups is None else groups[:, window], start, rates, middles)
    gap, bound = _aitken(rates, middles)
    amplitude = float(y[-1] * math.exp(2 * gap * t[-1]))
    return TailFit(gap, 0.0, bound, amplitude, float(t[0]), float(t[-1]), rates, middles, t.size, "")


def _read(
    relaxation: Any, kl: Any, stderr: Any
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray | None]:
    if isinstance(relaxation, Relaxation):
        if kl is not None or stderr is not None:
            raise InputError("kl: a Relaxation has its own; leave it out")
        groups = None
        if relaxation.groups is not None:
            groups = relaxation.groups / relaxation.temperature + relaxation.log_partition
        return relaxation.times, relaxation.kl, relaxation.kl_stderr, relaxation.kl_bias_bound, groups
    if kl is None:
        raise InputError("kl: is missing; pass track(path), or times and values")
    times, values = as_float_array(relaxation, "times"), as_float_array(kl, "kl")
    errors = np.zeros_like(values) if stderr is None else as_float_array(stderr, "stderr")
    if times.ndim != 1 or values.shape != times.shape or errors.shape != times.shape:
        raise ShapeError(f"kl: expected arrays of one shape, got {times.shape}, {values.shape}, {errors.shape}")
    if not (np.isfinite(times).all() and np.isfinite(errors).all() and not np.isnan(values).any()):
        raise InputError("kl: expected numbers; some are nan or an error is infinite")
    if np.any(np.diff(times) <= 0) or np.any(errors < 0):
        raise InputError("times: expected increasing times and errors that are not negative")
    return times, values, errors, np.zeros_like(values), None


def _aitken(rates: FloatArray, middles: FloatArray) -> tuple[float, float]:
    """The limit of rates that converge geometrically, and how far the last of them is from it."""
    last, before, first = rates[-1], rates[-2], rates[-3]
    bend = (last - before) - (before - first)
    equal = np.ptp(np.diff(middles[-3:])) < 1e-6 * middles[-1]
    step = last - before
    if not equal or bend == 0 or not 0 < step / (before - first if before != first else math.inf) < 1:
        return float(last), float(max(abs(step), abs(before - first)))
    return float(last - step**2 / bend), float(abs(step**2 / bend))


def _noisy(
    t: FloatArray,
    y: FloatArray,
    errors: FloatArray,
    groups: FloatArray | None,
    start: float | None,
    rates: FloatArray,
    middles: FloatArray,
) -> TailFit:
    firsts = [0] if start is not None else list(range(t.size - MIN_TIMES + 1))
    small = [k for k in firsts if start is not None or y[k] < _SMALL] or firsts[-1:]
    fits = [_fit(t[k:], y[k:], errors[k:], None if groups is None else groups[:, k:]) for k in small]
    chosen = len(fits) - 1
    for number, (gap, error, _) in enumerate(fits):
        later = fits[number + 1 :]
        if all(abs(g - gap) <= _AGREE * math.hypot(error, e) for g, e, _ in later):
            chosen = number
            break
    gap, error, amplitude = fits[chosen]
    # starts with an error of up to four times as much; still later ones measure their own noise
    bound = max((abs(g - gap) for g, e, _ in fits[chosen + 1 :] if e <= 4 * error), default=0.0)
    reason = "" if math.isfinite(gap) and gap > 0 else "KL does not fall in the window"
    return TailFit(
        gap,
        error,
        bound,
        amplitude,
        float(t[small[chosen]]),
        float(t[-1]),
        rates,
        middles,
        t.size - small[chosen],
        reason,
    )


def _fit(t: FloatArray, y: FloatArray, errors: FloatArray, groups: FloatArray | None) -> tuple[float, float, float]:
    """Gap, its error and the amplitude of A exp(-2 gap t) by weighted least squares."""
    gap, amplitude, spread = _exponential(t, y, errors)
    if groups is None:
        return gap, spread, amplitude
    count = len(groups)
    without = [(groups.sum(axis=0) - group) / (count - 1) for group in groups]
    found = np.array([_exponential(t, np.asarray(w), errors)[0] for w in without])
    return gap, float(jackknife_stderr(found)), amplitude


def _exponential(t: FloatArray, y: FloatArray, errors: FloatArray) -> tuple[float, float, float]:
    """Gauss-Newton for y = exp(c - 2 g (t - t0)); returns g, the amplitude at t = 0 and the error of g."""
    at, weight = t - t[0], 1 / np.maximum(errors, 1e-300)
    positive = np.maximum(y, 0.1 * errors)
    slope, c = np.polyfit(at, np.log(positive), 1, w=positive * weight)
    g = -slope / 2
    covariance = np.full((2, 2), np.nan)
    for _ in range(50):
        model = np.exp(np.clip(c - 2 * g * at, -700, 700))
        jacobian = np.stack([model, -2 * at * model], axis=1) * weight[:, None]
        covariance = np.linalg.pinv(jacobian.T @ jacobian)
        step = covariance @ (jacobian.T @ ((y - model) * weight))
        c, g = c + step[0], g + step[1]
        if abs(step[1]) <= 1e-10 * max(1.0, abs(g)):
            break
    return float(g), float(np.exp(np.clip(c + 2 * g * t[0], -700, 700))), float(np.sqrt(covariance[1, 1]))


def _nothing(reason: str, rates: Any = (), middles: Any = ()) -> TailFit:
    nan = math.nan
    return TailFit(nan, nan, nan, nan, nan, nan, np.asarray(rates, float), np.asarray(middles, float), 0, reason)
