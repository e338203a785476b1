"""The metric of an activation: its geodesics, the distance along them, and its balls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from relaxsim.system.activation import Activation, lookup
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.mirror import BETA, HALDER, SMOOTH, inside
from relaxsim.theorems.smooth import FloatArray, jacobian, runge_kutta


def geodesic_equation(setting: Setting, *, factor: float = 0.5) -> Iterator[Measurement]:
    """Shoot gamma'' = K'/(2 K) gamma'^2 from x with the geodesic's velocity, and see where it is at s = 1.

    Runge-Kutta of step 1/40 (full: 1/160) leaves h^4 = 4e-7 times fifth derivatives, of order one, over 120: 1e-7 is
    allowed (full: 4^4 times less). The velocity at x is sqrt(K) (Y(y) - Y(x)).
    """
    count = 160 if setting.full else 40
    rng, worst = np.random.default_rng([setting.seed, 52]), 0.0
    for name in SMOOTH:
        row = lookup(name)
        x, y = inside(row, rng, 6), inside(row, rng, 6)

        def field(state: FloatArray, row: Activation = row) -> FloatArray:
            place, v = state
            return np.stack([v, factor * row.K_prime(place, BETA) / row.K(place, BETA) * v**2])

        velocity = np.sqrt(row.K(x, BETA)) * (row.Y(y, BETA) - row.Y(x, BETA))
        end = runge_kutta(field, np.stack([x, velocity]), 1 / count, count)[-1, 0]
        worst = max(worst, float(np.abs(end - y).max()))
    yield Measurement("end of the geodesic less y", worst, 0.0, 1e-7 * (40 / count) ** 4)


def arc(x: Any, y: Any, s: Any) -> Any:
    """sin^2((1 - s) arcsin sqrt x + s arcsin sqrt y)."""
    return np.sin((1 - s) * np.arcsin(np.sqrt(x)) + s * np.arcsin(np.sqrt(y))) ** 2


def bent_arc(x: Any, y: Any, s: Any) -> Any:
    """From x to y beside the arc, at most 0.1 away from it in the coordinates sqrt(2/beta) arcsin sqrt x."""
    first, last = np.arcsin(np.sqrt(x)), np.arcsin(np.sqrt(y))
    along = (last - first) * np.sqrt(2 / BETA)
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * np.sqrt(BETA / 2)
    return np.sin((1 - s) * first + s * last + 0.1 * across * np.sin(np.pi * s)) ** 2


def arc_without_roots(x: Any, y: Any, s: Any) -> Any:
    return np.sin((1 - s) * np.arcsin(x) + s * np.arcsin(y))


def straight(x: Any, y: Any, s: Any) -> Any:
    return (1 - s) * x + s * y


def soft_geodesic(setting: Setting, *, curve: Callable[[Any, Any, Any], Any] = arc) -> Iterator[Measurement]:
    """Put the curve into gamma'' = (1 - 2 gamma)/(2 gamma (1 - gamma)) gamma'^2, and compare it with the library's.

    gamma' is by complex steps and gamma'' by central differences of it over 1e-4, whose error is 1e-8 gamma''''/6 with
    fourth derivatives up to 16 or so: 1e-7 is allowed. Against Y^-1 of linear Y only rounding is left: 1e-14.
    """
    rng = np.random.default_rng([setting.seed, 53])
    row, worst, off = lookup("soft_projection"), 0.0, 0.0
    for _ in range(200 if setting.full else 20):
        (x, y), s, step = rng.uniform(0.05, 0.95, 2), rng.uniform(0.1, 0.9), 1e-4

        def slope(s: float, x: float = x, y: float = y) -> float:
            return float(jacobian(lambda u: curve(x, y, u[0]), np.array([s]))[0])

        gamma, bend = float(curve(x, y, s)), (slope(s + step) - slope(s - step)) / (2 * step)
        worst = max(worst, abs(bend - (1 - 2 * gamma) / (2 * gamma * (1 - gamma)) * slope(s) ** 2))
        off = max(off, *(abs(float(curve(x, y, part) - row.geodesic(x, y, part, 1.3))) for part in (0.0, s, 1.0)))
    yield Measurement("the curve in the geodesic equation", worst, 0.0, 1e-7)
    yield Measurement("the curve less Y^-1 of linear Y", off, 0.0, 1e-14)


def soft_distance(x: Any, y: Any, beta: Any) -> Any:
    """|sqrt 2 (arcsin sqrt x - arcsin sqrt y)/sqrt beta|."""
    return np.sqrt(np.sum(2 * (np.arcsin(np.sqrt(x)) - np.arcsin(np.sqrt(y))) ** 2 / beta, axis=-1))


def unweighted(x: Any, y: Any, beta: Any) -> Any:
    return soft_distance(x, y, 1.0 + 0 * beta)


def without_root_two(x: Any, y: Any, beta: Any) -> Any:
    return soft_distance(x, y, 2 * beta)


def euclidean_distance(x: Any, y: Any, beta: Any) -> Any:
    return np.sqrt(np.sum((x - y) ** 2, axis=-1))


def distance(setting: Setting, *, formula: Callable[[Any, Any, Any], Any] = soft_distance) -> Iterator[Measurement]:
    """The formula against the length of the geodesic in ds^2 = sum dx_i^2/(2 beta_i x_i (1 - x_i)), of bent paths with
    the same ends, and against the distance between two corners.

    Lengths are by Gauss-Legendre quadrature of smooth integrands at 60 nodes, to rounding: 1e-12 is allowed. Bent paths
    are longer by (0.1 pi)^2/4d, which is 0.0088 or more for distances d up to that of the corners, 2.8.
    """
    rng = np.random.default_rng([setting.seed, 54])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    s, w = (nodes + 1) / 2, weights / 2

    def length(path: Callable[[Any], Any]) -> float:
        place, speed = path(s[:, None]), np.imag(path(s[:, None] + 1e-30j)) / 1e-30
        return float(w @ np.sqrt(np.sum(speed**2 / (2 * BETA * place * (1 - place)), axis=1)))

    worst, excess = 0.0, np.inf
    for _ in range(100 if setting.full else 10):
        x, y = rng.uniform(0.15, 0.85, (2, 2))
        claimed = float(formula(x, y, BETA))
        worst = max(worst, abs(length(partial(arc, x, y)) - claimed))
        longer = length(partial(bent_arc, x, y))
        excess = min(excess, longer - claimed)
    corners = float(formula(np.zeros(2), np.ones(2), BETA))
    yield Measurement("length of the geodesic less the distance", worst, 0.0, 1e-12)
    yield Measurement("least excess of a bent path", excess, 0.005, relation=">=")
    yield Measurement("distance of the corners", corners, float(np.pi * np.sqrt(np.sum(1 / (2 * BETA)))), 1e-14)


def balls(setting: Setting, *, formula: Callable[[Any, Any, Any], Any] = soft_distance) -> Iterator[Measurement]:
    """|grad d(c, x)|^2 in the metric G^-1 at random x, and the metric's area of the ball of radius 0.4 about (.5, .5).

    Where spheres about c move outward at unit speed, sum of K_i (d_i d)^2 = 1; slopes by complex steps: 1e-12. The
    metric is flat, so that the area is pi r^2; 2 million cells (full: 8 million) miss it by the rounding of a circle
    to cells, which is well below the area of the cells that the circle crosses over the root of their number: 1e-3
    of it is allowed.
    """
    rng = np.random.default_rng([setting.seed, 55])
    row, c, worst = lookup("soft_projection"), np.array([0.5, 0.5]), 0.0
    for x in rng.uniform(0.1, 0.9, (200 if setting.full else 20, 2)):
        slope = jacobian(lambda y: formula(c, y, BETA), x)
        worst = max(worst, abs(float(np.sum(row.K(x, BETA) * slope**2)) - 1))
    n, radius = 2828 if setting.full else 1414, 0.4
    middle = (np.arange(n) + 0.5) / n
    cell = [1 / (n * np.sqrt(row.K(middle, beta))) for beta in BETA]
    within = [formula(c, np.stack([np.full(n, u), middle], axis=-1), BETA) < radius for u in middle]
    area = float(cell[0] @ np.array(within) @ cell[1])
    yield Measurement("|grad d|^2 - 1", worst, 0.0, 1e-12)
    yield Measurement("area of a ball over pi r^2", area / (np.pi * radius**2), 1.0, 1e-3)


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="mirror.12",
        title="The geodesic equation of an activation",
        source=f"{HALDER}, equation (12)",
        latex=r"\ddot\gamma_i = \frac{K_i'(\gamma_i)}{2 K_i(\gamma_i)} \dot\gamma_i^2,\ K_i = \sigma_i' \circ "
        r"\sigma_i^{-1},\quad \gamma_i(t) = Y_i^{-1}((1 - t) Y_i(x_i) + t Y_i(y_i)),\ Y_i = \int dx/\sqrt{K_i}",
        claim="Shot from x along the geodesic, the equation arrives at y, for eight activations.",
        experiment=geodesic_equation,
        mutants=(
            Mutant("the other sign", partial(geodesic_equation, factor=-0.5)),
            Mutant("without a half", partial(geodesic_equation, factor=1.0)),
            Mutant("a straight line", partial(geodesic_equation, factor=0.0)),
        ),
    ),
    Statement(
        id="mirror.29",
        title="Geodesics of the soft projection",
        source=f"{HALDER}, equations (25) and (29)",
        latex=r"\gamma_i(t) = \sin^2\!\big((1 - t) \arcsin\sqrt{x_i} + t \arcsin\sqrt{y_i}\big)",
        claim="The curve solves the geodesic equation of the soft projection from x to y.",
        experiment=soft_geodesic,
        mutants=(
            Mutant("without roots and squares", partial(soft_geodesic, curve=arc_without_roots)),
            Mutant("a straight line", partial(soft_geodesic, curve=straight)),
        ),
    ),
    Statement(
        id="mirror.30",
        title="Geodesic distance of the soft projection",
        source=f"{HALDER}, equations (13) and (30)",
        latex=r"d_G(x, y) = \big\| \sqrt2\, (\arcsin\sqrt x - \arcsin\sqrt y) \oslash \sqrt\beta \big\|_2",
        claim="The formula is the length of the geodesic, and no bent path is shorter.",
        experiment=distance,
        mutants=(
            Mutant("without beta", partial(distance, formula=unweighted)),
            Mutant("without the root of two", partial(distance, formula=without_root_two)),
            Mutant("the Euclidean distance", partial(distance, formula=euclidean_distance)),
        ),
    ),
    Statement(
        id="mirror.30-balls",
        title="Geodesic balls",
        source=f"{HALDER}, figure 2",
        latex=r"\sum_i K_i(x_i) (\partial_i d_G(c, x))^2 = 1,\quad \int_{d_G(c, x) < r} \sqrt{\det G}\, dx = \pi r^2 "
        r"\ (n = 2)",
        claim="Spheres about a point move outward at unit speed, and balls have the area of flat discs.",
        experiment=balls,
        mutants=(
            Mutant("without beta", partial(balls, formula=unweighted)),
            Mutant("Euclidean balls", partial(balls, formula=euclidean_distance)),
        ),
    ),
)
