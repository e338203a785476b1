"""The examples do what they say: each runs on its quick setting, asserts what it shows, and writes no file unasked."""

import ast
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
RUN_FILES = sorted(EXAMPLES.glob("*.toml"))


def name_of(path):
    return path.name


def run(folder, *command):
    """Run a command in another folder, as a user would; its output, if it succeeds."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_there_are_examples():
    assert {path.stem for path in SCRIPTS} >= {"double_well", "first_passage", "muller_brown", "ornstein_uhlenbeck"}
    assert RUN_FILES


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_every_picture_has_a_name_of_its_own(script):
    """The documentation shows the figures that a script has given names, and none in a dict or a list."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    named = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets)
    }
    calls = [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    pictures = [call for name, call in calls if name == "Figure" or name.startswith("rs.plotting.")]
    assert pictures
    assert [ast.unparse(call) for call in pictures if id(call) not in named] == []


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_asserts_what_it_shows_and_writes_only_where_asked(script, tmp_path):
    assert run(tmp_path, sys.executable, "-W", "error", script, "--quick", "--save", "pictures")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    pictures = list((tmp_path / "pictures").iterdir())
    assert len(pictures) == 3
    assert all(picture.suffix == ".png" and picture.stat().st_size > 10_000 for picture in pictures)


@pytest.mark.slow
@pytest.mark.parametrize("run_file", RUN_FILES, ids=name_of)
def test_a_run_file_passes_its_checks(run_file, tmp_path):
    command = Path(sysconfig.get_path("scripts")) / "relaxsim"
    printed = run(tmp_path, command, "run", run_file, "--quick", "--out", "results")
    assert printed.count("passed") >= 3
    assert "FAILED" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_is_a_page_of_the_gallery(path):
    """The gallery takes the title from the docstring and the text from comment blocks."""
    text = path.read_text(encoding="utf-8")
    title, underline = text.removeprefix('"""\n').splitlines()[:2]
    assert set(underline) == {"="}
    assert len(underline) == len(title)
    assert text.count("# %%\n") >= 4
    assert "assert " in text
