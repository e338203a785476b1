"""Products with Gibbs kernels exp(-C/2 epsilon) in the log domain: axis by axis, by offsets, or dense.

Every kernel gives ln of a product with positive vectors that are held as logarithms. The fast way is a matrix product
of exponentials shifted by their largest; what it drops lies below a known bound, so a result well above the bound is
right to rounding, and only entries below it are summed again, term by term, each with a shift of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from relaxsim.system.field import product_points
from relaxsim.system.validate import FloatArray

_DROPPED = 1e-150  # factors below are zero: their products would be denormal, and slow
_TRUSTED = 1e-132  # sums above, for each term that may have been dropped, are right to rounding
_UNSEEN = 1e-16  # share of a sum that rounding swallows
_FIRST = 8  # offsets after which it is known how many are needed
_CHUNK = 1 << 22  # terms summed at a time where they are summed one by one
_RANGE = 100.0  # how far logarithms may move before a dense kernel is scaled anew


class Kernel(Protocol):
    """Gamma = exp(-C/2 epsilon) between the places before (rows) and after (columns) a step."""

    def forward(self, log_z: FloatArray) -> FloatArray:
        """ln(Gamma z), in the shape of the places before."""
        ...

    def backward(self, log_y: FloatArray) -> FloatArray:
        """ln(Gamma^T y), in the shape of the places after."""
        ...

    def transport(self, log_y: FloatArray, log_z: FloatArray) -> float:
        """<C, M> of the plan M = diag(y) Gamma diag(z)."""
        ...


class SeparableKernel:
    """The kernel of a cost that is a sum over axes, C = sum_a C_a: one symmetric matrix an axis.

    Parameters
    ----------
    costs : sequence of ndarray, shape (n_a, n_a)
        Squared distances along each axis.
    epsilon : float
    """

    def __init__(self, costs: Sequence[FloatArray], epsilon: float) -> None:
        logs = [-cost / (2.0 * epsilon) for cost in costs]
        self._product = AxisProduct(logs)
        with np.errstate(divide="ignore"):
            # one product for each axis, in which its own matrix is C_a exp(-C_a/2 epsilon)
            self._costs = [
                AxisProduct([np.log(costs[a]) + log if a == b else log for b, log in enumerate(logs)])
                for a in range(len(costs))
            ]

    def forward(self, log_z: FloatArray) -> FloatArray:
        return self._product(log_z)

    def backward(self, log_y: FloatArray) -> FloatArray:
        return self._product(log_y)

    def transport(self, log_y: FloatArray, log_z: FloatArray) -> float:
        return float(sum(np.exp(log_y + product(log_z)).sum() for product in self._costs))


class AxisProduct:
    """ln of (K_1 x ... x K_d) exp(f) for matrices given by their logarithms.

    Parameters
    ----------
    logs : sequence of ndarray, shape (n_a, n_a)
        ln K_a, -inf for zero.
    """

    def __init__(self, logs: Sequence[FloatArray]) -> None:
        self._logs = list(logs)
        self._shifts = [float(log.max()) for log in logs]
        self._factors = [_exponential(log - shift) for log, shift in zip(logs, self._shifts, strict=True)]

    def __call__(self, f: FloatArray) -> FloatArray:
        peak = float(f.max())
        if peak == -np.inf:
            return np.full(f.shape, -np.inf)
        sums = _exponential(f - peak)
        for factor in self._factors:
            sums = np.tensordot(sums, factor, axes=(0, 1))  # the axis goes to the end: after d of them all are in place
        if sums.min() > _TRUSTED * f.size:
            return np.asarray(np.log(sums) + (peak + sum(self._shifts)))
        for log, factor, shift in zip(self._logs, self._factors, self._shifts, strict=True):
            f = _along_first(f, log, factor, shift)
        return f


def _along_first(f: FloatArray, log: FloatArray, factor: FloatArray, shift: float) -> FloatArray:
    """One axis at a time, each line with a shift of its own; the first axis goes to the end."""
    lines = f.reshape(f.shape[0], -1)
    peaks = lines.max(axis=0)
    filled = np.flatnonzero(peaks > -np.inf)
    out = np.full(lines.shape, -np.inf)
    sums = factor @ _exponential(lines[:, filled] - peaks[filled])
    with np.errstate(divide="ignore"):
        out[:, filled] = np.log(sums) + (peaks[filled] + shift)
    poor = np.argwhere(~(sums > _TRUSTED * len(lines)))
    step = max(1, _CHUNK // len(lines))
    for k in range(0, len(poor), step):
        row, line = poor[k : k + step, 0], filled[poor[k : k + step, 1]]
        out[row, line] = log_sum(log[row] + lines[:, line].T)
    return np.moveaxis(out.reshape(f.shape), 0, -1)


class ToeplitzKernel:
    """The kernel of a cost of x - y that is no sum over axes, on a grid in the plane.

    For each offset along the first axis it is one matrix that acts along the second: n_1 matrix products in all instead
    of one dense matrix of (n_1 n_2)^2 entries. They are taken from the largest to the smallest, until what is left
    cannot change a sum.

    Parameters
    ----------
    centers : pair of ndarray, shapes (n_1,), (n_2,)
        Equally spaced places along each axis.
    squares : callable
        Squared distances of differences of shape (..., 2); even.
    epsilon : float
    wraps : bool
        Whether the first axis is periodic.
    """

    def __init__(
        self, centers: Sequence[FloatArray], squares: Callable[[FloatArray], FloatArray], epsilon: float, wraps: bool
    ) -> None:
        first, second = centers
        n, m = self._shape = first.size, second.size
        self._points = product_points([first, second])
        self._squares, self._epsilon = squares, epsilon
        offsets = np.arange(0 if wraps else 1 - n, n)
        apart = (offsets * (first[1] - first[0]), np.arange(1 - m, m) * (second[1] - second[0]))
        cost = squares(product_points(apart))
        factors = _exponential(-cost / (2.0 * epsilon))
        self._peaks = factors.max(axis=1)
        order = np.argsort(-self._peaks, kind="stable")[: np.count_nonzero(self._peaks)]
        across = np.arange(m) - np.arange(m)[:, None] + m - 1  # from rows, before, to columns, after
        self._peaks = self._peaks[order]
        self._factors = [np.ascontiguousarray(factors[number][across]) for number in order]
        self._weighted = [np.ascontiguousarray((factors * cost)[number][across]) for number in order]
        # the row from which each slab takes what it adds to each row; n is none
        sources = np.arange(n) - offsets[order, None]
        self._sources = sources % n if wraps else np.where((sources >= 0) & (sources < n), sources, n)
        self._pieces = [_pieces(int(k), n, wraps) for k in offsets[order]]

    def forward(self, log_z: FloatArray) -> FloatArray:
        peak = float(log_z.max())
        if peak == -np.inf:
            return np.full(self._shape, -np.inf)
        values, sums = _exponential(log_z - peak), np.zeros(self._shape)
        self._add(sums, values, self._factors, slice(0, _FIRST))
        # at most, from each slab on, in each row
        left = self._peaks[:, None] * np.append(values.sum(axis=1), 0.0)[self._sources]
        left = np.cumsum(left[::-1], axis=0)[::-1]
        needed = np.any(left > _UNSEEN * sums.min(axis=1), axis=1)
        self._add(sums, values, self._factors, slice(_FIRST, np.count_nonzero(needed)))
        with np.errstate(divide="ignore"):
            out = np.asarray(np.log(sums) + peak)
        poor = np.argwhere(~(sums > _TRUSTED * log_z.size))
        step = max(1, _CHUNK // log_z.size)
        for k in range(0, len(poor), step):
            cells = self._points[tuple(poor[k : k + step].T)]
            cost = np.stack([self._squares(cell - self._points).ravel() for cell in cells])
            out[tuple(poor[k : k + step].T)] = log_sum(log_z.ravel() - cost / (2.0 * self._epsilon))
        return out

    def backward(self, log_y: FloatArray) -> FloatArray:
        return self.forward(log_y)  # the cost is even in x - y

    def transport(self, log_y: FloatArray, log_z: FloatArray) -> float:
        peak = float(log_z.max())
        values, sums = _exponential(log_z - peak), np.zeros(self._shape)
        self._add(sums, values, self._weighted, slice(None))
        with np.errstate(divide="ignore"):
            return float(np.exp(log_y + np.log(sums) + peak).sum())

    def _add(self, sums: FloatArray, values: FloatArray, matrices: list[FloatArray], which: slice) -> None:
        for matrix, pieces in zip(matrices[which], self._pieces[which], strict=True):
            for to, source in pieces:
                sums[to] += values[source] @ matrix


def _pieces(k: int, n: int, wraps: bool) -> list[tuple[slice, slice]]:
    """Rows i + k and the rows i they take from, in runs."""
    if wraps:
        return [(slice(k, n), slice(0, n - k)), (slice(0, k), slice(n - k, n))][: 2 if k else 1]
    low, high = max(0, k), min(n, n + k)
    return [(slice(low, high), slice(low - k, high - k))]


class DenseKernel:
    """The kernel of any cost matrix, rectangular too; logarithms are kept in the matrix and taken in anew as they move.

    Parameters
    ----------
    cost : ndarray, shape (n_before, n_after)
        Squared distances.
    epsilon : float
    shape_before, shape_after : tuple of int, optional
        Shapes in which vectors come and go; flat by default.
    """

    def __init__(
        self,
        cost: FloatArray,
        epsilon: float,
        shape_before: tuple[int, ...] | None = None,
        shape_after: tuple[int, ...] | None = None,
    ) -> None:
        self._cost, self._logs = cost, -cost / (2.0 * epsilon)
        before, after = shape_before or cost.shape[:1], shape_after or cost.shape[1:]
        self._forward, self._backward = _Scaled(self._logs, before), _Scaled(self._logs.T, after)

    def forward(self, log_z: FloatArray) -> FloatArray:
        return self._forward(log_z)

    def backward(self, log_y: FloatArray) -> FloatArray:
        return self._backward(log_y)

    def transport(self, log_y: FloatArray, log_z: FloatArray) -> float:
        plan = np.exp(log_y.reshape(-1, 1) + self._logs + log_z.reshape(1, -1))
        return float((plan * self._cost).sum())


class _Scaled:
    """ln(A exp(f)) for a matrix A given by its logarithms, shape of the result `shape`."""

    def __init__(self, logs: FloatArray, shape: tuple[int, ...]) -> None:
        self._logs, self._shape = logs, shape
        self._inside: FloatArray | None = None
        self._filled: Any = None

    def __call__(self, f: FloatArray) -> FloatArray:
        f = f.ravel()
        filled = f > -np.inf
        if not filled.any():
            return np.full(self._shape, -np.inf)
        if self._inside is None or np.any(filled & ~self._filled) or np.abs((f - self._inside)[filled]).max() > _RANGE:
            self._scale(f, filled)
        assert self._inside is not None
        with np.errstate(divide="ignore"):  # a row whose only neighbours are empty
            sums = np.log(self._matrix @ np.exp(np.where(filled, f - self._inside, -np.inf)))
        return np.asarray((sums + self._peaks).reshape(self._shape))

    def _scale(self, f: FloatArray, filled: Any) -> None:
        self._filled, self._inside = filled, np.where(filled, f, 0.0)
        inside = self._logs + f
        self._peaks = inside.max(axis=1)
        self._matrix = np.exp(inside - self._peaks[:, None])


def log_sum(terms: FloatArray) -> FloatArray:
    """ln of the sum of exp along the last axis; -inf where all terms are."""
    peak = terms.max(axis=-1)
    shift = np.where(np.isneginf(peak), 0.0, peak)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(terms - shift[..., None]).sum(axis=-1)) + shift)


def _exponential(f: FloatArray) -> FloatArray:
    values = np.exp(f)
    values[values < _DROPPED] = 0.0
    return np.asarray(values)
