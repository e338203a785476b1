"""The diffusion machine: its Fokker-Planck equation, its Gibbs law, the decay of free energy, and its walls."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from relaxsim.density import FokkerPlanck
from relaxsim.functionals.dissipation import dissipation
from relaxsim.system.activation import lookup
from relaxsim.system.diffusion_machine import diffusion_machine
from relaxsim.system.grid import Grid
from relaxsim.system.mobility import Mobility
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.mirror import HALDER
from relaxsim.theorems.smooth import FloatArray, simpson

T, BETA = 0.3, 1.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)
PLACES, SHARES = (NODES + 1) / 2, WEIGHTS / 2  # Gauss-Legendre on (0, 1)


def _machine(f: str, cells: int, temperature: float = T, beta: float = BETA) -> FokkerPlanck:
    system = diffusion_machine(f, "soft_projection", temperature, beta)
    return FokkerPlanck(system, Grid(system.domain, cells))


def _ramp(edges: FloatArray, c: Any) -> FloatArray:
    """Cell masses of the law 1 + c (2 x - 1)."""
    return np.asarray(np.diff(edges + np.multiply.outer(c, edges**2 - edges), axis=-1))


# ---- equations (45) to (49)


def from_the_process(setting: Setting, *, correction: float = 1.0, noise: float = 1.0) -> Iterator[Measurement]:
    """The density of dx = (-K f' + T K') dt + sqrt(2 T K) dw, given by drift and covariance alone, on 100 cells (full:
    400), against dp/dt = d(p K d(f + T ln p)).

    For f = 4 (x - 1/3)^2 the two discretisations differ by the square of the cells' width times second derivatives,
    which reach about 10 at the temperature of 0.3: 10 h^2 is allowed for masses. For f = 0 the law 1 + c (2 x - 1), c =
    0.9 e^(-4 beta T t), is exact on any grid of equal cells: 1e-9 is allowed, ten times what the stepping promises.
    """
    cells, times = 400 if setting.full else 100, [0.0, 0.05, 0.2, 1.0]
    K = "2*x*(1 - x)"
    own = _machine("4*(x - 1/3)**2", cells)
    start = _ramp(own.grid.edges[0], 0.9)

    def process(force: str) -> FokkerPlanck:
        drift = f"-({K})*({force}) + {correction}*{T}*2*(1 - 2*x)"
        return FokkerPlanck.from_drift([drift], [f"{noise}*2*{T}*{K}"], own.system.domain, own.grid)

    given = process("8*(x - 1/3)")
    apart = np.abs(given.evolve(start, times).mass - own.evolve(start, times).mass).sum(axis=1)
    yield Measurement("law of the process less that of the equation", float(apart.max()), 0.0, 10 / cells**2)
    yield Measurement("law at rest less exp(-f/T)/Z", float(np.abs(given.gibbs - own.gibbs).sum()), 0.0, 10 / cells**2)
    exact = _ramp(own.grid.edges[0], 0.9 * np.exp(-4 * BETA * T * np.array(times)))
    flat = process("0").evolve(start, times).mass
    yield Measurement("law for f = 0 less 1 + c (2 x - 1)", float(np.abs(flat - exact).sum(axis=1).max()), 0.0, 1e-9)


# ---- equation (47)


def gibbs_law(setting: Setting, *, heat: float = 1.0, power: float = 0.0) -> Iterator[Measurement]:
    """Means of an ensemble for f = x at t = 6, from a uniform law, and of the density at rest on 200 cells (full: 400).

    Expected are integrals of exp(-f/T). The slowest rate, 1.53, leaves e^-9 = 1e-4 of the start; the scheme, of weak
    order 2, has a bias of 4e-6 at its step of 0.02; cells give 1.2 h^2. So 2e-4 is allowed beside the standard error,
    and 2 h^2 for the density.
    """
    from relaxsim.particles.simulate import simulate
    from relaxsim.system.initial import uniform

    cells = 400 if setting.full else 200
    equation = _machine("x", cells)
    weight = SHARES * np.exp(-PLACES / T) * (PLACES * (1 - PLACES)) ** power
    weight /= weight.sum()
    n = 200_000 if setting.full else 40_000
    path = simulate(
        equation.system.replace(temperature=heat * T), uniform([(0, 1)]),
        n_particles=n, dt=0.02, times=[0.0, 6.0], scheme="sphere", rng=setting.seed, store="final",
    )  # fmt: skip
    x = np.asarray(path.positions)[-1, :, 0]
    for k in (1, 2):
        expected, stderr = float(weight @ PLACES**k), float(np.std(x**k) / np.sqrt(n))
        yield Measurement(f"<x^{k}> of the ensemble", float(np.mean(x**k)), expected, 2e-4, stderr)
    rest = equation.stationary().mass @ equation.grid.centers[0]
    yield Measurement("<x> of the density at rest", float(rest), float(weight @ PLACES), 2 / cells**2)


# ---- equations (51) and (52)


def free_energy_decay(setting: Setting, *, power: float = 1.0, heat: float = T) -> Iterator[Measurement]:
    """-dF/dt of densities on 100 cells (full: 400) against the integral of p K (d(f + T ln p))^2.

    For f = 0 and the law 1 + c (2 x - 1) the integral is known; the discrete rate is of second order, 10 h^2 is
    allowed. For f = 4 (x - 1/3)^2 the free energy lost until t = 1/2 is compared with Simpson's rule over 200 times for
    the integral with central differences: of second order too, 10 h^2 is allowed. F may
    rise by what the stepping in time promises, 1e-10 (1 + max |ln m|) T, and the rate of the Gibbs law is rounding.
    """
    cells = 400 if setting.full else 100
    flat = _machine("0*x", cells)
    times = np.linspace(0, 1, 6)
    c = 0.9 * np.exp(-4 * BETA * T * times)
    rates = dissipation(flat.evolve(_ramp(flat.grid.edges[0], 0.9), times)).value
    mobility = (2 * BETA * PLACES * (1 - PLACES)) ** power
    ramp = 1 + np.multiply.outer(c, 2 * PLACES - 1)
    known = heat**2 * (mobility * (2 * c[:, None]) ** 2 / ramp) @ SHARES
    yield Measurement("-dF/dt less its integral, f = 0", float(np.abs(rates - known).max()), 0.0, 10 / cells**2)
    own = _machine("4*(x - 1/3)**2", cells)
    x, h = own.grid.centers[0], 1 / cells
    path = own.evolve(_ramp(own.grid.edges[0], -0.5), np.linspace(0, 0.5, 201))
    zeta = 4 * (x - 1 / 3) ** 2 + heat * np.log(path.mass / h)
    slopes = np.gradient(zeta, h, axis=1, edge_order=2)
    integrals = np.sum(path.mass * (2 * x * (1 - x)) ** power * slopes**2, axis=1)
    lost = float(path.free_energy[0] - path.free_energy[-1])
    missing = lost - float(simpson(integrals, 0.5 / 200))
    yield Measurement("F lost less the integral", missing, 0.0, 10 / cells**2)
    rise = float(np.diff(path.free_energy).max())
    yield Measurement("largest rise of F", rise, 0.0, 1e-10 * T * (1 - own.log_gibbs.min()), relation="<=")
    still = float(dissipation(own.evolve(own.gibbs, [0.0, 0.1])).value[0])
    yield Measurement("-dF/dt at rest", still, 0.0, 1e-12)


# ---- the rate of convergence


def slowest_rate() -> float:
    """The least rate above zero for f = x by Rayleigh and Ritz with 14 Legendre polynomials."""
    from scipy.linalg import eigh

    V = np.polynomial.legendre.legvander(NODES, 13)
    slopes = np.stack([np.polynomial.legendre.legval(NODES, np.polynomial.legendre.legder(e)) for e in np.eye(14)], 1)
    q = SHARES * np.exp(-PLACES / T)
    K = 2 * BETA * PLACES * (1 - PLACES)
    # x = (1 + u)/2 doubles each slope
    return float(eigh(4 * T * (slopes.T * (q * K)) @ slopes, (V.T * q) @ V, eigvals_only=True)[1])


def exponential_rate(setting: Setting, *, powers: float = 2.0, frozen: bool = False) -> Iterator[Measurement]:
    """The gap for f = x on 200 cells (full: 400) against Rayleigh-Ritz, and the rates of chi^2 and KL at t = 5 to 6.

    The gap is of second order, with an error of 0.3 h^2: h^2 is allowed. The next mode has left e^-23 of chi^2, and
    the third power in KL e^-7.7 = 5e-4 of it: 2 h^2 and 1e-4 are allowed for chi^2, which falls to 1e-8 with a mass
    known to 1e-10, and 2 h^2 and 5e-3 for KL.
    """
    cells = 400 if setting.full else 200
    equation = _machine("x", cells)
    if frozen:
        system = equation.system.replace(mobility=Mobility.constant(1 / 3))  # the mean of 2 x (1 - x)
        equation = FokkerPlanck(system, equation.grid)
    rate = slowest_rate()
    path = equation.evolve(np.full(cells, 1 / cells), [0.0, 5.0, 6.0])
    chi = np.sum((path.mass - equation.gibbs) ** 2 / equation.gibbs, axis=1)
    yield Measurement("gap", equation.spectrum(2).gap, rate, 1 / cells**2)
    yield Measurement("rate of chi^2", float(np.log(chi[1] / chi[2])), powers * rate, 2 / cells**2 + 1e-4)
    yield Measurement("rate of KL", float(np.log(path.kl[1] / path.kl[2])), powers * rate, 2 / cells**2 + 5e-3)


# ---- the footnote on walls


def ends_reached(setting: Setting, *, vanishing_slope_suffices: bool = False) -> Iterator[Measurement]:
    """Mean times from 1/2 to 0.04, 0.02 and 0.01 for f = 0, on 400 cells (full: 1600), for soft projection and sin^2.

    They are the integrals of (1 - y)/(T K(y)): the last halving takes as long as the one before where the hidden
    variable is infinite at the end (ln 2/(2 beta T)), and less, so that the end is reached, where it is finite. Both
    mobilities vanish at the end. Times are of second order in the width of the cells over the distance, which
    leaves (h^2/12) (1/0.01^2 - 1/0.02^2)/ln 2 = 0.56 % for a time that is a logarithm (full: 16 times less): 1 % is
    allowed.
    """
    cells = 1600 if setting.full else 400
    allowed = 0.01 * (400 / cells) ** 2
    for name in ("soft_projection", "sin2"):
        system = diffusion_machine("0*x", name, T, BETA)
        equation = FokkerPlanck(system, Grid(system.domain, cells))
        x, row = equation.grid.centers[0], lookup(name)
        times = [np.interp(0.5, x, equation.mean_first_passage_time(f"x < {end}")) for end in (0.04, 0.02, 0.01)]
        u = 0.1 + (np.sqrt(0.02) - 0.1) * PLACES  # x = u^2 from 0.01 to 0.02
        known = (np.sqrt(0.02) - 0.1) * SHARES @ (2 * u * (1 - u**2) / (T * row.K(u**2, BETA)))
        yield Measurement(f"time from 0.02 to 0.01, {name}", float(times[2] - times[1]) / known, 1.0, allowed)
        share = float((times[2] - times[1]) / (times[1] - times[0]))
        if name == "soft_projection" or vanishing_slope_suffices:
            yield Measurement(f"over the time from 0.04 to 0.02, {name}", share, 1.0, 2 * allowed)
        else:
            yield Measurement(f"over the time from 0.04 to 0.02, {name}", share, 0.75, relation="<=")
        yield Measurement(f"needs a wall, {name}", float(row.needs_wall()[0]), float(name == "sin2"))


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="mirror.49",
        title="The Fokker-Planck equation of the diffusion machine",
        source=f"{HALDER}, equations (45) to (50)",
        latex=r"dx_i = (-K_i \partial_i f + T K_i') dt + \sqrt{2 T K_i}\, dw_i \Rightarrow \partial_t \rho = "
        r"\nabla \cdot (\rho\, G^{-1} \nabla \zeta),\ \zeta = f + T \ln \rho",
        claim="The law by drift and noise alone is that of the equation, with exp(-f/T) at rest.",
        experiment=from_the_process,
        mutants=(
            Mutant("the drift without T K'", partial(from_the_process, correction=0.0)),
            Mutant("half of T K', as in Stratonovich's sense", partial(from_the_process, correction=0.5)),
            Mutant("half the noise", partial(from_the_process, noise=0.5)),
        ),
    ),
    Statement(
        id="mirror.47",
        title="The diffusion machine relaxes to the Gibbs law",
        source=f"{HALDER}, equation (47)",
        latex=r"\rho_\infty = e^{-f/T}/Z \text{ with respect to } dx \text{ on } (0, 1)^n",
        claim="An ensemble and a density have the means of exp(-f/T).",
        experiment=gibbs_law,
        mutants=(
            Mutant("with respect to the metric's volume", partial(gibbs_law, power=-0.5)),
            Mutant("at another temperature", partial(gibbs_law, heat=1.5)),
        ),
    ),
    Statement(
        id="mirror.52",
        title="Decay of the free energy",
        source=f"{HALDER}, equations (51) and (52)",
        latex=r"\frac{d}{dt} F(\rho) = -\int \rho\, (\nabla\zeta)^T G^{-1} \nabla\zeta\, dx \le 0,\ F = \int f \rho "
        r"+ T \int \rho \ln \rho",
        claim="F falls by the integral, which vanishes for the Gibbs law.",
        experiment=free_energy_decay,
        mutants=(
            Mutant("G in the place of its inverse", partial(free_energy_decay, power=-1.0)),
            Mutant("without the metric", partial(free_energy_decay, power=0.0)),
            Mutant("ln rho at another temperature", partial(free_energy_decay, heat=0.4)),
        ),
    ),
    Statement(
        id="mirror.rate",
        title="Exponential rate of convergence",
        source=f"{HALDER}, section V, after equation (48)",
        latex=r"\rho \to \rho_\infty \text{ exponentially: } \chi^2, D_{KL} \sim e^{-2 \lambda_1 t},\ \lambda_1 \text{ "
        r"the least rate above zero}",
        claim="The gap is that of Rayleigh and Ritz, and chi^2 and KL fall at twice the gap.",
        experiment=exponential_rate,
        mutants=(
            Mutant("once the gap", partial(exponential_rate, powers=1.0)),
            Mutant("the mobility frozen at its mean", partial(exponential_rate, frozen=True)),
        ),
    ),
    Statement(
        id="mirror.footnote-walls",
        title="Which ends need a reflecting wall",
        source=f"{HALDER}, footnote to equation (45)",
        latex=r"\text{An end is not reached iff } \int dx/K_i = \infty \text{ there, that is } \sigma_i^{-1} \to "
        r"\pm\infty;\ \sigma_i' = 0 \text{ does not suffice}",
        claim="Both mobilities vanish at 0, but only the machine of sin^2 gets there in finite time.",
        experiment=ends_reached,
        mutants=(
            Mutant(
                "a slope that vanishes suffices",
                partial(ends_reached, vanishing_slope_suffices=True),
                printed=r"\text{We make the standard assumption that } \sigma_i' = 0 \text{ at } x_i \in \{0, 1\}.\ "
                r"\text{If "
                r"the activation functions do not satisfy this, then a reflecting boundary is needed}",
            ),
        ),
    ),
)
