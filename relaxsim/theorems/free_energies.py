r"""Free energies of some variables given others, and of parameters: what learning lowers.

*Relaxation*, Definition 11, Lemmas 12 and 14, Algorithm 15 (Recall and Learn).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.functionals import log_partition
from relaxsim.system.field import product_points
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import ROUNDING, refined

T = 0.5
JOINT = "x**2/2 + (y**2 - 1)**2/2 + 0.8*x*y"  # E(v, h) with v = x, h = y
LATENT = "v**2/2 + (x**2 - 1)**2/2 + 0.8*v*x"  # the same of h = x, v a parameter
GIVEN = 0.5  # v
BOX = (-3.0, 3.0)


def latent() -> rs.System:
    """The system of h with v given."""
    return rs.System(rs.Energy(LATENT, params={"v": GIVEN}), 1.0, T, rs.Domain([BOX]))


# ------------------------------------------------------------------------- Definition 11 and Lemma 12


def conditional_law(setting: Setting, *, marginal: bool = False) -> Iterator[Measurement]:
    """Cells of the joint Gibbs law at v, normalised, against the Gibbs law of E(v, .); their sum against Z(v)/Z.

    The joint masses of the two columns of cells next to v are even in the distance from it: of second order in the
    width of the cells, so the difference of two grids is the tolerance. Z(v) and Z are Gauss-Legendre sums.
    """
    joint = rs.System(JOINT, 1.0, T, rs.Domain([BOX, BOX]))

    @cache
    def laws(cells: int) -> tuple[Any, float, Any]:
        masses = rs.FokkerPlanck(joint, rs.Grid(joint.domain, cells)).gibbs
        grid = rs.Grid(latent().domain, cells)
        at = round((GIVEN - BOX[0]) / grid.spacing[0])
        near = masses[at - 1 : at + 1].sum(axis=0)
        seen = masses.sum(axis=0) if marginal else near / near.sum()
        return seen, float(near.sum() / (2 * grid.spacing[0])), rs.FokkerPlanck(latent(), grid).gibbs

    cells = 288 if setting.full else 144
    yield refined("L1 distance", lambda n: float(np.abs(laws(n)[0] - laws(n)[2]).sum()), 0.0, cells)
    density = math.exp(float(log_partition(latent()).value) - float(log_partition(joint).value))
    yield refined("density of v", lambda n: laws(n)[1], density, cells)


def conditional_free_energy(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    """T KL(p|q(.|v)) - T ln Z(v) against <E(v, .)>_p - T H[p] of a normal law, and its fall to -T ln Z(v).

    Moments and entropy of N(m, s^2) are known. KL of cell masses is of second order in their width: the difference of
    two grids is the tolerance. With v held, the density relaxes; after a time t what is left of F is at most T times
    chi-square exp(-2 lambda t), lambda the gap.
    """
    m, s = 0.4, 0.35
    moments = {2: m**2 + s**2, 4: m**4 + 6 * m**2 * s**2 + 3 * s**4}
    energy = GIVEN**2 / 2 + (moments[4] - 2 * moments[2] + 1) / 2 + 0.8 * GIVEN * m
    heat = 1.0 if wrong == "H without T" else T
    expected = energy - heat * 0.5 * math.log(2 * math.pi * math.e * s**2)
    joint = rs.System(JOINT, 1.0, T, rs.Domain([BOX, BOX]))

    @cache
    def run(cells: int) -> tuple[rs.FokkerPlanck, Any, float]:
        fp = rs.FokkerPlanck(latent(), rs.Grid(latent().domain, cells))
        time = 30.0
        path = fp.evolve(rs.initial.normal([m], s), (0.0, time))
        log_z = float(log_partition(joint).value) if wrong == "joint Z" else fp.log_partition
        held = math.exp(-2 * float(fp.spectrum(2).rates[1].real) * time)
        left = float(np.sum((path.mass[0] - fp.gibbs) ** 2 / fp.gibbs)) * held
        return fp, T * (path.kl - log_z), T * left

    cells = 400 if setting.full else 200
    yield refined("F[p|v]", lambda n: float(run(n)[1][0]), expected, cells)
    _, free_energy, left = run(cells)
    x, w = np.polynomial.legendre.leggauss(200)
    partition = float(np.sum(3 * w * np.exp(-latent().energy(3 * x[:, None]) / T)))
    yield Measurement("F[p|v] in the end", float(free_energy[1]), -T * math.log(partition), left + 1e3 * ROUNDING)


# ------------------------------------------------------------------------------------------- Lemma 14


def gradient(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""d(-T ln Z)/dtheta by central differences against the mean of dE/dtheta under q, for three parameters.

    E = a x^4/4 + b x y + c cos(y) + y^2/2. ln Z is a Gauss-Legendre sum, exact to rounding; a difference over +-d is
    off by d^2/6 times the third derivative, <(dE - <dE>)^3>/T^2, below 3 here: d^2/2 is allowed, with d = 10^-3. Means
    are Gauss-Legendre sums too.
    """
    values, step = {"a": 1.0, "b": 0.4, "c": 0.7}, 1e-3
    domain = rs.Domain([(-4.0, 4.0), (-5.0, 5.0)])
    energy = "a*x**4/4 + b*x*y + c*cos(y) + y**2/2"
    system = rs.System(rs.Energy(energy, params=values), 1.0, T, domain)
    grid = rs.Grid(domain, 64 if setting.full else 32)
    x, w = np.polynomial.legendre.leggauss(120 if setting.full else 80)
    points = product_points([4 * x, 5 * x])
    heat = {"half T": T / 2}.get(wrong or "", T)
    weight = np.outer(w, w) * np.exp(-system.energy(points) / heat)
    weight = np.outer(w, w) if wrong == "not relaxed" else weight
    a, b = points[..., 0], points[..., 1]
    slopes = {"a": a**4 / 4, "b": a * b, "c": np.cos(b)}
    for name, value in values.items():
        ends = [log_cell_weights(system.with_params(**{name: value + k * step}), grid)[1] for k in (1, -1)]
        measured = -T * (ends[0] - ends[1]) / (2 * step)
        measured = measured / T if wrong == "without T" else measured
        mean = float(np.sum(weight * slopes[name]) / weight.sum())
        yield Measurement(f"d/d{name}", measured, mean, step**2 / 2)


# ------------------------------------------------------------------------------------------- Algorithm 15

RATE = 0.2  # eta


def _machine(theta: Any) -> rs.FokkerPlanck:
    energy = "x**4/4 + a*x**2/2 + b*x"
    system = rs.System(rs.Energy(energy, params={"a": float(theta[0]), "b": float(theta[1])}), 1.0, T, rs.Domain([BOX]))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, 200))


def _recalled(fp: rs.FokkerPlanck, mass: Any) -> Any:
    """The law that the dynamics has relaxed to."""
    return fp.evolve(mass, (0.0, 30.0)).mass[-1]


def _slope(fp: rs.FokkerPlanck, mass: Any) -> Any:
    """<dE/dtheta>."""
    x = fp.grid.points[:, 0]
    return np.array([mass @ (x**2 / 2), mass @ x])


def recall_and_learn(setting: Setting, *, sign: float = 1.0, recall: bool = True) -> Iterator[Measurement]:
    r"""Each turn of recall and learn lowers -T ln Z by at least eta |<dE/dtheta>|^2.

    The density of E = x^4/4 + a x^2/2 + b x relaxes with theta = (a, b) held, from where the turn before left it; then
    theta <- theta - eta <dE/dtheta>_p. Parameters that enter E linearly make -T ln Z concave, so that it lies below its
    tangent: the fall is at least eta g.<dE/dtheta>_q. What the recall leaves of the relaxation is below 10^-9, and
    means over cells are those of their centres to h^2/24 times the second derivatives, which h^2 eta |g| covers.
    """
    theta = np.array([0.5, 0.3])
    fp = _machine(theta)
    mass = rs.initial.normal([1.2], 0.2).masses(fp.system, fp.grid)
    for turn in range(12 if setting.full else 5):
        mass = _recalled(fp, mass) if recall else mass
        slope = _slope(fp, mass)
        theta = theta - sign * RATE * slope
        after = _machine(theta)
        fall = T * (after.log_partition - fp.log_partition)
        least = RATE * float(slope @ slope)
        allowed = RATE * float(np.linalg.norm(slope)) * float(fp.grid.spacing[0]) ** 2 + 1e-9
        yield Measurement(f"fall of -T ln Z in turn {turn + 1}", fall, least, allowed, relation=">=")
        fp = after


def learning_ends(setting: Setting, *, data: float = 3.0) -> Iterator[Measurement]:
    r"""With a term R(theta) = 3 theta^2/2 the turns come to rest; -T ln Z alone, gauge fixed, is unbounded below.

    The Hessian of -T ln Z is -Cov(dE/dtheta)/T, of eigenvalues above -2 here; with R the objective is convex and a turn
    of eta = 1/5 shrinks the slope by 1 - eta (3 - 2) or more: by 0.8^60 < 2 10^-6 after 60 turns. Without R the slope
    of a concave function grows along its descent.
    """
    theta = np.array([0.5, 0.3])
    fp = _machine(theta)
    mass, slope, first = fp.gibbs, np.zeros(2), 0.0
    for turn in range(100 if setting.full else 60):
        fp = _machine(theta)
        mass = _recalled(fp, mass)
        slope = _slope(fp, mass) + data * theta
        first = first if turn else float(np.linalg.norm(slope))
        theta = np.clip(theta - RATE * slope, -12.0, 12.0)
    yield Measurement("slope in the end", float(np.linalg.norm(slope)), 0.0, 2e-6 * first)


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.11",
        title="Conditional free energy",
        source="Relaxation, Definition 11 (Conditional Free Energy)",
        latex=r"F_E[p|v] = T D_{KL}(p\|q_E(\cdot|v)) - T\ln Z_E(v) = \langle E(v,\cdot)\rangle_p - T H[p]",
        claim="both forms agree, and with v held F[p|v] falls to -T ln Z(v)",
        experiment=conditional_free_energy,
        mutants=(
            Mutant("Z of v and h for Z(v)", partial(conditional_free_energy, wrong="joint Z")),
            Mutant("H without T", partial(conditional_free_energy, wrong="H without T")),
        ),
    ),
    Statement(
        id="relaxation.12",
        title="Conditional law",
        source="Relaxation, Lemma 12",
        latex=r"q_E(h|v) = e^{-E(v,h)/T} / Z_E(v),\qquad q_E(v) = Z_E(v)/Z_E",
        claim="the joint Gibbs law given v is the Gibbs law of E(v, .), and v has the density Z(v)/Z",
        experiment=conditional_law,
        mutants=(Mutant("law of h over all v", partial(conditional_law, marginal=True)),),
    ),
    Statement(
        id="relaxation.14",
        title="Gradient of the free energy at rest",
        source="Relaxation, Lemma 14",
        latex=r"\frac{\partial}{\partial\theta^\alpha}\{-T\ln Z_E\} = "
        r"\Big\langle\frac{\partial E}{\partial\theta^\alpha}\Big\rangle_{q_E}",
        claim="differences of -T ln Z are means of dE/dtheta under the Gibbs law",
        experiment=gradient,
        mutants=(
            Mutant("-ln Z for -T ln Z", partial(gradient, wrong="without T")),
            Mutant("means at half the temperature", partial(gradient, wrong="half T")),
            Mutant("means before relaxation, uniform", partial(gradient, wrong="not relaxed")),
        ),
    ),
    Statement(
        id="relaxation.15",
        title="Recall and Learn lowers the free energy",
        source="Relaxation, Algorithm 15 (Recall and Learn)",
        latex=r"p \to q_{E(\cdot;\theta)},\ \theta \leftarrow \theta - \eta\,\langle\partial_\theta E\rangle_p"
        r"\ \Rightarrow\ \Delta(-T\ln Z) \le -\eta\,|\langle\partial_\theta E\rangle|^2"
        r"\quad\text{for } E \text{ linear in } \theta",
        claim="each turn lowers -T ln Z by at least eta times the square of its slope, E being linear in theta",
        experiment=recall_and_learn,
        mutants=(
            Mutant("learning uphill", partial(recall_and_learn, sign=-1.0)),
            Mutant("learning without recall", partial(recall_and_learn, recall=False)),
        ),
    ),
    Statement(
        id="relaxation.15.bounded",
        title="Learning needs a bound",
        source="Relaxation, Algorithm 15 and the gauge after it",
        latex=r"-T\ln Z_{E(\cdot;\theta)} + R(\theta) \text{ has a minimum for } R \text{ convex enough};"
        r"\ -T\ln Z \text{ alone need not}",
        claim="with a quadratic term in the parameters the turns come to rest",
        experiment=learning_ends,
        mutants=(
            Mutant(
                "no term beside the gauge E(x_*) = 0",
                partial(learning_ends, data=0.0),
                printed=r"\text{minimize } -T\ln Z_{E(\cdot;\theta)},\quad"
                r" E(x;\theta) \to E(x;\theta) - E(x_\star;\theta)",
            ),
        ),
    ),
)
