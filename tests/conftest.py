"""Settings and checks of the whole suite: no display, fixed examples, a ceiling on compiled kernels."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# Read when matplotlib, OpenBLAS and Python subprocesses start, all of which comes later.
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two pytest workers would fight for the cores
os.environ["PYTHONSAFEPATH"] = "1"  # `python -m` and `python -c` in tests see the installed relaxsim

settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Different kernels a run may compile in all its workers together: which worker a test goes to is chance.
# Compiling is what makes a suite slow: before raising this, see whether a test can share a system with
# another one, or test the pure step function on NumPy arrays.
MAX_COMPILED_KERNELS = 100

# Tests sent to a worker at once: those that compile stand side by side, and the workers are to share them.
AT_ONCE = 16

_compiled_by_worker: dict[str, list[str]] = {}


def pytest_configure(config):
    """Let workers take tests in small turns, unless the command line says otherwise."""
    if getattr(config.option, "maxschedchunk", 0) is None:
        config.option.maxschedchunk = AT_ONCE


@pytest.fixture(autouse=True)
def _no_figure_is_left_open():
    """Close what a test has drawn."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def _compiled_here() -> list[str]:
    """Modules of the kernels this process compiled, each once: some hold several loops."""
    return sorted(set(getattr(sys.modules.get("relaxsim._jit"), "compiled_kernels", ())))


def _compiled_in_all() -> int:
    return len(set().union(*_compiled_by_worker.values()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take the list of a finished xdist worker."""
    _compiled_by_worker[node.gateway.id] = getattr(node, "workeroutput", {}).get("compiled_kernels", [])


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    """Hand the list on in a worker; in the main process fail the session if there are too many."""
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["compiled_kernels"] = _compiled_here()
        return
    if not _compiled_by_worker:
        _compiled_by_worker["main"] = _compiled_here()
    if _compiled_in_all() > MAX_COMPILED_KERNELS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Say how many kernels were compiled."""
    total = _compiled_in_all()
    counts = ", ".join(f"{worker}: {len(names)}" for worker, names in sorted(_compiled_by_worker.items()))
    terminalreporter.write_line(f"compiled kernels: {total} ({MAX_COMPILED_KERNELS} allowed); {counts}")
    if total > MAX_COMPILED_KERNELS:
        terminalreporter.write_line("ERROR: too many compiled kernels, see tests/conftest.py", red=True)
