"""Is there an energy behind a drift and a noise, and which? With errors where the drift was estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import ConvergenceError, InputError
from relaxsim.functionals.curl import CurlTest, curl_test
from relaxsim.functionals.drift_field import DriftField
from relaxsim.functionals.grid_fields import Edges, derivative
from relaxsim.functionals.kramers_moyal import KramersMoyal
from relaxsim.functionals.replicates import jackknife_stderr
from relaxsim.functionals.stationary_masses import stationary_masses
from relaxsim.functionals.stream import stream_function
from relaxsim.system.grid import Grid
from relaxsim.system.system import System
from relaxsim.system.validate import Problems, positive_number

FloatArray = NDArray[np.float64]

METHODS = ("auto", "least-squares", "stationary")
_VISIBLE = 1e-8  # of the largest density: where it is smaller no current is divided by it


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction:
    """An energy and what is left of the drift beside it; nan outside the cells that take part.

    Attributes
    ----------
    grid : Grid
    temperature : float
    curl : CurlTest
        Whether grad E alone can explain the drift.
    method : {"least-squares", "stationary"}
        Where the energy comes from.
    energy, energy_stderr : ndarray, shape grid.shape
        E, with exp(-E/T) integrating to one over the cells; the errors are zero for functions.
    energy_bound, rest_bound, antisymmetric_bound : ndarray
        How much each changes when the cells at the rim are left out, by the method "stationary": there the current
        leaves the grid, and a wall that is not in the system keeps it in. Zero by least squares and at walls of the
        domain.
    density : ndarray, shape grid.shape
        exp(-E/T).
    mobility, mobility_stderr : ndarray, shape (\\*grid.shape, dim, dim)
        The symmetric part S = D/T.
    gradient_part, rest, rest_stderr : ndarray, shape (\\*grid.shape, dim)
        The drift is -S grad E + T div S, which relaxes, plus the rest, the velocity of the current at rest.
    current : ndarray, shape (\\*grid.shape, dim)
        Density times `rest`, free of divergence up to the grid.
    antisymmetric, antisymmetric_stderr : ndarray, shape grid.shape, or None
        A^{12} with current = T (d_2, -d_1)(A^{12} density), in two dimensions; zero at walls of the domain, and
        changing slowly against the density where the data end.
    entropy_production, entropy_production_stderr : float
        Of the law at rest, (1/T) <rest . S^{-1} rest>, per unit of time with k_B = 1. Of an estimate it is biased
        upwards by the noise of the drift; `entropy_production_bias` is the jackknife's estimate of that.
    entropy_production_bias : float
    """

    grid: Grid
    temperature: float
    curl: CurlTest
    method: str
    energy: FloatArray
    energy_stderr: FloatArray
    energy_bound: FloatArray
    density: FloatArray
    mobility: FloatArray
    mobility_stderr: FloatArray
    gradient_part: FloatArray
    rest: FloatArray
    rest_stderr: FloatArray
    rest_bound: FloatArray
    current: FloatArray
    antisymmetric: FloatArray | None
    antisymmetric_stderr: FloatArray | None
    antisymmetric_bound: FloatArray
    entropy_production: float
    entropy_production_stderr: float
    entropy_production_bias: float

    @property
    def reversible(self) -> bool | None:
        """False: a curl was found. True: none was. None: unknown."""
        return self.curl.reversible

    def __repr__(self) -> str:
        return f"Reconstruction({self.method}, {self.grid!r}; {self.curl})"


def reconstruct(
    drift: Any,
    covariance: Any = None,
    grid: Grid | None = None,
    *,
    temperature: float | None = None,
    method: str = "auto",
    alpha: float = 0.01,
) -> Reconstruction:
    r"""Find the energy behind a drift and a noise, or say that there is none and split the drift.

    Parameters
    ----------
    drift : KramersMoyal, System, text, sequence of texts, or callable
        mu of dx = mu dt + dW: an estimate, or a function ``mu(x)`` of the components of x that returns `dim` numbers.
    covariance : number, text, sequence, rows, array, or callable
        Sigma with Cov(dW) = Sigma dt, positive definite: 2 T S for Langevin dynamics. Not with an estimate or a System.
    grid : Grid
        Not with an estimate, which has its own.
    temperature : float, default 1.0
        T. With 1 what is found is E/T, and D = Sigma/2 in the place of S. A System has its own.
    method : {"auto", "least-squares", "stationary"}
        "auto" takes least squares unless a curl is found. "stationary" solves for the law p at rest, E = -T ln p.
    alpha : float, default 0.01
        False-alarm rate of the test for a curl.

    Returns
    -------
    Reconstruction

    Raises
    ------
    InputError, ShapeError, MobilityError, ConvergenceError
        What does not fit; a covariance that is not positive definite; no law at rest.

    Notes
    -----
    With S = Sigma/2T there is an energy with detailed balance where :math:`Z = S^{-1}(T\,\mathrm{div} S - \mu)` is a
    gradient, :math:`\partial_a Z_b = \partial_b Z_a`, and on periodic axes integrates to zero around them. Then E is
    the least-squares potential of the integrals of Z along the edges of the grid. Otherwise :math:`E = -T\ln p` with p
    at rest, and :math:`v = \mu - T\,\mathrm{div} S + S\,\nabla E` with :math:`\nabla\cdot(p v) = 0` is what circulates.
    Errors of an estimate come from its replicates, through the whole calculation. They hold no error of the grid, of
    order h^4 for least squares and, after an extrapolation from two grids, h^3 or h^4 for the law at rest.

    References
    ----------
    Risken, *The Fokker-Planck Equation*, 2nd ed., sections 6.3 and 6.4 (potential conditions). Ao, J. Phys. A 37 (2004)
    L25; Ma, Chen and Fox, NIPS 2015 (the split). Seifert, Rep. Prog. Phys. 75 (2012) 126001 (entropy production).
    """
    field, T = _read(drift, covariance, grid, temperature, method, alpha)
    known = np.asarray(np.isfinite(field.force).all(axis=(0, -1)))
    if not known.any():
        raise InputError("estimate: no cell has a drift, a diffusion and its derivatives; use more data or wider cells")
    edges = Edges(field.grid, known)
    test = curl_test(field, edges, alpha)
    if method == "auto":
        method = "stationary" if test.reversible is False else "least-squares"
    if method == "least-squares":
        reduced, _ = edges.potential(edges.pick(field.edges), _weights(field, edges))
    else:
        reduced = _from_laws(field, edges.cells)
    inner = _without_rim(field, edges, reduced) if method == "stationary" else None
    return _assemble(field, T, test, method, _normalised(reduced, field.grid), inner)


def _read(
    drift: Any, covariance: Any, grid: Grid | None, temperature: float | None, method: str, alpha: float
) -> tuple[DriftField, float]:
    problems = Problems()
    T = 1.0 if temperature is None else positive_number(temperature, "temperature", problems)
    if method not in METHODS:
        problems.add("method", f"expected one of {METHODS}, got {method!r}")
    if not (isinstance(alpha, (int, float)) and 0 < alpha <= 0.5):
        problems.add("alpha", f"expected a false-alarm rate in (0, 0.5], got {alpha!r}")
    if isinstance(drift, KramersMoyal) and not (covariance is None and grid is None):
        problems.add("drift", "an estimate has its own covariance and grid; leave these out")
    problems.raise_if_any()
    if isinstance(drift, KramersMoyal):
        return DriftField.of_estimate(drift), T
    if isinstance(drift, System):
        if drift.time_dependent:
            raise InputError("drift: the system changes with time, and has no law at rest")
        if temperature is not None:
            raise InputError("temperature: the System has its own; leave it out")
        T = drift.temperature_at(0.0)
    if grid is None:
        raise InputError("grid: is missing; functions are reconstructed on the cells of a Grid")
    return DriftField.of_functions(drift, covariance, grid), T


def _weights(field: DriftField, edges: Edges) -> FloatArray | None:
    """Inverse variances, up to a factor, of the integrals along the edges: harmonic means of the counts."""
    if field.counts is None:
        return None
    n = field.counts.ravel()
    return np.asarray(2 / (1 / n[edges.start] + 1 / n[edges.end]))


def _from_laws(field: DriftField, cells: NDArray[np.bool_]) -> FloatArray:
    """-ln p at rest: of the replicates on the grid, all moved by what two grids give for the whole in the limit h -> 0.

    The cells of the finer grid are a third as wide, so the error of order h^2 is gone in (9 fine - coarse)/8.
    """
    grid = field.grid
    with np.errstate(divide="ignore"):
        coarse = np.stack(
            [-np.log(stationary_masses(mu, D, grid, cells)) for mu, D in zip(field.drift, field.diffusion, strict=True)]
        )
        drift, diffusion, finer = field.on_thirds()
        within = np.kron(cells, np.ones((3,) * grid.dim, dtype=bool))
        fine = -np.log(stationary_masses(drift, diffusion, finer, within))[(slice(1, None, 3),) * grid.dim]
    cells = cells & np.isfinite(coarse).all(axis=0) & np.isfinite(fine)
    if not cells.any():
        raise ConvergenceError("stationary law: none covers a cell in all replicates; use more data or wider cells")
    first, fine = (_normalised(np.where(cells, values, np.nan)[None], grid)[0] for values in (coarse[0], fine))
    shift = 9 / 8 * (fine - first)
    return np.where(cells, coarse + np.where(cells, shift, 0.0), np.nan)


def _without_rim(field: DriftField, edges: Edges, reduced: FloatArray) -> FloatArray | None:
    """-ln p of the whole estimate without the cells at the rim, scaled to the same mass; None where walls are."""
    from scipy.ndimage import binary_erosion

    grid = field.grid
    pads = [(1, 1) if p else (0, 0) for p in grid.periodic]
    inside = binary_erosion(np.pad(edges.cells, pads, mode="wrap"), border_value=0)
    inside = inside[tuple(slice(1, -1) if p else slice(None) for p in grid.periodic)]
    ends = np.stack([grid.domain.lower, grid.domain.upper], axis=1)
    if (edges.cells.all() and np.array_equal(grid.bounds, ends)) or inside.sum() < 3**grid.dim:
        return None
    inner = _from_laws(field.first(), inside)[0]
    outer = _normalised(reduced[:1], grid)[0]
    both = np.isfinite(inner) & np.isfinite(outer)
    inner[~both] = np.nan
    lowest = inner[both].min()
    return np.asarray(inner - lowest + np.log(np.exp(lowest - inner[both]).sum() / np.exp(-outer[both]).sum()))


def _normalised(reduced: FloatArray, grid: Grid) -> FloatArray:
    """E/T with exp(-E/T) integrating to one."""
    axes = tuple(range(1, reduced.ndim))
    lowest = np.nanmin(reduced, axis=axes, keepdims=True)
    total = np.nansum(np.exp(lowest - reduced), axis=axes, keepdims=True) * grid.cell_volume
    return np.asarray(reduced - lowest + np.log(total))


def _assemble(
    field: DriftField, T: float, test: CurlTest, method: str, reduced: FloatArray, inner: FloatArray | None
) -> Reconstruction:
    whole = _Split.of(field, reduced)
    none = np.where(np.isnan(reduced[0]), np.nan, 0.0)
    bounds = {"energy_bound": none, "antisymmetric_bound": none}
    bounds["rest_bound"] = np.where(np.isnan(whole.rest[0]), np.nan, 0.0)
    if inner is not None:
        part = _Split.of(field.first(), inner[None])
        bounds["energy_bound"] = T * _bound(reduced[0] - inner, reduced[0])
        bounds["rest_bound"] = np.stack(
            [_bound((whole.rest - part.rest)[0, ..., a], reduced[0]) for a in range(field.grid.dim)], axis=-1
        )
        if whole.stream is not None and part.stream is not None:
            bounds["antisymmetric_bound"] = _bound((whole.stream - part.stream)[0], reduced[0]) / T
    n = len(whole.production)
    noisy = n > 1

    def errors(values: FloatArray) -> FloatArray:
        return jackknife_stderr(values[1:]) if noisy else np.where(np.isnan(values[0]), np.nan, 0.0)

    return Reconstruction(
        grid=field.grid,
        temperature=T,
        curl=test,
        method=method,
        energy=T * reduced[0],
        energy_stderr=T * errors(reduced),
        density=whole.density[0],
        mobility=field.diffusion[0] / T,
        mobility_stderr=errors(field.diffusion) / T,
        gradient_part=whole.gradient_part[0],
        rest=whole.rest[0],
        rest_stderr=errors(whole.rest),
        current=whole.current[0],
        antisymmetric=None if whole.stream is None else whole.stream[0] / T,
        antisymmetric_stderr=None if whole.stream is None else errors(whole.stream) / T,
        entropy_production=float(whole.production[0]),
        entropy_production_stderr=float(jackknife_stderr(whole.production[1:])) if noisy else 0.0,
        entropy_production_bias=float((n - 2) * (whole.production[1:].mean() - whole.production[0])) if noisy else 0.0,
        **bounds,
    )


def _bound(difference: FloatArray, known: FloatArray) -> FloatArray:
    """Sizes of a difference; where the smaller region has none, the largest there is."""
    size = np.abs(difference)
    return np.where(np.isnan(known), np.nan, np.where(np.isnan(size), np.nanmax(size), size))


@dataclass(frozen=True, eq=False)
class _Split:
    """The drift divided by an energy, all with a leading axis for the replicates; see `Reconstruction`."""

    gradient_part: FloatArray
    rest: FloatArray
    density: FloatArray
    current: FloatArray
    stream: FloatArray | None  # T A^{12}
    production: FloatArray

    @classmethod
    def of(cls, field: DriftField, reduced: FloatArray) -> _Split:
        grid = field.grid
        slope = np.stack([derivative(reduced, a, grid) for a in range(grid.dim)], axis=-1)
        gradient_part = field.divergence - np.einsum("...ab,...b->...a", field.diffusion, slope)
        rest = np.where(np.isnan(reduced)[..., None], np.nan, field.drift - gradient_part)
        density = np.exp(-reduced)
        current = density[..., None] * rest
        stream = stream_function(current, density, grid) / density if grid.dim == 2 else None
        if stream is not None:
            stream = np.where(density > _VISIBLE * np.nanmax(density), stream, np.nan)
        production = _entropy_production(rest, field.diffusion, density, grid)
        return cls(gradient_part, rest, density, current, stream, production)


def _entropy_production(rest: FloatArray, diffusion: FloatArray, density: FloatArray, grid: Grid) -> FloatArray:
    """The mean of rest . D^{-1} rest, shape (n_batch,)."""
    known = np.isfinite(rest).all(axis=-1) & np.isfinite(density)
    rate = np.zeros(density.shape)
    solved = np.linalg.solve(diffusion[known], rest[known][..., None])[..., 0]
    rate[known] = np.sum(rest[known] * solved, axis=-1) * density[known]
    return np.asarray(rate.reshape(len(rate), -1).sum(axis=1) * grid.cell_volume)
