"""Kernels for a graphics card are compiled to PTX, which needs numba-cuda with CUDA's libraries but no card.

Run with ``pytest -m ptx`` where ``relaxsim[cuda12]`` is installed.
"""

import importlib.util
import math
import os
import re

import pytest

import relaxsim as rs
from particles.cuda_cases import SYSTEMS
from relaxsim.particles.schemes import NOISES, registry
from systems import demo_system

pytestmark = [
    pytest.mark.ptx,
    pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"),
    pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="the simulator does not compile"),
]

CAPABILITIES = [(8, 0), (9, 0)]


def ptx(system, scheme="euler-maruyama", capability=(8, 0), **options):
    from relaxsim.particles.cuda_kernel import CudaKernel

    return CudaKernel(system, registry()[scheme], needs_card=False, **options).ptx(capability)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("scheme", registry())
def test_every_scheme(scheme, capability):
    row = registry()[scheme]
    able = [system for system in SYSTEMS.values() if row.why_not(system) is None]
    for dtype, system in zip(("float64", "float32"), (able * 2)[-2:], strict=True):
        found = ptx(system, scheme, capability, dtype=dtype)
        assert set(found) == ({"run"} if row.output is None else {"run", "report"})
        for text in found.values():
            assert f".target sm_{capability[0]}{capability[1]}" in text
            assert ".visible .entry" in text


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_noise(noise, dtype):
    assert ".visible .entry" in ptx(SYSTEMS["turned"], noise=noise, dtype=dtype, count_turns=True)["run"]


@pytest.mark.parametrize("system", ["interval", "turned", "oblique"])
@pytest.mark.parametrize("walls", ["mirror", "lepingle"])
def test_every_kind_of_wall(system, walls):
    assert ".visible .entry" in ptx(SYSTEMS[system], walls=walls, count_turns=True)["run"]


def test_every_elementary_function():
    arguments = {"log": "2 + sin(x)", "sqrt": "2 + sin(x)", "asin": "sin(x)/2", "acos": "sin(x)/2"}
    names = [name for name in rs.elementary.__all__ if name not in ("power", "sign")]
    energy = " + ".join(f"{name}({arguments.get(name, 'x')})" for name in names)
    system = rs.System(f"{energy} + (1 + x**2)**1.7", temperature=0.5)
    assert ".visible .entry" in ptx(system)["run"]
    assert ".visible .entry" in ptx(system, dtype="float32")["run"]


def test_a_thread_needs_no_stack_and_calls_nothing():
    for system in (rs.System("x**4/4 - x**2/2", temperature=0.5), demo_system(), SYSTEMS["machine"]):
        for text in ptx(system, "milstein").values():
            assert ".local" not in text
            assert not re.search(r"\bcall\b", text)


def test_single_precision_computes_the_time_alone_in_double():
    """A constant that is a double would widen all that it meets."""
    text = ptx(demo_system(), "milstein", dtype="float32")["run"]
    assert len(re.findall(r"\b(?:add|mul|fma|div|sqrt)\S*\.f64", text)) <= 2
    double = ptx(demo_system(), "milstein")["run"]
    assert len(re.findall(r"\b(?:add|mul|fma|div|sqrt)\S*\.f64", double)) > 50


def test_functions_that_could_not_be_traced():
    def energy(x):
        return math.cosh(x[0]) if x[0] > 0 else 1.0 + x[0] ** 2 / 2

    def gradient(x):
        return (math.sinh(x[0]) if x[0] > 0 else x[0],)

    system = rs.System(rs.Energy(energy, grad=gradient, dim=1), temperature=0.5)
    assert ".visible .entry" in ptx(system)["run"]

    def opaque(x):
        return (math.sinh(x[0]) if x[0] > 0 else {"x": x[0]}["x"],)

    system = rs.System(rs.Energy(energy, grad=opaque, dim=1), temperature=0.5)
    with pytest.raises(rs.InputError, match=r"gradient.*cannot be compiled for a card"):
        ptx(system)
