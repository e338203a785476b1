r"""From jumps to the equation of a density: Kramers and Moyal's expansion, random walks, drift and covariance.

*Relaxation*, Lemma 20, Appendix B.1, Lemma 22.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.functionals.random_walk import berry_esseen, random_walk
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import ROUNDING, component, refined

# ------------------------------------------------------------------------------------------- Lemma 20


def kramers_moyal(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""Fourier modes of p(t + dt) - p(t) on a circle against the series up to order 12 (full: 16).

    From x a particle jumps to x + e, e one of two values that depend on x. The mode k of the new density is the mean of
    exp(-ik (x + e)), that of the series sum (-ik)^n/n! <M_n e^(-ikx)>_p with M_n the raw moments; both are sums over
    equal steps of x, exact for smooth periodic functions. The remainder of the exponential series is below (k max
    |e|)^(N+1)/(N+1)!, which is the tolerance.

    *On a sphere* jumps by +-s along the circles of latitude have the moment M^phi,phi = s^2. With partial derivatives
    the expansion is that of sqrt(g) p and right; with covariant ones, as printed, it is not: they belong to increments
    along geodesics. The mean of a function of both angles before and after the jumps is compared with the second order;
    the fourth, at most s^4/24, is the tolerance.
    """
    order = 16 if setting.full else 12
    x = 2 * np.pi * np.arange(256) / 256
    p = (1 + 0.5 * np.cos(x) + 0.2 * np.sin(2 * x)) / 256
    size, shift, bias = 0.3 * (1 + 0.5 * np.sin(x)), 0.1 * np.cos(x), 0.3
    jumps, odds = (shift + size, shift - size), ((1 + bias) / 2, (1 - bias) / 2)
    mean = sum(w * e for w, e in zip(odds, jumps, strict=True))
    reach = max(float(np.abs(e).max()) for e in jumps)
    for k in (1, 2, 3):
        wave = np.exp(-1j * k * x)
        change = sum(np.sum(p * w * np.exp(-1j * k * (x + e))) for w, e in zip(odds, jumps, strict=True))
        series = 0j
        for n in range(1, order + 1):
            about = mean if wrong == "central moments" and n > 1 else 0.0
            moment = sum(w * (e - about) ** n for w, e in zip(odds, jumps, strict=True))
            factor = 1.0 if wrong == "no factorial" else math.factorial(n)
            sign = 1 if wrong == "no sign" else (-1) ** n
            density = np.sum(p * moment * wave)
            if wrong == "derivative of p alone":
                density = np.sum(_derivative(p, n) * moment * wave) / (1j * k) ** n
            series += sign * (1j * k) ** n / factor * density
        allowed = (k * reach) ** (order + 1) / math.factorial(order + 1)
        difference = abs(change - np.sum(p * wave) - series)
        yield Measurement(f"difference of the modes {k}", float(difference), 0.0, allowed + ROUNDING)
    change, expansion = _on_sphere(wrong == "covariant")
    yield Measurement("change of a mean on the sphere", change, expansion, LEAP**4 / 24)


def _derivative(p: Any, n: int) -> Any:
    k = np.fft.fftfreq(p.size, 1 / p.size)
    return np.real(np.fft.ifft((1j * k) ** n * np.where(np.abs(k) < 8, np.fft.fft(p), 0.0)))


LEAP = 0.1  # of the longitude


def _on_sphere(covariant: bool) -> tuple[float, float]:
    """Change of <cos(theta) + sin(theta) cos(phi)> by the jumps, and by the second order of the expansion."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    theta, phi = np.meshgrid((nodes + 1) * np.pi / 2, 2 * np.pi * np.arange(16) / 16, indexing="ij")

    def h(phi: Any) -> Any:
        return np.cos(theta) + np.sin(theta) * np.cos(phi)

    p = (1 + h(phi) / 2) * np.sin(theta) * weights[:, None]
    p /= p.sum()
    bend = -np.sin(theta) * np.cos(phi)  # d^2 h/dphi^2
    if covariant:  # less Gamma^theta_(phi phi) dh/dtheta
        bend = bend + np.sin(theta) * np.cos(theta) * (np.cos(theta) * np.cos(phi) - np.sin(theta))
    change = np.sum(p * ((h(phi + LEAP) + h(phi - LEAP)) / 2 - h(phi)))
    return float(change), float(LEAP**2 / 2 * np.sum(p * bend))


# ------------------------------------------------------------------------------------------- random walks


def walk(
    setting: Setting, *, extra: int = 0, covariance: str = "rate", remainder: float = 0.0
) -> Iterator[Measurement]:
    r"""n = (dn/dt) dt jumps of covariance s give N(0, s (dn/dt) dt), with an error of order n^(-1/2) in the law.

    The sum runs over i = n(t) + 1 ... n(t + dt), n terms. *Covariance*: of sampled walks with the jumps' law uniform
    and s = Sigma/(dn/dt), for which the covariance is exact at any n; only the standard error of the sample counts.
    *Law*: sup |F_n - Phi| from characteristic functions, without sampling, is below Berry and Esseen's bound and falls
    with the exponent 1/2 for skewed jumps (Edgeworth; the next term moves the exponent by less than 0.01 from n = 64
    on). A remainder that is only o(dn/dt) allows anything: the mutant adds one of (dn/dt)^(1/2)/10.
    """
    n, duration = 4, 0.5
    rate = n / duration
    target = np.array([[1.0, 0.3], [0.3, 0.5]])
    walkers = 200_000 if setting.full else 50_000
    # `extra` jumps too many, each of the covariance target/rate
    x = random_walk(
        target * (n + extra) / n, (n + extra) / duration, duration, walkers, jumps="uniform", rng=setting.seed
    )
    x += remainder * math.sqrt(rate) * np.random.default_rng(setting.seed + 1).standard_normal(x.shape)
    expected = target * duration
    if covariance == "of one step":  # as printed, Sigma the covariance of one jump
        expected = target / rate * duration
    for a, b in ((0, 0), (0, 1), (1, 1)):
        each = x[:, a] * x[:, b]
        name = f"<dx^{a + 1} dx^{b + 1}>"
        yield Measurement(name, float(each.mean()), float(expected[a, b]), 0.0, float(each.std() / math.sqrt(walkers)))
    if extra or remainder or covariance != "rate":
        return
    found = berry_esseen("exponential", (16, 32, 64, 128, 256, 512))
    yield Measurement("exponent of sup |F_n - Phi|", found.exponent, 0.5, 0.01)
    excess = float((found.distance / found.bound).max())
    yield Measurement("distance over Berry and Esseen's bound", excess, 1.0, 0.0, relation="<=")


# ------------------------------------------------------------------------------------------- Lemma 22


def landscape(setting: Setting, *, drift: float = 1.0, noise: float = 1.0, fick: bool = False) -> Iterator[Measurement]:
    r"""Mean and covariance under dp/dt = -d_a (mu^a p) + d_a d_b (Sigma^ab p)/2 against their own closed equations.

    mu is linear and turns, mu = -B (x - c), and Sigma = Sigma_0 + x Sigma_1 is linear in x, so that dm/dt = -B (m - c)
    and dC/dt = -BC - CB^T + Sigma_0 + m_x Sigma_1, whatever the law is; they are solved by Runge and Kutta to 1e-10.
    The density's moments on a grid are of second order in the width of the cells: the difference of two grids is the
    tolerance. The box leaves out less than 1e-6 of the mass.
    """
    from scipy.integrate import solve_ivp

    B, c = np.array([[1.0, 0.8], [-0.8, 1.2]]), np.array([0.5, -0.3])
    constant, linear = np.array([[1.7, 0.2], [0.2, 0.9]]), np.array([[0.3, 0.05], [0.05, 0.15]])
    start, spread, time = np.array([-0.6, 0.4]), np.array([0.6, 0.6]), 0.8
    domain = rs.Domain([(-5.0, 5.0), (-5.0, 5.0)])

    def slope(t: float, y: Any) -> Any:
        m, C = y[:2], y[2:].reshape(2, 2)
        return np.concatenate([-B @ (m - c), (-B @ C - C @ B.T + constant + m[0] * linear).ravel()])

    exact = solve_ivp(
        slope, (0.0, time), np.concatenate([start, np.diag(spread**2).ravel()]), rtol=1e-10, atol=1e-12
    ).y[:, -1]
    # in Fick's form, d_a (Sigma^ab d_b p)/2, the drift lacks half the divergence of Sigma
    lost = 0.5 * linear[:, 0] if fick else np.zeros(2)
    mu = [f"{drift}*(-({a})*(x - 0.5) - ({b})*(y + 0.3)) + ({d})" for (a, b), d in zip(B, lost, strict=True)]
    sigma = [[f"{noise}*({constant[a, b]} + {linear[a, b]}*x)" for b in range(2)] for a in range(2)]

    @cache
    def moments(cells: int) -> Any:
        grid = rs.Grid(domain, cells)
        fp = rs.FokkerPlanck.from_drift(mu, sigma, domain, grid)
        p = fp.evolve(rs.initial.normal(start, spread), (0.0, time)).mass[-1].ravel()
        m = p @ grid.points
        away = grid.points - m
        return np.concatenate([m, (away.T @ (p[:, None] * away)).ravel()])

    cells = 192 if setting.full else 112
    for k, name in ((0, "<x>"), (1, "<y>"), (2, "var x"), (3, "cov x y"), (5, "var y")):
        yield refined(name, component(moments, k), float(exact[k]), cells)


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.20",
        title="Kramers-Moyal expansion",
        source="Relaxation, Lemma 20 (Kramers-Moyal Expansion)",
        latex=r"p(x, t + \Delta t) - p(x, t) = \sum_{n \ge 1} \frac{(-1)^n}{n!}\,\partial_{a_1}\cdots\partial_{a_n}"
        r"[p\,M^{a_1\cdots a_n}],\quad M = \langle\epsilon^{a_1}\cdots\epsilon^{a_n}\rangle,\ \text{flat space}",
        claim="the series gives the density after jumps of two sizes that depend on the place, mode by mode",
        experiment=kramers_moyal,
        mutants=(
            Mutant(
                "covariant derivatives with moments of coordinate increments",
                partial(kramers_moyal, wrong="covariant"),
                printed=r"\sum_n \frac{(-1)^n}{n!} \nabla_{a_1}\cdots\nabla_{a_n} [p\,M^{a_1\cdots a_n}]"
                r"\ \text{on } \mathcal M",
            ),
            Mutant("central moments instead of raw ones", partial(kramers_moyal, wrong="central moments")),
            Mutant("without 1/n!", partial(kramers_moyal, wrong="no factorial")),
            Mutant("without (-1)^n", partial(kramers_moyal, wrong="no sign")),
            Mutant("moments outside the derivatives", partial(kramers_moyal, wrong="derivative of p alone")),
        ),
    ),
    Statement(
        id="relaxation.B1",
        title="Random walks become a diffusion",
        source="Relaxation, Appendix B.1 (Random Walk)",
        latex=r"\Delta x = \sum_{i = n(t) + 1}^{n(t + \Delta t)} \varepsilon_i,\ \tfrac{dn}{dt}\,s^{ab} = \Sigma^{ab}"
        r"\text{ fixed}\ \Rightarrow\ \Delta x = \Delta W + o(\sqrt{\Delta t}),\ \Delta W \sim N(0, \Sigma\,\Delta t)",
        claim="sums of n jumps have the covariance of n jumps, and become normal as n^(-1/2)",
        experiment=walk,
        mutants=(
            Mutant(
                "one jump too many",
                partial(walk, extra=1),
                printed=r"\Delta x^a := \sum_{i = n(t)}^{n(t + \Delta t)} \varepsilon_i^a",
            ),
            Mutant(
                "a remainder o(dn/dt)",
                partial(walk, remainder=0.1),
                printed=r"\Delta x^a = \Delta W^a + o\big(\tfrac{dn}{dt}(x,t)\big)",
            ),
            Mutant(
                "covariance of one jump times dt",
                partial(walk, covariance="of one step"),
                printed=r"\varepsilon_i \sim P \text{ with covariance } \Sigma,\quad \Delta W^a \sim N(0, \Delta t\,"
                r"\Sigma^{ab}(x,t))",
            ),
        ),
    ),
    Statement(
        id="relaxation.22",
        title="The equation of drift and covariance",
        source="Relaxation, Lemma 22 (Macroscopic Landscape)",
        latex=r"\partial_t p = -\partial_a(p\,\mu^a) + \tfrac12\,\partial_a\partial_b(p\,\Sigma^{ab})",
        claim="mean and covariance of the density follow the equations that drift and covariance give them",
        experiment=landscape,
        mutants=(
            Mutant("the factor 1/2 dropped", partial(landscape, noise=2.0)),
            Mutant("Sigma between the derivatives (Fick)", partial(landscape, fick=True)),
            Mutant("drift with the other sign", partial(landscape, drift=-1.0)),
        ),
    ),
)
