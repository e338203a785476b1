r"""Two layers of neurons: their dynamics as a relaxation, its law at rest, and Hebb's rule.

*Relaxation*, Definition 16, Theorem 17, Remark 18; the network is that of Krotov and Hopfield, *Large Associative
Memory Problem in Neurobiology and Machine Learning* (2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.system.field import product_points
from relaxsim.system.relative_entropy import log_cell_weights
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import component, refined

# ------------------------------------------------------------------------------------------- Theorem 17


def drift_is_descent(setting: Setting, *, printed: str | None = None) -> Iterator[Measurement]:
    r"""The network's drift is -K grad E for K = diag((d^2 L_v)^-1, (d^2 L_h)^-1), for linear g = A v and f = B h.

    Two neurons a layer, A and B full positive matrices. E of Definition 16 is differentiated by central differences,
    exact for the quadratic it is up to rounding of 10^-16 E/d: 10^-9 with d = 10^-4 covers E below 100. The largest
    difference over random states.
    """
    rng = np.random.default_rng(setting.seed)
    A, B = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.5, -0.2], [-0.2, 0.8]])
    U, current = np.array([[0.4, 0.1], [-0.2, 0.3]]), np.array([0.6, -0.4])

    def energy(v: Any, h: Any) -> Any:
        g, f = v @ A, h @ B
        own = np.sum((v - current) * g, axis=-1) - np.sum(v * g, axis=-1) / 2
        return own + np.sum(h * f, axis=-1) / 2 - np.einsum("...a,ab,...b->...", g, U, f)

    states = rng.normal(size=(2000 if setting.full else 200, 4))
    step = 1e-4
    slope = np.stack(
        [(energy(*_layers(states + step * e)) - energy(*_layers(states - step * e))) / (2 * step) for e in np.eye(4)],
        axis=-1,
    )
    descent = -np.concatenate([slope[:, :2] @ np.linalg.inv(A), slope[:, 2:] @ np.linalg.inv(B)], axis=1)
    v, h = _layers(states)
    toward_v, toward_h = h @ B @ U.T, v @ A @ U
    visible = toward_v - v + current if printed != "+ v - I" else toward_v + v - current
    hidden = toward_h - h if printed != "+ h" else toward_h + h
    if printed == "K twice":
        visible, hidden = visible @ np.linalg.inv(A), hidden @ np.linalg.inv(B)
    yield Measurement("drift of v", float(np.abs(visible - descent[:, :2]).max()), 0.0, 1e-9)
    yield Measurement("drift of h", float(np.abs(hidden - descent[:, 2:]).max()), 0.0, 1e-9)


def _layers(states: Any) -> tuple[Any, Any]:
    return states[:, :2], states[:, 2:]


T, STIFF_V, STIFF_H, COUPLING, INPUT = 0.6, 2.0, 1.5, 0.4, 0.6


def law_at_rest(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    r"""One neuron a layer with noise: at rest its law is N(H^-1 (A I, 0), T H^-1), H the Hessian of E.

    g = A v, f = B h. The walk dv = (U f - v + I) dt + sqrt(2 T/A) dw, dh = (U g - h) dt + sqrt(2 T/B) dw is put on a
    grid by its drift and covariance alone. Moments at rest are of second order in the width of the cells: the
    difference of two grids is the tolerance, and 10^-7 for the tails, for the box reaches over six standard deviations.
    """
    hessian = _hessian(COUPLING)
    covariance = T * np.linalg.inv(hessian)
    mean = np.linalg.solve(hessian, [STIFF_V * INPUT, 0.0])
    factors = (STIFF_V, STIFF_H) if wrong == "K twice" else (1.0, 1.0)
    mu = [
        f"({COUPLING}*{STIFF_H}*y - x + {INPUT})/{factors[0]}",
        f"({COUPLING}*{STIFF_V}*x - y)/{factors[1]}",
    ]
    noise = [2 * T, 2 * T] if wrong == "noise of K = 1" else [2 * T / STIFF_V, 2 * T / STIFF_H]
    domain = rs.Domain([(mean[0] - 5.0, mean[0] + 5.0), (mean[1] - 5.5, mean[1] + 5.5)])

    @cache
    def moments(cells: int) -> Any:
        fp = rs.FokkerPlanck.from_drift(mu, noise, domain, rs.Grid(domain, cells))
        p, x = fp.gibbs.ravel(), fp.grid.points
        m = p @ x
        return np.array([*m, *((x - m).T @ (p[:, None] * (x - m)))[np.triu_indices(2)]])

    cells = 200 if setting.full else 80
    expected = (*mean, *covariance[np.triu_indices(2)])
    for k, name in enumerate(("<v>", "<h>", "var v", "cov v h", "var h")):
        yield refined(name, component(moments, k), float(expected[k]), cells, extra=1e-7)


def curved_layers(setting: Setting, *, divergence: bool = True) -> Iterator[Measurement]:
    r"""With activations that are not linear the drift also needs T div K: the law at rest is then exp(-E/T).

    One neuron a layer, L = z^2/2 + ln cosh z in both, so that g = v + tanh v, K = 1/(2 - tanh^2 v) and dK/dv = 2 tanh v
    (1 - tanh^2 v) K^2. The walk dv = (U f - v + I + T K') dt + sqrt(2 T K) dw and its like for h, put on a grid by its
    drift and covariance, against the Gibbs masses of E of Definition 16: L1 distance, of second order in the width of
    the cells, so that the difference of two grids is the tolerance.
    """
    domain = rs.Domain([(-4.0, 5.0), (-4.5, 4.5)])
    act, K = "({z} + tanh({z}))", "(1/(2 - tanh({z})**2))"
    own = "({z}**2/2 + log(cosh({z})))"
    share = T if divergence else 0.0
    lost = f"{2 * share}*tanh({{z}})*(1 - tanh({{z}})**2)*{K}**2"
    g, f = act.format(z="x"), act.format(z="y")
    energy = f"(x - {INPUT})*{g} - {own.format(z='x')} + y*{f} - {own.format(z='y')} - {COUPLING}*{g}*{f}"
    mu = [f"{COUPLING}*{f} - x + {INPUT} + {lost.format(z='x')}", f"{COUPLING}*{g} - y + {lost.format(z='y')}"]
    noise = [f"{2 * T}*{K.format(z=z)}" for z in "xy"]

    def distance(cells: int) -> float:
        grid = rs.Grid(domain, cells)
        walk = rs.FokkerPlanck.from_drift(mu, noise, domain, grid).gibbs
        return float(np.abs(walk - np.exp(log_cell_weights(rs.System(energy, 1.0, T, domain), grid)[0])).sum())

    yield refined("L1 distance at rest", distance, 0.0, 240 if setting.full else 128)


def rest_exists(setting: Setting, *, coupling: float = COUPLING, weighted: bool = True) -> Iterator[Measurement]:
    r"""The Gibbs law of two neurons does not depend on the box, once E has a positive Hessian.

    Variance of v in boxes of half widths 6 and 12, in units of the variance T (H^-1)_vv of all space: the Gibbs mass
    outside the smaller one is below 10^-10. A > 0 and B > 0 do not make H positive; that takes |A^(1/2) U B^(1/2)| < 1:
    for random full A, B and U of three and two neurons the two conditions hold together or not at all.
    """
    hessian = _hessian(coupling)
    size = T * float(np.linalg.inv(_hessian(COUPLING))[0, 0])
    values = []
    for half in (6.0, 12.0):
        domain = rs.Domain([(-half, half)] * 2)
        energy = f"{hessian[0, 0]}*x**2/2 + ({hessian[0, 1]})*x*y + {hessian[1, 1]}*y**2/2"
        grid = rs.Grid(domain, round(half * (30 if setting.full else 15)))
        weights = np.exp(log_cell_weights(rs.System(energy, 1.0, T, domain), grid)[0])
        values.append(float(weights.ravel() @ grid.points[:, 0] ** 2) / size)
    yield Measurement("variance of v, larger box less smaller", values[1] - values[0], 0.0, 1e-8)
    unlike = _criteria_apart(np.random.default_rng([setting.seed, 71]), 2000 if setting.full else 400, weighted)
    yield Measurement("networks with H > 0 but a norm of 1 or more, or the reverse", unlike, 0)


def _criteria_apart(rng: np.random.Generator, networks: int, weighted: bool) -> int:
    """Random networks for which H > 0 and |A^(1/2) U B^(1/2)| < 1, or |U| < 1, do not agree."""
    apart = 0
    for _ in range(networks):
        roots = [rng.normal(size=(n, n)) + 2 * np.eye(n) for n in (3, 2)]
        A, B = (root @ root.T for root in roots)
        U = rng.normal(size=(3, 2)) * rng.uniform(0.02, 0.3)
        H = np.block([[A, -A @ U @ B], [-B @ U.T @ A, B]])
        # |A^(1/2) U B^(1/2)| is that of L^T U M for any A = L L^T, B = M M^T
        norm = np.linalg.norm(roots[0].T @ U @ roots[1] if weighted else U, 2)
        apart += int((np.linalg.eigvalsh(H).min() > 0) != (norm < 1))
    return apart


def _hessian(coupling: float) -> Any:
    across = -STIFF_V * coupling * STIFF_H
    return np.array([[STIFF_V, across], [across, STIFF_H]])


# ------------------------------------------------------------------------------------------- Remark 18


def hebbian(setting: Setting, *, rule: str = "g^a f^b") -> Iterator[Measurement]:
    r"""-d(-T ln Z(v))/dU_ab, with v held, is <g^a(v) f^b(h)>: four weights of two neurons a layer.

    f = h + tanh(h), of L_h = h^2/2 + ln cosh h, and g of the held v two numbers. Differences of ln Z over +-d,
    d = 10^-3, are off by d^2/6 times the third derivative, |g|^3 <(f - <f>)^3>/T^2, below 3 here: d^2/2 is allowed.
    Both ln Z and means are Gauss-Legendre sums, exact to rounding.
    """
    g, step, heat = np.array([0.8, -0.5]), 1e-3, 0.5
    own = "x**2/2 + x*tanh(x) - log(cosh(x)) + y**2/2 + y*tanh(y) - log(cosh(y))"
    weights = {"a": 0.3, "b": -0.2, "c": 0.1, "d": 0.4}  # U_11, U_12, U_21, U_22
    text = f"{own} - ({g[0]}*a + ({g[1]})*c)*(x + tanh(x)) - ({g[0]}*b + ({g[1]})*d)*(y + tanh(y))"
    system = rs.System(rs.Energy(text, params=weights), 1.0, heat, rs.Domain([(-7.0, 7.0)] * 2))
    grid = rs.Grid(system.domain, 64 if setting.full else 32)
    x, w = np.polynomial.legendre.leggauss(160 if setting.full else 100)
    points = product_points([7 * x, 7 * x])
    law = np.outer(w, w) * np.exp(-system.energy(points) / heat)
    f = np.array([np.sum(law * (points[..., k] + np.tanh(points[..., k]))) / law.sum() for k in range(2)])
    predicted = {"g^a f^b": np.outer(g, f), "g^a f^a": np.outer(g * f, [1.0, 1.0]), "- g^a f^b": -np.outer(g, f)}[rule]
    for k, (name, value) in enumerate(weights.items()):
        ends = [log_cell_weights(system.with_params(**{name: value + s * step}), grid)[1] for s in (1, -1)]
        measured = heat * (ends[0] - ends[1]) / (2 * step)
        a, b = divmod(k, 2)
        yield Measurement(f"U_{a + 1}{b + 1}", measured, float(predicted[a, b]), step**2 / 2)


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.17",
        title="The network's drift is a relaxation",
        source="Relaxation, Theorem 17 and Definition 16",
        latex=r"dv = [U f(h) - v + I]\,dt + \sqrt{2T}\,dW_v = -K_v\,\partial_v E\,dt + \sqrt{2T}\,dW_v,\quad"
        r" dh = [U^\top g(v) - h]\,dt + \sqrt{2T}\,dW_h,\quad K = (\partial^2 L)^{-1}",
        claim="the drift of both layers is -K grad E with K the inverse Hessians of L_v and L_h",
        experiment=drift_is_descent,
        mutants=(
            Mutant(
                "dE/dv with + v - I",
                partial(drift_is_descent, printed="+ v - I"),
                printed=r"\partial_{v^\alpha} E = -[U^{\beta\gamma}f_\gamma(h) + v^\beta - I^\beta]\,"
                r"\partial_\alpha g_\beta",
            ),
            Mutant(
                "dE/dh with + h",
                partial(drift_is_descent, printed="+ h"),
                printed=r"\partial_{h^\alpha} E = -[U^{\gamma\beta}g_\gamma(v) + h^\beta]\,\partial_\alpha f_\beta",
            ),
            Mutant(
                "K before the bracket",
                partial(drift_is_descent, printed="K twice"),
                printed=r"dv^\alpha/dt = K_v^{\alpha\beta}[U_{\beta\gamma}f^\gamma(h) - v_\beta + I_\beta] + "
                r"\sqrt{2T}\,dW_v^\alpha",
            ),
        ),
    ),
    Statement(
        id="relaxation.17.rest",
        title="The noisy network's law at rest",
        source="Relaxation, Theorem 17",
        latex=r"(v, h) \sim N(H^{-1}(A I, 0),\ T H^{-1}),\quad H = \begin{pmatrix} A & -AUB \\ -BU^\top A & B"
        r"\end{pmatrix}",
        claim="mean and covariance at rest are those of exp(-E/T)",
        experiment=law_at_rest,
        mutants=(
            Mutant(
                "K before the bracket",
                partial(law_at_rest, wrong="K twice"),
                printed=r"dh^\alpha/dt = K_h^{\alpha\beta}[U_{\gamma\beta}g^\gamma(v) - h^\beta] + \sqrt{2T}\,"
                r"dW_h^\alpha",
            ),
            Mutant("noise of covariance dt for K dt", partial(law_at_rest, wrong="noise of K = 1")),
        ),
    ),
    Statement(
        id="relaxation.17.curved",
        title="The noisy network with activations that are not linear",
        source="Relaxation, Theorem 17 without the hypothesis of linear f and g, by Theorem 8",
        latex=r"dv = [U f(h) - v + I + T\,\partial K_v]\,dt + \sqrt{2T}\,dW_v,\quad K_v = (\partial^2 L_v)^{-1}(v)",
        claim="with T div K in the drift the law at rest is exp(-E/T)",
        experiment=curved_layers,
        mutants=(Mutant("the drift of linear activations, without T div K", partial(curved_layers, divergence=False)),),
    ),
    Statement(
        id="relaxation.17.exists",
        title="The network's Gibbs law exists for weak coupling",
        source="Relaxation, Theorem 17, hypothesis",
        latex=r"q_E \text{ exists} \iff H \succ 0 \iff \|A^{1/2} U B^{1/2}\| < 1",
        claim="the variance at rest does not depend on the box, and H > 0 just where the norm is below 1",
        experiment=rest_exists,
        mutants=(
            Mutant(
                "coupling five times as strong",
                partial(rest_exists, coupling=5 * COUPLING),
                printed=r"\text{If } f, g \text{ are linear and the Hessians of } L_v, L_h \text{ positive definite}",
            ),
            Mutant("|U| < 1 as the condition", partial(rest_exists, weighted=False)),
        ),
    ),
    Statement(
        id="relaxation.18",
        title="Hebb's rule",
        source="Relaxation, Remark 18 (Hebbian Rule)",
        latex=r"\Delta U^{\alpha\beta} \propto -\Big\langle\frac{\partial E}{\partial U_{\alpha\beta}}\Big\rangle_"
        r"{q_E(\cdot|v)} = \langle g^\alpha(v)\,f^\beta(h)\rangle_{q_E(\cdot|v)}",
        claim="the free energy with v held falls along each weight at the rate <g^a f^b>",
        experiment=hebbian,
        mutants=(
            Mutant(
                "g^a f^a for g^a f^b",
                partial(hebbian, rule="g^a f^a"),
                printed=r"\Delta U^{\alpha\beta} \propto \langle g^\alpha(v)\,f^\alpha(h)\rangle_{q_E(\cdot|v)}",
            ),
            Mutant("the other sign", partial(hebbian, rule="- g^a f^b")),
        ),
    ),
)
