"""The numbers that densities promise: times as ratios to products with the same generator, errors, memory, peers.

Run them on a quiet machine: ``pytest -m benchmark tests/benchmarks/test_density.py``; some minutes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.bench import density, density_peers
from relaxsim.bench.record import Record, alternate, at_most, cpu_timed
from relaxsim.bench.table import row

pytestmark = pytest.mark.benchmark


def hold(*records: Record) -> None:
    for record in records:
        print(row(record))
    failed = [row(record) for record in records if record.passed is False]
    assert not failed, "\n".join(failed)
    if all(record.passed is None for record in records):
        pytest.skip(records[0].note)


@pytest.mark.parametrize("task", density.TASKS, ids=lambda task: task.name)
def test_time_and_error(task):
    hold(*density.timed(task))


def test_assembly():
    hold(density.assembled())


def test_memory():
    hold(density.memory())


SLOWER = 1.5  # times the better method, that auto may take


def circulating():
    """A double well with an antisymmetric part, whose complex rates cut Chebyshev segments short."""
    mobility = rs.Mobility.constant(1.0).with_antisymmetric([[0, 1.5], [-1.5, 0]])
    return rs.System("(x**2 - 1)**2 + y**2/2 + 0.3*x*y", mobility, 0.5, rs.Domain([(-2.2, 2.2)] * 2))


@pytest.mark.parametrize(
    ("make", "shape", "until", "count"),
    [
        (density.ornstein_uhlenbeck, (4096,), 0.5, 2),
        (density.double_well, (64, 64), 10.0, 11),
        (density.double_well, (128, 128), 5.0, 2),
        (density.double_well, (128, 128), 50.0, 11),
        (density.double_well, (256, 256), 10.0, 2),
        (density.double_well, (256, 256), 50.0, 2),
        (density.turning_well, (128, 128), 50.0, 2),
        (lambda: density.cube(True), (16, 16, 16), 50.0, 11),
        (circulating, (96, 96), 3.0, 11),
        (circulating, (96, 96), 30.0, 2),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else getattr(value, "__name__", str(value)),
)
def test_auto_takes_the_faster_method(make, shape, until, count):
    """Cases on both sides of where Krylov spaces get cheaper than Chebyshev polynomials."""
    system = make()
    equation, law = rs.FokkerPlanck(system, rs.Grid(system.domain, shape)), density.start(system)

    def run(method):
        return equation.evolve(law, np.linspace(0.0, until, count), method, progress=False)

    names = ("auto", "chebyshev", "krylov")
    seconds = [min(each) for each in alternate(*(cpu_timed(partial(run, name)) for name in names), repeats=3)]
    note = ", ".join(f"{name} {1000 * each:.3g} ms" for name, each in zip(names, seconds, strict=True))
    what = f"auto on {' x '.join(map(str, shape))} to t = {until:g}, {count} times: time over the better method's"
    hold(at_most(what, seconds[0] / min(seconds[1:]), SLOWER, note=f"{note}, by {run('auto').method}"))


@pytest.mark.parametrize("name", density_peers.PEERS)
def test_against(name):
    hold(density_peers.against(name))


# ---- that the programs compared solve the same problem


def test_the_usual_generator_is_one():
    generator = density_peers.usual_generator()
    np.testing.assert_allclose(generator.sum(axis=0), 0, atol=1e-9)
    x, _ = density_peers.axis()
    rest = np.exp(-density_peers.energy(*np.meshgrid(x, x, indexing="ij")) / density.T).ravel()
    assert np.abs(generator @ rest).max() < 1e-9 * np.abs(generator.diagonal() * rest).max()
