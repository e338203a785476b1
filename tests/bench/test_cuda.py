"""The benchmark on a graphics card, as far as it can be tried without one."""

from __future__ import annotations

import importlib
import subprocess

import numpy as np
import pytest

from relaxsim.bench import cuda
from relaxsim.bench.tasks import TASKS
from relaxsim.cli import main


@pytest.mark.nojit
def test_without_a_card_nothing_is_measured(monkeypatch, capsys):
    adapter = importlib.import_module("relaxsim.particles.cuda")
    monkeypatch.setattr(adapter, "SIMULATED", False)
    monkeypatch.setattr(adapter, "provider", lambda: None)
    (record,) = cuda.records(quick=True)
    assert record.value is None
    assert "needs the package numba-cuda" in record.note
    assert main(["bench", "cuda", "--quick"]) == 0
    assert "speed on a graphics card" in capsys.readouterr().out


@pytest.mark.slow
def test_the_program_in_cpp_compiles():
    if not cuda.CudaYardstick.available():
        pytest.skip("no nvcc")
    with cuda.CudaYardstick("sm_80") as yardstick:
        done = subprocess.run([yardstick.program, "T1", "100", "1"], capture_output=True, text=True)
        assert done.returncode == 2
        assert "multiples of 256" in done.stderr


@pytest.mark.cudasim
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_tasks_run_from_their_start(task):
    run = cuda.kernel_run(task, 256, steps=2)
    first = run()
    assert first.shape == (task.dim, 256)
    assert np.abs(first - task.start).max() < 0.3
    assert len(np.unique(first)) == first.size
    assert np.array_equal(run(), first)
