"""Coordinates in which the noise is constant: Y_i = integral of dx_i / sqrt(K_i(x_i)) (Lamperti's map).

The inverse x(Y) is a table of x, dx/dY = sqrt(K) and d2x/dY2 = K'/2 at equal steps of Y, interpolated by quintic
Hermite polynomials: with 4096 intervals the error is that of rounding for smooth K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relaxsim.particles import entries
from relaxsim.particles.vector_math import MAGIC, MAGIC_BITS, float_to_bits, to_signed, where
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

INTERVALS = 4096


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The map of a system with diagonal mobility K_i(x_i), on a box that holds its Gibbs law.

    Attributes
    ----------
    low, high : ndarray, shape (dim,)
        Ends of the box in x.
    lower, upper : ndarray, shape (dim,)
        Its ends in Y, infinite where the domain is unbounded.
    tables : ndarray, shape (dim, 3, 4098)
        x, sqrt(K) and K'/2 at equal steps of Y from 0 to that of the upper end; the last column holds the step of Y.
    """

    low: FloatArray
    high: FloatArray
    lower: FloatArray
    upper: FloatArray
    tables: FloatArray

    @classmethod
    def of(cls, system: System) -> Coordinates:
        """Tabulate the map of a system."""
        bounds = np.stack([system.domain.lower, system.domain.upper], axis=1)
        if not system.domain.bounded:
            bounds = np.where(np.isfinite(bounds), bounds, Grid.covering(system, 2, tail=1e-14).bounds)
        tables = np.stack([_table(system, axis, *bounds[axis]) for axis in range(system.dim)])
        free = np.array([kind == "unbounded" for kind in system.domain.boundary])
        length = INTERVALS * tables[:, 2, -1]
        return cls(bounds[:, 0], bounds[:, 1], np.where(free, -np.inf, 0.0), np.where(free, np.inf, length), tables)

    def backward(self, y: FloatArray) -> FloatArray:
        """Positions of coordinates Y (n, dim)."""
        columns = [_interpolate(table, y[:, axis] / table[2, -1]) for axis, table in enumerate(self.tables)]
        return np.stack(columns, axis=-1)

    def forward(self, x: FloatArray) -> FloatArray:
        """Y of positions (n, dim), by inverting the table with Newton's steps on its own interpolant."""
        y = np.empty_like(x)
        for axis, table in enumerate(self.tables):
            nodes, speed, step = table[0, :-1], table[1, :-1], table[2, -1]
            s = np.interp(x[:, axis], nodes, np.arange(INTERVALS + 1.0))
            for _ in range(8):
                rate = step * np.maximum(np.interp(s, np.arange(INTERVALS + 1), speed), 1e-12)
                s = np.clip(s - (_interpolate(table, s) - x[:, axis]) / rate, 0, INTERVALS)
            y[:, axis] = step * s
        return y


def _table(system: System, axis: int, low: float, high: float) -> FloatArray:
    """x, sqrt(K), K'/2 at equal steps of Y, and the length in Y."""
    centre = system.domain.sample_points(1)[0]

    def along(values: FloatArray, field: str) -> FloatArray:
        points = np.tile(centre, (values.size, 1))
        points[:, axis] = values.ravel()
        if field == "K":
            result = system.mobility(points)[:, axis, axis]
        else:
            result = system.divergence(points)[:, axis]
        return np.asarray(result.reshape(values.shape))

    # x = low + (high - low) (1 - cos(pi s))/2 makes 1/sqrt(K) integrable without loss where K vanishes at an end
    s = np.linspace(0.0, 1.0, INTERVALS + 1)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    inner = s[:-1, None] + (nodes + 1) / 2 / INTERVALS
    at = low + (high - low) * np.sin(np.pi * inner / 2) ** 2
    speed = (high - low) * np.pi / 2 * np.sin(np.pi * inner) / np.sqrt(along(at, "K"))
    y_of_s = np.concatenate([[0.0], np.cumsum((speed * weights).sum(axis=1) / 2 / INTERVALS)])
    length = float(y_of_s[-1])
    y = np.linspace(0.0, length, INTERVALS + 1)
    x = low + (high - low) * np.sin(np.pi * np.interp(y, y_of_s, s) / 2) ** 2
    x = _polish(along, low, high, x, y, s, y_of_s)
    table = np.stack([x, np.sqrt(along(x, "K")), along(x, "dK") / 2])
    return np.concatenate([table, np.full((3, 1), length / INTERVALS)], axis=1)


def _polish(
    along: object, low: float, high: float, x: FloatArray, y: FloatArray, s: FloatArray, y_of_s: FloatArray
) -> FloatArray:
    """Newton's steps on Y(x) = y, with Y to x integrated from the node of s below."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    assert callable(along)
    for _ in range(4):
        here = np.arccos(np.clip(1 - 2 * (x - low) / (high - low), -1, 1)) / np.pi
        k = np.clip(np.searchsorted(s, here, side="right") - 1, 0, len(s) - 2)
        width = here - s[k]
        inner = s[k][:, None] + (nodes + 1) / 2 * width[:, None]
        at = low + (high - low) * np.sin(np.pi * inner / 2) ** 2
        speed = (high - low) * np.pi / 2 * np.sin(np.pi * inner) / np.sqrt(np.maximum(along(at, "K"), 1e-300))
        found = y_of_s[k] + (speed * weights).sum(axis=1) / 2 * width
        x = np.clip(x - (found - y) * np.sqrt(along(x, "K")), low, high)
    return x


def _interpolate(table: FloatArray, s: FloatArray) -> FloatArray:
    i = table_index(s)
    return np.asarray(hermite(s - i, table[2, -1], *(table[row][j] for j in (i, i + 1) for row in range(3))))


def table_index(s):
    """The interval that s, in units of intervals, falls in; the first or last one beyond the table."""
    low = where(s > 0.0, s, 0.0)
    inside = where(low < INTERVALS - 1.0, low, INTERVALS - 1.0)
    return to_signed(float_to_bits((inside - 0.5) + MAGIC)) - MAGIC_BITS


def hermite(u, step, f0, d0, c0, f1, d1, c1):
    """The quintic with values f, first derivatives d and second derivatives c at the ends of an interval."""
    d0, d1, c0, c1 = d0 * step, d1 * step, 0.5 * c0 * step * step, 0.5 * c1 * step * step
    a = f1 - f0 - d0 - c0
    b = d1 - d0 - 2.0 * c0
    c = c1 - c0
    high = (10.0 * a - 4.0 * b + c) + u * ((-15.0 * a + 7.0 * b - 2.0 * c) + u * (6.0 * a - 3.0 * b + c))
    return f0 + u * (d0 + u * (c0 + u * high))


def position_source(system: System) -> str:
    """``model_position(m, y)``: x of the folded y.

    Beyond the table of an unbounded axis the last interval's polynomial continues.
    """
    lines, results = [], []
    for a in range(system.dim):
        lines += [
            f"step{a} = m[1][{a}, 2, {INTERVALS + 1}]",
            f"s{a} = y[{a}] / step{a}",
            f"i{a} = table_index(s{a})",
        ]
        ends = ", ".join(f"m[1][{a}, {row}, i{a} + {j}]" for j in (0, 1) for row in range(3))
        results.append(f"hermite(s{a} - i{a}, step{a}, {ends})")
    return entries.function("model_position(m, y)", lines, results)
