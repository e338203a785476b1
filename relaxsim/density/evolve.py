"""Backward Euler in time: positive, mass conserving and monotone in the free energy at every step size.

(I - tau G) p' = p has a stochastic inverse with the Gibbs masses at rest, so every f-divergence to them
falls, for any tau. Accuracy is a matter of tau only: either fixed by the caller, or chosen by step doubling
so that the errors of the free energy add up to at most tol T.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from relaxsim.errors import ConvergenceError, InputError
from relaxsim.progress import Bar
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.validate import FloatArray

_FIT = 1e-9  # relative misfit at which two intervals, or an interval and a multiple of the step, count as equal
_MASS_DEFECT = 1e-11  # of a solve, beyond what rounding of its matrix explains
_NEGATIVE = 1e-15  # of the largest mass, beyond the same
_BY_TIME = 0.05  # share of tol that is spent in proportion to time
_MAX_LEVEL = 48  # halvings of an interval before the step is called too small
_CACHED_FACTORS = 6
_CACHED_ENTRIES = 60_000_000  # numbers held in factors, about 0.7 GB with their indices


class Stepper:
    """One backward Euler step, with the factorised matrices of recent step sizes kept.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G; columns sum to zero.

    Attributes
    ----------
    solves : int
        Steps done so far.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator.tocsc()
        self._fastest = float(np.max(-generator.diagonal(), initial=0.0))
        self._factors: OrderedDict[float, Any] = OrderedDict()
        self.solves = 0

    def step(self, mass: FloatArray, tau: float) -> FloatArray:
        """Solve (I - tau G) p' = p for flat cell masses.

        Raises
        ------
        ConvergenceError
            The solution lost mass or sign by more than rounding.
        """
        moved = np.asarray(self._factor(tau).solve(mass), dtype=np.float64)
        self.solves += 1
        rounding = np.finfo(np.float64).eps * tau * self._fastest
        defect = abs(moved.sum() - 1.0)
        lowest = moved.min() / moved.max()
        if not (defect <= _MASS_DEFECT + rounding and lowest >= -(_NEGATIVE + rounding)):
            raise ConvergenceError(
                f"a backward Euler step of {tau:g} changed the total mass by {defect:.2e} and left masses "
                f"down to {lowest:.2e} of the largest; the rates reach {self._fastest:.2e}. Use a smaller "
                "step= or fewer cells"
            )
        np.maximum(moved, 0.0, out=moved)
        return np.asarray(moved / moved.sum())

    def _factor(self, tau: float) -> Any:
        if tau in self._factors:
            self._factors.move_to_end(tau)
            return self._factors[tau]
        from scipy import sparse
        from scipy.sparse.linalg import splu

        matrix = (sparse.eye_array(self._generator.shape[0], format="csc") - tau * self._generator).tocsc()
        matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
        # The matrix is column diagonally dominant: no pivoting is needed, and a symmetric ordering fills in
        # least.
        factor = splu(
            matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )  # fmt: skip
        self._factors[tau] = factor
        while len(self._factors) > _CACHED_FACTORS or (
            len(self._factors) > 2 and sum(f.nnz for f in self._factors.values()) > _CACHED_ENTRIES
        ):
            self._factors.popitem(last=False)
        return factor


def evolve_fixed(stepper: Stepper, mass: FloatArray, times: FloatArray, step: float, bar: Bar) -> Iterator[FloatArray]:
    """Flat masses at times[1:], in steps of `step`, which divides every interval.

    Raises
    ------
    InputError
        A step that does not divide the intervals; the message names the next smaller one that does.
    """
    intervals = np.diff(times)
    counts = steps_per_interval(intervals, step)
    for count, interval in zip(counts, intervals, strict=True):
        for _ in range(count):
            mass = stepper.step(mass, step)
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
        f"the next smaller step that does is {fitting!r}"
        if fitting is not None
        else "choose times on a regular lattice, or leave step out and let it be chosen"
    )
    raise InputError(f"step: {step!r} does not divide the intervals between times within 1e-9; {hint}")


def _fits(intervals: FloatArray, step: float) -> bool:
    ratio = intervals / step
    whole = np.round(ratio)
    return bool(np.all((whole >= 1) & (np.abs(ratio - whole) <= _FIT * np.maximum(whole, 1))))


class Adaptive:
    """Backward Euler with steps chosen by doubling.

    A step of tau is compared with two of tau/2, which are kept. Their difference in F estimates the error of
    the kept pair, which may use up the share of tol T that belongs to this step: 19/20 of the total are spent
    in proportion to the fall of sqrt(F - F_eq), which costs the fewest steps for an exponential decay, and
    1/20 in proportion to time. Steps are the stored interval divided by powers of two, so that few matrices
    are factorised and stored times are hit exactly.

    Parameters
    ----------
    stepper : Stepper
    log_gibbs : ndarray, shape (n,)
        ln of the Gibbs masses; F - F_eq = T KL to them.
    tol : float
        Bound of the summed error estimates, in units of T.
    """

    def __init__(self, stepper: Stepper, log_gibbs: FloatArray, tol: float) -> None:
        self._stepper = stepper
        self._log_gibbs = log_gibbs
        self._tol = tol

    def _kl(self, mass: FloatArray) -> float:
        return float(kl_divergence(mass, self._log_gibbs))

    def run(self, mass: FloatArray, times: FloatArray, first_step: float, bar: Bar) -> Iterator[FloatArray]:
        """Flat masses at times[1:]; `first_step` is only where the search for a step begins.

        Raises
        ------
        ConvergenceError
            No step, however small, meets `tol`.
        """
        self._start = self._kl(mass)
        self._horizon = float(times[-1] - times[0])
        wanted = first_step
        for interval in _equal_intervals(np.diff(times)):
            level = min(_MAX_LEVEL, max(0, int(np.ceil(np.log2(interval / wanted)))))
            mass, level = self._cross(mass, interval, level, bar)
            wanted = interval / 2**level * (1 + _FIT)
            yield mass

    def _cross(self, mass: FloatArray, interval: float, level: int, bar: Bar) -> tuple[FloatArray, int]:
        """Cross one interval, starting with steps of interval / 2**level; the level worth trying next."""
        position = 0  # in steps of the present level
        current = self._kl(mass)
        whole: FloatArray | None = None
        while position < 2**level:
            tau = interval / 2**level
            if whole is None:
                whole = self._stepper.step(mass, tau)
            half = self._stepper.step(mass, tau / 2)
            kept = self._stepper.step(half, tau / 2)
            after = self._kl(kept)
            error = abs(self._kl(whole) - after)
            allowed = self._allowed(tau, current, after)
            if error > allowed:
                if level >= _MAX_LEVEL:
                    raise ConvergenceError(
                        f"time steps shrank to {tau:g} and their error in F/T is still {error:.2e}, not the "
                        f"allowed {allowed:.2e}; raise tol= or pass step="
                    )
                # The first half step is the whole step of the next finer level.
                position, level, whole = 2 * position, level + 1, half
                continue
            mass, current, whole = kept, after, None
            position += 1
            bar.update(tau)
            # Doubling tau multiplies the error by four and what is allowed by two.
            if level > 0 and position % 2 == 0 and 2.1 * error < allowed:
                position, level = position // 2, level - 1
        return mass, level

    def _allowed(self, tau: float, before: float, after: float) -> float:
        fall = math.sqrt(before) - math.sqrt(after)
        by_fall = max(fall, 0.0) / math.sqrt(self._start) if self._start > 0 else 0.0
        return self._tol * ((1 - _BY_TIME) * by_fall + _BY_TIME * tau / self._horizon)


def _equal_intervals(intervals: FloatArray) -> Iterator[float]:
    """The intervals; those equal up to rounding are made the same number, so that factors are shared."""
    seen: list[float] = []
    for interval in map(float, intervals):
        same = next((known for known in seen[-8:] if abs(interval - known) <= _FIT * known), None)
        if same is None:
            seen.append(interval)
        yield interval if same is None else same
