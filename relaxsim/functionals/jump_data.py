"""Trajectories as pairs: where a jump starts and how far it goes in one lag, and in two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.validate import as_float_array

FloatArray = NDArray[np.float64]

MAX_DIM = 3
_SHAPES = {1: 40, 2: 20, 3: 10}
_MIDDLE = (0.005, 0.995)
_EQUAL = 1e-6  # relative difference of time steps that counts as none


@dataclass(frozen=True, eq=False)
class JumpData:
    """Positions at equally spaced times, and the lag between the ends of a jump.

    Attributes
    ----------
    positions : ndarray, shape (n_times, n_particles, dim)
    domain : Domain
    stride : int
        The lag in stored times.
    lag : float
    spans : {1, 2}
        How many lags a start has to have ahead.
    """

    positions: FloatArray
    domain: Domain
    stride: int
    lag: float
    spans: int

    @classmethod
    def of(cls, path: Any, dt: float | None, domain: Domain | None, stride: Any, spans: int) -> JumpData:
        """From an EnsemblePath or an array, checked."""
        if getattr(path, "weights", None) is not None:
            raise InputError("path: a weighted ensemble has no plain jumps; use a scheme without weights")
        positions = as_float_array(getattr(path, "positions", path), "path")
        if positions.ndim == 2:
            positions = positions[..., None]
        if positions.ndim != 3 or 0 in positions.shape:
            raise ShapeError(f"path: expected positions (n_times, n_particles, dim), got the shape {positions.shape}")
        if isinstance(stride, bool) or not isinstance(stride, (int, np.integer)) or stride < 1:
            raise InputError(f"stride: expected an integer >= 1, got {stride!r}")
        if len(positions) <= spans * stride:
            raise InputError(
                f"path: {len(positions)} stored times are too few for a lag of {stride}: {spans * stride + 1} are "
                f"needed{' (correct=False needs fewer)' if spans > 1 else ''}"
            )
        if positions.shape[2] > MAX_DIM:
            raise InputError(f"path: fields are estimated in up to {MAX_DIM} dimensions, got {positions.shape[2]}")
        if not np.isfinite(positions).all():
            raise InputError("path: expected finite positions, got nan or inf; simulate with a smaller dt")
        step = _time_step(path, dt)
        system = getattr(path, "system", None)
        space = system.domain if system is not None else (domain or Domain.unbounded(positions.shape[2]))
        if space.dim != positions.shape[2]:
            raise ShapeError(f"domain: has {space.dim} dimensions, the positions have {positions.shape[2]}")
        return cls(positions, space, int(stride), step * int(stride), spans)

    @property
    def n_particles(self) -> int:
        """Number of trajectories."""
        return int(self.positions.shape[1])

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return int(self.positions.shape[2])

    def jumps(self) -> Iterator[tuple[FloatArray, FloatArray, FloatArray | None]]:
        """Starts, jumps over one lag and over two, each (n_particles, dim), one starting time after the other."""
        for k in range(len(self.positions) - self.spans * self.stride):
            start = self.domain.wrap(self.positions[k])
            one = self._shorter_way(self.positions[k + self.stride] - self.positions[k])
            two = None
            if self.spans == 2:
                following = self.positions[k + 2 * self.stride] - self.positions[k + self.stride]
                two = one + self._shorter_way(following)
            yield start, one, two

    def default_grid(self) -> Grid:
        """A grid over the middle of the positions, periodic axes whole."""
        seen = self.positions.reshape(-1, self.dim)
        low, high = np.quantile(seen[:: max(1, len(seen) // 200_000)], _MIDDLE, axis=0)
        if not np.all(high > low):
            raise InputError("path: all positions lie at one point along some axis; there is no field to estimate")
        bounds = [None if p else (a, b) for p, a, b in zip(self.domain.periodic, low, high, strict=True)]
        return Grid(self.domain, _SHAPES[self.dim], bounds=bounds)

    def _shorter_way(self, jump: FloatArray) -> FloatArray:
        for axis, periodic in enumerate(self.domain.periodic):
            if periodic:
                length = self.domain.upper[axis] - self.domain.lower[axis]
                jump[:, axis] -= length * np.round(jump[:, axis] / length)
        return jump


def _time_step(path: Any, dt: float | None) -> float:
    times = getattr(path, "times", None)
    if times is not None and hasattr(path, "positions"):
        steps = np.diff(np.asarray(times, dtype=np.float64))
        if np.ptp(steps) > _EQUAL * steps.max():
            raise InputError(
                f"path: expected equally spaced times, got steps from {steps.min():g} to {steps.max():g}; store "
                "times=np.arange(n) * step"
            )
        return float(steps.mean())
    if dt is None or not (isinstance(dt, (int, float, np.number)) and np.isfinite(dt) and dt > 0):
        raise InputError(f"dt: expected the time between stored positions, a positive number, got {dt!r}")
    return float(dt)
