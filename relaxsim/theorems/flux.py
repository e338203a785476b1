r"""The flux of a law: that there is one, and when a mobility makes it.

*Relaxation*, Lemmas 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import ROUNDING, refined

H = np.array([[2.0, 0.6], [0.6, 1.0]])  # E = x.Hx/2
K = np.array([[1.0, 0.7], [-0.1, 0.7]])  # S + A with S^12 = 0.3, A^12 = 0.4
T = 0.5
MEAN, SPREAD = np.array([0.6, -0.4]), np.array([0.6, 0.5])  # of p, along the axes
DOMAIN = rs.Domain([(-4, 4), (-4, 4)])


# ------------------------------------------------------------------------------------------- Lemma 4


def conservation(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""The mass left of a line changes by the current through it; also for a law that leaps over a gap.

    *Diffusion.* In E = x.Hx/2 with K = S + A a Gaussian law N(m, C) has dm/dt = -K H m and dC/dt = -KHC - CHK^T +
    2TS, which give the rate of P(x < 0) in closed form. The current is that of the grid, summed over the line x = 0:
    of second order in the width of the cells, so the difference of two grids is the tolerance. The particles' current
    and -p K grad(T ln p + E) are not the same, they differ by T div(A p); both pass.

    *Leap.* p = (1 - t) on [0, 1] and t on [2, 3]: the current J(x) = d/dt P(> x), what arrives beyond x, is 1 in the
    gap, where p = 0, and what leaves the other side. So there is a current for every path of laws, but no f = J/p where
    p vanishes; J is exact to rounding.
    """
    covariance = np.diag(SPREAD**2)
    drift = -K @ H @ MEAN
    spreading = -K @ H @ covariance - covariance @ H @ K.T + T * (K + K.T)
    z = -MEAN[0] / SPREAD[0]
    normal = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    through = -normal * float(drift[0] / SPREAD[0] + z * spreading[0, 0] / (2 * SPREAD[0] ** 2))
    cells = 320 if setting.full else 160
    yield refined("d/dt P(x < 0)", lambda n: -_through(n, wrong), through, cells)
    if wrong is None:
        yield refined("d/dt P(x < 0), p K grad(T ln p + E)", lambda n: -_through(n, "another"), through, cells)
    yield Measurement("rate over the gap", _leap(setting, finite=wrong == "finite f"), 0.0, ROUNDING)


def _through(cells: int, wrong: str | None) -> float:
    """The current of the grid through x = 0."""
    S, A = (K + K.T) / 2, (K - K.T) / 2
    system = rs.System("x**2 + 0.6*x*y + y**2/2", rs.Mobility.constant(S).with_antisymmetric(A), T, DOMAIN)
    fp = rs.FokkerPlanck(system, rs.Grid(DOMAIN, cells))
    mass = rs.initial.normal(MEAN, SPREAD).masses(system, fp.grid)
    J = fp.probability_current(mass)[..., 0]
    if wrong == "no diffusion":
        J = -(mass / fp.grid.cell_volume) * (system.gradient(fp.grid.points) @ K.T)[:, 0].reshape(mass.shape)
    if wrong == "another":
        slope = system.gradient(fp.grid.points) - T * (fp.grid.points - MEAN) / SPREAD**2
        J = -(mass / fp.grid.cell_volume) * (slope @ K.T)[:, 0].reshape(mass.shape)
    if wrong == "first index":
        turned = system.replace(mobility=rs.Mobility.constant(S).with_antisymmetric(-A))
        J = rs.FokkerPlanck(turned, fp.grid).probability_current(mass)[..., 0]
    middle = cells // 2
    return float(J[middle - 1 : middle + 1].mean(axis=0).sum() * fp.grid.spacing[1])


def _leap(setting: Setting, finite: bool) -> float:
    """d/dt P(x < 3/2) + J(3/2), where J is f p with some finite f if `finite`."""
    cells = 300 if setting.full else 60
    x, h = (np.arange(cells) + 0.5) * 3 / cells, 3 / cells

    def law(t: float) -> Any:
        return np.where(x < 1, 1 - t, np.where(x > 2, t, 0.0))

    time, dt, gap = 0.3, 0.125, cells // 2 - 1
    rate = (law(time + dt) - law(time - dt)) / (2 * dt)
    J = np.cumsum(rate[::-1])[::-1] * h - rate * h  # at the right ends of the cells, from what arrives beyond them
    if finite:
        p = law(time)
        J = np.divide(J, p, out=np.zeros_like(p), where=p > 0) * p
    return float(rate[: gap + 1].sum() * h + J[gap])


# ------------------------------------------------------------------------------------------- Lemma 5


def construction(setting: Setting, *, pairs: str = "any", rotate: bool = False) -> Iterator[Measurement]:
    r"""Three mobilities with K v = f for a flux f and the force v = -grad(T ln p + E) != 0; a positive one if f.v > 0.

    K_1 = f v^T/v^2, K_2 = (f.v I + f v^T - v f^T)/v^2, K_3 = f f^T/(f.v) + I - v v^T/v^2, at random pairs: v.K v = f.v,
    so no K with a positive symmetric part makes a flux with f.v < 0. At such pairs only K_1 and K_2 exist. All is
    exact to rounding, which K_3 enlarges by f^2/(f.v): pairs with a cosine below 1/10 are left out.

    The exception is a law at rest with an antisymmetric part: the particles' current T div(A q) does not vanish there,
    while v does, so that no K makes it.
    """
    rng = np.random.default_rng(setting.seed)
    for dim in (2, 3):
        f, v = rng.normal(size=(2, 4000 if setting.full else 400, dim))
        power = np.sum(f * v, axis=1) / (np.linalg.norm(f, axis=1) * np.linalg.norm(v, axis=1))
        wanted = -power if pairs == "uphill" else power
        f, v = f[wanted > 0.1], v[wanted > 0.1]
        if pairs == "at rest":
            f, v = _at_rest(dim, len(f))
        positive = _rotated(f, v) if rotate else _positive(f, v)
        third = positive if pairs == "any" else None
        yield Measurement(f"K v - f in {dim} dimensions", _residual(f, v, third), 0.0, 1e3 * ROUNDING)
        least = float(np.linalg.eigvalsh((positive + np.swapaxes(positive, 1, 2)) / 2).min())
        yield Measurement(f"least eigenvalue of S in {dim} dimensions", least, 0.0, ROUNDING, relation=">=")


def _residual(f: Any, v: Any, third: Any) -> float:
    """The largest |K v - f| of the first two constructions, with K = 0 where v = 0, and of the third where it is."""
    square = np.sum(v**2, axis=1)[:, None, None]
    outer = f[:, :, None] * v[:, None, :]
    scalar = np.sum(f * v, axis=1)[:, None, None] * np.eye(f.shape[1])
    worst = 0.0 if third is None else float(np.abs(np.einsum("nab,nb->na", third, v) - f).max())
    for matrix in (outer, scalar + outer - np.swapaxes(outer, 1, 2)):
        made = np.divide(matrix, square, out=np.zeros_like(matrix), where=square > 0)
        worst = max(worst, float(np.abs(np.einsum("nab,nb->na", made, v) - f).max()))
    return worst


def _positive(f: Any, v: Any) -> Any:
    """K_3, symmetric; it is positive definite where f.v > 0."""
    square, power = (np.sum(a * b, axis=1)[:, None, None] for a, b in ((v, v), (f, v)))
    own, force = (a[:, :, None] * a[:, None, :] for a in (f, v))
    projected = np.divide(force, square, out=np.zeros_like(force), where=square > 0)
    return np.divide(own, power, out=np.zeros_like(own), where=power != 0) + np.eye(f.shape[1]) - projected


def _at_rest(dim: int, n: int) -> tuple[Any, Any]:
    """f = J/q of particles at rest in E = x^2/2 with A^12 = 1, and v = 0."""
    domain = rs.Domain([(-3, 3)] * 2)
    system = rs.System(
        "(x**2 + y**2)/2", rs.Mobility.constant(1.0).with_antisymmetric([[0, 1.0], [-1.0, 0]]), T, domain
    )
    fp = rs.FokkerPlanck(system, rs.Grid(domain, 20))
    J = fp.probability_current(fp.gibbs) / (fp.gibbs / fp.grid.cell_volume)[..., None]
    f = np.zeros((n, dim))
    f[:, :2] = J.reshape(-1, 2)[np.linspace(0, fp.grid.n_cells - 1, n).astype(int)]
    return f, np.zeros((n, dim))


def _rotated(f: Any, v: Any) -> Any:
    """|f|/|v| times the rotation that takes v to f within their plane, and 1 across it."""
    e, g = (a / np.linalg.norm(a, axis=1)[:, None] for a in (v, f))
    cosine = np.sum(e * g, axis=1)[:, None, None]
    across = g - cosine[:, :, 0] * e
    across /= np.linalg.norm(across, axis=1)[:, None]
    sine = np.sqrt(1 - cosine**2)
    plane = e[:, :, None] * e[:, None, :] + across[:, :, None] * across[:, None, :]
    turn = across[:, :, None] * e[:, None, :] - e[:, :, None] * across[:, None, :]
    scale = (np.linalg.norm(f, axis=1) / np.linalg.norm(v, axis=1))[:, None, None]
    return np.asarray(scale * (np.eye(f.shape[1]) - plane + cosine * plane + sine * turn))


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.4",
        title="Conservation of mass",
        source='Relaxation, Lemma 4 (Conservation of "Mass")',
        latex=r"\partial_t p + \nabla_a J^a = 0,\quad J = f p \text{ where } p > 0;\ J \text{ is one of many}",
        claim="the mass left of a line changes by the current through it, also where the law leaps over a gap",
        experiment=conservation,
        mutants=(
            Mutant("current without diffusion, -p K grad E", partial(conservation, wrong="no diffusion")),
            Mutant("K^ba for K^ab, so -A for A", partial(conservation, wrong="first index")),
            Mutant(
                "a finite flux f where p = 0",
                partial(conservation, wrong="finite f"),
                printed=r"\text{For any time-dependent } p \text{ there exists a flux } f^a\{p\}(x,t) \text{ s.t. }"
                r"\partial_t p + \nabla_a(f^a p) = 0",
            ),
        ),
    ),
    Statement(
        id="relaxation.5",
        title="A mobility for a flux",
        source="Relaxation, Lemma 5",
        latex=r"f = K v \text{ for some } K \iff f = 0 \text{ wherever } v := -\nabla(T\ln p + E) = 0;\quad"
        r" K > 0 \text{ can be had} \iff f\cdot v > 0",
        claim="three constructions give K v = f where v != 0, and a positive K where f.v > 0",
        experiment=construction,
        mutants=(
            Mutant(
                "any flux: that of particles at rest with A, where v = 0",
                partial(construction, pairs="at rest"),
                printed=r"\text{for any } f^a\{p\}(x,t) \text{ we can always construct a } K^{ab} \text{ s.t. }"
                r"f^a = -K^{ab}\nabla_b\{T\ln p + E\}",
            ),
            Mutant(
                "rotate v to f and rescale, for a flux with f.v < 0",
                partial(construction, pairs="uphill", rotate=True),
                printed=r"\text{we can rotate } v_a \text{ to the direction of } f^a \text{ and then rescale to } f^a",
            ),
            Mutant("the positive construction for a flux with f.v < 0", partial(construction, pairs="uphill")),
        ),
    ),
)
