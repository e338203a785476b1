"""Drift and diffusion from trajectories: conditional moments of the jumps, by local regression on a grid."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.jump_data import JumpData
from relaxsim.functionals.replicates import DEFAULT_GROUPS, jackknife_stderr
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.validate import Problems

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MIN_COUNT = 200.0  # jumps a cell needs: fewer leave the errors of the groups far from normal
_FLAT = 1e-5  # smallest over largest eigenvalue of the regression, below which a cell's points lie too close together
_KERNEL_REACH = 1.5  # default bandwidth in cells


@dataclass(frozen=True, eq=False, repr=False)
class KramersMoyal:
    """Drift and diffusion at the centres of the cells of a grid; nan in cells with too few jumps.

    Attributes
    ----------
    grid : Grid
    drift, drift_stderr : ndarray, shape (\\*grid.shape, dim)
        mu^a of dx = mu dt + dW.
    diffusion, diffusion_stderr : ndarray, shape (\\*grid.shape, dim, dim)
        D^{ab} = Sigma^{ab}/2 with Cov(dW) = Sigma dt; D = T S for Langevin dynamics with the mobility S + A.
    higher, higher_stderr : dict of int to ndarray, shape (\\*grid.shape, dim)
        The coefficients D_n = <dx_a^n>/(n! dt) of order 3 and 4 along each axis, if they were asked for; zero for a
        diffusion (Pawula's theorem).
    pawula : ndarray, shape (\\*grid.shape, dim), or None
        <dx_a^4> / 3 <dx_a^2>^2 at the shortest lag, 1 for continuous paths and small lags; with order 4.
    counts : ndarray, shape grid.shape
        Jumps used (a sum of weights for a kernel).
    lag : float
        Time between the two ends of a jump.
    corrected : bool
        Whether the first order in the lag was removed.
    drift_replicates, diffusion_replicates : ndarray, shape (R, ...)
        The same without one group of particles each; errors of anything that follows from the fields come from them.
    """

    grid: Grid
    drift: FloatArray
    drift_stderr: FloatArray
    diffusion: FloatArray
    diffusion_stderr: FloatArray
    higher: dict[int, FloatArray]
    higher_stderr: dict[int, FloatArray]
    pawula: FloatArray | None
    counts: FloatArray
    lag: float
    corrected: bool
    drift_replicates: FloatArray
    diffusion_replicates: FloatArray

    @property
    def known(self) -> BoolArray:
        """Which cells have an estimate, shape grid.shape."""
        return np.asarray(np.isfinite(self.drift).all(axis=-1))

    def __repr__(self) -> str:
        return (
            f"KramersMoyal({int(self.known.sum())} of {self.grid.n_cells} cells of {self.grid!r}, lag {self.lag:g}, "
            f"{self.counts.sum():.3g} jumps)"
        )


def kramers_moyal(
    path: Any,
    grid: Grid | None = None,
    *,
    dt: float | None = None,
    domain: Domain | None = None,
    method: str = "histogram",
    bandwidth: float = _KERNEL_REACH,
    degree: int = 2,
    order: int = 2,
    stride: int = 1,
    correct: bool = True,
    groups: int = DEFAULT_GROUPS,
    min_count: float = MIN_COUNT,
) -> KramersMoyal:
    r"""Estimate drift and diffusion from trajectories.

    Parameters
    ----------
    path : EnsemblePath or array_like, shape (n_times, n_particles, dim)
        Positions at equally spaced times. An array of two axes is taken as (n_times, n_particles) in one dimension.
    grid : Grid, optional
        Where to estimate; by default a grid over the middle 99 % of the positions along each axis. One to three
        dimensions.
    dt : float
        Time between stored positions; an EnsemblePath knows it.
    domain : Domain, optional
        Of an array, if an axis is periodic: a jump is then taken the shorter way around.
    method : {"histogram", "kernel"}
        Regress on the jumps that start in a cell, or on all near its centre with Epanechnikov weights.
    bandwidth : float, default 1.5
        Of the kernel, in cells: jumps farther than that along some axis do not count.
    degree : {0, 1, 2}
        Of the polynomial in the starting point that is fitted in each cell; its value at the centre is the estimate.
        0 is the mean of a cell, with an error of first order in the slope of the density.
    order : {2, 3, 4}
        Highest coefficient.
    stride : int, default 1
        The lag, in stored times.
    correct : bool, default True
        Remove the first order in the lag by Richardson's extrapolation from the lag and twice the lag.
    groups : int, default 24
        Groups of particles for the jackknife.
    min_count : float, default 200
        Jumps that a cell needs.

    Returns
    -------
    KramersMoyal

    Raises
    ------
    InputError, ShapeError
        Too few times or particles, times that are not equally spaced, positions that are not finite, a weighted
        ensemble, no cell with enough jumps.

    Notes
    -----
    With L = mu.grad + D:grad grad the moments of a jump of a diffusion are

    .. math:: E[\delta^a] = \Delta\mu^a + \tfrac{\Delta^2}{2} L\mu^a + O(\Delta^3), \qquad
       E[\delta^a\delta^b] = 2 D^{ab}\Delta + \Delta^2\bigl(\mu^a\mu^b + D^{bc}\partial_c\mu^a + D^{ac}\partial_c\mu^b
       + L D^{ab}\bigr) + O(\Delta^3).

    The combinations 2 M(lag)/lag - M(2 lag)/(2 lag) have no term of order lag. They cost no derivative of a noisy
    estimate. Without `correct` the diffusion is taken from the variance of the jumps, and errors of order lag stay.
    The noise of the drift grows as lag^(-1/2) for the same number of jumps, that of the diffusion does not. Within
    about sqrt(2 D lag) of a reflecting wall the moments are those of the walls, not of the field.

    The noise of a cell is Student-like with ``groups - 1`` degrees of freedom. The error of the polynomial, of order
    h^3 for degree 2, is not in it: take cells narrow against the features of the field.

    References
    ----------
    Risken, *The Fokker-Planck Equation*, 2nd ed., section 4.1. Ragwitz and Kantz, Phys. Rev. Lett. 87 (2001) 254501,
    on the finite lag. Lamouroux and Lehnertz, Phys. Lett. A 373 (2009) 3507, on kernels. Fan and Gijbels, *Local
    Polynomial Modelling and Its Applications* (1996).
    """
    problems = Problems()
    for name, value, allowed in (("method", method, ("histogram", "kernel")), ("degree", degree, (0, 1, 2)),
                                 ("order", order, (2, 3, 4))):  # fmt: skip
        if value not in allowed:
            problems.add(name, f"expected one of {allowed}, got {value!r}")
    for name, number, least in (("bandwidth", bandwidth, 0.5), ("groups", groups, 4), ("min_count", min_count, 1)):
        if not (isinstance(number, (int, float, np.number)) and math.isfinite(number) and number >= least):
            problems.add(name, f"expected a number of at least {least}, got {number!r}")
    problems.raise_if_any()
    data = JumpData.of(path, dt, domain, stride, 2 if correct else 1)
    if data.n_particles < groups:
        raise InputError(
            f"path: {data.n_particles} particles are too few for {groups} groups: simulate more, or pass groups="
        )
    grid = data.default_grid() if grid is None else _check_grid(grid, data)
    fit = _Regression(grid, degree, None if method == "histogram" else float(bandwidth), int(groups))
    fit.gather(data, lambda one, two: _targets(one, two, data.lag, order, correct))
    return _result(fit, data, order, correct, float(min_count))


def _check_grid(grid: Any, data: JumpData) -> Grid:
    if not isinstance(grid, Grid):
        raise InputError(f"grid: expected a Grid, got {type(grid).__name__}; write Grid(domain, shape, bounds=...)")
    if grid.dim != data.dim:
        raise ShapeError(f"grid: has {grid.dim} dimensions, the positions have {data.dim}")
    if any(grid.periodic) and grid.domain != data.domain:
        raise InputError(f"grid: its domain {grid.domain!r} is not that of the positions, {data.domain!r}")
    return grid


def _targets(one: FloatArray, two: FloatArray | None, lag: float, order: int, correct: bool) -> FloatArray:
    """What is regressed on the starting point, shape (n_targets, n): drift, D (upper triangle), higher, raw moments."""
    dim = one.shape[1]
    upper = list(itertools.combinations_with_replacement(range(dim), 2))

    def coefficients(jump: FloatArray, time: float) -> list[FloatArray]:
        found = [jump[:, a] / time for a in range(dim)]
        found += [jump[:, a] * jump[:, b] / (2 * time) for a, b in upper]
        return found + [jump[:, a] ** n / (math.factorial(n) * time) for n in range(3, order + 1) for a in range(dim)]

    short = coefficients(one, lag)
    if not correct:
        values = short
    else:
        assert two is not None
        values = [2 * a - b for a, b in zip(short, coefficients(two, 2 * lag), strict=True)]
    if order == 4:
        values = values + [one[:, a] ** n for n in (2, 4) for a in range(dim)]
    return np.stack(values)


class _Regression:
    """Sums of the normal equations of a local polynomial in every cell, for every group of particles."""

    def __init__(self, grid: Grid, degree: int, bandwidth: float | None, groups: int) -> None:
        self.grid, self.bandwidth, self.groups = grid, bandwidth, groups
        self.powers = [
            combination
            for n in range(degree + 1)
            for combination in itertools.combinations_with_replacement(range(grid.dim), n)
        ]
        reach = 0 if bandwidth is None else math.ceil(bandwidth - 0.5)
        self.offsets = list(itertools.product(range(-reach, reach + 1), repeat=grid.dim))
        self.matrix: FloatArray = np.zeros(0)
        self.right: FloatArray = np.zeros(0)

    def gather(self, data: JumpData, targets: Any) -> None:
        n_terms = len(self.powers)
        label = np.arange(data.n_particles) % self.groups
        for number, (start, one, two) in enumerate(data.jumps()):
            values = targets(one, two)
            if number == 0:
                self.matrix = np.zeros((self.groups * self.grid.n_cells, n_terms, n_terms))
                self.right = np.zeros((self.groups * self.grid.n_cells, n_terms, len(values)))
            place = (start - self.grid.bounds[:, 0]) / self.grid.spacing
            home = np.floor(place).astype(np.int64)
            for offset in self.offsets:
                self._add(place, home + np.array(offset), values, label)

    def _add(self, place: FloatArray, cell: IntArray, values: FloatArray, label: IntArray) -> None:
        inside = np.ones(len(cell), dtype=bool)
        u = place - cell - 0.5  # from the centre of that cell, in cells
        for a, (n, periodic) in enumerate(zip(self.grid.shape, self.grid.periodic, strict=True)):
            if periodic:
                cell[:, a] %= n
            else:
                inside &= (cell[:, a] >= 0) & (cell[:, a] < n)
        weight = np.ones(len(cell))
        if self.bandwidth is not None:
            weight = np.prod(np.maximum(0.0, 1 - (u / self.bandwidth) ** 2), axis=1)
            inside &= weight > 0
        u, weight, values = u[inside], weight[inside], values[:, inside]
        flat = np.ravel_multi_index(tuple(cell[inside].T), self.grid.shape) + label[inside] * self.grid.n_cells
        size = len(self.matrix)
        basis = [np.prod(u[:, list(c)], axis=1) if c else np.ones(len(u)) for c in self.powers]
        for i, one in enumerate(basis):
            weighted = weight * one
            for j in range(i, len(basis)):
                self.matrix[:, i, j] += np.bincount(flat, weighted * basis[j], minlength=size)
            for k, value in enumerate(values):
                self.right[:, i, k] += np.bincount(flat, weighted * value, minlength=size)

    def solve(self, min_count: float) -> tuple[FloatArray, FloatArray]:
        """Values at the centres, (1 + R, n_cells, n_targets) with the whole estimate first, and counts (n_cells,)."""
        n_terms = len(self.powers)
        matrix = self.matrix.reshape(self.groups, -1, n_terms, n_terms)
        matrix = matrix + np.triu(matrix, 1).swapaxes(-1, -2)
        right = self.right.reshape(self.groups, -1, n_terms, self.right.shape[-1])
        whole, target = matrix.sum(axis=0), right.sum(axis=0)
        counts = whole[:, 0, 0].copy()
        usable = counts >= min_count
        if not usable.any():
            raise InputError(
                f"grid: no cell has {min_count:g} jumps, the fullest has {counts.max():.4g}: use fewer cells or more "
                "trajectories"
            )
        one_less = whole - matrix
        usable &= one_less[:, :, 0, 0].min(axis=0) > min_count / 4
        for each in (whole[None], one_less):
            size = np.maximum(each[..., :1, :1], 1e-300)
            spread = np.linalg.eigvalsh(each / size)
            usable &= (spread[..., 0] > _FLAT * spread[..., -1]).all(axis=0)
        found = np.full((1 + self.groups, counts.size, right.shape[-1]), np.nan)
        found[0, usable] = np.linalg.solve(whole[usable], target[usable])[:, 0]
        found[1:, usable] = np.linalg.solve(one_less[:, usable], (target - right)[:, usable])[:, :, 0]
        return found, counts


def _result(fit: _Regression, data: JumpData, order: int, correct: bool, min_count: float) -> KramersMoyal:
    found, counts = fit.solve(min_count)
    grid, dim = fit.grid, data.dim
    found = found.reshape(1 + fit.groups, *grid.shape, -1)
    drift = found[..., :dim]
    diffusion = np.empty((*found.shape[:-1], dim, dim))
    upper = list(itertools.combinations_with_replacement(range(dim), 2))
    for k, (a, b) in enumerate(upper):
        entry = found[..., dim + k]
        if not correct:
            entry = entry - data.lag / 2 * drift[..., a] * drift[..., b]
        diffusion[..., a, b] = diffusion[..., b, a] = entry
    at = dim + len(upper)
    higher, higher_stderr = {}, {}
    for n in range(3, order + 1):
        higher[n], higher_stderr[n] = found[0, ..., at : at + dim], jackknife_stderr(found[1:, ..., at : at + dim])
        at += dim
    pawula = found[0, ..., at + dim :] / (3 * found[0, ..., at : at + dim] ** 2) if order == 4 else None
    return KramersMoyal(
        grid=grid,
        drift=drift[0],
        drift_stderr=jackknife_stderr(drift[1:]),
        diffusion=diffusion[0],
        diffusion_stderr=jackknife_stderr(diffusion[1:]),
        higher=higher,
        higher_stderr=higher_stderr,
        pawula=pawula,
        counts=counts.reshape(grid.shape),
        lag=data.lag,
        corrected=correct,
        drift_replicates=drift[1:],
        diffusion_replicates=diffusion[1:],
    )
