"""The page on steepest descent and manifolds does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "proximal.rst"


def test_the_code_of_the_page_runs(tmp_path):
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(blocks) == 5
    script = tmp_path / "script.py"
    script.write_text("\n".join(textwrap.dedent(block) for block in blocks), encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "proximal.png").stat().st_size > 10_000
