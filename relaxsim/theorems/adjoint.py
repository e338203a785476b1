"""The adjoint method: gradients of a loss at the end of a flow, by going back along it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.smooth import FloatArray, jacobian, runge_kutta

DIM = 3


def _velocity(z: Any, theta: Any) -> Any:
    """f(z; theta) = tanh(theta z) - z/2."""
    return np.tanh(theta.reshape(DIM, DIM) @ z) - z / 2


def _slope(z: FloatArray, theta: FloatArray) -> FloatArray:
    """d f^b/d z^a, indices (b, a)."""
    W = theta.reshape(DIM, DIM)
    return np.asarray((1 - np.tanh(W @ z) ** 2)[:, None] * W - np.eye(DIM) / 2)


def _slope_theta(z: FloatArray, theta: FloatArray) -> FloatArray:
    """d f^b/d theta, indices (b, parameter)."""
    gain = 1 - np.tanh(theta.reshape(DIM, DIM) @ z) ** 2
    return np.asarray(np.einsum("b,bc,d->bcd", gain, np.eye(DIM), z).reshape(DIM, -1))


def _loss(z: Any, theta: Any) -> Any:
    """A loss that also depends on the parameters themselves."""
    return np.sum(z**2) / 2 + z[0] * z[1] + np.sum(theta**2) / 20 * z[2]


def _loss_slopes(z: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    return jacobian(lambda y: _loss(y, theta), z), jacobian(lambda p: _loss(z, p), theta)


def _problem(seed: int, tag: int) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng([seed, tag])
    return rng.normal(size=DIM), rng.normal(size=DIM * DIM)


def continuous(
    setting: Setting, *, sign: float = -1.0, transposed: bool = False, explicit: bool = True
) -> Iterator[Measurement]:
    """Integrate z to t = 1, then a' = -a df/dz and dL/dtheta = integral of a df/dtheta back to 0, and compare with
    the derivatives of the loss at the end by complex steps through the forward integration.

    Both are by Runge-Kutta of step 1/100 (full: 1/400), backwards with z integrated anew, whose errors are h^4 times
    derivatives of order up to a hundred: 1e-8 times 1 to 10; 1e-6 is allowed (full: 4^4 times less).
    """
    count = 400 if setting.full else 100
    z0, theta = _problem(setting.seed, 31)

    def end(start: Any, parameters: Any) -> Any:
        return runge_kutta(lambda z: _velocity(z, parameters), start, 1 / count, count)[-1]

    def back(state: FloatArray) -> FloatArray:
        z, a = state[:DIM], state[DIM : 2 * DIM]
        J = _slope(z, theta)
        grown = J @ a if transposed else a @ J
        return -np.concatenate([_velocity(z, theta), sign * grown, -a @ _slope_theta(z, theta)])

    z1 = end(z0, theta)
    a1, own = _loss_slopes(z1, theta)
    state = runge_kutta(back, np.concatenate([z1, a1, own * explicit]), 1 / count, count)[-1]
    tolerance = 1e-6 * (100 / count) ** 4
    by_start = jacobian(lambda z: _loss(end(z, theta), theta), z0)
    by_theta = jacobian(lambda p: _loss(end(z0, p), p), theta)
    yield Measurement("dL/dz(0) - a(0)", float(np.abs(by_start - state[DIM : 2 * DIM]).max()), 0.0, tolerance)
    yield Measurement("dL/dtheta less its integral", float(np.abs(by_theta - state[2 * DIM :]).max()), 0.0, tolerance)


def layered(setting: Setting, *, shift: int = 0, explicit_at: int = -1) -> Iterator[Measurement]:
    """Ten layers z_(i+1) = z_i + epsilon f(z_i; theta): the sum over layers against complex steps through them.

    The recursion is exact, so that only the rounding of some hundred products of order one is left; 1e-13 is allowed.
    """
    z0, theta = _problem(setting.seed, 32)
    layers, epsilon = 40 if setting.full else 10, 0.1

    def states(start: Any, parameters: Any) -> list[Any]:
        path = [start]
        for _ in range(layers):
            path.append(path[-1] + epsilon * _velocity(path[-1], parameters))
        return path

    z = states(z0, theta)
    a, total = _loss_slopes(z[-1], theta)[0], _loss_slopes(z[explicit_at], theta)[1]
    for i in range(layers, 0, -1):  # a = dL_i/dz_i
        total = total + a @ (epsilon * _slope_theta(z[i - 1 + shift], theta))
        a = a + epsilon * a @ _slope(z[i - 1], theta)
    by_start = jacobian(lambda start: _loss(states(start, theta)[-1], theta), z0)
    by_theta = jacobian(lambda p: _loss(states(z0, p)[-1], p), theta)
    yield Measurement("dL_0/dz_0", float(np.abs(by_start - a).max()), 0.0, 1e-13)
    yield Measurement("dL_0/dtheta less the sum over layers", float(np.abs(by_theta - total).max()), 0.0, 1e-13)


_SOURCE = "Continuum of Hopfield, adjoint method"


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="continuum.adjoint",
        title="The adjoint equation",
        source=f"{_SOURCE}, section 1.1",
        latex=r"\dot a_\alpha = -a_\beta\, \partial f^\beta/\partial z^\alpha,\ a(t_1) = \partial L/\partial z(t_1) "
        r"\Rightarrow \partial L/\partial z(t_0) = a(t_0),\ \frac{dL}{d\theta} = \frac{\partial L}{\partial \theta} + "
        r"\int_{t_0}^{t_1} a_\alpha\, \partial_\theta f^\alpha\, dt",
        claim="Gradients by the adjoint equation are the derivatives of the loss at the end of the flow.",
        experiment=continuous,
        mutants=(
            Mutant("the sign turned", partial(continuous, sign=1.0)),
            Mutant("the Jacobian transposed", partial(continuous, transposed=True)),
            Mutant("without what the loss owes to theta itself", partial(continuous, explicit=False)),
        ),
    ),
    Statement(
        id="continuum.adjoint-layers",
        title="The gradient as a sum over layers",
        source=f"{_SOURCE}, section 1.2",
        latex=r"\frac{dL_0}{d\theta}(z_0) = \frac{dL_N}{d\theta}(z_N) + \sum_{i=1}^N \frac{dL_i}{dz_i} \frac{\partial "
        r"z_i}{\partial \theta},\quad \frac{\partial z_{i+1}}{\partial \theta} = \epsilon\, \partial_\theta f(z_i)",
        claim="The sum over layers is the derivative of the loss, to rounding.",
        experiment=layered,
        mutants=(
            Mutant(
                "f at the layer's own state",
                partial(layered, shift=1),
                printed=r"\partial z_i/\partial \theta = \epsilon\, \partial f(z_i, t; \theta)/\partial \theta",
            ),
            Mutant(
                "the last term at the first state",
                partial(layered, explicit_at=1),
                printed=r"\frac{dL_0}{d\theta}(z_0) = \frac{dL_N}{d\theta}(z_1) + \sum_{i=1}^N \ldots",
            ),
        ),
    ),
)
