"""The references and tasks of the benchmark of densities, without timing anything."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from relaxsim.bench import density, density_peers
from relaxsim.bench.table import row

pytestmark = pytest.mark.nojit


@pytest.mark.parametrize("name", ["diagonal_t1", "diagonal_t50", "tensor_t1"])
def test_references_are_laws(name):
    masses = density.legendre_masses(name, (64, 48))
    assert masses.sum() == pytest.approx(1.0, abs=1e-7)
    assert masses.min() > -1e-7
    fine = density.legendre_masses(name, (128, 96))
    np.testing.assert_allclose(fine.reshape(64, 2, 48, 2).sum(axis=(1, 3)), masses, atol=1e-8)


def test_the_late_reference_is_near_rest():
    """Two methods that share nothing: the law at t = 50 is Gibbs but for exp(-50 gap)."""
    task = density.TASKS[1]
    fp = density.equation(task)
    gap = fp.spectrum(2).gap
    distance = np.abs(density.legendre_masses("diagonal_t50", task.shape) - fp.gibbs).sum()
    assert distance < 5 * np.exp(-50 * gap)
    assert distance > 0.1 * np.exp(-50 * gap)


def test_the_normal_reference():
    masses = density.normal_masses((200,))
    x = -8 + 16 * (np.arange(200) + 0.5) / 200
    assert masses.sum() == pytest.approx(1.0, abs=1e-9)
    assert masses @ x == pytest.approx(2 / np.e, abs=1e-9)
    assert masses @ x**2 - (masses @ x) ** 2 == pytest.approx(1 - 0.75 * np.exp(-2) + 0.08**2 / 12, abs=1e-6)


def test_errors_fall_as_the_width_squared():
    """A coarse run of the first task of the plane: what the benchmark calls the error is one."""
    errors = []
    for cells in (24, 48):
        task = density.Task("", density.double_well, (cells, cells), 1.0, 1.0)
        path = density.equation(task).evolve(density.start(task.system()), [0.0, 1.0])
        errors.append(np.abs(path.mass[-1] - density.legendre_masses("diagonal_t1", task.shape)).sum())
    assert errors[1] < 1e-3
    assert 3.0 < errors[0] / errors[1] < 5.0


def test_every_task_can_be_built():
    for task in (*density.TASKS, density.ASSEMBLY):
        small = density.Task(task.name, task.system, tuple(min(n, 20) for n in task.shape), task.until, 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # so few cells do not resolve the wells
            assert density.equation(small).generator.shape[0] == np.prod(small.shape)


def test_what_is_allowed_follows_the_products():
    task = density.TASKS[2]
    assert density.allowed(task, 327_000) == pytest.approx(0.6 / 0.85, rel=0.01)


def test_crank_nicolson_solves_the_same_problem():
    error = density_peers.error_of(density_peers.crank_nicolson(density_peers.start_masses()), density_peers.CELLS)
    assert 1e-3 < error < 2e-3


def test_peers_that_are_missing_are_told(monkeypatch):
    monkeypatch.setattr(density_peers, "installed", lambda name: False)
    record = density_peers.against("FiPy")
    assert record.passed is None
    assert "fipy is not installed" in row(record)


def test_the_command_knows_densities():
    done = subprocess.run([sys.executable, "-m", "relaxsim", "bench", "--help"], capture_output=True, text=True)
    assert "density" in done.stdout


def test_the_slow_peers_are_left_out_of_a_quick_run():
    assert set(density_peers.SLOW) < set(density_peers.PEERS)
