r"""What F is and how fast it falls: the two forms of the free energy, and the dissipation identity.

*Relaxation*, Definition 2 and the proof of Theorem 6. A Gaussian law in a quadratic well, where all is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.functionals import dissipation
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import refined

H = np.array([[2.0, 0.6], [0.6, 1.0]])  # E = x.Hx/2
S = np.array([[1.0, 0.3], [0.3, 0.7]])
TURN = 0.4  # A^12
T = 0.5
MEAN, COVARIANCE = np.array([0.6, 0.5]), np.array([[0.4, 0.1], [0.1, 0.3]])  # of p
ENERGY = "x**2 + 0.6*x*y + y**2/2"
DOMAIN = rs.Domain([(-4, 4), (-4, 4)])
THROUGH = 0.5  # flux that a wall lets through


def free_energy(setting: Setting, *, unit: float = 1.0, normalised: bool = True) -> Iterator[Measurement]:
    r"""T KL(p|q) - T ln Z on a grid against <E> - T H[p] in closed form.

    <E> = (tr(H C) + m.H m)/2 and H[p] = ln det(2 pi e C)/2 for p = N(m, C). The KL of cell masses is of second order in
    the width of the cells: the tolerance is the difference of two grids.
    """
    entropy = 0.5 * math.log(float(np.linalg.det(2 * math.pi * math.e * COVARIANCE)))
    energy = 0.5 * float(np.trace(H @ COVARIANCE) + MEAN @ H @ MEAN)

    def by_kl(cells: int) -> float:
        fp, path = _path(cells, rs.Mobility.constant(S))
        return T * (float(path.kl[0]) - (fp.log_partition if normalised else 0.0))

    yield refined("F", by_kl, energy - T * entropy / unit, 240 if setting.full else 128)


def identity(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""-dF/dt of the discrete equation against the integral of p S grad(T ln p + E) grad(T ln p + E).

    For p = N(m, C) the gradient is (H - T C^-1)(x - m) + H m, so the integral is tr(S G C G) + (H m).S(H m) with
    G = H - T C^-1, whatever A is. Measured twice: as the rate at which dp/dt = G p lowers F, with A in the generator,
    and as the integral with central differences. Both are of second order in the width of the cells, and the
    antisymmetric part, which drops out of the equation, does so to that order: the tolerance is the difference of two
    grids. No flux passes the walls, where p is below 1e-6.

    The entropy that is produced, T sigma = <J.S^-1 J/p^2> with J the particles' current, is that and what the velocity
    at rest, v = -A H x, costs: <v.S^-1 v> (Hatano and Sasa 2001).
    """
    gradient = H - T * np.linalg.inv(COVARIANCE)
    if wrong == "energy only":
        gradient = H
    expected = float(np.trace(S @ gradient @ COVARIANCE @ gradient) + (H @ MEAN) @ S @ (H @ MEAN))
    mobility = rs.Mobility.constant(S).with_antisymmetric([[0.0, TURN], [-TURN, 0.0]])
    if wrong == "symmetric A":
        mobility = rs.Mobility.constant(S + TURN * np.array([[0.0, 1.0], [1.0, 0.0]]))

    def by_flow(cells: int) -> float:
        fp, path = _path(cells, mobility)
        rate = float(dissipation(path).value[0])
        return rate - _fed(fp, path.mass[0]) if wrong == "open walls" else rate

    cells = 240 if setting.full else 128
    yield refined("-dF/dt with A", by_flow, expected, cells)
    if wrong not in (None, "no circulation"):
        return

    def by_differences(cells: int) -> float:
        return float(dissipation(_path(cells, mobility)[1], method="gradient").value[0])

    def produced(cells: int) -> float:
        fp, path = _path(cells, mobility)
        return T * fp.entropy_production(path.mass[0])

    yield refined("-dF/dt by differences", by_differences, expected, cells)
    turning = TURN * np.array([[0.0, 1.0], [-1.0, 0.0]]) @ H
    circulating = float(np.trace(np.linalg.solve(S, turning @ (COVARIANCE + np.outer(MEAN, MEAN)) @ turning.T)))
    total = expected if wrong == "no circulation" else expected + circulating
    yield refined("T times the entropy produced", produced, total, cells)


def _path(cells: int, mobility: Any) -> tuple[rs.FokkerPlanck, rs.DensityPath]:
    system = rs.System(ENERGY, mobility, T, DOMAIN)
    fp = rs.FokkerPlanck(system, rs.Grid(DOMAIN, cells))
    # by its density: cell masses of `initial.normal` are zero beyond eight standard deviations, their logarithms -inf
    (a, b), (_, d) = np.linalg.inv(COVARIANCE)
    x, y = (f"({name} - ({m}))" for name, m in zip("xy", MEAN, strict=True))
    start = rs.initial.density(f"exp(-({a}*{x}**2 + 2*({b})*{x}*{y} + {d}*{y}**2)/2)")
    return fp, fp.evolve(start, (0.0, 1e-3))


def _fed(fp: rs.FokkerPlanck, mass: Any) -> float:
    """The boundary term T sum over walls of J.n (ln p/q + 1) for a flux in on the left and out on the right."""
    log_f = np.log(mass) - fp.log_gibbs
    middle = fp.grid.shape[1] // 2
    return T * THROUGH * float(log_f[0, middle] - log_f[-1, middle])


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.2",
        title="Two forms of the free energy",
        source="Relaxation, Definition 2 (Free Energy)",
        latex=r"F_E[p] = T D_{KL}(p\|q_E) - T\ln Z_E = \langle E\rangle_p - T H[p]",
        claim="T KL - T ln Z of cell masses is <E> - T H of a Gaussian law in closed form",
        experiment=free_energy,
        mutants=(
            Mutant("entropy in bits", partial(free_energy, unit=math.log(2.0))),
            Mutant("-T ln Z left out", partial(free_energy, normalised=False)),
        ),
    ),
    Statement(
        id="relaxation.6.dissipation",
        title="Dissipation identity",
        source="Relaxation, proof of Theorem 6",
        latex=r"\frac{dF_E}{dt} = -\int p\,S^{ab}\,\partial_a(T\ln p + E)\,\partial_b(T\ln p + E)\,d\mu"
        r"\quad\text{for } A^{ab} = -A^{ba},\ n_a f^a p = 0 \text{ at the walls}",
        claim="F falls at the rate given by the symmetric part alone; the currents at rest cost entropy beside it",
        experiment=identity,
        mutants=(
            Mutant(
                "a part with A^ab = A^ba added to S",
                partial(identity, wrong="symmetric A"),
                printed=r"-\int p\,[S^{ab} + A^{ab}](\ldots) \;\{A^{ab} = A^{ba}\}\; = -\int p\,S^{ab}(\ldots)",
            ),
            Mutant(
                "walls that let a flux through",
                partial(identity, wrong="open walls"),
                printed=r"-T\int_{\partial\mathcal M} dS_a\,p f^a [\ln\tfrac pq + 1]:\ \text{the first term vanishes}",
            ),
            Mutant("entropy left out of the force, T ln p + E -> E", partial(identity, wrong="energy only")),
            Mutant("all entropy production taken for -dF/dt / T", partial(identity, wrong="no circulation")),
        ),
    ),
)
