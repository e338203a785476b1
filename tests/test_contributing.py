"""The scheme of the contributing page is a scheme: it is cut out, run, and checked; its mutants are rejected."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs

PAGE = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def written(folder, code):
    """The names of a file with this code; a step must have a file, from which it is compiled."""
    import importlib.util

    path = folder / "my_scheme.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("my_scheme", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_scheme_of_the_page_passes_its_check(tmp_path, capsys):
    scheme, check = BLOCKS
    body = scheme[scheme.index("def step") :].splitlines()
    assert len([line for line in body if line.strip()]) <= 22
    written(tmp_path, f"{scheme}\n\n{check}")
    printed = capsys.readouterr().out
    assert printed.startswith("scheme 'predictor-corrector'")
    for line in (
        "invariant order, gaussian",
        "weak order, three-point",
        "order at a wall",
        "invariant order, gaussian, 2-D",
    ):
        (found,) = [row for row in printed.splitlines() if row.startswith(f"{line}  ")]
        assert found.endswith("passed")


def test_the_scheme_of_the_page_runs_where_it_may(tmp_path):
    scheme = written(tmp_path, BLOCKS[0]).SCHEME
    circle = rs.System("cos(x) + 0.5*sin(2*x)", 1.0, 0.8, rs.Domain([(0, 2 * np.pi)], boundary="periodic"))
    path = rs.simulate(circle, rs.initial.uniform(), n_particles=256, dt=0.05, times=[0, 1], scheme=scheme, rng=1)
    assert path.scheme == "predictor-corrector"
    varying = circle.replace(mobility="1 + sin(x)/2")
    with pytest.raises(rs.IncompatibleSchemeError, match="its mobility is not constant"):
        rs.simulate(varying, rs.initial.uniform(), n_particles=256, dt=0.05, times=[0, 1], scheme=scheme, rng=1)


MUTANTS = {
    "drift of the start only": ("0.5 * h * (drift[a] + sign[a] * ahead[a])", "h * drift[a]"),
    "corrector without the noise": ("h * drift[a] + sqrt(h) * kick[a] for", "h * drift[a] for"),
    "a wall that does not turn the drift": ("sign[a] * ahead[a]", "ahead[a]"),
}


@pytest.mark.nojit
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_of_the_scheme_are_rejected(tmp_path, name):
    right, wrong = MUTANTS[name]
    assert BLOCKS[0].count(right) == 1
    report = rs.testing.check_scheme(written(tmp_path, BLOCKS[0].replace(right, wrong)).SCHEME, compiled=False)
    failed = [check.name for check in report.checks if check.passed is False]
    expected = "order at a wall" if "wall" in name else "weak order, gaussian"
    assert expected in failed
    with pytest.raises(rs.CheckFailedError, match="FAILED"):
        report.raise_if_failed()


@pytest.mark.nojit
def test_a_claim_that_is_too_high_is_rejected(tmp_path):
    scheme = written(tmp_path, BLOCKS[0]).SCHEME
    bold = dataclasses.replace(scheme, weak_order={"gaussian": 3}, invariant_order={"gaussian": 3})
    report = rs.testing.check_scheme(bold, compiled=False)
    failed = [check.name for check in report.checks if check.passed is False]
    assert {"weak order, gaussian", "invariant order, gaussian"} <= set(failed)
