r"""Fisher information, the integral of \|grad p\|^2/p: of a density on cells, of an ensemble by its score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals import kinds
from relaxsim.functionals.estimate import Estimate, undefined
from relaxsim.functionals.samples import Space, Whitened, check_count, check_samples, no_density, thin

FloatArray = NDArray[np.float64]

MAX_SAMPLES = 20_000
_RIDGE = 1e-6  # relative to the trace of the matrix of the fit


def density_fisher_information(path: Any) -> FloatArray:
    r"""The integral of \|grad p\|^2/p at each time of a path of densities, shape (n_times,).

    Summed as 4 \|grad sqrt p\|^2 over the faces between cells, which is finite where p vanishes; second order in the
    width of the cells. No face at a wall: a density that does not vanish there has no slope across it.

    Parameters
    ----------
    path : DensityPath
        Anything with `mass` (n_times, \*shape) and `grid`.
    """
    if not (hasattr(path, "mass") and hasattr(path, "grid")):
        fix = "functionals.fisher_information(path.positions[k]) serves particles" if kinds.is_ensemble(path) else ""
        kinds.refuse(path, "path", "the result of FokkerPlanck.evolve(...)", fix)
    root = np.sqrt(np.maximum(np.asarray(path.mass, dtype=np.float64), 0.0))
    total = np.zeros(len(root))
    for axis in range(path.grid.dim):
        step = np.diff(root, axis=axis + 1)
        total += (step**2).reshape(len(root), -1).sum(axis=1) * 4.0 / path.grid.spacing[axis] ** 2
        if path.grid.periodic[axis]:
            seam = np.take(root, 0, axis=axis + 1) - np.take(root, -1, axis=axis + 1)
            total += (seam**2).reshape(len(root), -1).sum(axis=1) * 4.0 / path.grid.spacing[axis] ** 2
    return total


def fisher_information(
    points: Any, *, n_bumps: int = 20, max_samples: int | None = MAX_SAMPLES, seed: int = 0
) -> Estimate:
    r"""The integral of \|grad p\|^2/p of the law of some particles on free axes.

    Parameters
    ----------
    points : array_like, shape (n, dim)
        Independent particles at one time.
    n_bumps : int
        Gaussian bumps in the fitted score, beside all quadratic functions.
    max_samples : int or None
        Points used at most.
    seed : int
        Of the choice of the bumps' centres among the points.

    Returns
    -------
    Estimate
        In several dimensions often bias-limited: a score that the bumps cannot follow leaves the value too small.

    Notes
    -----
    For any smooth psi, :math:`I \ge J = -\langle 2 \nabla\cdot\psi + |\psi|^2 \rangle`, with equality for the score
    psi = grad ln p (Hyvärinen, J. Mach. Learn. Res. 6 (2005) 695). psi is the gradient of quadratic functions and
    Gaussian bumps; J is a linear problem. It is fitted on one half of the points and evaluated on the other, which is
    too low by what the fit follows of the noise, while on its own half it is too high by as much: the value is the mean
    of both. The bound is half of their difference, and what half as many bumps would change.
    """
    kinds.check_points(points, "points", densities="functionals.density_fisher_information(path)")
    x = check_samples(points, "points")
    check_count(n_bumps, "n_bumps", 4)
    used = thin(x, max_samples)
    cause = no_density(used)
    if cause:
        return undefined("Fisher information", cause, len(used), len(x))
    white = Whitened.of(used, Space.of(None, used))
    # Gradients in original coordinates: grad_x = L^-T grad_z; the metric of the fit is L^-1 L^-T.
    covariance = np.atleast_2d(np.cov(used.T, bias=True))
    metric = np.linalg.inv(np.linalg.cholesky(covariance))
    found, gap, coarse = [], 0.0, 0.0
    halves = [white.points[r::2] for r in (0, 1)]
    for fitted, other in (halves, halves[::-1]):
        for bumps in (n_bumps, n_bumps // 2):
            basis = _Basis.choose(fitted, bumps, metric, seed)
            a = basis.fit(fitted)
            inside, outside = basis.evaluate(fitted, a), basis.evaluate(other, a)
            middle = 0.5 * float(inside.mean() + outside.mean())
            if bumps == n_bumps:
                found.append((middle, outside))
                gap += 0.25 * abs(float(inside.mean() - outside.mean()))
            else:
                coarse += 0.5 * middle
    value = 0.5 * (found[0][0] + found[1][0])
    each = np.concatenate([found[0][1], found[1][1]])
    stderr = float(each.std(ddof=1) / math.sqrt(each.size))
    return Estimate(value, stderr, gap + abs(value - coarse), "fitted score", len(used), len(x))


class _Basis:
    """Functions whose gradients make up the score: coordinates, their products, bumps."""

    def __init__(self, centres: FloatArray, width: float, metric: FloatArray) -> None:
        self.centres, self.width, self.metric = centres, width, metric

    @classmethod
    def choose(cls, z: FloatArray, bumps: int, metric: FloatArray, seed: int) -> _Basis:
        """Centres among the points; the width grows with their distance."""
        rng = np.random.default_rng([seed, bumps])
        dim = z.shape[1]
        width = max(0.3, 6.0 / bumps) if dim == 1 else 1.5 * bumps ** (-1.0 / (dim + 2))
        if dim == 1:  # evenly over the quantiles
            centres = np.quantile(z[:, 0], (np.arange(bumps) + 0.5) / bumps)[:, None]
        else:
            centres = z[rng.choice(len(z), bumps, replace=False)]
        return cls(centres, width, metric)

    def _derivatives(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients (n, m, dim) and Laplacians (n, m) of all functions, in original coordinates."""
        n, dim = z.shape
        g = self.metric @ self.metric.T  # inverse covariance in the whitened frame: |grad f|^2 = (L^-T grad_z f)^2
        pairs = [(a, b) for a in range(dim) for b in range(a, dim)]
        m = dim + len(pairs) + len(self.centres)
        gradient, laplacian = np.zeros((n, m, dim)), np.zeros((n, m))
        gradient[:, np.arange(dim), np.arange(dim)] = 1.0
        for k, (a, b) in enumerate(pairs, start=dim):
            gradient[:, k, a] += z[:, b]
            gradient[:, k, b] += z[:, a]
            laplacian[:, k] = 2.0 * g[a, b]
        away = z[:, None, :] - self.centres
        bump = np.exp(-0.5 * np.sum(away**2, axis=-1) / self.width**2)
        start = dim + len(pairs)
        gradient[:, start:] = -away * bump[..., None] / self.width**2
        curved = np.einsum("nma,ab,nmb->nm", away, g, away) / self.width**4
        laplacian[:, start:] = bump * (curved - np.trace(g) / self.width**2)
        return np.asarray(gradient @ self.metric), laplacian

    def fit(self, z: FloatArray) -> FloatArray:
        """Coefficients that make J largest on these points."""
        gradient, laplacian = self._derivatives(z)
        flat = gradient.transpose(0, 2, 1).reshape(-1, gradient.shape[1])
        matrix = flat.T @ flat / len(z)
        matrix += _RIDGE * np.trace(matrix) / len(matrix) * np.eye(len(matrix))
        return np.asarray(np.linalg.solve(matrix, -laplacian.mean(axis=0)))

    def evaluate(self, z: FloatArray, coefficients: FloatArray) -> FloatArray:
        """-2 div psi - |psi|^2 at each point."""
        gradient, laplacian = self._derivatives(z)
        psi = np.einsum("nma,m->na", gradient, coefficients)
        return np.asarray(-2.0 * laplacian @ coefficients - np.sum(psi**2, axis=1))
