r"""The particles' equation and the equation of their density: the same law, on the way and at rest.

*Relaxation*, Theorem 8 (Stochastic Dynamics): dx = [T div K - K grad E] dt + sqrt(2 T) dW, dW ~ N(0, K dt).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import ROUNDING, refined
from relaxsim.theorems.wells import START, plane

TIME = 0.3


def same_law(setting: Setting, *, drift: str = "T div K", noise: float = 1.0) -> Iterator[Measurement]:
    r"""The law of dx = mu dt + dW against that of dp/dt = div(p K grad E + T K grad p), in the double well.

    K(x) is a full tensor that varies, with an antisymmetric part that varies and vanishes at the walls. Both equations
    are discretised on one grid by different means: the first knows the drift mu = T div K - K grad E, with div on the
    second index, and the covariance 2 T S alone; the second the energy and K. Their L1 distance at t = 0.3 and at rest
    is of second order in the width of the cells, so the difference of two grids is the tolerance.
    """
    mobility = rs.Mobility.tensor([["1 + x**2/4", "0.3*y"], ["0.3*y", "1 + y**2/4"]])
    turn = "1.2*(1 - x**2/6.25)*(1 - y**2/6.25)"
    system = plane(mobility.with_antisymmetric([["0", turn], [f"-{turn}", "0"]]))

    @cache
    def distances(cells: int) -> tuple[float, float]:
        grid = rs.Grid(system.domain, cells)
        law = rs.FokkerPlanck(system, grid)
        walk = rs.FokkerPlanck.from_drift(
            _pointwise(lambda x: _drift(system, x, drift)),
            _pointwise(lambda x: 2.0 * noise * system.temperature * mobility.bound_to(2, None)(x)),
            system.domain,
            grid,
        )
        start = START.masses(system, grid)
        ends = [fp.evolve(start, (0.0, TIME)).mass[-1] for fp in (law, walk)]
        return float(np.abs(ends[0] - ends[1]).sum()), float(np.abs(law.gibbs - walk.gibbs).sum())

    cells = 128 if setting.full else 64
    yield refined(f"L1 distance at t = {TIME}", lambda n: distances(n)[0], 0.0, cells)
    yield refined("L1 distance at rest", lambda n: distances(n)[1], 0.0, cells)


def _pointwise(field: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of the components of x, for `from_drift`, of one of arrays (..., dim)."""

    def values(x: Any) -> Any:
        found = field(np.stack(np.broadcast_arrays(*x), axis=-1).astype(float))
        inner = found.ndim - np.ndim(x[0])
        return np.moveaxis(found, range(-inner, 0), range(inner))

    return values


def _drift(system: rs.System, x: Any, kind: str) -> Any:
    """mu at points (..., 2)."""
    part = system.mobility.antisymmetric_divergence_field(x)
    symmetric = system.mobility.divergence(x) - part
    kinds = {"T div K": symmetric + part, "none": 0.0, "no div A": symmetric, "first index": symmetric - part}
    force = np.einsum("...ab,...b->...a", system.mobility(x), system.gradient(x))
    return system.temperature * kinds[kind] - force


def curved(setting: Setting, *, connection: bool = True) -> Iterator[Measurement]:
    r"""On a sphere the particles' angle has the drift T cot(theta) beside -dE/dtheta, though nabla_b g^ab = 0.

    K = g^-1, E = cos(theta), the law a function of the polar angle alone. The density with respect to the area
    sin(theta) dtheta relaxes to exp(-E/T); the walk has the drift (T/sqrt g) d_b(sqrt g K^ab) - K^ab d_b E =
    T cot(theta) + sin(theta). L1 distance of their masses on one grid, at t = 0.3 and at rest: of second order, so the
    difference of two grids is the tolerance. As printed the term with Christoffel's symbols, -T Gamma^a_bc K^bc =
    T cot(theta), is missing.
    """
    T, domain = 0.5, rs.Domain([(0.2, math.pi - 0.2)])
    system = rs.System("cos(x)", 1.0, T, domain)
    mu = f"sin(x) + {T if connection else 0.0}*cos(x)/sin(x)"

    @cache
    def distances(cells: int) -> tuple[float, float]:
        law = rs.FokkerPlanck(system, rs.Grid(domain, cells, measure="sin(x)"))
        walk = rs.FokkerPlanck.from_drift(mu, 2 * T, domain, rs.Grid(domain, cells))
        start = rs.initial.normal([1.0], 0.3).masses(system, rs.Grid(domain, cells))
        ends = [fp.evolve(start, (0.0, TIME)).mass[-1] for fp in (law, walk)]
        return float(np.abs(ends[0] - ends[1]).sum()), float(np.abs(law.gibbs - walk.gibbs).sum())

    cells = 256 if setting.full else 64
    yield refined(f"L1 distance at t = {TIME}", lambda n: distances(n)[0], 0.0, cells)
    yield refined("L1 distance at rest", lambda n: distances(n)[1], 0.0, cells)


def noise_exists(setting: Setting, *, K: Any = ((1.0, 0.4), (0.4, 0.5))) -> Iterator[Measurement]:
    r"""The variance that a law gains along any direction n is 2 T n.K n dt, which noise must have positive.

    From the equation itself: the second moments of p = N(0, C) change by d<x x^T>/dt = 2 T K - K H C - C H K, in E =
    x.H x/2, so that what noise adds is 2 T K whatever p is. It is read off the slope of the moment of (n.x)^2 on a grid
    without energy, exact for a second-order stencil: the tolerance is rounding. n is the eigenvector of the smallest
    eigenvalue of K, and the equation of an indefinite K is formed from those of positive ones, on which it depends
    linearly.
    """
    K = np.array(K)
    n = np.linalg.eigh(K)[1][:, 0]
    cells = 60 if setting.full else 30
    domain = rs.Domain([(-3, 3)] * 2)
    grid = rs.Grid(domain, cells)
    generators = []
    for shift in (2.0, 4.0):  # K = 2 (K + 2 I) - (K + 4 I)
        system = rs.System("0*x", rs.Mobility.constant(K + shift * np.eye(2)), 0.5, domain)
        generators.append(rs.FokkerPlanck(system, grid).generator)
    mass = rs.initial.uniform([(-0.5, 0.5)] * 2).masses(rs.System("0*x", 1.0, 0.5, domain), grid).ravel()
    flow = 2 * (generators[0] @ mass) - generators[1] @ mass
    gained = float(flow @ (grid.points @ n) ** 2)
    yield Measurement("2 T n.K n", gained, 2 * 0.5 * float(n @ K @ n), 1e3 * ROUNDING)
    yield Measurement("variance gained per time", gained, 0.0, ROUNDING, relation=">=")


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.8",
        title="The stochastic dynamics has the Fokker-Planck equation",
        source="Relaxation, Theorem 8 (Stochastic Dynamics)",
        latex=r"dx^a = [T\,\partial_b K^{ab} - K^{ab}\partial_b E]\,dt + \sqrt{2T}\,dW^a,\ dW \sim N(0, S\,dt),"
        r"\ S \ge 0 \iff \partial_t p = \partial_a(p K^{ab}\partial_b E + T K^{ab}\partial_b p)",
        claim="the law of the particles' drift and noise is that of the Fokker-Planck equation, on the way and at rest",
        experiment=same_law,
        mutants=(
            Mutant("T div K dropped (Itô)", partial(same_law, drift="none")),
            Mutant("A without T div A", partial(same_law, drift="no div A")),
            Mutant("div on the first index, d_a K^ab", partial(same_law, drift="first index")),
            Mutant("noise at half the temperature", partial(same_law, noise=0.5)),
        ),
    ),
    Statement(
        id="relaxation.8.curved",
        title="The drift on a curved space",
        source="Relaxation, Theorem 8, on a Riemannian manifold",
        latex=r"dx^a = [T\,\nabla_b K^{ab} - T\,\Gamma^a_{bc}K^{bc} - K^{ab}\partial_b E]\,dt + \sqrt{2T}\,dW^a",
        claim="on a sphere the polar angle drifts with T cot(theta), the divergence of sqrt(g) K",
        experiment=curved,
        mutants=(
            Mutant(
                "Christoffel's term left out",
                partial(curved, connection=False),
                printed=r"dx^a = [T\,\nabla_b K^{ab}(x,t) - K^{ab}(x,t)\nabla_b E(x)]\,dt + \sqrt{2T}\,dW^a(x,t)",
            ),
        ),
    ),
    Statement(
        id="relaxation.8.positive",
        title="Noise needs a positive mobility",
        source="Relaxation, Theorem 8, hypothesis",
        latex=r"dW \sim N(0, K\,dt) \text{ exists} \iff K = K^\top \ge 0",
        claim="the variance gained along an eigenvector of K is 2 T times its eigenvalue",
        experiment=noise_exists,
        mutants=(
            Mutant(
                "K symmetric with eigenvalues of both signs",
                partial(noise_exists, K=((1.0, 0.4), (0.4, -0.5))),
                printed=r"\text{If } K^{ab} \text{ is symmetric, independent of } p"
                r"\text{ and almost everywhere smooth}",
            ),
        ),
    ),
)
