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


def test_every_statement_passes_and_rejects_its_mutants(tmp_path):
    """One test, so that one worker runs it once, in a process without compiled kernels."""
    file = tmp_path / "found.json"
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "RELAXSIM_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-P", "-c", RUN, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert file.exists(), done.stdout + done.stderr
    rows = {row["id"]: row for row in json.loads(file.read_text(encoding="utf-8"))["statements"]}
    assert set(rows) == set(statements())
    expected = {name: "pending" if row.experiment is None else "passed" for name, row in statements().items()}
    missed = [
        f"{name}: {row['verdict']} {row['message']}" for name, row in rows.items() if row["verdict"] != expected[name]
    ]
    assert not missed, "\n".join(missed)
    assert done.returncode == 0, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("kernels: ")]
    assert int(line.split()[1]) <= MOST_KERNELS
    random = [one for row in rows.values() for one in row["measurements"] if one["stderr"] != 0]
    assert len(random) <= COMPARISONS
