"""Asking for a graphics card where there is none, and not asking for one."""

import subprocess
import sys

import pytest

import relaxsim as rs
from particles.cuda_cases import CASES, SYSTEMS
from relaxsim.particles.schemes import NOISES, registry

RUN = {"n_particles": 128, "dt": 0.1, "times": [0.0, 0.1], "rng": 1}


@pytest.fixture
def adapter(monkeypatch):
    from relaxsim.particles import cuda

    monkeypatch.setattr(cuda, "SIMULATED", False)
    return cuda


def test_without_numba_cuda_the_message_has_the_pip_line(adapter, monkeypatch):
    monkeypatch.setattr(adapter, "provider", lambda: None)
    with pytest.raises(rs.GPUUnavailableError, match=r"python -m pip install 'numba-cuda\[cu12\]'"):
        rs.simulate(rs.System("x**2", temperature=1.0), rs.initial.point(0.0), device="cuda", **RUN)


class Broken:
    """What numba.cuda is where driver or libraries are missing."""

    def __init__(self, available):
        self.is_available = available

    def cuda_error(self):
        return "CUDA driver library cannot be found.\nEnsure that it is there."


def raising():
    raise OSError("libcuda.so.1: no such file")


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("available", "reason"), [(lambda: False, "driver library cannot be found. Ensure"), (raising, "OSError: libcuda")]
)
def test_without_a_card_the_message_says_what_the_driver_says(adapter, monkeypatch, available, reason):
    monkeypatch.setattr(adapter, "provider", lambda: "0.30.4")
    monkeypatch.setattr(adapter, "cuda", Broken(available))
    with pytest.raises(rs.GPUUnavailableError, match=rf"numba-cuda 0\.30\.4 says: .*{reason}.*device='cpu'"):
        adapter.card()


@pytest.mark.nojit
def test_other_devices_are_refused():
    with pytest.raises(rs.InputError, match="device: expected 'cpu' or 'cuda', got 'gpu'"):
        rs.simulate(rs.System("x**2", temperature=1.0), rs.initial.point(0.0), device="gpu", **RUN)


@pytest.mark.nojit
def test_importing_relaxsim_does_not_touch_cuda():
    touched = "any(name.startswith(('numba.cuda', 'cuda')) for name in sys.modules)"
    code = f"import sys, relaxsim; relaxsim.simulate; sys.exit({touched})"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    there = code.replace("relaxsim.simulate", "from relaxsim.particles import cuda")
    assert subprocess.run([sys.executable, "-c", there]).returncode == 1


@pytest.mark.nojit
def test_kernels_for_a_card_are_tried_with_every_scheme_noise_and_wall():
    """A scheme that none of the systems suits would not be tried, and nobody would know."""
    assert {scheme for scheme, _, _ in CASES} == set(registry())
    assert {noise for _, _, noise in CASES} == set(NOISES)
    kinds = {kind for _, system, _ in CASES for kind in SYSTEMS[system].domain.boundary}
    assert kinds == {"unbounded", "periodic", "reflecting"}
