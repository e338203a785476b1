r"""The H-theorem: along dp/dt = div(p K grad(T ln p + E)) the free energy falls to its minimum, the Gibbs law.

*Relaxation*, Definitions 2 and 3, Theorem 6 and its proof, Remark 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import rounding
from relaxsim.theorems.wells import ENERGY, LEAST, SCALAR, START, TEMPERATURE, mobility_of_density, plane

TIMES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 40.0)
STEP = 0.5


# ---------------------------------------------------------------------------------------- Theorem 6, densities


def h_theorem(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""F falls at every step of backward Euler, Gibbs stays, and KL ends below a bound from the spectral gap.

    A double well with a mobility K = k(x) R of full rank, one with an antisymmetric part, k(x) (R + a J), and one that
    depends on the density, K{p} with A{p}, on a grid. The generator is one of jumps in detailed balance with the Gibbs
    masses (and loops that keep them), so backward Euler lowers F for every step size: the tolerance is rounding. In the
    chi-square distance a step tau contracts by 1/(1 + lambda tau), lambda the gap, which is at least that of K = 1
    times the smallest eigenvalue of S (Poincaré's inequality); half of it is asked for, which covers the grid. KL is
    at most chi-square.

    Mutants run in the same engine, so that only what is wrong tells them apart: with noise of temperature T' and a
    drift without T div K, or with it, the law is that of the energy E + T' ln k, or E + (T' - T) ln k, at temperature
    T'. A mobility that is not positive is stepped explicitly over a time in which the law stays positive.
    """
    cells = 40 if setting.full else 20
    for name, mobility in _mobilities(wrong):
        right = plane(mobility)
        fp = rs.FokkerPlanck(right, rs.Grid(right.domain, cells))
        if wrong in ("indefinite", "central"):
            yield _largest_rise(f"rise of F, {name}", _uphill(fp) if wrong == "indefinite" else _central(fp), fp)
            continue
        run = rs.FokkerPlanck(_mutated(right, wrong), fp.grid)
        mass = run.evolve(START, TIMES, method="backward-euler", step=STEP).mass
        yield _largest_rise(f"rise of F, {name}", mass, fp)
        yield Measurement(f"KL at the end, {name}", _kl(mass[-1], fp), 0.0, _bound(mass[0], fp))
        kept = run.evolve(fp.gibbs, (0.0, TIMES[-1]), method="backward-euler", step=4 * STEP).mass[-1]
        yield Measurement(f"KL of the Gibbs law later on, {name}", _kl(kept, fp), 0.0, rounding(1.0))


def _mobilities(wrong: str | None) -> list[tuple[str, rs.Mobility]]:
    """Names and mobilities that an experiment runs; mutants those that they are defined for."""
    constant = [("K = 1", rs.Mobility.constant(1.0))]
    of_position = [("K(x)", SCALAR.full()), ("K(x) + A(x)", SCALAR.full(turning=0.8))]
    of_density = [("K{p} + A{p}", mobility_of_density())]
    mutants = {"indefinite": constant, "central": constant, "no div K": of_position, "cold noise": of_position}
    return of_position + of_density if wrong is None else mutants[wrong]


def _mutated(right: rs.System, wrong: str | None) -> rs.System:
    """The system whose Fokker-Planck equation is that of the wrong dynamics."""
    if wrong is None:
        return right
    heat = TEMPERATURE / 2 if wrong == "cold noise" else TEMPERATURE
    share = heat if wrong == "no div K" else heat - TEMPERATURE
    return right.replace(energy=f"{ENERGY} + ({share})*log({SCALAR.text})", temperature=heat)


def _generator(fp: rs.FokkerPlanck, along_y: float) -> Any:
    """G of K = diag(1, along_y), of any sign: G is linear in a diagonal K."""
    one, two = (rs.FokkerPlanck(plane(rs.Mobility.constant(K)), fp.grid).generator for K in ([1.0, 1.0], [1.0, 2.0]))
    return one + (along_y - 1.0) * (two - one)


def _wave(fp: rs.FokkerPlanck, axis: int) -> Any:
    """Masses p = q (1 + cos(5 x_a / 2)/2), on which only the slope along one axis acts."""
    return fp.gibbs * (1.0 + 0.5 * np.cos(2.5 * fp.grid.points[:, axis])).reshape(fp.grid.shape)


def _uphill(fp: rs.FokkerPlanck) -> Any:
    """Masses under K = diag(1, -1)."""
    generator = _generator(fp, -1.0)
    start = _wave(fp, 1).ravel()
    mass = [start / start.sum()]
    step = 0.05 / float(np.abs(generator.diagonal()).max())
    for _ in range(10):
        mass.append(mass[-1] + step * (generator @ mass[-1]))
    return np.reshape(mass, (-1, *fp.grid.shape))


def _central(fp: rs.FokkerPlanck) -> Any:
    """Masses under the flux -(E_{i+1} - E_i)(p_i + p_{i+1})/2 - T (p_{i+1} - p_i), second order but no jump process."""
    from scipy.sparse import csc_array, eye_array
    from scipy.sparse.linalg import splu

    grid, n = fp.grid, fp.grid.shape[0]
    energy = fp.system.energy(grid.points)
    index = np.arange(grid.n_cells).reshape(grid.shape)
    generator = np.zeros((n * n, n * n))
    for axis in range(2):
        here, there = (np.take(index, range(k, n - 1 + k), axis).ravel() for k in (0, 1))
        slope = (energy[there] - energy[here]) / 2
        for i, j, sign in ((here, there, 1.0), (there, here, -1.0)):
            rate = (TEMPERATURE - sign * slope) / grid.spacing[axis] ** 2
            generator[j, i] += rate
            generator[i, i] -= rate
    step = splu((eye_array(n * n) - STEP * csc_array(generator)).tocsc())
    mass = [fp.gibbs.ravel()]
    for _ in range(4):
        mass.append(step.solve(mass[-1]))
    return np.reshape(mass, (-1, *grid.shape))


def _kl(mass: Any, fp: rs.FokkerPlanck) -> float:
    return float(kl_divergence(mass, fp.log_gibbs))


def _bound(start: Any, fp: rs.FokkerPlanck) -> float:
    """What KL may be at the end; see `h_theorem`."""
    gap = LEAST * float(rs.FokkerPlanck(plane(1.0), fp.grid).spectrum(2).rates[1].real) / 2
    chi_square = float(np.sum((start - fp.gibbs) ** 2 / fp.gibbs))
    return chi_square * (1.0 + gap * STEP) ** (-2 * round(TIMES[-1] / STEP))


def _largest_rise(name: str, mass: Any, fp: rs.FokkerPlanck) -> Measurement:
    free_energy = TEMPERATURE * (np.asarray(kl_divergence(mass, fp.log_gibbs)) - fp.log_partition)
    allowed = rounding(float(np.abs(free_energy).max()))
    return Measurement(name, float(np.diff(free_energy).max()), 0.0, allowed, relation="<=")


# ---------------------------------------------------------------------------------- how positive K has to be


def irreducible(setting: Setting, *, mobility: str = "x**2 + 0.25") -> Iterator[Measurement]:
    r"""Half of the mass crosses the origin where K > 0 there, and none where K = x^2, positive almost everywhere.

    E = x^2/2 and T = 1, all mass to the right at first. At rest half of it is left of the origin. After a time t the
    difference is at most sqrt(chi-square)/2 exp(-lambda t) (Cauchy and Schwarz), lambda the gap; that is the tolerance.
    With K = x^2 the logarithm of x has the drift T - x^2 and constant noise, so it stays finite: x stays positive, the
    law q restricted to x > 0 is at rest, and F ends T ln 2 above its minimum although dF/dt < 0 all the way.
    """
    system = rs.System("x**2/2", mobility, 1.0, rs.Domain([(-6, 6)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 480 if setting.full else 120))
    time = 30.0
    mass = fp.evolve(rs.initial.uniform([(0.5, 2.5)]), (0.0, time)).mass
    positive = rs.FokkerPlanck(system.replace(mobility="x**2 + 0.25"), fp.grid)
    chi_square = float(np.sum((mass[0] - fp.gibbs) ** 2 / fp.gibbs))
    bound = math.sqrt(chi_square) / 2 * math.exp(-float(positive.spectrum(2).rates[1].real) * time)
    left = float(mass[-1][: fp.grid.n_cells // 2].sum())
    yield Measurement("mass that has crossed the origin", left, 0.5, bound + rounding(1.0))


def sufficient_only(setting: Setting, *, axis: int = 0) -> Iterator[Measurement]:
    r"""dF/dt < 0 under K = diag(1, -1/10), for a law that differs from Gibbs mostly along the first axis.

    p = q (1 + cos(5 x/2)/2): T ln p + E varies with x alone, and dF/dt = -T^2 <(d_x ln p/q)^2>, a number that K along y
    does not enter. What is measured is T sum_i (G p)_i ln(p_i/m_i), G linear in K, and it has to stay below half of
    that number (h^2 is 1/100). That is no licence: along y the same K raises F, which the mutant shows.
    """
    system = plane(rs.Mobility.constant([1.0, 1.0]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 100 if setting.full else 50))
    p = _wave(fp, axis)
    p = (p / p.sum()).ravel()
    rate = TEMPERATURE * float((_generator(fp, -0.1) @ p) @ (np.log(p) - fp.log_gibbs.ravel()))
    x = 2.5 * fp.grid.points[:, 0]
    slope = 1.25 * np.sin(x) / (1.0 + 0.5 * np.cos(x))
    expected = -(TEMPERATURE**2) * float(p @ slope**2)
    yield Measurement("dF/dt", rate, expected / 2, 0.0, relation="<=")


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.6",
        title="H-theorem for densities",
        source="Relaxation, Theorem 6 (Fokker-Planck Equation)",
        latex=r"f^a = -K^{ab}\{p\}\,\nabla_b(T\ln p + E),\ S = \tfrac12(K + K^\top) > 0"
        r"\ \Rightarrow\ \frac{dF_E}{dt} \le 0,\ p \to q_E",
        claim="F never rises, ends at its minimum, and the Gibbs law stays, for K(x), K(x) + A(x) and K{p} + A{p}",
        experiment=h_theorem,
        mutants=(
            Mutant("K not positive", partial(h_theorem, wrong="indefinite")),
            Mutant("T div K dropped from the drift (Itô)", partial(h_theorem, wrong="no div K")),
            Mutant("noise at half the temperature", partial(h_theorem, wrong="cold noise")),
            Mutant("central flux instead of jumps in detailed balance", partial(h_theorem, wrong="central")),
        ),
    ),
    Statement(
        id="relaxation.6.irreducible",
        title="Positive almost everywhere is not enough",
        source="Relaxation, Theorem 6, hypothesis",
        latex=r"S^{ab}(x) > 0 \text{ at every } x \ \Rightarrow\ p \to q_E",
        claim="with K > 0 everywhere half of the mass crosses the origin; with K = x^2 > 0 almost everywhere none does",
        experiment=irreducible,
        mutants=(
            Mutant(
                "K = x^2",
                partial(irreducible, mobility="x**2"),
                printed=r"\text{If the symmetric part of } K^{ab} \text{ is a.e. positive definite on } \mathcal M,"
                r"\text{ then any } p \text{ will relax to } q_E",
            ),
        ),
    ),
    Statement(
        id="relaxation.7",
        title="Positivity is sufficient, not necessary",
        source="Relaxation, Remark 7 (Sufficient but Not Essential)",
        latex=r"\frac{dF_E}{dt}[p] < 0 \text{ for some } p \text{ although } S^{ab} \not\ge 0",
        claim="under K = diag(1, -1/10) F falls for a law that differs from Gibbs along the first axis",
        experiment=sufficient_only,
        mutants=(Mutant("the same for a law that differs along the second axis", partial(sufficient_only, axis=1)),),
    ),
)
