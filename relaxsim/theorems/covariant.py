"""Flows made of an energy alone, the same in all frames: their general form, their descent, and how they scale."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from relaxsim.system.energy import Energy
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.smooth import FloatArray, jacobian, runge_kutta, simpson

# ---- axioms 3 to 5: the general form

ALL_TERMS = (0, 1, 2, 3, 4)
PRINTED_TERMS = (0, 1, 2)


def _terms(g: FloatArray, H: FloatArray, T: FloatArray) -> FloatArray:
    """The five vectors of slopes g (n, 2), second and third derivatives H, T of an energy; shape (5, n, 2)."""
    trace = np.trace(H, axis1=1, axis2=2)[:, None]
    square = np.sum(g**2, axis=1, keepdims=True)
    return np.stack([g, g * square, g * trace, np.einsum("nab,nb->na", H, g), np.einsum("nabb->na", T)])


def _derivatives(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Random slopes, symmetric second and third derivatives."""
    H, T = rng.normal(size=(n, 2, 2)), rng.normal(size=(n, 2, 2, 2))
    T = T + T.transpose(0, 2, 3, 1) + T.transpose(0, 3, 1, 2)
    return rng.normal(size=(n, 2)), H + H.transpose(0, 2, 1), T + T.transpose(0, 1, 3, 2)


def _local_field(rng: np.random.Generator) -> Callable[[FloatArray, FloatArray, FloatArray], FloatArray]:
    """A random polynomial vector of at most three derivatives in all, the same in no frame but its own."""
    c = [rng.normal(size=(2,) * rank) for rank in (2, 3, 3, 4, 4, 4)]

    def field(g: FloatArray, H: FloatArray, T: FloatArray) -> FloatArray:
        one = np.einsum("ab,nb->na", c[0], g)
        two = np.einsum("abc,nbc->na", c[1], H) + np.einsum("abc,nb,nc->na", c[2], g, g)
        mixed = np.einsum("abcd,nbcd->na", c[3], T) + np.einsum("abcd,nbc,nd->na", c[4], H, g)
        return np.asarray(one + two + mixed + np.einsum("abcd,nb,nc,nd->na", c[5], g, g, g))

    return field


def general_form(
    setting: Setting, *, terms: Sequence[int] = ALL_TERMS, reflections: bool = True
) -> Iterator[Measurement]:
    """Average random local fields over all rotations and reflections, and fit them by the covariant terms.

    A field is a polynomial in the slope and the second and third derivatives of E, of three derivatives at most: its
    mean over 16 angles and their reflections is its covariant part, exactly, since angles enter as trigonometric
    polynomials of degree 4 or less. Least squares at 40 random sets of derivatives leave the rounding of sums of some
    thousand terms of order ten: 1e-11 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 21])
    g, H, T = _derivatives(rng, 40)
    basis = np.stack([term.ravel() for term in _terms(g, H, T)[list(terms)]], axis=1)
    worst = 0.0
    for _ in range(50 if setting.full else 5):
        field, total = _local_field(rng), np.zeros_like(g)
        frames = [(angle, flip) for angle in np.arange(16) * np.pi / 8 for flip in ((1, -1) if reflections else (1,))]
        for angle, flip in frames:
            R = np.array([[np.cos(angle), -flip * np.sin(angle)], [np.sin(angle), flip * np.cos(angle)]])
            turned = (g @ R.T, np.einsum("ia,jb,nab->nij", R, R, H), np.einsum("ia,jb,kc,nabc->nijk", R, R, R, T))
            total += field(*turned) @ R / len(frames)
        fit = np.linalg.lstsq(basis, total.ravel(), rcond=None)[0]
        worst = max(worst, float(np.abs(basis @ fit - total.ravel()).max()))
    yield Measurement("covariant field less its fit", worst, 0.0, 1e-11)
    yield Measurement("independent terms", float(np.linalg.matrix_rank(basis)), float(len(terms)))


def descent(setting: Setting, *, c1: float = -1.0, c3: float = -0.5, c3_prime: float = 0.0) -> Iterator[Measurement]:
    """Run x' = grad E (c1 + c3 |grad E|^2 + c3' div grad E) until t = 1 by Runge-Kutta of step 1/100 (full: 1/400).

    The energy lost is compared with the integral of |grad E|^2 (-c1 - c3 |grad E|^2) by Simpson's rule. With rates up
    to about 5 that leaves h^4 5^5/100 = 3e-7 of it; 1e-5 is allowed (full: 4^4 times less).
    """
    count = 400 if setting.full else 100
    energy = Energy("sin(x) + cos(2*y)/2 + sin(x - y)/2").bound_to(2, np.zeros((1, 2)))

    def field(x: FloatArray) -> FloatArray:
        g = energy.gradient(x)
        speed = c1 + c3 * np.sum(g**2, axis=-1) + c3_prime * np.trace(energy.hessian(x), axis1=-2, axis2=-1)
        return np.asarray(g * speed[..., None])

    start = np.random.default_rng([setting.seed, 22]).uniform(-3, 3, (20, 2))
    path = runge_kutta(field, start, 1 / count, count)
    slopes = energy.gradient(path)
    rates = np.sum(slopes * field(path), axis=-1)
    square = np.sum(slopes**2, axis=-1)
    missing = energy(path[0]) - energy(path[-1]) + simpson(square * (c1 + c3 * square), 1 / count)
    yield Measurement("dE/dt", float(rates.max()), 0.0, 1e-14, relation="<=")
    yield Measurement("energy lost less the integral", float(np.abs(missing).max()), 0.0, 1e-5 * (100 / count) ** 4)


# ---- lemmas 7 and 8, theorem 9, axiom 6: rectified networks and how they scale


def relu(x: Any) -> Any:
    return np.where(np.real(x) > 0, x, 0 * x)


def leaky(x: Any) -> Any:
    return np.where(np.real(x) > 0, x, x / 5)


def linear(x: Any) -> Any:
    return x


SCALES = (0.0, 0.3, 2.0, 1000.0)
NEGATIVE = (-1.0, -2.0)


def rectified(
    setting: Setting, *, activations: Any = (relu, leaky, linear), scales: Sequence[float] = SCALES
) -> Iterator[Measurement]:
    """f(s x) - s f(x) at random x, over 1 + abs(s): rounding of two products, 1e-14 is allowed."""
    x = np.random.default_rng([setting.seed, 23]).normal(size=2000 if setting.full else 200)
    for f in activations:
        misfit = max(float(np.abs(f(s * x) - s * f(x)).max()) / (1 + abs(s)) for s in scales)
        yield Measurement(f"f(s x) - s f(x), f = {f.__name__}", misfit, 0.0, 1e-14)


def composed(
    setting: Setting, *, rule: Callable[[int, int], int] = operator.mul, offset: float = 0.0
) -> Iterator[Measurement]:
    """The degree of f(g(x)), from its values at x and 3 x, for forms f of degree 3 and g of degree 2.

    All terms are positive, so that values are rounded by some 1e-15 of their size, and so are logarithms of their
    ratios: 1e-13 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 24])
    outer, inner = rng.uniform(0.5, 1.5, (3, 3, 3)), rng.uniform(0.5, 1.5, (3, 3, 3))
    x = rng.uniform(0.2, 1.0, (200 if setting.full else 20, 3))

    def value(x: FloatArray) -> FloatArray:
        g = np.einsum("abc,nb,nc->na", inner, x, x) + offset
        return np.asarray(np.einsum("abc,na,nb,nc->n", outer, g, g, g))

    degrees = np.log(value(3 * x) / value(x)) / np.log(3)
    yield Measurement("degree of f after g", float(degrees.mean()), float(rule(3, 2)), 1e-13)
    yield Measurement("spread of the degree", float(np.ptp(degrees)), 0.0, 1e-13)


def _network(rng: np.random.Generator, biased: bool) -> Callable[[Any], Any]:
    """A network of layers 4, 12, 12, 3 with rectified units."""
    shapes = ((12, 4), (12, 12), (3, 12))
    layers = [(rng.normal(size=s) / np.sqrt(s[1]), rng.normal(size=s[0]) * biased) for s in shapes]

    def output(x: Any) -> Any:
        for k, (W, b) in enumerate(layers):
            x = W @ x + b
            x = relu(x) if k < len(layers) - 1 else x
        return x

    return output


def network(setting: Setting, *, biased: bool = False, scales: Sequence[float] = SCALES) -> Iterator[Measurement]:
    """f(s x) - s f(x) over 1 + abs(s) for a network of two rectified layers, at random x.

    Without biases only rounding is left, of three products of at most 12 terms of order one: 1e-13 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 25])
    worst = 0.0
    for _ in range(100 if setting.full else 10):
        f, x = _network(rng, biased), rng.normal(size=4)
        worst = max(worst, *(float(np.abs(f(s * x) - s * f(x)).max()) / (1 + abs(s)) for s in scales))
    yield Measurement("f(s x) - s f(x)", worst, 0.0, 1e-13)


def kink(setting: Setting, *, power: float = 0.5, smooth: bool = False) -> Iterator[Measurement]:
    """One-sided slopes of E = (f.f)^power at x = 0 along random lines, where f of a network without biases vanishes.

    Differences over 1e-6 are exact for a function of degree one, but for rounding: 1e-9 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 26])
    jumps, step = [], 1e-6
    for _ in range(100 if setting.full else 10):
        f, v = _network(rng, False), rng.normal(size=4)
        jump = (np.sum(f(step * v) ** 2) ** power + np.sum(f(-step * v) ** 2) ** power) / step
        jumps.append(jump / (np.linalg.norm(f(v)) + np.linalg.norm(f(-v))))
    expected = 0.0 if smooth else 1.0
    furthest = float(max(jumps, key=lambda jump: abs(jump - expected)))
    yield Measurement("jump of the slope over |f(v)| + |f(-v)|", furthest, expected, 1e-9)


def scaling(setting: Setting, *, power: float = 0.5, biased: bool = False) -> Iterator[Measurement]:
    """Exponents, from sums over x and over 3 x, of the three terms of the flow, for E = (f.f)^power of random networks
    without biases.

    Slopes are by complex steps; div grad E is by central differences over 1e-5 |x|, which scale with x, so that their
    error does too and only their rounding is left, 1e-16/1e-5 in units of the slope: 1e-7 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 27])
    near, far = np.zeros(3), np.zeros(3)
    for _ in range(40 if setting.full else 6):
        f, x = _network(rng, biased), rng.normal(size=4)

        def slope(x: Any, f: Callable[[Any], Any] = f) -> FloatArray:
            return jacobian(lambda y: np.sum(f(y) ** 2) ** power, x)

        def sizes(x: FloatArray) -> FloatArray:
            g, step = slope(x), 1e-5 * float(np.linalg.norm(x))
            laplacian = sum(float((slope(x + step * e) - slope(x - step * e)) @ e) for e in np.eye(4)) / (2 * step)
            size = float(np.linalg.norm(g))
            return np.array([size, size**3, size * abs(laplacian)])

        near, far = near + sizes(x), far + sizes(3 * x)
    for name, expected, ratio in zip(("c1", "c3", "c3'"), (0.0, 0.0, -1.0), far / near, strict=True):
        yield Measurement(f"exponent of the {name} term", float(np.log(ratio) / np.log(3)), expected, 1e-7)


_SOURCE = "Continuum of Hopfield"


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="continuum.5",
        title="The general covariant flow",
        source=f"{_SOURCE}, axioms 3 to 5",
        latex=r"F^\alpha = c_1 \nabla^\alpha \mathcal E + c_3 \nabla^\alpha \mathcal E (\nabla \mathcal E)^2 + c_3' "
        r"\nabla^\alpha \mathcal E \, \Delta \mathcal E + c_3'' \nabla^\beta \mathcal E \nabla_\beta \nabla^\alpha "
        r"\mathcal E + c_3''' \nabla^\alpha \Delta \mathcal E + \mathcal O(\nabla^5) \quad \text{(flat space)}",
        claim="Every local field of up to three derivatives that is the same in all frames has the five terms.",
        experiment=general_form,
        mutants=(
            Mutant(
                "three terms",
                partial(general_form, terms=PRINTED_TERMS),
                printed=r"F^\alpha = c_1 \nabla^\alpha \mathcal E + c_3 \nabla^\alpha \mathcal E (\nabla^\beta "
                r"\mathcal E "
                r"\nabla_\beta \mathcal E) + c_3' \nabla^\alpha \mathcal E (\nabla^\beta \nabla_\beta \mathcal E) + "
                r"\mathcal O(\nabla^5)",
            ),
            Mutant("frames that are only turned", partial(general_form, reflections=False)),
        ),
    ),
    Statement(
        id="continuum.5-descent",
        title="When the general flow descends",
        source=f"{_SOURCE}, section 2.3",
        latex=r"\dot{\mathcal E} = |\nabla \mathcal E|^2 (c_1 + c_3 |\nabla \mathcal E|^2 + c_3' \Delta \mathcal E) "
        r"\le 0 \text{ for all } \mathcal E:\ c_1, c_3 \le 0,\ c_3' = 0",
        claim="With c1, c3 < 0 and c3' = 0 the energy falls by the integral.",
        experiment=descent,
        mutants=(
            Mutant("c1 = 5", partial(descent, c1=5.0, c3=0.0), printed=r"c_1 = 5 \text{ and } c_{i>1} \equiv 0"),
            Mutant(
                "a term with the Laplacian",
                partial(descent, c3_prime=1.5),
                printed=r"\text{the generic form of } dx^\alpha/dt \text{ that ensures } d\mathcal E/dt \le 0:\ "
                r"\ldots + c_3' "
                r"\nabla^\alpha \mathcal E (\nabla^\beta \nabla_\beta \mathcal E)",
            ),
        ),
    ),
    Statement(
        id="continuum.6",
        title="Terms that keep their size at every scale",
        source=f"{_SOURCE}, axiom 6 and after theorem 9",
        latex=r"\mathcal E = \sqrt{f_\alpha f^\alpha}:\ F[\mathcal E](\lambda x) \sim \lambda^0 \text{ for } c_1, c_3;"
        r"\ \lambda^{-1} \text{ for } c_3'",
        claim="For an energy of degree one the c1 and c3 terms do not scale, and the c3' term scales as 1/s.",
        experiment=scaling,
        mutants=(
            Mutant("an energy of degree two", partial(scaling, power=1.0)),
            Mutant("a network with biases", partial(scaling, biased=True)),
        ),
    ),
    Statement(
        id="continuum.7",
        title="Rectified units are homogeneous for positive factors",
        source=f"{_SOURCE}, lemma 7",
        latex=r"f(\lambda x) = \lambda f(x),\ \lambda \ge 0",
        claim="ReLU, leaky ReLU and linear units scale with factors from 0 to 1000.",
        experiment=rectified,
        mutants=(
            Mutant(
                "negative factors",
                partial(rectified, scales=NEGATIVE),
                printed=r"\text{Rectified activations are linearly homogeneous}",
            ),
            Mutant("tanh", partial(rectified, activations=(np.tanh,))),
        ),
    ),
    Statement(
        id="continuum.8",
        title="Degrees multiply",
        source=f"{_SOURCE}, lemma 8",
        latex=r"\deg(f \circ g) = \lambda_f \lambda_g",
        claim="A form of degree 3 after one of degree 2 has degree 6.",
        experiment=composed,
        mutants=(
            Mutant(
                "degrees add",
                partial(composed, rule=operator.add),
                printed=r"f \circ g \text{ is homogeneous with order } \lambda_f + \lambda_g",
            ),
            Mutant("g with a constant", partial(composed, offset=1.0)),
        ),
    ),
    Statement(
        id="continuum.9",
        title="Rectified networks without biases are homogeneous for positive factors",
        source=f"{_SOURCE}, theorem 9",
        latex=r"f_{nn}(\lambda x; \theta_{ini}) = \lambda f_{nn}(x; \theta_{ini}),\ \lambda \ge 0",
        claim="Networks of two rectified layers scale with factors from 0 to 1000.",
        experiment=network,
        mutants=(
            Mutant(
                "negative factors",
                partial(network, scales=NEGATIVE),
                printed=r"f_{nn}(\lambda x; \theta_{ini}) = \lambda f_{nn}(x; \theta_{ini})",
            ),
            Mutant("with biases", partial(network, biased=True)),
        ),
    ),
    Statement(
        id="continuum.9-kink",
        title="The energy of degree one has a kink where f = 0",
        source=f"{_SOURCE}, after theorem 9",
        latex=r"\mathcal E = \sqrt{f_\alpha f^\alpha}:\ \partial_v^+ \mathcal E(0) - \partial_v^- \mathcal E(0) = "
        r"|f(v)| + |f(-v)| > 0,\ \text{so } \mathcal E \notin C^1",
        claim="Along lines through 0 the slope jumps by |f(v)| + |f(-v)|.",
        experiment=kink,
        mutants=(
            Mutant(
                "continuously differentiable",
                partial(kink, smooth=True),
                printed=r"\text{Given any } \mathcal E \in C^1(M, \mathbb R) \ldots\ \mathcal E(x; \theta) := "
                r"\sqrt{f_\alpha(x; \theta) f^\alpha(x; \theta)}",
            ),
            Mutant("f.f in the place of its root", partial(kink, power=1.0)),
        ),
    ),
)
