"""``relaxsim doctor``: it finds nothing wrong here, and says what is wrong elsewhere."""

from __future__ import annotations

import importlib

import pytest

from relaxsim.cli import doctor, main


def test_a_healthy_installation(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in (*doctor.PACKAGES, "relaxsim", "python", "processor", "threads", "CUDA"):
        assert f"\n{name:<12} " in f"\n{out}"
    assert "Philox gives its published answer" in out
    assert "ensemble and density agree" in out
    assert out.endswith("everything works\n")


def test_wrong_random_numbers_are_an_illness(monkeypatch, capsys):
    random = importlib.import_module("relaxsim.particles.random")
    monkeypatch.setattr(random, "philox4x32", lambda *_: (0, 0, 0, 1))
    monkeypatch.setattr(doctor, "_ensemble_against_density", lambda: "not run")
    assert doctor.run_doctor() == 1
    out = capsys.readouterr().out
    assert "random       FAILED - ArithmeticError: Philox of zeros is 00000000 00000000 00000000 00000001" in out
    assert "expected 6627e8d5" in out


@pytest.mark.nojit
def test_a_cache_that_cannot_be_written(monkeypatch):
    from relaxsim import _jit

    monkeypatch.setattr(_jit, "cache_directory", lambda: "/proc/nothing")
    assert not doctor._report("cache", doctor._cache)


@pytest.mark.nojit
def test_a_card_that_is_missing_is_no_illness(monkeypatch):
    cuda = importlib.import_module("relaxsim.particles.cuda")
    monkeypatch.setattr(cuda, "SIMULATED", False)
    monkeypatch.setattr(cuda, "provider", lambda: None)
    assert doctor._cuda().startswith("not available, device='cpu' is all there is. device='cuda' needs the package")
    monkeypatch.setattr(cuda, "SIMULATED", True)
    assert doctor._cuda() == "available: CUDA simulator"


@pytest.mark.nojit
def test_whatever_is_missing_is_said(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert doctor._cuda() == "not available (ImportError: No module named 'relaxsim.particles.cuda')"
    assert "llvmlite does not tell" in doctor._processor()
    assert doctor._version("no-such-package") == "missing; python -m pip install no-such-package"
