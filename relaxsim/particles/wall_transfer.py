"""The exact law of a scheme at a finite step on an interval whose ends mirror, without Monte Carlo."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.transfer import Transfer, stationary
from relaxsim.system.system import System
from relaxsim.system.validate import FloatArray

REACH = 8.5  # of the normal law


Observables = Sequence[Callable[[FloatArray], FloatArray]]


def position(x: FloatArray) -> FloatArray:
    """The position itself."""
    return x


class WallTransfer:
    """A scheme with Gaussian noise on an interval whose ends mirror.

    Parameters
    ----------
    scheme : str or Scheme
    system : System
    n : int
        Nodes.
    finest : float
        Smallest panel of the quadrature, in units of the noise; larger where the step has a pole.

    Notes
    -----
    From each node the step and its mirror image are integrated over the noise by Gauss-Legendre panels, which are
    halved until they hold no kink that matters: where the step, or a stage of it, meets an end, and where the rule of
    Metropolis sets in.
    """

    def __init__(self, scheme: str | Scheme, system: System, n: int = 64, finest: float = 1e-8) -> None:
        self.inside = Transfer(scheme, system, n=n)
        self.scheme, self.model, self.finest = self.inside.scheme, self.inside.model, finest
        signs = self.scheme.signs(1) if self.scheme.signs else 0
        self.signs = list(itertools.product((-1.0, 1.0), repeat=signs))

    def law(self, h: float, observables: Observables = (position,)) -> tuple[FloatArray, FloatArray]:
        """The operator P, and E[w | node] and E[w phi(x) | node] for the reported position x with its weight w."""
        inside = self.inside
        bases = inside.bases + (inside.carried_bases(h) if self.scheme.carried else [])
        inverse = np.ones((1, 1))
        for basis in bases:
            inverse = np.kron(inverse, basis.inverse)
        state, keep = inside.states(h, bases)
        rows, reported = [], []
        for i in range(len(state[0])):
            here = [row[i : i + 1] for row in state]
            row: Any = 0.0
            mean: Any = 0.0
            for signs in self.signs:
                z, weights = panels(
                    partial(self._ends, here=here, signs=signs, h=h, observables=observables), self.finest
                )
                for chance, ends in self._branches(z, here, signs, h):
                    values = np.ones((len(z), 1))
                    for basis, k in zip(bases, keep, strict=True):
                        values = (values[:, :, None] * basis.values(ends[k])[:, None, :]).reshape(len(z), -1)
                    row = row + (weights * chance) @ values / len(self.signs)
                mean = mean + self._output(z, here, signs, h, observables) @ weights / len(self.signs)
            rows.append(row)
            reported.append(mean)
        return np.stack(rows) @ inverse, np.array(reported)

    def mean(self, h: float) -> float:
        """The mean position in the scheme's own stationary law."""
        return float(self.means(h, (position,))[0])

    def means(self, h: float, observables: Observables) -> FloatArray:
        """Means of observables in the scheme's own stationary law."""
        operator, reported = self.law(h, observables)
        means = stationary(operator) @ reported
        return np.asarray(means[1:] / means[0])

    # ---- from one state, for many values of the noise

    def _with(self, z: FloatArray, signs: tuple[float, ...]) -> None:
        self.inside.noise = np.stack([z, *(np.full(z.shape, sign) for sign in signs)])
        self.inside.weights = np.ones(len(z))

    def _branches(
        self, z: FloatArray, here: list[FloatArray], signs: tuple[float, ...], h: float
    ) -> list[tuple[FloatArray, list[FloatArray]]]:
        """Probabilities and ends of a step, mirrored."""
        self._with(z, signs)
        out = []
        for chance, ends in self.inside.branches(here, h):
            rows = [row[0] for row in ends]
            rows[0] = rows[0] if self.scheme.stays_inside else self.model.inside(rows[:1])[0]
            out.append((np.broadcast_to(chance, ends[0].shape)[0], rows))
        return out

    def _output(
        self, z: FloatArray, here: list[FloatArray], signs: tuple[float, ...], h: float, observables: Observables
    ) -> FloatArray:
        """The weight of the position that is reported, and weight times observables: (1 + observables, points)."""
        end = np.full(z.shape, here[0][0])
        if self.scheme.output is not None:
            self._with(z, signs)
            end = self.inside.call(self.scheme.output, here, h)[0][0]
            end = end if self.scheme.coordinates else self.model.inside([end])[0]
        weight = self.scheme.weights(self.model, [end], 0.0) if self.scheme.weights else np.ones(z.shape)
        return np.stack([weight, *(weight * phi(end) for phi in observables)])

    def _ends(
        self, z: FloatArray, here: list[FloatArray], signs: tuple[float, ...], h: float, observables: Observables
    ) -> FloatArray:
        """What the quadrature must resolve, (quantities, points): mirrored ends and chances."""
        rows = list(self._output(z, here, signs, h, observables))
        for chance, ends in self._branches(z, here, signs, h):
            rows += [chance, *(chance * end for end in ends)]
        return np.stack(rows)


def panels(f: Callable[[FloatArray], FloatArray], finest: float, order: int = 16) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights for the normal law, in panels on which the rows of f are smooth.

    A panel is halved as long as rules of two orders differ on it.
    """
    rules = [np.polynomial.legendre.leggauss(n) for n in (order, order // 2 + 1)]
    edges = np.arange(-REACH, REACH + 0.25, 0.5)
    low, width = edges[:-1], np.diff(edges)
    z, weights = [], []
    while len(low):
        integrals: list[FloatArray] = []
        for s, w in rules[::-1]:  # the nodes of the finer rule, which comes last, are kept
            at = low[:, None] + width[:, None] * (s + 1) / 2
            values = f(at.ravel()).reshape(-1, *at.shape)
            finite = np.isfinite(values).all(axis=0)  # a pole at an end of the box may be hit
            weight = width[:, None] * w / 2 * np.exp(-at * at / 2) / np.sqrt(2 * np.pi)
            integrals.append((np.where(finite, values, 0.0) * weight).sum(axis=-1))
        rough = (np.abs(integrals[0] - integrals[1]) > 1e-13).any(axis=0) & (width > finest)
        keep = finite & ~rough[:, None]
        z.append(at[keep])
        weights.append(weight[keep])
        low = np.concatenate([low[rough], low[rough] + width[rough] / 2])
        width = np.concatenate([width[rough] / 2] * 2)
    return np.concatenate(z), np.concatenate(weights)
