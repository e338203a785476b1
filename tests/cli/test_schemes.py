"""``relaxsim schemes`` prints what the registry holds."""

import re
from pathlib import Path

from relaxsim.cli import main
from relaxsim.particles.schemes import registry


def test_every_scheme_has_its_row_and_reference(capsys):
    assert main(["schemes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, row in registry().items():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
        assert f"  {name}: {row.reference}" in lines


def test_the_step_of_every_scheme_has_its_equation_on_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs/scheme_steps.rst").read_text(encoding="utf-8")
    equations = dict(re.findall(r"^([a-z0-9-]+)\n-{3,}\n.*?\\tag\{(S\d+)\}", page, flags=re.MULTILINE | re.DOTALL))
    assert equations == {name: row.reference.split("step (")[-1].rstrip(")") for name, row in registry().items()}
    assert len(set(equations.values())) == len(registry())
