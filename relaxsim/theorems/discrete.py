"""Networks of units -1 and +1: one update lowers the energy, and where updates end.

Every experiment takes all states of small networks with random weights. A unit without a field keeps its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.smooth import FloatArray, jacobian

Weights = Callable[[np.random.Generator, int], FloatArray]
Rule = Callable[[FloatArray, FloatArray, FloatArray], list[FloatArray]]

UNITS = 7
EPSILON = float(np.finfo(np.float64).eps)


def symmetric(rng: np.random.Generator, n: int) -> FloatArray:
    """Symmetric weights without a diagonal, as the theorems want them."""
    W = rng.normal(size=(n, n))
    return np.asarray((W + W.T) * (1 - np.eye(n)) / np.sqrt(2))


def with_diagonal(rng: np.random.Generator, n: int) -> FloatArray:
    """Units that push themselves away from their own value."""
    return np.asarray(symmetric(rng, n) - 4 * np.eye(n))


def antisymmetric(rng: np.random.Generator, n: int) -> FloatArray:
    W = rng.normal(size=(n, n))
    return np.asarray((W - W.T) / np.sqrt(2))


def all_states(n: int) -> FloatArray:
    """Shape (2^n, n)."""
    return np.asarray(np.array(np.meshgrid(*[[-1.0, 1.0]] * n)).reshape(n, -1).T)


def sign(field: FloatArray, kept: FloatArray) -> FloatArray:
    return np.where(field == 0, kept, np.sign(field))


def one_unit(W: FloatArray, b: FloatArray, x: FloatArray) -> list[FloatArray]:
    """States after the update of each unit alone."""
    turned = sign(x @ W.T + b, x)
    return [np.where(np.arange(len(W)) == unit, turned, x) for unit in range(len(W))]


def all_units(W: FloatArray, b: FloatArray, x: FloatArray) -> list[FloatArray]:
    """The state after all units were updated at once."""
    return [sign(x @ W.T + b, x)]


def energy(W: FloatArray, b: FloatArray, x: FloatArray, scale: float) -> FloatArray:
    """-scale x.Wx - b.x of states (n_states, n)."""
    return np.asarray(-scale * np.sum(x @ W.T * x, axis=1) - x @ b)


def descent(
    setting: Setting,
    *,
    scale: float = 0.5,
    biased: bool = True,
    coefficient: float = 1.0,
    weights: Weights = symmetric,
    rule: Rule = one_unit,
) -> Iterator[Measurement]:
    """Update every unit of every state of random networks, and compare the change of energy with its formula.

    Both sides are sums of n^2 products; each is rounded by at most n epsilon times the sum of abs(W) and abs(b), and
    four times that is allowed for three energies and a formula.
    """
    rng = np.random.default_rng([setting.seed, 1])
    formula, rise, rounding = 0.0, -np.inf, 0.0
    for _ in range(200 if setting.full else 20):
        W, b = weights(rng, UNITS), rng.normal(size=UNITS) * biased
        x = all_states(UNITS)
        rounding = max(rounding, 4 * UNITS * EPSILON * float(np.abs(W).sum() + np.abs(b).sum()))
        for after in rule(W, b, x):
            change = energy(W, b, after, scale) - energy(W, b, x, scale)
            expected = -coefficient * np.sum((after - x) * (x @ W.T + b), axis=1)
            formula = max(formula, float(np.abs(change - expected).max()))
            rise = max(rise, float(change.max()))
    yield Measurement("change of energy less its formula", formula, 0.0, rounding)
    yield Measurement("largest rise of the energy", rise, 0.0, rounding, relation="<=")


def ends(
    setting: Setting,
    *,
    one_by_one: Weights = symmetric,
    at_once: Weights = symmetric,
    two_times: bool = True,
    longest: int = 2,
) -> Iterator[Measurement]:
    """Follow every state of random networks until it repeats: units one by one in random order, and all at once.

    One by one, a network of n units that is not at rest after 2^n sweeps has been in one state twice and never rests.
    All at once, the map is iterated 2^n times into its cycles, whose periods are counted. The function that cannot
    rise there, -x(t).W x(t-1) - b.(x(t) + x(t-1)), is rounded like an energy.
    """
    rng = np.random.default_rng([setting.seed, 2])
    restless, period, shortest, rise, rounding = 0, 0, 99, -np.inf, 0.0
    for _ in range(30 if setting.full else 4):
        n = UNITS
        b = rng.normal(size=n) / 4
        x, W = all_states(n), one_by_one(rng, n)
        for _ in range(2**n):
            for unit in rng.permutation(n):
                x = one_unit(W, b, x)[unit]
        restless += int(np.any(x != all_units(W, b, x)[0], axis=1).sum())
        W = at_once(rng, n)
        path = [all_states(n)]
        for _ in range(2**n + n):
            path.append(all_units(W, b, path[-1])[0])
        back = np.array([np.all(path[-1] == earlier, axis=1) for earlier in path[-2 : -n - 2 : -1]])
        periods = np.where(back.any(axis=0), back.argmax(axis=0) + 1, n + 1)
        period, shortest = max(period, int(periods.max())), min(shortest, int(periods.min()))
        held = [
            -np.sum(x1 @ W.T * x0, axis=1) - (x1 + x0) @ b if two_times else energy(W, b, x1, 0.5)
            for x0, x1 in pairwise(path)
        ]
        rise = max(rise, float(np.diff(held, axis=0).max()))
        rounding = max(rounding, 4 * n * EPSILON * float(np.abs(W).sum() + 2 * np.abs(b).sum()))
    yield Measurement("states that never rest, one unit at a time", restless, 0)
    yield Measurement("longest period, all units at once", period, longest)
    yield Measurement("shortest period, all units at once", shortest, 1)
    yield Measurement("largest rise, all units at once", rise, 0.0, rounding, relation="<=")


def ties(setting: Setting, *, of_no_field: float | None = None, turning: bool = False) -> Iterator[Measurement]:
    """Update networks of small integer weights one unit at a time, from every state, where fields are often zero.

    Units without a field keep their value, or take another; integers are exact, so that nothing is allowed. A network
    of n units that still changes after 2^n sweeps never rests.
    """
    rng, n = np.random.default_rng([setting.seed, 5]), 5
    idle, restless = 0, 0
    for _ in range(100 if setting.full else 10):
        W = np.round(symmetric(rng, n))
        x = all_states(n)
        for _ in range(2**n):
            before = x
            for unit in rng.permutation(n):
                field = x @ W[unit]
                tied = -x[:, unit] if turning else x[:, unit] if of_no_field is None else of_no_field
                after = x.copy()
                after[:, unit] = np.where(field == 0, tied, np.sign(field))
                lost = energy(W, np.zeros(n), x, 1.0) - energy(W, np.zeros(n), after, 1.0)
                moved = after[:, unit] != x[:, unit]
                idle += int(np.sum(moved & ~(lost > 0)))
                x = after
        restless += int(np.any(x != before, axis=1).sum())
    yield Measurement("changes that do not lower the energy", idle, 0)
    yield Measurement("states that never rest", restless, 0)


def two_layers(
    setting: Setting, *, swapped: bool = False, within: float = 0.0, in_turn: bool = True
) -> Iterator[Measurement]:
    """Update layers z and x in turn from every state, as one network of units y = (z, x) with weights U.

    The field of U on z and on x has to be that of the two layers, to the rounding of sums of at most n products.
    """
    rng = np.random.default_rng([setting.seed, 3])
    L, A = 3, 4
    field, rise, restless, rounding = 0.0, -np.inf, 0, 0.0
    for _ in range(60 if setting.full else 8):
        W, h = rng.normal(size=(L, A)), rng.normal(size=L + A) / 4
        U = np.zeros((L + A, L + A))
        if swapped:  # blocks in the order (x, z)
            U[:A, A:], U[A:, :A] = W.T, W
        else:
            U[:L, L:], U[L:, :L] = W, W.T
        U += within * (1 - np.eye(L + A))  # couplings inside the layers too
        y, rounding = all_states(L + A), max(rounding, 4 * (L + A) * EPSILON * float(np.abs(U).sum() + np.abs(h).sum()))
        layered = np.concatenate([y[:, L:] @ W.T, y[:, :L] @ W], axis=1)
        field = max(field, float(np.abs(y @ U.T - layered).max()))
        for _ in range(2 * (L + A)):
            z = sign(y @ U.T + h, y)
            mixed = np.concatenate([z[:, :L], y[:, L:]], axis=1)
            x = sign((mixed if in_turn else y) @ U.T + h, y)
            after = np.concatenate([z[:, :L], x[:, L:]], axis=1)
            rise = max(rise, float((energy(U, h, after, 0.5) - energy(U, h, y, 0.5)).max()))
            y = after
        restless += int(np.any(y != sign(y @ U.T + h, y), axis=1).sum())
    yield Measurement("field of U less that of the layers", field, 0.0, rounding)
    yield Measurement("largest rise of the energy", rise, 0.0, rounding, relation="<=")
    yield Measurement("states that never rest", restless, 0)


def tanh_slope(a: FloatArray, T: float) -> FloatArray:
    return np.asarray((1 - np.tanh(a / T) ** 2) / T)


def printed_slope(a: FloatArray, T: float) -> FloatArray:
    return np.asarray((1 - np.tanh(a)) ** 2 / T)


def softened_sign(
    setting: Setting,
    *,
    slope: Callable[[FloatArray, float], FloatArray] = tanh_slope,
    last_only: bool = False,
) -> Iterator[Measurement]:
    """The gradient that training uses, against complex steps through the softened network tanh((W x + b)/T).

    The loss is the sum over the data of the norm of x - y. Complex steps have no difference to cancel, so both sides
    agree to the rounding of some hundred operations on numbers of order one: 1e-13 is allowed.
    """
    rng = np.random.default_rng([setting.seed, 4])
    n, T = 5, 0.7
    data, W, b = rng.choice([-1.0, 1.0], size=(6, n)), symmetric(rng, n), rng.normal(size=n)

    def loss(bias: FloatArray) -> FloatArray:
        gap = data - np.tanh((data @ W.T + bias) / T)
        return np.asarray(np.sum(np.sqrt(np.sum(gap**2, axis=1))))

    fields = data @ W.T + b
    gap = data - np.tanh(fields / T)
    each = -gap / np.linalg.norm(gap, axis=1, keepdims=True) * slope(fields, T)
    found = each[-1] if last_only else each.sum(axis=0)
    places = np.linspace(-2, 2, 9)
    slopes = np.diag(jacobian(lambda a: np.tanh(a / T), places))
    yield Measurement("slope of the softened sign", float(np.abs(slope(places, T) - slopes).max()), 0.0, 1e-13)
    yield Measurement("gradient of the loss", float(np.abs(found - jacobian(loss, b)).max()), 0.0, 1e-13)


_CONTINUUM = "Continuum of Hopfield, theorem 1"
_HOPFIELD = "Hopfield Network"

STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="continuum.1",
        title="An update of one unit lowers the energy",
        source=_CONTINUUM,
        latex=r"x'_{\hat\alpha} = \mathrm{sign}[W_{\hat\alpha\beta} x^\beta] \Rightarrow E_W(x') - E_W(x) = "
        r"-2 (x'^{\hat\alpha} - x^{\hat\alpha}) W_{\hat\alpha\beta} x^\beta \le 0, \quad "
        r"E_W = -W_{\alpha\beta} x^\alpha x^\beta",
        claim="In every state of random networks, the update of one unit changes the energy by the formula, downwards.",
        experiment=partial(descent, scale=1.0, biased=False, coefficient=2.0),
        mutants=(
            Mutant(
                "all units at once",
                partial(descent, scale=1.0, biased=False, coefficient=2.0, rule=all_units),
                printed=r"\text{Along } x_\alpha(t+1) = \mathrm{sign}[W_{\alpha\beta} x^\beta(t)],\ E_W(x(t+1)) - "
                r"E_W(x(t)) \le 0",
            ),
            Mutant(
                "weights with a diagonal",
                partial(descent, scale=1.0, biased=False, coefficient=2.0, weights=with_diagonal),
            ),
            Mutant(
                "antisymmetric weights",
                partial(descent, scale=1.0, biased=False, coefficient=2.0, weights=antisymmetric),
            ),
        ),
    ),
    Statement(
        id="continuum.1-ties",
        title="Where ties are kept, every change is downwards",
        source=_CONTINUUM,
        latex=r"\mathrm{sign}(0) := x^{\hat\alpha}:\ x' \ne x \Rightarrow E_W(x') < E_W(x)",
        claim="With ties kept, every change lowers the energy strictly, and networks come to rest.",
        experiment=ties,
        mutants=(
            Mutant(
                "sign(0) = 1",
                partial(ties, of_no_field=1.0),
                printed=r"x'^{\hat\alpha} = 1 \text{ and } x^{\hat\alpha} = -1.\ \text{Since } x'_{\hat\alpha} = "
                r"\mathrm{sign}[W_{\hat\alpha\beta} x^\beta],\ W_{\hat\alpha\beta} x^\beta > 0.\ \text{Then } "
                r"E_W(x') - "
                r"E_W(x) < 0",
            ),
            Mutant("units without a field turn", partial(ties, turning=True)),
        ),
    ),
    Statement(
        id="hopfield.2",
        title="An update of one unit lowers the energy, with biases",
        source=f"{_HOPFIELD}, lemma 2",
        latex=r"\mathcal E(x') - \mathcal E(x) = -(x'^{\hat\alpha} - x^{\hat\alpha})(W_{\hat\alpha\beta} x^\beta + "
        r"b_{\hat\alpha}) \le 0, \quad \mathcal E = -\tfrac12 W_{\alpha\beta} x^\alpha x^\beta - b_\alpha x^\alpha",
        claim="In every state of random networks, the update of one unit changes the energy by the formula, downwards.",
        experiment=descent,
        mutants=(
            Mutant(
                "factor 2",
                partial(descent, coefficient=2.0),
                printed=r"\mathcal E(x') - \mathcal E(x) = -2 (x'^{\hat\alpha} - x^{\hat\alpha})"
                r"(W_{\hat\alpha\beta} x^\beta + b_{\hat\alpha})",
            ),
            Mutant(
                "all units at once",
                partial(descent, rule=all_units),
                printed=r"x^\alpha(t+1) = \mathrm{sign}(W_{\alpha\beta} x^\beta(t) + b^\alpha) \Rightarrow "
                r"\mathcal E(x(t+1)) - \mathcal E(x(t)) \le 0",
            ),
            Mutant("weights with a diagonal", partial(descent, weights=with_diagonal)),
        ),
    ),
    Statement(
        id="hopfield.3",
        title="Where discrete networks end",
        source=f"{_HOPFIELD}, theorem 3",
        latex=r"\text{One unit at a time: a fixed point. All at once: a fixed point or a cycle of period 2, and } "
        r"-x(t) \cdot W x(t-1) - b \cdot (x(t) + x(t-1)) \text{ never rises}",
        claim="From every state, updates one by one end at rest, and updates of all units in periods 1 and 2.",
        experiment=ends,
        mutants=(
            Mutant(
                "the energy bounds updates of all units",
                partial(ends, two_times=False),
                printed=r"\text{Since the states of the network are finite, the } \mathcal E \text{ is lower bounded}",
            ),
            Mutant(
                "updates of all units come to rest",
                partial(ends, longest=1),
                printed=r"x_\alpha(t+1) = \mathrm{sign}[W_{\alpha\beta} x^\beta(t)]:\ \text{the network converges "
                r"(relaxes) at finite } t \text{ (Continuum of Hopfield, after theorem 1)}",
            ),
            Mutant("units that push themselves away", partial(ends, one_by_one=with_diagonal)),
            Mutant("antisymmetric weights", partial(ends, at_once=antisymmetric)),
        ),
    ),
    Statement(
        id="hopfield.algorithm-1",
        title="Gradient of the softened sign",
        source=f"{_HOPFIELD}, algorithm 1",
        latex=r"\partial y/\partial a = (1 - \tanh^2(a/T))/T, \quad \text{loss} = \sum_n \|x_n - y_n\|",
        claim="The backward slope is that of tanh(a/T), and the loss is summed over the data.",
        experiment=softened_sign,
        mutants=(
            Mutant(
                "square of the difference",
                partial(softened_sign, slope=printed_slope),
                printed=r"\texttt{grad\_fn = lambda x: (1 - tanh(x)) ** 2 / T}",
            ),
            Mutant(
                "the last sample only",
                partial(softened_sign, last_only=True),
                printed=r"\texttt{for x in dataset: loss = norm(x - y)}",
            ),
        ),
    ),
    Statement(
        id="hopfield.remark-4",
        title="Binary outputs learn more patterns",
        source=f"{_HOPFIELD}, remark 4",
        latex=r"\text{The softened sign improves the capacity of reconstruction over } \tanh",
        pending="a statement about trained networks; relaxsim has no networks with learning rules yet",
    ),
    Statement(
        id="hopfield.18",
        title="A restricted Boltzmann machine is a Hopfield network",
        source=f"{_HOPFIELD}, definition 17 and theorem 18",
        latex=r"y = (z, x),\ h = (b, v),\ b \in \mathbb R^L,\ v \in \mathbb R^A,\quad "
        r"U = \begin{pmatrix} 0_{L \times L} & W \\ W^T & 0_{A \times A} \end{pmatrix}",
        claim="The layers' fields are those of U; updates of the layers in turn lower the energy and end at rest.",
        experiment=two_layers,
        mutants=(
            Mutant(
                "blocks of U in the order of (x, z)",
                partial(two_layers, swapped=True),
                printed=r"U := \begin{pmatrix} 0_1 & W^T \\ W & 0_2 \end{pmatrix},\ 0_1 \in \mathbb R^{A \times A},\ "
                r"y := (z, x)",
            ),
            Mutant("couplings inside the layers", partial(two_layers, within=-1.0)),
            Mutant("both layers at once", partial(two_layers, in_turn=False)),
        ),
    ),
)
