"""The package as shipped: its layout, its metadata, and what importing it costs."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import relaxsim
import relaxsim.errors

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.nojit


def _run_python(code: str) -> str:
    """Output of a fresh interpreter, outside the checkout."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=sysconfig.get_path("purelib"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git checkout")
def test_the_top_level_holds_what_it_should_and_nothing_else():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/", 1)[0] for line in listed.splitlines()}
    folders_and_settings = {"setup.cfg", "pyproject.toml", "relaxsim", "tests", "examples", "docs"}
    documents = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"}
    assert {name for name in top if not name.startswith(".")} == folders_and_settings | documents


def _is_editable() -> bool:
    origin = importlib.metadata.distribution("relaxsim").read_text("direct_url.json")
    return bool(origin and json.loads(origin).get("dir_info", {}).get("editable"))


def test_the_relaxsim_under_test_lies_in_site_packages():
    if _is_editable():
        pytest.skip("editable install: this machine tests the source tree on purpose")
    site_packages = Path(sysconfig.get_path("purelib")).resolve()
    assert Path(relaxsim.__file__).resolve().is_relative_to(site_packages), (
        f"{relaxsim.__file__} is the source tree; install relaxsim and run the pytest script, not python -m pytest"
    )
    assert _run_python("import relaxsim; print(relaxsim.__file__)").strip() == relaxsim.__file__


def test_setup_cfg_holds_package_discovery_and_data_only():
    """And the pytest plugin, which is installed beside the package (`relaxsim_pytest`)."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    data = {"options.package_data", "options.exclude_package_data"}
    assert set(setup.sections()) == {"options", "options.packages.find", *data}
    beside = {"py_modules": "relaxsim_pytest", "package_dir": "\n= relaxsim/plugin\nrelaxsim = relaxsim"}
    assert dict(setup["options"]) == {"packages": "find:", **beside}
    assert setup["options.packages.find"]["include"].split() == ["relaxsim*"]


def test_the_version_stands_in_one_place():
    version = PYPROJECT["project"]["version"]
    assert importlib.metadata.version("relaxsim") == version
    assert relaxsim.__version__ == version
    literal = re.compile(rf"""["']{re.escape(version)}["']""")
    sources = sorted((ROOT / "relaxsim").rglob("*.py"))
    assert [str(path) for path in sources if literal.search(path.read_text(encoding="utf-8"))] == []


def test_dependencies_have_floors_and_no_ceilings():
    project = PYPROJECT["project"]
    assert project["requires-python"] == ">=3.11"
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    ours = [r for requirements in lists for r in requirements if not r.startswith("relaxsim[")]
    assert [r for r in ours if not re.fullmatch(r"[A-Za-z0-9_-]+(\[[a-z0-9]+\])?>=[0-9.]+", r)] == []


def test_what_a_card_needs_comes_with_its_extra_alone():
    extras = PYPROJECT["project"]["optional-dependencies"]
    with_cuda = {name for name, requirements in extras.items() if "cuda" in " ".join(requirements)}
    assert with_cuda == {"cuda12", "cuda13"}
    for name in with_cuda:
        (requirement,) = extras[name]
        assert requirement.startswith(f"numba-cuda[cu{name[4:]}]")


def test_the_type_marker_and_every_module_are_installed():
    installed = Path(relaxsim.__file__).parent
    assert (installed / "py.typed").is_file()
    source = ROOT / "relaxsim"
    missing = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if not (installed / path.relative_to(source)).is_file() and path.parent.name != "plugin"
    ]
    assert missing == []


def test_importing_relaxsim_loads_nothing_heavy():
    heavy = ["dask", "llvmlite", "matplotlib", "numba", "scipy", "sympy", "tqdm"]
    code = f"import sys, relaxsim; print([name for name in {heavy} if name in sys.modules])"
    assert _run_python(code).strip() == "[]"


def test_every_public_name_can_be_had_and_is_listed():
    assert [name for name in relaxsim.__all__ if not hasattr(relaxsim, name)] == []
    assert set(relaxsim.__all__) <= set(dir(relaxsim))
    with pytest.raises(AttributeError, match="no_such_name"):
        relaxsim.no_such_name  # noqa: B018


def _module_level_imports(path: Path) -> set[str]:
    """Top-level packages imported when a module is loaded, outside functions and TYPE_CHECKING blocks."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def test_no_module_imports_a_gpu_package_or_pickle_when_loaded():
    unwanted = {"cupy", "dask", "numba_cuda", "numba_cuda_mlir", "pickle"}
    loaded = {path: _module_level_imports(path) & unwanted for path in (ROOT / "relaxsim").rglob("*.py")}
    assert {str(path): names for path, names in loaded.items() if names} == {}
