"""One system, two executions: the share of the particles in each bin is the mass that the density has there.

For full and turning mobilities, antisymmetric parts, periodic and reflecting walls, and a temperature that falls. Each
comes with the density of a mutant, which the particles must tell from the right one.
"""

from dataclasses import dataclass

import numpy as np
import pytest

import relaxsim as rs
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.slow

N = 80_000
NAME = "agreement: shares of bins"
TORUS = rs.Domain([(0, 2 * np.pi)] * 2, boundary="periodic")
WAVES = "cos(x) + 0.7*sin(x + y) + 0.5*cos(2*y)"
TURNING = [["1 + 0.5*sin(x)", "0.5*cos(y)"], ["0.5*cos(y)", "1 + 0.3*cos(x)"]]
FLIPPED = [["1 + 0.5*sin(x)", "-0.5*cos(y)"], ["-0.5*cos(y)", "1 + 0.3*cos(x)"]]
BOX = rs.Domain([(-1, 1), (0, 2 * np.pi)], boundary=["reflecting", "periodic"])


@dataclass
class Case:
    """A system, its mutant, a start, the end and the step, and the largest share that the step may misplace."""

    system: rs.System
    mutant: rs.System
    start: object
    end: float
    dt: float
    bias: float


def circulating(turning):
    mobility = rs.Mobility.constant([[1.0, 0.3], [0.3, 0.6]])
    mobility = mobility.with_antisymmetric([[0, turning], [-turning, 0]]) if turning else mobility
    return rs.System("(x**2 - 1)**2/2 + y**2/2", mobility, 0.5, rs.Domain([(-3.2, 3.2), (-4, 4)]))


CASES = {
    "tensor on a torus": lambda: Case(
        rs.System(WAVES, rs.Mobility.tensor(TURNING), 0.6, TORUS),
        rs.System(WAVES, rs.Mobility.tensor(FLIPPED), 0.6, TORUS),
        rs.initial.normal([3.0, 3.0], 0.5), 0.6, 4e-3, 3e-4,
    ),
    "antisymmetric part": lambda: Case(
        circulating(1.0), circulating(0.0), rs.initial.normal([-1.0, 0.5], 0.4), 0.5, 2.5e-3, 3e-4
    ),
    "reflecting and periodic walls": lambda: Case(
        rs.System("x + cos(y)/2", [0.5, 1.0], 0.8, BOX),
        rs.System("x + cos(y)/2", [0.5, 1.0], 0.8, rs.Domain([(-1, 1), (0, 2 * np.pi)])),
        rs.initial.normal([0.2, 1.0], 0.25), 0.5, 2e-3, 1e-3,
    ),
    "falling temperature": lambda: Case(
        rs.System("(x**2 - 1)**2 + y**2/2", [1.0, 0.5], "0.2 + exp(-2*t)", rs.Domain([(-3.2, 3.2)] * 2)),
        rs.System("(x**2 - 1)**2 + y**2/2", [1.0, 0.5], 1.2, rs.Domain([(-3.2, 3.2)] * 2)),
        rs.initial.normal([-0.5, 0.5], 0.3), 1.0, 2.5e-3, 3e-4,
    ),
}  # fmt: skip


def shares(mass, bins):
    """Masses summed to bins by bins equal parts of the box."""
    n, m = mass.shape
    return mass.reshape(bins, n // bins, bins, m // bins).sum(axis=(1, 3))


def last_masses(system, cells, case):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells)).evolve(case.start, [0.0, case.end]).mass[-1]


@pytest.mark.parametrize("name", CASES)
def test_ensemble_and_density_fill_the_same_bins(name):
    case, bins = CASES[name](), 8
    grid = rs.Grid(case.system.domain, (48, 48))
    path = rs.simulate(
        case.system, case.start, n_particles=N, dt=case.dt, times=[0.0, case.end], rng=11, store="final", progress=False
    )
    edges = [np.linspace(low, high, bins + 1) for low, high in grid.bounds]
    counts, _, _ = np.histogram2d(*path.positions[-1].T, bins=edges)
    assert counts.sum() == N
    right, wrong = (
        shares(
            rs.FokkerPlanck(system, rs.Grid(system.domain, grid.shape)).evolve(case.start, [0, case.end]).mass[-1], bins
        )
        for system in (case.system, case.mutant)
    )
    fullest = np.argsort(right, axis=None)[-20:]
    share, expected, mutant = (each.ravel()[fullest] for each in (counts / N, right, wrong))
    error = np.sqrt(expected * (1 - expected) / N)
    assert_within(NAME, share, expected, error, case.bias)
    assert_rejected(NAME, mutant, expected, error, case.bias)
