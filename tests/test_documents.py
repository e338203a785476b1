"""The README and the tutorial do what they say: their commands can be cut out, their code runs."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _run(code: str, folder: Path) -> str:
    """Run a script in a fresh interpreter, in an empty folder."""
    script = folder / "script.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "-W", "error", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _rst_code(path: Path) -> str:
    """All Python blocks of a page, joined in their order."""
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)",
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    return "\n".join(textwrap.dedent(block) for block in blocks)


def test_the_readme_has_exactly_two_commands():
    marked = re.findall(r"^<!-- command: (\w+) -->\n```bash\n(.+)\n```$", README, flags=re.MULTILINE)
    assert [name for name, _ in marked] == ["demo", "test"]
    assert README.count("<!-- command:") == 2
    (_, demo), (_, test) = marked
    assert demo.startswith("python3 -m venv ")
    assert demo.endswith("relaxsim demo")
    assert ".[test]" in test
    assert "pytest" in test
    assert "python -m pytest" not in test  # would import the checkout instead of the installed copy


def test_the_pictures_and_pages_the_readme_names_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_example_runs_as_written(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 24
    _run(code, tmp_path)
    assert (tmp_path / "relaxation.png").stat().st_size > 10_000


def test_the_scheme_of_the_contributing_page_is_a_scheme():
    from relaxsim.particles.schemes import registry

    class Model:
        temperature = 0.5

        def drift(self, x, t):
            return [-x[0], -2 * x[1]]

        def kick(self, x, t, noise):
            return [x[1] * noise[0], noise[1]]

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    written, shipped = namespace["SCHEME"], registry()["euler-maruyama"]
    assert dataclasses.replace(written, step=shipped.step) == shipped
    start, noise = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[0.3, 0.1], [-1.0, 2.0]])
    new = written.step(Model(), start, 0.0, 0.01, noise)
    np.testing.assert_allclose(new[0], start[0] * 0.99 + 0.1 * start[1] * noise[0], rtol=1e-14)
    np.testing.assert_array_equal(new, shipped.step(Model(), start, 0.0, 0.01, noise))


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tmp_path):
    code = _rst_code(ROOT / "docs" / "tutorial.rst")
    assert "simulate(" in code
    _run(code, tmp_path)
