"""The numbers that densities promise: times as ratios to products with the same generator, errors, memory, peers.

Run them on a quiet machine: ``pytest -m benchmark tests/benchmarks/test_density.py``; some minutes.
"""

from __future__ import annotations

import numpy as np
import pytest

from relaxsim.bench import density, density_peers
from relaxsim.bench.record import Record
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
