"""One system, two executions: the share of the particles in each bin is the mass that the density has there.

For full and turning mobilities, antisymmetric parts, periodic and reflecting walls, and a temperature that falls. Each
comes with the densities of mutants, which the particles must tell from the right one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

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
    """A system, its mutants, a start, the end and the step, and the largest share that the step may misplace.

    Mutants are systems, or make their equation of a grid; `how` goes to `simulate`.
    """

    system: rs.System
    mutants: tuple[rs.System | Callable[[rs.Grid], rs.FokkerPlanck], ...]
    start: object
    end: float
    dt: float
    bias: float
    n: int = N
    how: dict[str, str] = field(default_factory=dict)
    cells: int = 48
    bins: int = 8


def circulating(turning):
    mobility = rs.Mobility.constant([[1.0, 0.3], [0.3, 0.6]])
    mobility = mobility.with_antisymmetric([[0, turning], [-turning, 0]]) if turning else mobility
    return rs.System("(x**2 - 1)**2/2 + y**2/2", mobility, 0.5, rs.Domain([(-3.2, 3.2), (-4, 4)]))


SQUARE = rs.Domain([(-1, 1), (-1, 1)])
OBLIQUE = [["1 + 0.5*sin(x)", "0.4*cos(y)"], ["0.4*cos(y)", "0.8 + 0.3*cos(x)"]]


def boxed(turning):
    """S(x) and A(x), both oblique at walls that four tenths of the mass are next to."""
    mobility = rs.Mobility.tensor(OBLIQUE)
    if turning:
        a = f"{turning}*(1 + 0.5*sin(x + y))"
        mobility = mobility.with_antisymmetric([["0", a], [f"-({a})", "0"]])
    return rs.System("0.5*x + 0.4*y + 0.5*x*y", mobility, 0.8, SQUARE)


def walls_without(system, grid):
    """The same drift and noise, but walls that reflect along S n, as if the antisymmetric part ended before them."""

    def drift(x):
        return tuple(np.moveaxis(system.drift(np.stack(np.broadcast_arrays(*x), axis=-1)), -1, 0))

    covariance = [[f"1.6*({entry})" for entry in row] for row in OBLIQUE]
    return rs.FokkerPlanck.from_drift(drift, covariance, system.domain, grid)


ROOM = rs.Domain([(-1, 1), (-1, 1), (0, 2 * np.pi)], boundary=["reflecting", "reflecting", "periodic"])


def room(sign):
    """A full S(x) in three dimensions; `sign` flips the entries that tie the third axis to the others."""
    tied, lean = f"{sign}*0.45*cos(z)", "0.3 + 0.2*sin(x)"
    rows = [["1 + 0.3*sin(y)", lean, tied], [lean, "0.8 + 0.2*cos(x)", f"{sign}*0.3"], [tied, f"{sign}*0.3", "1"]]
    return rs.System("0.6*x + 0.4*x*y + 0.8*y*cos(z)", rs.Mobility.tensor(rows), 0.8, ROOM)


CASES = {
    "tensor on a torus": lambda: Case(
        rs.System(WAVES, rs.Mobility.tensor(TURNING), 0.6, TORUS),
        (rs.System(WAVES, rs.Mobility.tensor(FLIPPED), 0.6, TORUS),),
        rs.initial.normal([3.0, 3.0], 0.5), 0.6, 4e-3, 3e-4,
    ),
    "antisymmetric part": lambda: Case(
        circulating(1.0), (circulating(0.0),), rs.initial.normal([-1.0, 0.5], 0.4), 0.5, 2.5e-3, 3e-4
    ),
    "reflecting and periodic walls": lambda: Case(
        rs.System("x + cos(y)/2", [0.5, 1.0], 0.8, BOX),
        (rs.System("x + cos(y)/2", [0.5, 1.0], 0.8, rs.Domain([(-1, 1), (0, 2 * np.pi)])),),
        rs.initial.normal([0.2, 1.0], 0.25), 0.5, 2e-3, 1e-3,
    ),
    # Lepingle's push: mirrored particles are off by ten times as much in the corners.
    "tensor and antisymmetric part at reflecting walls": lambda: Case(
        boxed(1.2), (boxed(0.0), boxed(-1.2), partial(walls_without, boxed(1.2))),
        rs.initial.normal([0.35, -0.35], 0.2), 0.3, 1e-3, 6e-4, 2 * N,
        {"scheme": "euler-maruyama", "walls": "lepingle"},
    ),
    "tensor in a room": lambda: Case(
        room(1), (room(-1),),
        rs.initial.normal([0.35, -0.35, 2.0], np.diag([0.04, 0.04, 0.16])), 0.3, 1e-3, 6e-4, 2 * N,
        {"scheme": "euler-maruyama", "walls": "lepingle"}, 36, 4,
    ),
    "falling temperature": lambda: Case(
        rs.System("(x**2 - 1)**2 + y**2/2", [1.0, 0.5], "0.2 + exp(-2*t)", rs.Domain([(-3.2, 3.2)] * 2)),
        (rs.System("(x**2 - 1)**2 + y**2/2", [1.0, 0.5], 1.2, rs.Domain([(-3.2, 3.2)] * 2)),),
        rs.initial.normal([-0.5, 0.5], 0.3), 1.0, 2.5e-3, 3e-4,
    ),
}  # fmt: skip


def shares(mass, bins):
    """Masses summed to equal parts of the box, `bins` an axis."""
    parts = [each for n in mass.shape for each in (bins, n // bins)]
    return mass.reshape(parts).sum(axis=tuple(range(1, 2 * mass.ndim, 2)))


def last_shares(equation, case):
    """What is in the bins at the end."""
    grid = rs.Grid(case.system.domain if callable(equation) else equation.domain, case.cells)
    fp = equation(grid) if callable(equation) else rs.FokkerPlanck(equation, grid)
    return shares(fp.evolve(case.start, [0.0, case.end]).mass[-1], case.bins)


@pytest.mark.parametrize("name", CASES)
def test_ensemble_and_density_fill_the_same_bins(name):
    case = CASES[name]()
    times = [0.0, case.end]
    path = rs.simulate(
        case.system, case.start, n_particles=case.n, dt=case.dt, times=times, rng=11, store="final", progress=False,
        **case.how,
    )  # fmt: skip
    domain = case.system.domain
    edges = [np.linspace(low, high, case.bins + 1) for low, high in zip(domain.lower, domain.upper, strict=True)]
    counts, _ = np.histogramdd(path.positions[-1], bins=edges)
    assert counts.sum() == case.n
    right = last_shares(case.system, case)
    fullest = np.argsort(right, axis=None)[-20:]
    share, expected = (counts / case.n).ravel()[fullest], right.ravel()[fullest]
    error = np.sqrt(expected * (1 - expected) / case.n)
    assert_within(NAME, share, expected, error, case.bias)
    for mutant in case.mutants:
        assert_rejected(NAME, last_shares(mutant, case).ravel()[fullest], expected, error, case.bias)
