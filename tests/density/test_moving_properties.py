"""Random E(x, t), T(t), K(x, t), A(t): what stays exact when the Gibbs law moves, and mutants that break it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from density.support import Function
from relaxsim import Domain, Grid, Temperature
from relaxsim.density import FokkerPlanck, backward_euler
from relaxsim.density.flow import Balance, Flow
from relaxsim.system.relative_entropy import kl_divergence

pytestmark = [pytest.mark.nojit, pytest.mark.filterwarnings("ignore:grid. the energy changes")]

seeds = st.integers(0, 2**32 - 1)
steps = st.floats(-3.0, 2.0).map(lambda exponent: 10.0**exponent)
WALLS = ("reflecting", "periodic")
START = 0.4
ROUNDING = 1e-12  # times one plus the largest |ln m|


class Moving:
    """Energy and mobility of a random system: waves whose sizes, phases and directions change with time."""

    time_dependent, depends_on_density, symmetric_is_constant, is_constant = True, False, False, False
    structure = "tensor"

    def __init__(self, rng, lengths, spacing):
        self.dim, self.lengths, self.scale = len(lengths), lengths, np.outer(spacing, spacing)
        self.waves, self.phases = rng.integers(-2, 3, size=(3, self.dim)), rng.uniform(0, 6.3, 3)
        self.sizes, self.speeds = rng.uniform(-1, 1, 3) * rng.uniform(0, 8), rng.uniform(-4, 4, 3)
        self.frame = np.linalg.qr(rng.normal(size=(self.dim, self.dim)))[0]
        self.turning = np.triu(rng.normal(size=(self.dim, self.dim)), 1) * rng.uniform(0, 3)
        self.closed = rng.uniform(0, 0.4) if rng.random() < 0.3 else 0.0
        self.reversible = self.dim == 1 or rng.random() < 0.5

    def energy(self, x, t=0.0):
        angle = 2 * np.pi * x / self.lengths
        values = np.sum(self.sizes * np.cos(angle @ self.waves.T + self.phases + self.speeds * t), axis=-1)
        return np.where(x[..., 0] < self.closed * self.lengths[0], np.inf, values)

    def symmetric(self, x, t=0.0):
        """In units of cells, so that few of them serve every aspect ratio."""
        share = (1 + np.cos(2 * np.pi * x[..., 0] / self.lengths[0] + self.speeds[0] * t))[..., None, None] / 2
        sides = np.linspace(0.1, 1.0, self.dim)
        return (share * (self.frame * sides) @ self.frame.T + (1.1 - share) * np.eye(self.dim)) * self.scale

    def antisymmetric(self, x, t=0.0):
        matrix = (self.turning - self.turning.T) * np.sin(self.speeds[1] * t + self.phases[1]) * self.scale
        return np.broadcast_to(matrix, (*x.shape[:-1], self.dim, self.dim))

    def diagonal_of(self, x, t=0.0):
        return np.diagonal(self.symmetric(x, t), axis1=-2, axis2=-1)


class Energy(Function):
    """An energy that moves."""

    time_dependent = True

    def __call__(self, x, t=0.0):
        return self.function(np.asarray(x), t)


def equation(seed):
    """A random system that moves, on a box with random walls, and two random laws on its open cells."""
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 3))
    lengths, shape = rng.uniform(0.5, 4.0, dim), [int(n) for n in rng.integers(7, 10, dim)]
    domain = Domain([(0.0, float(n)) for n in lengths], boundary=[str(w) for w in rng.choice(WALLS, dim)])
    law = Moving(rng, lengths, lengths / shape)
    heat, swing, speed = (float(each) for each in rng.uniform([0.3, 0.2, -4.0], [2.0, 0.9, 4.0]))
    temperature = Temperature("a*(1 + b*sin(c*t))", params={"a": heat, "b": swing, "c": speed})
    system = SimpleNamespace(
        energy=Energy(law.energy), mobility=law, domain=domain, dim=dim, temperature=temperature, time_dependent=True
    )
    fp = FokkerPlanck(system, Grid(domain, shape))
    laws = rng.exponential(size=(2, fp.grid.n_cells)) * np.isfinite(fp.log_gibbs.ravel())
    return fp, laws / laws.sum(axis=1, keepdims=True)


def bound(log_gibbs):
    return ROUNDING * (1 + np.abs(log_gibbs[np.isfinite(log_gibbs)]).max())


def rises(fp, laws, tau, generator_time=None, other=None):
    """What a step adds to the relative entropy to the law of its end, and to that of one solution to another.

    Both over their bounds, below one if they fall. Mutants take the generator of another time than the end, for both
    laws or for the other one.
    """
    flow = Flow(fp)
    at = flow.at
    end = START + tau
    moved = []
    for p, time in zip(laws, (generator_time, other or generator_time), strict=True):
        flow.at = at if time is None else lambda t, mass, time=time: at(time, mass)
        moved.append(backward_euler.Stepper(flow=flow).step(p, tau, START))
    rest = fp.weights_at(end)[0].ravel()
    with np.errstate(divide="ignore"):
        before, after = ([kl_divergence(p, rest), kl_divergence(p, np.log(q))] for p, q in (laws, moved))
    assert min(p.min() for p in moved) >= 0
    assert [p.sum() for p in moved] == pytest.approx([1.0, 1.0], abs=1e-14)
    return (np.array(after) - before) / bound(rest)


def misfits(fp, p, tau):
    """Of a path in steps of tau: work against <dE> - S dT, F against <E> - T S, and the largest gain of F in a step.

    Each over its bound, below one if it is right.
    """
    times = START + tau * np.arange(4)
    path = fp.evolve(p.reshape(fp.grid.shape), times, "backward-euler", step=tau)
    open_ = np.isfinite(fp.log_gibbs)
    heat = np.array([fp.system.temperature(t) for t in times])
    # cell averages of E in the sense of the weights: -T (ln m + ln Z - ln volume)
    weights = [fp.weights_at(t) for t in times]
    logs = np.array([l[open_] + z - np.log(fp.grid.cell_volume) for l, z in weights])
    energy, mass = -heat[:, None] * logs, path.mass[:, open_]
    entropy = -np.sum(mass * np.log(np.where(mass > 0, mass, 1.0) / fp.grid.cell_volume), axis=1)
    work = np.sum(mass[:-1] * np.diff(energy, axis=0), axis=1) - np.diff(heat) * entropy[:-1]
    free = np.sum(mass * energy, axis=1) - heat * entropy
    tolerance = bound(logs) * heat.max()
    found = [np.diff(path.work) - work, path.free_energy - free, np.minimum(np.diff(path.dissipated), 0.0)]
    return np.array([np.abs(each).max() for each in found]) / tolerance


@settings(max_examples=40)
@given(seeds, steps)
def test_a_step_lowers_kl_to_the_law_of_its_end_and_to_every_other_solution(seed, tau):
    assert np.all(rises(*equation(seed), tau) <= 1)


@settings(max_examples=25)
@given(seeds, steps)
def test_what_is_not_work_is_dissipated(seed, tau):
    fp, laws = equation(seed)
    assert np.all(misfits(fp, laws[0], tau) <= 1)


# ---- mutants

CASES = range(12)


def test_the_generator_of_the_start_of_the_step_is_caught():
    worst = 0.0
    for fp, (_, other) in map(equation, CASES):
        rested = np.exp(fp.weights_at(START + 0.3)[0].ravel())  # at the end there is nothing left to fall
        worst = max(worst, rises(fp, [rested, other], 0.3, START)[0])
    assert worst > 1e6


def test_another_generator_for_the_other_solution_is_caught():
    worst = np.max([rises(fp, [p, p], 0.3, other=START) for fp, (p, _) in map(equation, CASES)], axis=0)
    assert worst[1] > 1e6


def shared(self, before, start, after, end):
    """The trapezoidal rule, which serves other methods."""
    self.work += 0.5 * (self._change(before, start, end) + self._change(after, start, end))


def late(self, before, start, after, end):
    """The change of F at the mass of the end."""
    self.work += self._change(after, start, end)


def cold(self, before, start, after, end):
    """Without the heat that a change of T brings: <dE> only."""
    change = self._change(before, start, end)
    equation, p = self._flow._equation, before[before > 0]
    entropy = -np.sum(p * np.log(p / equation.grid.cell_volume))
    self.work += change + (equation.system.temperature(end) - equation.system.temperature(start)) * entropy


@pytest.mark.parametrize("mutant", [shared, late, cold])
def test_another_account_of_the_work_is_caught(monkeypatch, mutant):
    monkeypatch.setattr(Balance, "add", mutant)
    worst = np.max([misfits(fp, laws[0], 0.3) for fp, laws in map(equation, CASES)], axis=0)
    assert worst[0] > 1e6
    assert worst[1] <= 1
