"""``relaxsim doctor``: what relaxsim runs on, and whether it computes."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from relaxsim.errors import GPUUnavailableError
from relaxsim.system.validate import usable_cores

PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "sympy", "matplotlib", "tqdm")

# Known answer of Philox4x32-10 for counter 0 and key 0 (Random123, kat_vectors).
_PHILOX_ZEROS = (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)

_Z = 6.0  # standard errors that the self test allows: its seed is fixed, so it fails by a fault only


def run_doctor() -> int:
    """Print a report.

    Returns
    -------
    int
        0, or 1 if a self test failed or the cache cannot be written.
    """
    for name, value in environment():
        print(f"{name:<12} {value}")
    print()
    healthy = True
    for name, test in (("cache", _cache), ("random", _philox), ("self test", _ensemble_against_density)):
        healthy = _report(name, test) and healthy
    print("\neverything works" if healthy else "\nsomething is wrong, see FAILED above")
    return 0 if healthy else 1


def _report(name: str, test: Callable[[], str]) -> bool:
    try:
        answer, good = test(), True
    except Exception as error:  # a doctor reports every illness
        answer, good = f"{type(error).__name__}: {error}", False
    print(f"{name:<12} {'ok' if good else 'FAILED'} - {answer}")
    return good


def environment() -> list[tuple[str, str]]:
    """List versions, processor, threads and graphics card as pairs of a name and what was found."""
    import relaxsim

    found = [
        ("relaxsim", f"{relaxsim.__version__} in {Path(relaxsim.__file__).parent}"),
        ("python", f"{platform.python_version()} ({platform.python_implementation()}) in {sys.prefix}"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]
    found += [(package, _version(package)) for package in PACKAGES]
    return [*found, ("processor", _processor()), ("threads", _threads()), ("CUDA", _cuda())]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return f"missing; python -m pip install {package}"


def _processor() -> str:
    """Name the CPU as LLVM knows it, with the vector extensions that decide speed."""
    try:
        binding = importlib.import_module("llvmlite.binding")
        features = binding.get_host_cpu_features()
        wide = [name for name in ("neon", "sse4.2", "avx", "avx2", "fma", "avx512f") if features.get(name)]
        return f"{binding.get_host_cpu_name()} ({', '.join(wide) or 'no vector extensions known'})"
    except Exception as error:
        return f"{platform.processor() or 'unknown'} (llvmlite does not tell: {error})"


def _threads() -> str:
    return f"{usable_cores()} usable of {os.cpu_count() or 1}"


def _cuda() -> str:
    """Say whether there is a card for device="cuda"; whatever goes wrong on the way is the answer, not an error."""
    try:
        return f"available: {importlib.import_module('relaxsim.particles.cuda').card()}"
    except GPUUnavailableError as error:
        return f"not available, device='cpu' is all there is. {error}"
    except Exception as error:
        return f"not available ({type(error).__name__}: {error})"


def _cache() -> str:
    """Check that compiled kernels can be kept, or each process compiles anew."""
    import tempfile

    from relaxsim._jit import cache_directory

    folder = Path(cache_directory())
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"relaxsim")
    return f"compiled kernels are kept in {folder}"


def _philox() -> str:
    random = importlib.import_module("relaxsim.particles.random")  # typed by the compiler, not by annotations
    words = tuple(int(word) for word in random.philox4x32(0, 0, 0, 0, 0, 0))
    if words != _PHILOX_ZEROS:
        raise ArithmeticError(
            f"Philox of zeros is {' '.join(f'{word:08x}' for word in words)}, "
            f"expected {' '.join(f'{word:08x}' for word in _PHILOX_ZEROS)}"
        )
    return "Philox gives its published answer"


def _ensemble_against_density() -> str:
    """Run an Ornstein-Uhlenbeck process of 2000 particles and 100 steps both ways and compare."""
    import numpy as np

    import relaxsim as rs

    start = time.perf_counter()
    system = rs.System(rs.Energy("x**2/2"), temperature=1.0, domain=rs.Domain([(-6.0, 6.0)]))
    initial, times = rs.initial.normal([1.0], 0.5), [0.0, 0.5, 1.0]
    ensemble = rs.simulate(system, initial, n_particles=2000, dt=0.01, times=times, rng=1, progress=False)
    density = rs.FokkerPlanck(system, rs.Grid(system.domain, shape=(120,))).evolve(initial, times, progress=False)
    micro = rs.track(ensemble)
    macro = rs.track(density, like=micro)
    z = float(np.max(np.abs(micro.free_energy - macro.free_energy) / micro.free_energy_stderr))
    if not z < _Z:
        raise ArithmeticError(f"ensemble and density differ by {z:.1f} standard errors in F, expected less than {_Z:g}")
    seconds = time.perf_counter() - start
    return f"ensemble and density agree (F within {z:.1f} standard errors; {seconds:.1f} s, compiling included)"
