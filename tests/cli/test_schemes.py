"""``relaxsim schemes`` prints what the registry holds."""

import re
from pathlib import Path

import relaxsim as rs
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


def test_who_serves_walls_that_k_meets_obliquely_is_as_the_legend_says(capsys):
    main(["schemes"])
    legend = " ".join(capsys.readouterr().out.split())
    assert "leave euler-maruyama and mala where K is full and symmetric, and where it is K_i(x_i) with" in legend
    walls = rs.Domain([(-3, 3), (-3, 3)])
    full = rs.Mobility.tensor([["1", "0.3*sin(x)"], ["0.3*sin(x)", "1"]])
    turning = rs.Mobility.diagonal("1 + sin(x)**2", "1").with_antisymmetric([["0", "0.5"], ["-0.5", "0"]])
    able = {
        name: {row.id for row in registry().values() if row.why_not(rs.System("x**2 + y**2", k, 0.5, walls)) is None}
        for name, k in (("full", full), ("turning", turning))
    }
    assert able == {"full": {"euler-maruyama", "mala"}, "turning": {"euler-maruyama", "milstein"}}
