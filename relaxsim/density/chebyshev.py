"""exp(t G) p in checked segments of Chebyshev polynomials.

On G itself, whose action never enlarges the total of |p|; weighting with the square root of the Gibbs masses would make
G symmetric, and the answer garbage wherever p over that root is large. A Chebyshev expansion is safe when the segment
is short or p is close to rest, and far from normal G give no bound in advance. So segments start short and grow while
they pass: sixteenfold as long as no terms grow, fourfold otherwise. One whose result has negative mass or a wrong total
is done again in shorter ones. So is one whose terms grow, unless two halves of it give the same: rounding grows with
the terms, and may end as an error of 1e-8 that is neither negative nor wrong in total. The shortest segments are powers
of the stochastic matrix B with Poisson weights (uniformisation), which are nonnegative by construction: there is always
a way on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from relaxsim.density.action import TOGETHER, Action, aligned
from relaxsim.density.promise import BrokenPromiseError, Worst
from relaxsim.progress import Bar
from relaxsim.system.validate import FloatArray

FIRST = 64.0  # length of the first segment times the largest rate
GROWTH = 4.0
LEAP = 16.0  # growth that is tried; a segment is given up at the first sign that its terms grow
LONGEST = 2e6
_AFTER = 2.0  # growth after a rejection; it recovers by this factor with each segment
SAFE = 16.0  # up to it, powers of B take hardly more terms, and they cannot go wrong
_NEGATIVE = 1e-12  # negative mass, or wrong total, at which a segment is rejected
_ROUNDED = 2e-16  # times the length: by as much the total is wrong where the columns of B sum to one but for rounding
_GROWN = 30.0  # sum of |term| from which on a segment is compared with its halves
_CALM = 2.0  # the same, below which longer segments are tried
_BURST = 1e12  # the same, from which on that is not worth while
_AGREED = 1e-12  # difference to the halves at which a segment is rejected
_BATCH = 32  # terms between two looks at their size
_SAME = 4e-16  # relative difference of times that are the same
_TAIL = 1e-15  # weight of a term beyond which none follow
_NOTHING = 1e-17  # weights that are not worth a sum
_NOISE = 1e-16  # the same of a Fourier sum: what it rounds to, times terms that grow, would be an error


def n_terms(length: float) -> int:
    """Terms of an expansion of a segment of `length` (time times half the width of the spectrum)."""
    log = np.log(4.0 / _TAIL)
    return int(min(np.sqrt(2.0 * length * log), 2.0 * length) + log) + 2


def expected_terms(times: FloatArray, rate: float, longest: float = LONGEST) -> int:
    """Products that a path takes if segments up to the longest are not rejected."""
    now, done, length, total = float(times[0]), 1, FIRST, 0
    while rate > 0 and done < times.size:
        if now + longest / rate == now:  # segments shorter than times can tell
            return total + int((float(times[-1]) - now) * rate / longest + 1) * n_terms(longest)
        alike = int((times[done] - now) * rate / longest) - 1 if length == longest else 0
        if alike > 0:  # the longest segments before the next stored time, counted at once
            total, now = total + alike * n_terms(longest), now + alike * longest / rate
        end = min(now + length / rate, float(times[min(done + TOGETHER, times.size) - 1]))
        total += n_terms(max(end - now, 0.0) * rate)
        done = int(np.searchsorted(times, end + _SAME * abs(end), side="right"))
        now, length = end, min(length * LEAP, longest)
    return total


class Segments:
    """Evolution of cell masses by exp(t G) in checked segments.

    Parameters
    ----------
    action : callable
        Makes the `Action` of B = I + G / rate, when it is first needed.
    worst : Worst
        Keeps what had to be mended.

    Attributes
    ----------
    products : int
        Products with G so far.
    rejected : int
        Segments that were done again.

    Notes
    -----
    exp(z (C - 1)) = exp(-z) [I_0(z) + 2 sum_k I_k(z) T_k(C)] with modified Bessel functions I_k, C = I + G / r and
    z = r x time, where the spectrum of G lies in [-2 r, 0]:
    Tal-Ezer & Kosloff, J. Chem. Phys. 81 (1984) 3967. Uniformisation: Jensen, Skand. Aktuarietidskr. 36 (1953) 87.
    """

    def __init__(self, action: Callable[[], Action], worst: Worst) -> None:
        self._make, self._worst = action, worst
        self._length, self._growth, self._passed = FIRST, LEAP, np.inf
        self._alone = False  # whether a segment ends at the next stored time
        self.products = 0
        self.rejected = 0

    @cached_property
    def _action(self) -> Action:
        return self._make()

    def run(self, mass: FloatArray, times: FloatArray, bar: Bar) -> Iterator[FloatArray]:
        """Flat masses at times[1:]."""
        now, done = float(times[0]), 1
        while done < times.size:
            if self._action.rate == 0.0:
                yield mass
                done += 1
                continue
            together = 1 if self._alone else self._action.together
            end = min(now + self._length / self._action.rate, float(times[min(done + together, times.size) - 1]))
            inside = times[done : int(np.searchsorted(times, end + _SAME * abs(end), side="right"))]
            ends = inside if inside.size and inside[-1] >= end - _SAME * abs(end) else np.append(inside, end)
            lengths = (ends - now) * self._action.rate
            try:
                masses = self._segment(mass, lengths)
            except BrokenPromiseError:
                self._shorten(lengths)
                continue
            self._passed = max(float(lengths[-1]), FIRST)
            yield from masses[: inside.size]
            mass, done = masses[-1].copy(), done + inside.size
            del masses  # the sums of all the stored times, as the next ones are made
            bar.update(float(ends[-1]) - now)
            now = float(ends[-1])
            self._length = min(max(self._length, SAFE) * self._growth, LONGEST)
            self._growth = LEAP if self._grown < _CALM else min(max(self._growth, 1.0) * _AFTER, GROWTH)

    def _shorten(self, lengths: FloatArray) -> None:
        """Another length after these were rejected."""
        self.rejected += 1
        if self._leaps(lengths):
            self._length, self._growth = self._passed, GROWTH
        elif self._alone and lengths.size > 1:
            # what lies inside a doubtful segment is not compared with halves: go to one stored time only
            self._length, self._growth = float(lengths[0]), _AFTER
        else:
            self._length, self._growth = float(lengths[-1] / GROWTH), _AFTER

    def _leaps(self, lengths: FloatArray) -> bool:
        """Whether a segment is so much longer than the one before that it is given up when its terms grow."""
        return bool(lengths[-1] > 1.001 * GROWTH * self._passed)

    def _segment(self, mass: FloatArray, lengths: FloatArray, whole: bool = False) -> list[FloatArray]:
        """Masses after each of the increasing lengths; `whole` leaves out the comparison with halves.

        Raises
        ------
        BrokenPromiseError
            The segment is too long.
        """
        powers = bool(lengths[-1] <= SAFE)
        weights = poisson_weights(lengths) if powers else bessel_weights(lengths * self._action.spread / 2)
        sums = aligned(len(weights), mass.size)
        np.multiply(weights[:, :1], mass, out=sums)
        if powers:
            terms = np.ascontiguousarray(weights[:, 1:])
            self._action.recur(*_two_terms(mass), 1.0, 0.0, 0.0, terms, sums)
            self.products += weights.shape[1] - 1
            grown = 1.0
        else:
            grown = self._expand(mass, weights, sums, _CALM if not whole and self._leaps(lengths) else _BURST)
        self._grown = grown
        found = [self._worst.settle(each, _NEGATIVE, _ROUNDED * z) for each, z in zip(sums, lengths, strict=True)]
        self._alone = grown > _GROWN
        if grown > _GROWN and len(found) > 1:
            raise BrokenPromiseError("terms that grow in a segment with several stored times")
        if grown > _GROWN and not whole:
            half = lengths[-1:] / 2
            (middle,) = self._segment(mass, half, whole=True)
            (end,) = self._segment(middle, half, whole=True)
            apart = float(np.abs(end - found[-1]).sum())
            if not apart <= _AGREED and float(half[0]) <= SAFE and len(found) == 1:
                self._growth = 1.0
                return [end]  # made of powers, so it can be trusted
            if not apart <= _AGREED:
                raise BrokenPromiseError(f"rounding of {apart:.1e} in a segment")
        return found

    def _expand(self, mass: FloatArray, weights: FloatArray, sums: FloatArray, limit: float) -> float:
        """Add the Chebyshev terms from the first on; the largest sum of |term| that was seen."""
        factor, shift = 4.0 / self._action.spread, self._action.spread / 2 - 1.0
        first = np.ascontiguousarray(weights[:, 1:2])
        now, old = self._action.recur(*_two_terms(mass), factor, shift, 1.0, first / 2, sums)
        now /= 2  # the term before the zeroth is zero, and the first has half the factor of the others
        self.products += 1
        grown = 1.0
        for start in range(2, weights.shape[1], _BATCH):
            batch = np.ascontiguousarray(weights[:, start : start + _BATCH])
            now, old = self._action.recur(now, old, factor, shift, 1.0, batch, sums)
            self.products += batch.shape[1]
            grown = max(grown, float(np.abs(now).sum()))
            if not grown <= limit:
                raise BrokenPromiseError(f"terms of {grown:.1e} in a segment")
        return grown


def _two_terms(mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The term before the first one, and the one before that, zero, which makes room for the next."""
    now, old = aligned(mass.size, line=50), aligned(mass.size, line=60)
    now[:] = mass
    return now, old


def bessel_weights(lengths: FloatArray) -> FloatArray:
    """exp(-z) times I_0(z), 2 I_1(z), 2 I_2(z), ... for each z, shape (n_lengths, n_terms), by a Fourier sum."""
    terms = n_terms(float(lengths[-1]))
    points = 1 << int(np.ceil(np.log2(2 * terms + 2)))
    angles = np.pi * np.arange(points) / points
    values = np.exp(-2.0 * lengths[:, None] * np.sin(angles) ** 2)
    found = np.fft.rfft(values, axis=1).real[:, :terms] * (2.0 / points)
    found[:, 0] /= 2
    found[np.abs(found) < _NOISE] = 0.0
    return np.ascontiguousarray(found[:, : int(np.flatnonzero(found[-1])[-1]) + 1])


def poisson_weights(lengths: FloatArray) -> FloatArray:
    """exp(-z) z^k / k! for each z > 0, shape (n_lengths, n_terms); they sum to one."""
    longest = float(lengths[-1])
    k = np.arange(int(longest + 10.0 * np.sqrt(longest)) + 25)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    found = np.exp(k * np.log(lengths)[:, None] - lengths[:, None] - log_factorial)
    found = found[:, : int(np.flatnonzero(found[-1] > _NOTHING)[-1]) + 1]
    return np.ascontiguousarray(found / found.sum(axis=1, keepdims=True))
