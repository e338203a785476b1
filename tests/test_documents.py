"""The README and the tutorial do what they say: their commands can be cut out, their code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

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
        r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)",
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


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tmp_path):
    code = _rst_code(ROOT / "docs" / "tutorial.rst")
    assert "simulate(" in code
    _run(code, tmp_path)


@pytest.mark.slow
def test_the_page_on_densities_runs_as_written(tmp_path):
    code = _rst_code(ROOT / "docs" / "density.rst")
    assert "committor(" in code
    _run(code, tmp_path)


@pytest.mark.parametrize(
    "page",
    [
        "api/observables",
        "testing",
        pytest.param("instruments", marks=pytest.mark.slow),
        pytest.param("reconstruction", marks=pytest.mark.slow),
    ],
)
def test_other_pages_run_as_written(tmp_path, page):
    code = _rst_code(ROOT / "docs" / f"{page}.rst")
    assert "import relaxsim as rs" in code
    _run(code, tmp_path)


def test_every_public_name_is_in_the_api_reference():
    import relaxsim as rs

    pages = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "api").glob("*.rst")))
    documented = set(
        re.findall(r"^\.\. auto(?:class|exception|function):: relaxsim\.([\w.]+)$", pages, flags=re.MULTILINE)
    )
    modules = set(re.findall(r"^\.\. automodule:: ([\w.]+)$", pages, flags=re.MULTILINE))
    for name in sorted(set(rs.__all__) - {"__version__"}):
        thing = getattr(rs, name)
        if not isinstance(thing, types.ModuleType):
            assert name in documented or thing.__module__ in modules, name
            assert thing.__doc__, name
        elif thing.__name__ not in modules:
            functions = {
                f"{name}.{each}" for each in thing.__all__ if isinstance(getattr(thing, each), types.FunctionType)
            }
            assert functions <= documented | {f"{name}.{each}" for each in documented}


def test_the_table_of_schemes_is_made_from_the_registry(monkeypatch):
    from relaxsim.particles.schemes import registry

    page = (ROOT / "docs" / "schemes.rst").read_text(encoding="utf-8")
    assert page.count("\n.. scheme-table::\n") == 1
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import scheme_table

    rows = {row[0].removesuffix(" (at rest only)"): row for row in scheme_table.rows()}
    assert list(rows) != sorted(rows)  # by rank
    assert set(rows) == set(registry())
    assert rows["milstein"][2:4] == ("gaussian: 1, 1; three-point: 1, 1", "1")
    assert all(f"- {name}: {row.reference}" in scheme_table.source() for name, row in registry().items())
    guidance = page.split(".. scheme-table::")[1]
    assert [name for name in registry() if name not in guidance.lower()] == []
    assert (ROOT / "docs" / "_static" / "work_precision.png").stat().st_size > 20_000


@pytest.mark.nojit
def test_the_error_at_a_wall_is_what_the_theory_page_says():
    """The stationary law of Euler-Maruyama with a mirror at both walls, from its one-step transition law."""
    from relaxsim.particles.schemes import registry

    class Model:  # E = 2x, K = 1, T = 1/2
        def drift(self, x, t):
            return [-2.0 + 0.0 * x[0]]

        def kick(self, x, t, noise):
            return [noise[0]]

    step = registry()["euler-maruyama"].step
    n, mean_error, layer_error = 500, [], []
    x = (np.arange(n) + 0.5) / n
    gibbs = np.exp(-4 * x) / np.exp(-4 * x).sum()
    for h in (0.02, 0.01, 0.005, 0.0025):
        (middle,) = step(Model(), [x], 0.0, h, [0.0])
        (one_off,) = step(Model(), [x], 0.0, h, [1.0])
        images = np.concatenate([[2 * k + x, 2 * k - x] for k in (-1, 0, 1)])
        law = np.exp(-0.5 * ((images[:, :, None] - middle) / (one_off - middle)) ** 2).sum(axis=0)
        law /= law.sum(axis=0)
        for _ in range(12):
            law = law @ law
        layer = np.clip(np.sqrt(h) * n - np.arange(n), 0.0, 1.0)  # the part of each cell that is in the layer
        mean_error.append((law[:, 0] - gibbs) @ x / h)
        layer_error.append(1 - (layer @ law[:, 0]) / (layer @ gibbs))
    np.testing.assert_allclose(mean_error, 1.0, atol=0.03)
    np.testing.assert_allclose(layer_error, [0.120, 0.088, 0.064, 0.046], atol=1.5e-3)
    page = " ".join((ROOT / "docs" / "theory.rst").read_text(encoding="utf-8").split())
    assert "too high by about :math:`h`" in page
    assert "12.0, 8.8, 6.4 and 4.6 %" in page
