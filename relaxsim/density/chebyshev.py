"""exp(t G) p in checked segments of Chebyshev polynomials.

On G itself, whose action never enlarges the total of |p|; weighting with the square root of the Gibbs masses would
make G symmetric, and the answer garbage wherever p over that root is large. A Chebyshev expansion is safe when the
segment is short or p is close to rest, and far from normal G give no bound in advance. So segments start short and
grow fourfold while they pass. One whose result has negative mass or a wrong total is done again in shorter ones. So is
one whose terms grow, unless two halves of it give the same: rounding grows with the terms, and may end as an error of
1e-8 that is neither negative nor wrong in total. The shortest segments are powers of the stochastic matrix B with
Poisson weights (uniformisation), which are nonnegative by construction: there is always a way on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relaxsim.density.action import Action
from relaxsim.density.promise import BrokenPromiseError, Worst
from relaxsim.progress import Bar
from relaxsim.system.validate import FloatArray

FIRST = 64.0  # length of the first segment times the largest rate
GROWTH = 4.0
LONGEST = 2e6
_AFTER = 2.0  # growth after a rejection; it recovers by this factor with each segment
SAFE = 32.0  # below, powers of B take hardly more terms and cannot go wrong
_NEGATIVE = 1e-12  # negative mass, or wrong total, at which a segment is rejected
_GROWN = 30.0  # sum of |term| from which on a segment is compared with its halves
_BURST = 1e12  # the same, from which on that is not worth while
_AGREED = 1e-12  # difference to the halves at which a segment is rejected
TOGETHER = 4  # stored times that share the terms of one segment; more sums save little and take memory
_BATCH = 64  # terms between two looks at their size
_SAME = 4e-16  # relative difference of times that are the same
_TAIL = 1e-17  # weights that are left out


def n_terms(length: float) -> int:
    """Terms of an expansion of a segment of `length` (time times largest rate)."""
    log = np.log(4.0 / _TAIL)
    return int(min(np.sqrt(2.0 * length * log), 2.0 * length) + log) + 2


def expected_terms(times: FloatArray, rate: float) -> int:
    """Products that a path takes if no segment is rejected."""
    now, done, length, total = float(times[0]), 1, FIRST, 0
    while rate > 0 and done < times.size:
        alike = int((times[done] - now) * rate / LONGEST) - 1 if length == LONGEST else 0
        if alike > 0:  # the longest segments before the next stored time, counted at once
            total, now = total + alike * n_terms(LONGEST), now + alike * LONGEST / rate
        end = min(now + length / rate, float(times[min(done + TOGETHER, times.size) - 1]))
        total += n_terms((end - now) * rate)
        done = int(np.searchsorted(times, end + _SAME * abs(end), side="right"))
        now, length = end, min(length * GROWTH, LONGEST)
    return total


class Segments:
    """Evolution of cell masses by exp(t G) in checked segments.

    Parameters
    ----------
    action : Action
        B = I + G / rate.
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
    exp(z (B - 1)) = exp(-z) [I_0(z) + 2 sum_k I_k(z) T_k(B)] with modified Bessel functions I_k, z = rate x time:
    Tal-Ezer & Kosloff, J. Chem. Phys. 81 (1984) 3967. Uniformisation: Jensen, Skand. Aktuarietidskr. 36 (1953) 87.
    """

    def __init__(self, action: Action, worst: Worst) -> None:
        self._action, self._worst = action, worst
        self._length, self._growth, self._together = FIRST, GROWTH, TOGETHER
        self.products = 0
        self.rejected = 0

    def run(self, mass: FloatArray, times: FloatArray, bar: Bar) -> Iterator[FloatArray]:
        """Flat masses at times[1:]."""
        now, done = float(times[0]), 1
        while done < times.size:
            if self._action.rate == 0.0:
                yield mass
                done += 1
                continue
            end = min(now + self._length / self._action.rate, float(times[min(done + self._together, times.size) - 1]))
            inside = times[done : int(np.searchsorted(times, end + _SAME * abs(end), side="right"))]
            ends = inside if inside.size and inside[-1] >= end - _SAME * abs(end) else np.append(inside, end)
            lengths = (ends - now) * self._action.rate
            try:
                masses = self._segment(mass, lengths)
            except BrokenPromiseError:
                self.rejected += 1
                # what lies inside a doubtful segment is not compared with halves: go to one stored time only
                alone = self._together == 1 and lengths.size > 1
                self._length, self._growth = float(lengths[0] if alone else lengths[-1] / GROWTH), _AFTER
                continue
            yield from masses[: inside.size]
            mass, done = masses[-1].copy(), done + inside.size
            del masses  # the sums of all the stored times, as the next ones are made
            bar.update(float(ends[-1]) - now)
            now = float(ends[-1])
            self._length = min(max(self._length, SAFE) * self._growth, LONGEST)
            self._growth = min(max(self._growth, 1.0) * _AFTER, GROWTH)

    def _segment(self, mass: FloatArray, lengths: FloatArray, whole: bool = False) -> list[FloatArray]:
        """Masses after each of the increasing lengths; `whole` leaves out the comparison with halves.

        Raises
        ------
        BrokenPromiseError
            The segment is too long.
        """
        powers = bool(lengths[-1] <= SAFE)
        weights = poisson_weights(lengths) if powers else bessel_weights(lengths)
        sums = weights[:, :1] * mass
        if powers:
            self._action.recur(mass.copy(), np.zeros_like(mass), 1.0, 0.0, np.ascontiguousarray(weights[:, 1:]), sums)
            self.products += weights.shape[1] - 1
            grown = 1.0
        else:
            grown = self._expand(mass, weights, sums)
        found = [self._worst.settle(each, _NEGATIVE) for each in sums]
        self._together = 1 if grown > _GROWN else TOGETHER
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

    def _expand(self, mass: FloatArray, weights: FloatArray, sums: FloatArray) -> float:
        """Add the Chebyshev terms from the first on; the largest sum of |term| that was seen."""
        now, old = self._action.recur(
            mass.copy(), np.zeros_like(mass), 1.0, 0.0, np.ascontiguousarray(weights[:, 1:2]), sums
        )
        self.products += 1
        grown = 1.0
        for start in range(2, weights.shape[1], _BATCH):
            batch = np.ascontiguousarray(weights[:, start : start + _BATCH])
            now, old = self._action.recur(now, old, 2.0, 1.0, batch, sums)
            self.products += batch.shape[1]
            grown = max(grown, float(np.abs(now).sum()))
            if not grown <= _BURST:
                raise BrokenPromiseError(f"terms of {grown:.1e} in a segment")
        return grown


def bessel_weights(lengths: FloatArray) -> FloatArray:
    """exp(-z) times I_0(z), 2 I_1(z), 2 I_2(z), ... for each z, shape (n_lengths, n_terms), by a Fourier sum."""
    terms = n_terms(float(lengths[-1]))
    points = 1 << int(np.ceil(np.log2(2 * terms + 2)))
    angles = np.pi * np.arange(points) / points
    values = np.exp(-2.0 * lengths[:, None] * np.sin(angles) ** 2)
    found = np.fft.rfft(values, axis=1).real[:, :terms] * (2.0 / points)
    found[:, 0] /= 2
    found[np.abs(found) < _TAIL] = 0.0
    return np.ascontiguousarray(found)


def poisson_weights(lengths: FloatArray) -> FloatArray:
    """exp(-z) z^k / k! for each z > 0, shape (n_lengths, n_terms); they sum to one."""
    longest = float(lengths[-1])
    k = np.arange(int(longest + 10.0 * np.sqrt(longest)) + 25)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    found = np.exp(k * np.log(lengths)[:, None] - lengths[:, None] - log_factorial)
    return np.ascontiguousarray(found / found.sum(axis=1, keepdims=True))
