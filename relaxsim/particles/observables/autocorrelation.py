"""The autocorrelation of a function of the position along the paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from relaxsim.errors import InputError
from relaxsim.particles.observables.accumulate import GROUPS, LEAF, PIECE, group_sums, in_leaves, tree
from relaxsim.particles.observables.averages import field_of
from relaxsim.particles.observables.base import Observable, error_of_groups
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray, as_float_array


class Autocorrelation(Observable):
    """The covariance of f(x(s)) and f(x(s + lag)), averaged over the particles and over s.

    Every stride of steps is a new s, the stride being the greatest that divides all lags. The last values of f are
    kept for every particle: the memory is 8 n_particles (longest lag / stride + 1) bytes. A system at rest is meant;
    `after` leaves out its way there.

    Parameters
    ----------
    f : str or callable
        Text such as ``"x"``, or a pointwise function of `x`, indexable by component.
    lags : array_like, shape (n_lags,)
        Lags in units of time, whole numbers of time steps.
    every : int, optional
        Steps between one s and the next, a common divisor of the lags.
    after : float, optional
        The time from which on to accumulate.

    Attributes
    ----------
    value, stderr : ndarray, shape (n_lags,)
        The covariance at each lag, and its standard error from 24 groups of particles.
    correlation, correlation_stderr : ndarray, shape (n_lags,)
        The same over the variance.
    lags : ndarray, shape (n_lags,)
    """

    needs_path = True
    scratch = ("_pieces", "_back", "_stride")

    def __init__(
        self, f: str | Callable[..., Any], lags: Any, *, every: int | None = None, after: float | None = None
    ) -> None:
        super().__init__(every=every, after=None)
        self.f, self._field, self.after = f, field_of(f), None if after is None else float(after)
        self.lags = np.atleast_1d(as_float_array(lags, "lags"))
        if self.lags.ndim != 1 or not (self.lags.size and np.all(np.isfinite(self.lags)) and np.all(self.lags >= 0)):
            raise InputError(f"lags: expected a list of times >= 0 such as np.linspace(0, 1, 11), got {lags!r:.80}")

    def begin(self, system: System, n_particles: int, times: FloatArray, t0: float, dt: float) -> None:
        self.times = np.empty(0)
        self._field = field_of(self.f, system)
        steps = np.rint(self.lags / dt).astype(int)
        if np.any(np.abs(steps * dt - self.lags) > 1e-9 * np.maximum(dt, self.lags)):
            raise InputError(f"lags: expected whole numbers of time steps {dt:g}, got {self.lags.tolist()}")
        self._stride = self.every or math.gcd(*steps.tolist()) or 1
        if np.any(steps % self._stride):
            raise InputError(
                f"every: expected a divisor of the lags, which are {steps.tolist()} steps; got {self.every}"
            )
        self._back = [0, *(steps // self._stride).tolist()]  # records back; first the variance
        self._ring = np.zeros((max(self._back) + 1, n_particles))
        # sums of w, a, b, a b over pairs of values, by lag and group
        self._sums = np.zeros((len(self._back), 4, GROUPS))
        self._pieces: list[FloatArray | None] = [None] * (-(-n_particles // PIECE))

    def parallel(self, weighted: bool) -> bool:
        return True

    @property
    def stride(self) -> int | None:
        return self._stride

    def look(self, leaf: int, positions: FloatArray, weights: FloatArray | None, k: int) -> None:
        first = (leaf - self.first_leaf) * LEAF
        columns, depth = slice(first, first + positions.shape[1]), len(self._ring)
        now = self._ring[k % depth, columns]
        now[:] = self._field(positions.T, self.t)
        found = np.zeros((len(self._back), 4, GROUPS))
        for j, back in enumerate(self._back):
            if back <= k:
                then = self._ring[(k - back) % depth, columns]
                rows = (np.ones(len(now)), then, now, then * now)
                found[j] = [tree(group_sums(in_leaves(row), leaf)) for row in rows]
        self._pieces[first // PIECE] = found

    def close(self, k: int) -> None:
        self._sums += tree(np.stack([piece for piece in self._pieces if piece is not None]))

    def merge(self, other: Any) -> None:
        self.check_mergeable(other)
        self._sums = self._sums + other._sums
        self.add_particles(other)
        self.finish()

    def finish(self) -> None:
        w, a, b, ab = np.moveaxis(self._sums, 1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            total = w.sum(axis=1, keepdims=True)
            mean_a, mean_b = a.sum(axis=1, keepdims=True) / total, b.sum(axis=1, keepdims=True) / total
            away = ab - mean_b * a - mean_a * b + mean_a * mean_b * w
            covariance = away.sum(axis=1) / total[:, 0]
            variance = covariance[0]
            self.value, self.stderr = covariance[1:], error_of_groups(away.T, w.T)[1:]
            self.correlation = self.value / variance
            # pairs at long lags are fewer than at lag 0: each sum is taken per pair
            per_pair = away / total - self._ratio(covariance) * away[:1] / total[:1]
            spread = error_of_groups(per_pair.T, np.full(w.T.shape, 1.0 / GROUPS) * (w.T > 0))
            self.correlation_stderr = (spread / variance)[1:]

    def _ratio(self, covariance: FloatArray) -> FloatArray:
        return np.asarray((covariance / covariance[0])[:, None])
