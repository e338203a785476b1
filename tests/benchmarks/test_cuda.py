"""The speeds promised on a graphics card.

Run them on a card that nobody else uses: ``pytest -m "benchmark and gpu" tests/benchmarks``.
"""

from __future__ import annotations

import numpy as np
import pytest

from relaxsim.bench import cuda
from relaxsim.bench.table import row
from relaxsim.bench.tasks import TASKS
from relaxsim.errors import GPUUnavailableError

pytestmark = [pytest.mark.benchmark, pytest.mark.gpu]


@pytest.fixture(scope="module", autouse=True)
def card():
    from relaxsim.particles.cuda import SIMULATED, card

    try:
        name = card()
    except GPUUnavailableError as error:
        pytest.skip(str(error))
    if SIMULATED:
        pytest.skip("the simulator has no speed")
    return name


def test_speed_over_cpp_and_jax():
    found = list(cuda.records())
    print("\n".join(map(row, found)))
    assert all(record.passed is not False for record in found), "\n".join(map(row, found))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_cpp_and_relaxsim_reach_the_same_mean_square(task):
    if not cuda.CudaYardstick.available():
        pytest.skip("no nvcc")
    n = 102400
    with cuda.CudaYardstick() as yardstick:
        from_cpp = yardstick.run(task.id, n, cuda.STEPS).mean_square
    ours = float(np.mean(cuda.kernel_run(task, n)() ** 2))
    assert from_cpp == pytest.approx(task.mean_square, abs=0.02)
    assert ours == pytest.approx(from_cpp, abs=0.02)
