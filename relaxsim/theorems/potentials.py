r"""Which dynamics have an energy: Lyapunov functions, and the energy behind a drift with noise.

*Relaxation*, Questions 1 and 2, Theorem 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.functionals.grid_fields import derivative
from relaxsim.functionals.lyapunov import Lyapunov, lyapunov_function, mobility_of
from relaxsim.functionals.potential import Reconstruction, reconstruct
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import ROUNDING, refined

# ------------------------------------------------------------------------------------------- Theorem 10

FLOWS = {  # name: drift, half width of the box, whether only equilibria recur
    "damped double well": (("y", "x - x**3 - 0.5*y"), 1.8, True),
    "center": (("y", "-x"), 1.5, False),
    "van der Pol": (("y", "(1 - x**2)*y - x"), 3.0, False),
}


@cache
def _lyapunov(name: str, cells: int) -> Lyapunov:
    drift, half, _ = FLOWS[name]
    return lyapunov_function(list(drift), rs.Grid(rs.Domain([(-half, half)] * 2), cells))


def lyapunov_exists(setting: Setting, *, criterion: str = "recurrence") -> Iterator[Measurement]:
    r"""A Lyapunov function is found where only equilibria recur, and refused for a center and for a limit cycle.

    The damped double well loses x^4/4 - x^2/2 + y^2/2 at the rate y^2/2, so all its paths end in equilibria (LaSalle).
    Around a center all orbits are closed: nothing can fall along them, though none of them is a limit cycle. Van der
    Pol's oscillator, in the full setting, has a limit cycle (Liénard). The answers are 1 or 0 and exact.

    The U found for the damped well has dU/dt = -|f|^2: by differences of it dU/dt is not positive anywhere, up to the
    square of a cell's width where f vanishes.
    """
    for name, (_, _, truth) in FLOWS.items():
        if name == "van der Pol" and not setting.full:
            continue
        found = _lyapunov(name, _cells(setting))
        answer = found.exists if criterion == "recurrence" else not found.limit_cycles
        yield Measurement(f"a Lyapunov function exists, {name}", _answer(answer), float(truth), 0.0)
    found = _lyapunov("damped double well", _cells(setting))
    value = found.value if found.value is not None else np.full(found.grid.shape, np.nan)
    slope = np.stack([derivative(value[None], axis, found.grid)[0] for axis in range(2)], axis=-1)
    x, y = (part.reshape(found.grid.shape) for part in found.grid.points.T)
    f = np.stack([y, x - x**3 - 0.5 * y], axis=-1)
    rate = np.sum(f * slope, axis=-1) / np.mean(np.sum(f**2, axis=-1))
    yield Measurement("largest dU/dt", float(np.nanmax(rate)), 0.0, float(found.grid.spacing[0]) ** 2, relation="<=")


def _answer(found: bool | None) -> float:
    """1 or 0; nan, which passes nothing, where the answer is unknown."""
    return np.nan if found is None else float(found)


def _cells(setting: Setting) -> int:
    return 36 if setting.full else 18


# ------------------------------------------------------------------------------------------- Question 1

REFERENCE = (-0.8, 0.0)


def detailed_balance(setting: Setting, *, method: str = "auto", divergence: bool = True) -> Iterator[Measurement]:
    r"""The energy behind a drift and a noise: from its force where that has no curl, from the law at rest where it has.

    E = (x^2 - 1)^2/2 + y^2/2 + x y/3 + sin(2x + y)/5 with a mobility S that varies. Without an antisymmetric part the
    force S^-1 (T div S - mu) is grad E; integrals along edges are of fourth order in the width of the cells. With A =
    a(x) J the curl is found, and E = -T ln p of the law at rest. Compared at three pairs of cells, with the difference
    of two grids (three times the width) as the tolerance, and 10^-9 for the least squares over thousands of edges.
    """
    T = 0.5
    S = rs.Mobility.tensor([["1 + x**2/8", "0.2*y"], ["0.2*y", "1 + y**2/8"]])
    turn = "0.8*(1 - x**2/9)*(1 - y**2/9)"  # vanishes at the walls
    rows = [["0", turn], [f"-{turn}", "0"]]
    domain = rs.Domain([(-3.0, 3.0)] * 2)
    energy = "(x**2 - 1)**2/2 + y**2/2 + x*y/3 + sin(2*x + y)/5"
    for name, mobility, balanced in (("S", S, True), ("S + A", S.with_antisymmetric(rows), False)):
        system = rs.System(energy, mobility, T, domain)

        @cache
        def found(cells: int, system: rs.System = system) -> Reconstruction:
            def mu(x: Any) -> Any:
                points = np.stack(np.broadcast_arrays(*x), axis=-1)
                lost = 0.0 if divergence else T * system.mobility.divergence(points)
                return np.moveaxis(system.drift(points) - lost, -1, 0)

            def sigma(x: Any) -> Any:
                points = np.stack(np.broadcast_arrays(*x), axis=-1)
                return np.moveaxis(2 * T * system.mobility.symmetric(points), (-2, -1), (0, 1))

            return reconstruct(mu, sigma, rs.Grid(domain, cells), temperature=T, method=method)

        cells = 135 if setting.full else 45
        test = found(cells).curl.reversible
        yield Measurement(f"no curl, {name}", _answer(test), float(balanced), 0.0)
        for place in ((0.8, 0.0), (-0.8, 0.8), (0.0, -0.8)):
            exact = float(system.energy(np.array(place)) - system.energy(np.array(REFERENCE)))
            yield refined(f"E{place}, {name}", partial(_difference, found, place), exact, cells, extra=1e-9, ratio=3)


def _difference(reconstructed: Callable[[int], Reconstruction], place: tuple[float, float], cells: int) -> float:
    """E at a cell's center less E at another's."""
    found = reconstructed(cells)
    one, other = (
        tuple(int(np.argmin(np.abs(c - x))) for c, x in zip(found.grid.centers, where, strict=True))
        for where in (place, REFERENCE)
    )
    return float(found.energy[one] - found.energy[other])


# ------------------------------------------------------------------------------------------- Question 2


def weak_noise(setting: Setting, *, sign: float = -1.0, noise: float = 1.0) -> Iterator[Measurement]:
    r"""For T -> 0 the law at rest of dx = h dt + sqrt(2 T) dw shows an E with h = -K grad E, K positive, that falls.

    h = -grad U + w J grad U with U = (x^2 + y^2)^2/4 + x^2/4, J the rotation by a right angle and w = 1 + 4x/5, so that
    J grad U carries no divergence-free current and -T ln p is not U at any T > 0. Of a deterministic h only U is asked
    for. -T ln p = U + T U_1 + ... at the law at rest, solved for on a grid at two temperatures and extrapolated to
    first order; what is left is of order T^2, so the difference from twice the temperature is the tolerance. Then with
    grad U the K of h = sign K grad E, E = -sign U, is formed and E is followed along h: with h = +K grad E it rises.
    """
    U, w = "(x**2 + y**2)**2/4 + x**2/4", "(1 + 0.8*x)"
    slope = ("((x**2 + y**2)*x + x/2)", "((x**2 + y**2)*y)")
    h = [f"-{slope[0]} + {w}*{slope[1]}", f"-{slope[1]} - {w}*{slope[0]}"]
    domain = rs.Domain([(-1.6, 1.6)] * 2)
    grid = rs.Grid(domain, 129 if setting.full else 65)
    middle = grid.shape[0] // 2

    @cache
    def energy(T: float) -> Any:
        found = -T * rs.FokkerPlanck.from_drift(h, 2 * noise * T, domain, grid).log_gibbs
        return found - found[middle, middle]

    exact = rs.Energy(U).value(grid.points).reshape(grid.shape)
    for x, y in ((0.6, 0.3), (-0.7, 0.1), (0.1, -0.7)):
        at = tuple(int(np.argmin(np.abs(c - z))) for c, z in zip(grid.centers, (x, y), strict=True))
        fine, coarse = (float(2 * energy(T / 2)[at] - energy(T)[at]) for T in (0.1, 0.2))
        expected = float(exact[at] - exact[middle, middle])
        yield Measurement(f"U({x:g}, {y:g})", fine, expected, abs(fine - coarse) + ROUNDING)
    points = grid.points[np.linalg.norm(grid.points, axis=1) > 0.2]
    radius = np.sum(points**2, axis=1)[:, None]
    up = radius * points + points * [0.5, 0.0]
    flow = -up + (1 + 0.8 * points[:, :1]) * up[:, ::-1] * [1.0, -1.0]
    K, E_slope = mobility_of(flow, up), -sign * up
    residual = flow - sign * np.einsum("nab,nb->na", K, E_slope)
    yield Measurement("h less its form", float(np.abs(residual).max()), 0.0, ROUNDING)
    least = np.linalg.eigvalsh((K + np.swapaxes(K, 1, 2)) / 2).min()
    yield Measurement("least eigenvalue of S", float(least), 0.0, ROUNDING, relation=">=")
    falling = np.sum(flow * E_slope, axis=1) / np.sum(flow**2, axis=1)
    yield Measurement("largest dE/dt over |h|^2", float(falling.max()), 0.0, ROUNDING, relation="<=")


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.Q1",
        title="Is there an energy behind a noisy dynamics?",
        source="Relaxation, Question 1",
        latex=r"Z = S^{-1}(T\,\partial S - \mu):\ \partial_a Z_b = \partial_b Z_a \Rightarrow Z = \nabla E;\quad"
        r"\text{else } E = -T\ln p \text{ at rest}",
        claim="the energy is found from drift and noise, with detailed balance and without",
        experiment=detailed_balance,
        mutants=(
            Mutant("a gradient fitted to a force with a curl", partial(detailed_balance, method="least-squares")),
            Mutant("T div K missing from the drift", partial(detailed_balance, divergence=False)),
        ),
    ),
    Statement(
        id="relaxation.Q2",
        title="The energy of a dynamics without noise",
        source="Relaxation, Question 2 and the equation after it",
        latex=r"T \to 0:\quad h^a = -K^{ab}\,\partial_b E,\ S > 0,\quad dE/dt = -\partial E\cdot S\,\partial E \le 0",
        claim="-T ln p of weak noise tends to an E that falls along the flow, and K = S + A is positive",
        experiment=weak_noise,
        mutants=(
            Mutant(
                "h = + K grad E",
                partial(weak_noise, sign=1.0),
                printed=r"\frac{dx^a}{dt} = h^a(x) = K^{ab}(x,t)\,\nabla_b E(x)",
            ),
            Mutant("noise at half the temperature", partial(weak_noise, noise=0.5)),
        ),
    ),
    Statement(
        id="relaxation.10",
        title="When a Lyapunov function exists",
        source="Relaxation, Theorem 10 (Existence of Lyapunov Function)",
        latex=r"\text{only equilibria are chain recurrent} \Rightarrow"
        r"\text{ a function exists that falls strictly along all paths off them; the converse for isolated ones}",
        claim="there is one for a damped double well, none for a center",
        experiment=lyapunov_exists,
        mutants=(
            Mutant(
                "no limit cycle as the criterion",
                partial(lyapunov_exists, criterion="limit cycles"),
                printed=r"\text{If there's no limit cycle, then there exists a Lyapunov function}",
            ),
        ),
    ),
)
