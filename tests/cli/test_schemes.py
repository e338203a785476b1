"""``relaxsim schemes`` prints what the registry holds."""

from relaxsim.cli import main
from relaxsim.particles.schemes import registry


def test_every_scheme_has_its_row_and_reference(capsys):
    assert main(["schemes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, row in registry().items():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
        assert f"  {name}: {row.reference}" in lines
