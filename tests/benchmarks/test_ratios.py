"""The numbers that relaxsim promises, each a ratio within one run or a time that people wait.

Run them on a quiet machine: ``pytest -m benchmark tests/benchmarks``. They take about ten minutes.
"""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.bench import ensemble, many, peers, scaling, start
from relaxsim.bench.record import Record, alternate, at_most, cpu_timed
from relaxsim.bench.table import row
from relaxsim.bench.tasks import TASKS
from relaxsim.bench.yardstick import Yardstick
from relaxsim.particles.schemes import choose
from relaxsim.particles.suggest import warn_if_unstable

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def yardstick():
    if not Yardstick.available():
        pytest.skip("no gcc")
    with Yardstick() as compiled:
        yield compiled


def hold(record: Record) -> None:
    """Assert a record; what could not be measured is skipped."""
    print(row(record))
    if record.passed is None:
        pytest.skip(f"{record.name}: {record.note}")
    assert record.passed, row(record)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_speed_over_c(task, yardstick):
    hold(ensemble.against_c(task, yardstick))


@pytest.mark.parametrize("kind", ensemble.FASTER)
def test_weak_noise_and_float32_over_gaussian_float64(kind):
    hold(ensemble.against_gaussian(kind))


def test_many_coordinates_over_c(yardstick):
    hold(many.against_c(yardstick))


def test_a_thousand_coordinates_over_their_matrix_product():
    hold(many.over_product())


@pytest.mark.parametrize("dim", [1, 2, 8, 16])
def test_looking_for_unstable_steps_over_the_run(dim):
    """100 steps of 10^5 particles, a run that nobody waits for."""
    system = rs.System(" + ".join(f"x{k}**4 + cos(x{k})" for k in range(dim)), 1.0, 0.5)
    start = rs.initial.normal([0.0] * dim, 0.3)
    row = choose("euler-maruyama", system)

    def run():
        rs.simulate(system, start, n_particles=100_000, dt=1e-3, times=[0.0, 0.1], rng=1, store="final", threads=1)

    look, whole = alternate(
        cpu_timed(lambda: warn_if_unstable(system, start, 1e-3, 0.0, 1000, 1, row)), cpu_timed(run), repeats=5
    )
    hold(at_most(f"{dim}-D: looking for unstable steps, over the run", min(look) / min(whole), 0.5))


def test_two_threads_over_one(yardstick):
    hold(scaling.two_threads(yardstick))


def test_a_thousand_snapshots_over_one():
    hold(scaling.snapshots())


def test_peak_memory_of_1e8_particles():
    hold(scaling.peak_memory())


def test_first_result_cold_and_warm():
    records = list(start.first_result())
    assert all(record.passed for record in records), "\n".join(map(row, records))


@pytest.mark.parametrize("dim", start.COMPILE)
def test_first_compile(dim):
    hold(start.first_compile(dim))


def test_a_parameter_sweep_compiles_once():
    hold(start.parameter_sweep())


# ---- that the programs compared do run the same task


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_c_and_relaxsim_reach_the_same_mean_square(task, yardstick):
    from_c = yardstick.run(task.id, task.n_particles, ensemble.STEPS).mean_square
    ours = float(np.mean(ensemble.kernel_run(task)() ** 2))
    assert from_c == pytest.approx(task.mean_square, abs=0.02)
    assert ours == pytest.approx(from_c, abs=0.02)


@pytest.mark.parametrize("name", ["NumPy loop", "Numba loop", "Numba + Generator"])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_peers_reach_the_same_mean_square(name, task):
    assert peers.speed(name, task.id, repeats=1)[1] == pytest.approx(task.mean_square, abs=0.06)
