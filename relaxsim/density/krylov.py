"""exp(t G) p for long times by shift-invert Arnoldi: one factorisation serves many stored times.

The matrix (I - gamma G)^-1 is stochastic and squeezes all fast modes towards zero, so that a few of its powers on p
hold what is left of p at times of the order of gamma and beyond. Times that they do not resolve are those much shorter
than gamma: these get a smaller gamma of their own, and short ones go to Chebyshev segments.

A solve loses mass by rounding times gamma times the largest rate, which for long times is much. So one that does is
refined once by its residual in extended precision, and what is missing then is given back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from relaxsim.density.chebyshev import Segments
from relaxsim.density.promise import TOLERANCE, BrokenPromiseError, Worst
from relaxsim.density.solve import factorised
from relaxsim.progress import Bar, Silent
from relaxsim.system.validate import FloatArray

if TYPE_CHECKING:
    from relaxsim.system.grid import Grid

_SHARE = 0.1  # gamma over the horizon
_SIZES = (12, 15, 17, 19, 21, 24, 28, 32, 38, 44)  # of the space, at which the error is looked at
_BEHIND = 3  # the error is the difference to a space smaller by this
_PART = 8.0  # of a horizon that is not reached at once, the part that is gone first
_DEEPEST = 40  # such parts of the horizon before it is given up
_LONGEST = 1e10  # gamma times largest rate, beyond which rounding takes what is left of I in I - gamma G
_REST = 1e-11  # distance of an eigenvalue of (I - gamma G)^-1 from one below which it is one but for rounding
_NEAR = 1e-2  # times gamma, the shortest time that is looked for in its space
_LOST = 1e-13  # share of its mass that a solve may lose before it is refined
_GONE = 1e-12  # eigenvalue of (I - gamma G)^-1 below which it is rounding, and its mode gone at once
SHORT = 3e3  # time times largest rate below which Chebyshev segments take over


@dataclass
class Arnoldi:
    """Evolution by projecting exp(t G) on rational Krylov spaces with one pole.

    Parameters
    ----------
    generator : scipy.sparse array, shape (n, n)
        G; columns sum to zero.
    segments : Segments
        Takes short times.
    rate : float
        Largest rate of G.
    worst : Worst
        Keeps what had to be mended.
    grid : Grid, optional
        That of the masses.
    held : float, optional
        Largest rate of the cells that hold mass at rest; `rate` by default. Where E is huge cells are left at far
        larger rates, and for good: these do no harm to a factor.

    Attributes
    ----------
    solves : int
        Linear systems solved.
    factors : int
        Matrices factorised.

    Notes
    -----
    In plain l2, with the inverse of the projected shift-invert matrix: van den Eshof & Hochbruck, SIAM J. Sci. Comput.
    27 (2006) 1438; Moret & Novati, BIT 44 (2004) 595.
    """

    generator: Any
    segments: Segments
    rate: float
    worst: Worst
    grid: Grid | None = None
    held: float | None = None
    solves: int = 0
    factors: int = 0
    _factor: tuple[float, Any] = field(default=(0.0, None), repr=False)

    def run(self, mass: FloatArray, times: FloatArray, bar: Bar) -> Iterator[FloatArray]:
        """Flat masses at times[1:].

        Raises
        ------
        BrokenPromiseError
            Times that no space resolves.
        """
        for found, length in zip(self._reach(mass, times[1:] - times[0], 0), np.diff(times), strict=True):
            bar.update(float(length))
            yield found

    def _reach(self, mass: FloatArray, lengths: FloatArray, depth: int) -> list[FloatArray]:
        """Masses after each of the increasing lengths of time."""
        if lengths.size == 0:
            return []
        if lengths[-1] * self.rate <= SHORT:
            return self._short(mass, lengths)
        if depth > _DEEPEST:
            raise BrokenPromiseError("Krylov spaces that do not resolve the start")
        found, missing = self._project(mass, lengths)
        early, late = lengths[:missing], found[missing:]
        if early.size == 0:
            return late
        if early[-1] < 0.3 * lengths[-1]:  # short times, which a smaller gamma resolves
            return self._reach(mass, early, depth + 1) + late
        way = float(early[-1]) / _PART  # go a part of the way first: there the fast modes are gone
        before = early[early < way]
        *first, there = self._reach(mass, np.append(before, way), depth + 1)
        return first + self._reach(there, early[before.size :] - way, depth + 1) + late

    def _short(self, mass: FloatArray, lengths: FloatArray) -> list[FloatArray]:
        return list(self.segments.run(mass, np.append(0.0, lengths), Silent()))

    def _solver(self, gamma: float) -> tuple[float, Any]:
        """Factors for a gamma that is not far from the wanted one; those at hand if they serve."""
        if not 0.4 < self._factor[0] / gamma < 2.5:
            self._factor = (gamma, None)  # frees the old ones first
            self._factor = (gamma, factorised(self.generator, gamma, self.grid))
            self.factors += 1
        return self._factor

    def _project(self, mass: FloatArray, lengths: FloatArray) -> tuple[list[FloatArray], int]:
        """Masses after each length and the number of those, the first ones, that are not resolved."""
        longest = _LONGEST / max(self.rate if self.held is None else self.held, 1e-300)
        gamma, factor = self._solver(min(_SHARE * float(lengths[-1]), longest))
        size, largest = float(np.linalg.norm(mass)), _SIZES[-1]
        basis = np.zeros((largest + 1, mass.size))
        basis[0] = mass / size
        shape = np.zeros((largest + 1, largest))
        found: list[FloatArray] = []
        good = lengths.size
        for j in range(largest):
            vector = self._solved(factor, gamma, basis[j])
            for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
                part = basis[: j + 1] @ vector
                vector -= part @ basis[: j + 1]
                shape[: j + 1, j] += part
            shape[j + 1, j] = np.linalg.norm(vector)
            exhausted = bool(shape[j + 1, j] <= 1e-14 * size)
            if j + 1 in _SIZES or exhausted:
                found, good = self._masses(basis, shape, j + 1, gamma, size, lengths, exhausted)
                if good == 0 or exhausted:
                    break
            basis[j + 1] = vector / shape[j + 1, j]
        return found, good

    def _solved(self, factor: Any, gamma: float, given: FloatArray) -> FloatArray:
        """x of (I - gamma G) x = y, to more digits than the factors have where they lose mass."""
        found = np.asarray(factor.solve(given))
        self.solves += 1
        if abs(found.sum() - given.sum()) > _LOST * np.abs(found).sum():
            rest = given + gamma * (self._precise @ found.astype(np.longdouble)) - found
            found = found + factor.solve(rest.astype(np.float64))
            self.solves += 1
        return _conserving(found, given)

    @cached_property
    def _precise(self) -> Any:
        """G in extended precision, where the machine has it; its columns sum to zero to that precision."""
        from scipy import sparse

        given = self.generator.astype(np.longdouble)
        jumps = given - sparse.diags_array(given.diagonal())
        return (jumps - sparse.diags_array(jumps.T @ np.ones(jumps.shape[0], dtype=np.longdouble))).tocsr()

    def _masses(
        self, basis: FloatArray, shape: FloatArray, m: int, gamma: float, size: float, lengths: FloatArray, whole: bool
    ) -> tuple[list[FloatArray], int]:
        """Masses in the space of m vectors, and how many of the first ones fail."""
        fine = _weights(shape[:m, :m], gamma, lengths) * size
        coarse = np.zeros_like(fine)
        if not whole:
            coarse[:, : m - _BEHIND] = _weights(shape[: m - _BEHIND, : m - _BEHIND], gamma, lengths) * size
        found: list[FloatArray] = []
        for k in range(lengths.size - 1, -1, -1):  # the late ones converge first
            with np.errstate(all="ignore"):  # weights of times that are not resolved may be of any size
                now = fine[k] @ basis[:m]
                error = 0.0 if whole else float(np.abs((fine[k] - coarse[k]) @ basis[:m]).sum())
            try:
                if not error <= TOLERANCE:
                    raise BrokenPromiseError("error of the projection")
                settled = self.worst.settle(now)
            except BrokenPromiseError:
                return [np.empty(0)] * (k + 1) + found[::-1], k + 1
            found.append(settled)
        return found[::-1], 0


def _conserving(solved: FloatArray, given: FloatArray) -> FloatArray:
    """A solution of (I - gamma G) x = y with the total of y, which x has but for rounding.

    A solve misses the total by rounding times gamma times the largest rate. What is missing was at rest in the wells
    already, as x is: it is given back in proportion to |x|.
    """
    weights = np.abs(solved)
    for _ in range(2):  # the second time for the rounding of the first
        solved = solved + (given.sum() - solved.sum()) / weights.sum() * weights
    return np.asarray(solved)


def _weights(shape: FloatArray, gamma: float, lengths: FloatArray) -> FloatArray:
    """First columns of exp(t (I - H^-1) / gamma), one row for each t."""
    from scipy.linalg import expm

    # The slow modes are eigenvalues of H near one. They are taken from H: in H^-1, whose norm is that of its fast
    # modes, their rounding is gamma times the largest rate greater.
    values, vectors = np.linalg.eig(shape)
    gone = np.abs(values) < _GONE
    exponents = (1.0 - 1.0 / np.where(gone, 1.0, values)) / gamma
    rest = int(np.argmin(np.abs(values - 1.0)))
    if abs(values[rest] - 1.0) < _REST:
        exponents[rest] = 0.0
    if np.linalg.cond(vectors) < 1e6 and exponents.real.max() <= 1e-6 / gamma:
        start = np.linalg.solve(vectors, np.eye(len(shape))[0]) * ~gone
        weights = ((np.exp(np.outer(lengths, exponents)) * start) @ vectors.T).real
        weights[lengths < _NEAR * gamma] = np.nan  # not resolved: a solve rounds away what moved before gamma
        return np.asarray(weights)
    try:
        exponent = (np.eye(len(shape)) - np.linalg.inv(shape)) / gamma
    except np.linalg.LinAlgError:
        return np.full((lengths.size, len(shape)), np.nan)
    with np.errstate(all="ignore"):
        return np.stack([expm(length * exponent)[:, 0] for length in lengths])
