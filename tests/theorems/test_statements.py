"""Every registered statement passes on the full setting and rejects its mutants, with few compiled kernels.

On the quick setting `relaxsim verify --quick --mutants` says the same; CI runs that as a step of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from relaxsim.theorems import statements
from relaxsim.theorems.check import COMPARISONS

pytestmark = pytest.mark.slow

MOST_KERNELS = 8
RUN = """
import sys
from relaxsim._jit import compiled_kernels
from relaxsim.cli import main
code = main(["verify", "--full", "--mutants", "--json", sys.argv[1]])
print("kernels:", len(set(compiled_kernels)))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `relaxsim verify --full --mutants` found in a process without compiled kernels, by id."""
    folder = tmp_path_factory.mktemp("verify")
    file = folder / "found.json"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "RELAXSIM_CACHE_DIR": str(folder)}
    command = [sys.executable, "-P", "-c", RUN, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)
    assert file.exists(), done.stdout + done.stderr
    rows = {row["id"]: row for row in json.loads(file.read_text(encoding="utf-8"))["statements"]}
    return done, rows


@pytest.mark.parametrize("name", statements())
def test_it_passes_and_rejects_its_mutants(found, name):
    row = found[1][name]
    expected = "pending" if statements()[name].experiment is None else "passed"
    assert row["verdict"] == expected, row["message"]


def test_few_kernels_are_compiled(found):
    (line,) = [line for line in found[0].stdout.splitlines() if line.startswith("kernels: ")]
    assert int(line.split()[1]) <= MOST_KERNELS


def test_the_comparisons_share_the_risk(found):
    """As many random comparisons as the registry grants, or fewer."""
    random = [one for row in found[1].values() for one in row["measurements"] if one["stderr"] != 0]
    assert len(random) <= COMPARISONS
