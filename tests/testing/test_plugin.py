"""The pytest plugin and the test of the documentation, each in a project of its own."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "relaxsim" / "plugin"

USES = """
def test_{name}(relaxsim_budget):
    share = relaxsim_budget.spend()
    assert share == {alpha} / {assertions}
"""
LOOKS = """
import sys

def test_nothing_of_relaxsim_is_loaded():
    assert [name for name in sys.modules if name.split(".")[0] == "relaxsim"] == []
    assert "relaxsim_pytest" in sys.modules

def test_the_fixture_loads_it(relaxsim_budget):
    assert "relaxsim.testing.budget" in sys.modules
"""


def documented() -> tuple[str, str]:
    """The test and the settings that the page on testing shows."""
    page = (ROOT / "docs" / "testing.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"\.\. code-block:: (python|ini)\n\n((?:    .*\n|\n)+)", page)
    first = {kind: re.sub(r"(?m)^    ", "", text) for kind, text in reversed(blocks)}
    return first["python"], first["ini"]


def environment(**more: str) -> dict[str, str]:
    """Of the child: no settings of this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return {**kept, **more}


def run(folder: Path, *arguments: str, files: dict[str, str]) -> tuple[int, str]:
    """Write a project and run its tests in this environment; the exit code and what was printed."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    registered = importlib.metadata.entry_points(group="pytest11", name="relaxsim")
    load = [] if registered else ["-p", "relaxsim_pytest"]
    path = os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH", "")]))  # of this tree
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *load, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(PYTHONPATH=path))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.nojit
def test_it_loads_nothing_of_relaxsim_until_its_fixture_is_used_and_shares_what_the_project_declares(tmp_path):
    settings = "[pytest]\nrelaxsim_alpha = 1e-4\nrelaxsim_assertions = 2\n"
    tests = LOOKS + "".join(USES.format(name=name, alpha=1e-4, assertions=2) for name in "abc")
    code, text = run(tmp_path, files={"pytest.ini": settings, "test_it.py": tests})
    assert code == 1
    assert "1 failed, 4 passed" in text
    assert "FAILED test_it.py::test_c - relaxsim.errors.InputError: Budget: all" in text
    assert "relaxsim_budget: 2 of 2 statistical assertions, false-alarm rate of all 0.0001" in text


@pytest.mark.slow
def test_defaults_and_bad_settings(tmp_path):
    code, text = run(tmp_path, files={"test_it.py": USES.format(name="a", alpha=1e-6, assertions=100)})
    assert code == 0, text
    assert "relaxsim_budget: 1 of 100 statistical assertions, false-alarm rate of all 1e-08" in text
    code, text = run(tmp_path, files={"pytest.ini": "[pytest]\nrelaxsim_alpha = 7\nrelaxsim_assertions = many\n"})
    assert code == pytest.ExitCode.USAGE_ERROR
    wrong = (
        "relaxsim_assertions: got 'many', expected a number such as 100; relaxsim_alpha: got 7, expected a rate above 0"
    )
    assert text.count("ERROR") == 1
    assert wrong in text
    assert "Traceback" not in text
    code, text = run(tmp_path, files={"pytest.ini": "", "test_it.py": "def test_nothing(): pass"})
    assert code == 0
    assert "relaxsim_budget:" not in text


TOML = {
    "a number": ("[tool.pytest]\nrelaxsim_alpha = 1e-4\nrelaxsim_assertions = 2\n", pytest.ExitCode.OK, ""),
    "text": ('[tool.pytest]\nrelaxsim_alpha = "1e-4"\nrelaxsim_assertions = "2"\n', pytest.ExitCode.OK, ""),
    "old": ('[tool.pytest.ini_options]\nrelaxsim_alpha = "1e-4"\nrelaxsim_assertions = "2"\n', pytest.ExitCode.OK, ""),
    "broken": (
        "[tool.pytest]\nrelaxsim_assertions = 2.5\n",
        pytest.ExitCode.USAGE_ERROR,
        "relaxsim_assertions: got 2.5, expected an integer of at least 1",
    ),
    "a list": (
        "[tool.pytest]\nrelaxsim_alpha = [1e-4]\n",
        pytest.ExitCode.USAGE_ERROR,
        "relaxsim_alpha: expected a number such as 1e-06",
    ),
}


@pytest.mark.nojit
@pytest.mark.parametrize(
    "form", [pytest.param("a number"), *(pytest.param(f, marks=pytest.mark.slow) for f in list(TOML)[1:])]
)
def test_settings_in_toml(form, tmp_path):
    settings, expected, message = TOML[form]
    files = {"pyproject.toml": settings, "test_it.py": USES.format(name="a", alpha=1e-4, assertions=2)}
    code, text = run(tmp_path, files=files)
    assert code == expected, text
    assert message in text


@pytest.mark.slow
def test_workers_share_it(tmp_path):
    """Each of two workers stays below what is declared; both together do not."""
    tests = "".join(USES.format(name=name, alpha=1e-6, assertions=3) for name in "abcd")
    settings = "[pytest]\nrelaxsim_assertions = {}\n"
    files = {"pytest.ini": settings.format(3), "test_it.py": tests}
    code, text = run(tmp_path, "-n", "2", files=files)
    assert code == 1, text
    assert "4 passed" in text
    assert "relaxsim_budget: 4 of 3" in text
    assert "the workers together made more than relaxsim_assertions declares" in text
    files = {"pytest.ini": settings.format(4), "test_it.py": tests.replace("/ 3", "/ 4")}
    code, text = run(tmp_path, "-n", "2", files=files)
    assert code == 0, text
    assert "relaxsim_budget: 4 of 4 statistical assertions, false-alarm rate of all 1e-06" in text


@pytest.mark.slow
def test_the_documented_test_works_where_the_wheel_is_installed(tmp_path):
    """A fresh environment that has relaxsim from the wheel; its dependencies are lent by this one."""
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "docs")
    shutil.copytree(ROOT, source, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("relaxsim-*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    installed = subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-compile", "--target", site, wheel],
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    assert (site / "relaxsim_pytest.py").is_file()
    assert not (site / "relaxsim" / "plugin").exists()
    (site / "lent.pth").write_text(sysconfig.get_path("purelib"))
    project = tmp_path / "project"
    project.mkdir()
    test, settings = documented()
    wrong = test.replace("[0, 1, 2, 20]", "[0, 1, 2]")
    assert wrong != test
    files = {"pytest.ini": settings, "test_right.py": test, "test_wrong.py": wrong, "test_loading.py": LOOKS}
    for name, text in files.items():
        (project / name).write_text(text)
    done = {}
    for name, more in (("right", []), ("wrong", []), ("loading", []), ("left out", ["-p", "no:relaxsim"])):
        file = "test_right.py" if more else f"test_{name}.py"
        command = [python, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *more, file]
        env = environment(PYTHONPATH="", RELAXSIM_CACHE_DIR=os.environ.get("RELAXSIM_CACHE_DIR", str(tmp_path)))
        done[name] = subprocess.run(command, cwd=project, capture_output=True, text=True, env=env)
    assert done["loading"].returncode == 0, done["loading"].stdout
    assert done["right"].returncode == 0, done["right"].stdout
    assert "relaxsim_budget: 1 of 10 statistical assertions, false-alarm rate of all 1e-07" in done["right"].stdout
    assert done["wrong"].returncode == 1, done["wrong"].stdout
    assert "CheckFailedError: assert_gibbs: the law of 20000 particles at t = 2 is not" in done["wrong"].stdout
    assert done["left out"].returncode == 1
    assert "fixture 'relaxsim_budget' not found" in done["left out"].stdout
