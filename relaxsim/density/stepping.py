"""Time stepping with one-step methods: at a fixed step, or at steps chosen by doubling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from relaxsim.density.promise import BrokenPromiseError
from relaxsim.errors import ConvergenceError, InputError
from relaxsim.progress import Bar
from relaxsim.system.validate import FloatArray

_FIT = 1e-9  # relative misfit at which two intervals, or an interval and a multiple of the step, count as equal
_BY_TIME = 0.05  # share of tol that is spent in proportion to time
_MAX_LEVEL = 48  # halvings of an interval before the step is called too small
_EACH = 1 / 64  # share of tol that any one step may use where nothing better is known

_THIRD = 3.0  # the error of an extrapolated pair over that of the pair, times their misfit over their motion: 8/3

Kept = Callable[[FloatArray, float, FloatArray, float], None]  # told each step: masses and time before and after


class Method(Protocol):
    """A one-step method."""

    order: int
    solves: int

    def step(self, mass: FloatArray, tau: float, t: float = 0.0) -> FloatArray: ...


def evolve_fixed(
    stepper: Method, mass: FloatArray, times: FloatArray, step: float, bar: Bar, kept: Kept | None = None
) -> Iterator[FloatArray]:
    """Flat masses at times[1:], in steps of `step`, which divides every interval.

    Raises
    ------
    InputError
        A step that does not divide the intervals; the message names the next smaller one that does.
    """
    intervals = np.diff(times)
    counts = steps_per_interval(intervals, step)
    for count, interval, start, end in zip(counts, intervals, times[:-1], times[1:], strict=True):
        for k in range(count):
            now, then = start + k * step, (end if k == count - 1 else start + (k + 1) * step)
            moved = stepper.step(mass, step, float(now))
            if kept is not None:
                kept(mass, float(now), moved, float(then))
            mass = moved
        bar.update(float(interval))
        yield mass


def steps_per_interval(intervals: FloatArray, step: float) -> list[int]:
    """How many steps each interval takes; see `evolve_fixed`."""
    if _fits(intervals, step):
        return [round(interval / step) for interval in intervals]
    shortest = float(intervals.min())
    first = max(1, int(np.ceil(shortest / step * (1 - _FIT))))
    fitting = next((shortest / n for n in range(first, first + 1000) if _fits(intervals, shortest / n)), None)
    hint = (
        f"the next smaller step that does is {fitting:.12g}"
        if fitting is not None
        else "choose times on a regular lattice, or leave step out and let it be chosen"
    )
    raise InputError(f"step: {step!r} does not divide the intervals between times within 1e-9; {hint}")


def _fits(intervals: FloatArray, step: float) -> bool:
    ratio = intervals / step
    whole = np.round(ratio)
    return bool(np.all((whole >= 1) & (np.abs(ratio - whole) <= _FIT * np.maximum(whole, 1))))


class Adaptive:
    """Steps chosen by doubling.

    A step of tau is compared with two of tau/2, which are kept. Their difference, over 2^order - 1 but at least as it
    is for order 1, estimates the error of the kept pair, which may use up a share of tol. Steps are the stored interval
    divided by powers of two, so that few matrices are factorised and stored times are hit exactly.

    Parameters
    ----------
    stepper : Method
    tol : float
        Bound of the summed error estimates.
    kl : callable, optional
        Relative entropy ``kl(mass, t)`` to the Gibbs masses. With it errors are those of the free energy in units of
        T; without it the sum of |p - p'|.
    falling : bool
        Whether `kl` falls all the time. Then 19/20 of tol are spent in proportion to the fall of its square root,
        which costs the fewest steps for an exponential decay, and 1/20 in proportion to time. Otherwise a step may use
        its share of the time, and 1/64 anyway.
    kept : callable, optional
        Told every step that was kept.
    extrapolated : bool, default False
        Whether a pair of steps of order 1 ends at twice its own result minus that of the whole step, which is of order
        2, where that is a law, and its relative entropy no larger than after the first of the two.
    """

    def __init__(
        self,
        stepper: Method,
        tol: float,
        kl: Callable[[FloatArray, float], float] | None,
        falling: bool,
        kept: Kept | None = None,
        *,
        extrapolated: bool = False,
    ) -> None:
        self._stepper, self._tol, self._kl, self._falling, self._kept = stepper, tol, kl, falling, kept
        self._gain = float(2**stepper.order - 1)
        self._extrapolated = extrapolated and kl is not None

    def run(self, mass: FloatArray, times: FloatArray, first_step: float, bar: Bar) -> Iterator[FloatArray]:
        """Flat masses at times[1:]; `first_step` is only where the search for a step begins.

        Raises
        ------
        ConvergenceError
            No step, however small, meets `tol`.
        """
        self._start = self._kl(mass, float(times[0])) if self._falling and self._kl is not None else 0.0
        self._horizon = float(times[-1] - times[0])
        wanted = first_step
        for start, interval in zip(times[:-1], _equal_intervals(np.diff(times)), strict=True):
            level = min(_MAX_LEVEL, max(0, int(np.ceil(np.log2(interval / wanted)))))
            mass, level = self._cross(mass, float(start), interval, level, bar)
            wanted = interval / 2**level * (1 + _FIT)
            yield mass

    def _cross(self, mass: FloatArray, start: float, interval: float, level: int, bar: Bar) -> tuple[FloatArray, int]:
        """Cross one interval, starting with steps of interval / 2**level; the level worth trying next."""
        position = 0  # in steps of the present level
        whole: FloatArray | None = None
        while position < 2**level:
            tau = interval / 2**level
            now = start + position * tau
            half: FloatArray | None = None
            try:
                if whole is None:
                    whole = self._stepper.step(mass, tau, now)
                half = self._stepper.step(mass, tau / 2, now)
                moved = self._stepper.step(half, tau / 2, now + tau / 2)
                error, allowed = self._judge(mass, whole, moved, now, tau)
                refined = self._refined(whole, half, moved, now + tau) if self._extrapolated else None
                if refined is not None:
                    motion = max(float(np.abs(moved - mass).sum()), 1e-300)
                    error *= min(1.0, _THIRD * float(np.abs(whole - moved).sum()) / motion)
                    moved = refined
            except BrokenPromiseError:
                error, allowed = math.inf, 0.0
            if not error <= allowed:
                if level >= _MAX_LEVEL:
                    raise ConvergenceError(
                        f"time steps shrank to {tau:g} and their error is still {error:.2e}, not the "
                        f"allowed {allowed:.2e}; raise tol= or pass step="
                    )
                # The first half step is the whole step of the next finer level.
                position, level, whole = 2 * position, level + 1, half
                continue
            assert half is not None
            if self._kept is not None:
                self._kept(mass, now, half, now + tau / 2)
                self._kept(half, now + tau / 2, moved, now + tau)
            mass, whole = moved, None
            position += 1
            bar.update(tau)
            # Doubling tau multiplies the error by 2^(order + 1) and what is allowed by two at most.
            growth = 2.0 if refined is not None else (self._gain + 1) / 2
            if level > 0 and position % 2 == 0 and 2.1 * growth * error < allowed:
                position, level = position // 2, level - 1
        return mass, level

    def _refined(self, whole: FloatArray, half: FloatArray, moved: FloatArray, end: float) -> FloatArray | None:
        """The extrapolated pair, or None where it does not keep what a step of backward Euler keeps."""
        assert self._kl is not None
        refined = 2.0 * moved - whole
        lawful = bool(refined.min() >= 0.0) and self._kl(refined, end) <= self._kl(half, end)
        return np.asarray(refined / refined.sum()) if lawful else None

    def _judge(
        self, before: FloatArray, whole: FloatArray, moved: FloatArray, now: float, tau: float
    ) -> tuple[float, float]:
        """Error of a pair of steps, and what it may be."""
        by_time = tau / self._horizon
        if self._kl is None:
            error = float(np.abs(whole - moved).sum()) / self._gain
            return error, self._tol * max(by_time, _EACH)
        after = self._kl(moved, now + tau)
        error = abs(self._kl(whole, now + tau) - after) / self._gain
        if not self._falling:
            return error, self._tol * max(by_time, _EACH)
        fall = math.sqrt(self._kl(before, now)) - math.sqrt(after)
        by_fall = max(fall, 0.0) / math.sqrt(self._start) if self._start > 0 else 0.0
        return error, self._tol * ((1 - _BY_TIME) * by_fall + _BY_TIME * by_time)


def _equal_intervals(intervals: FloatArray) -> Iterator[float]:
    """The intervals; those equal up to rounding are made the same number, so that factors are shared."""
    seen: list[float] = []
    for interval in map(float, intervals):
        same = next((known for known in seen[-8:] if abs(interval - known) <= _FIT * known), None)
        if same is None:
            seen.append(interval)
        yield interval if same is None else same
