"""``relaxsim demo``: one system, run both ways, in one picture."""

from __future__ import annotations

from pathlib import Path

from relaxsim.cli import config, run

# The configuration of the demo is a run file like any other: the demo leaves it behind, ready to be changed.
DEMO = """
[system]
energy = "(x**2 - 1)**2 + y**2/2 + 0.3*x*y"
mobility = ["1 + sin(x)**2/2", "1 + sin(y)**2/2"]
temperature = 0.5

[domain]
bounds = [[-3.0, 3.0], [-3.0, 3.0]]
boundary = "reflecting"

[initial]
kind = "normal"
mean = [-1.0, 0.0]
scale = 0.3

[times]
values = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]

[particles]
n = 50000
dt = 1e-3
seed = 1

[density]
shape = [96, 96]

[output]
density_at = 1.0

[check]
monotone = true
agreement = true

[quick]
times = {values = [0.0, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0]}
particles = {n = 10000, dt = 4e-3}
density = {shape = [32, 32]}
"""

INTRODUCTION = """\
A double well, E = (x^2 - 1)^2 + y^2/2 + 0.3 x y at T = 0.5, whose mobility depends on the place.
It starts in the left well and relaxes to the Gibbs law exp(-E/T)/Z, computed twice: as an ensemble of
particles (a stochastic differential equation) and as a density (its Fokker-Planck equation).
"""

EXPLANATION = """
The two know nothing of each other, and agree: diff/se is their difference in standard errors of the
ensemble, and numbers within about +-3 are what chance alone makes. F falls to -T ln Z and KL to zero,
and never rise on the way: see {folder}/relaxation.png and density.png.
Change the system in {folder}/resolved.toml, then: relaxsim run {folder}/resolved.toml
"""

DISAGREEMENT = """
Ensemble and density should agree and do not, see the failed check above. With --seed another than 1 that is
one chance in a million; otherwise something is wrong with this installation: run relaxsim doctor.
"""


def run_demo(out: str | None, quick: bool, seed: int | None, threads: int | None) -> int:
    """Run the demo.

    Returns
    -------
    int
        0, or 1 if ensemble and density disagree.
    """
    settings = [
        f"particles.{key}={value}" for key, value in (("seed", seed), ("threads", threads)) if value is not None
    ]
    resolved = config.resolve(config.parse(DEMO), settings, quick)
    folder = Path(out) if out is not None else Path("relaxsim-demo")
    print(INTRODUCTION)
    code = run.execute(resolved, folder)
    print(DISAGREEMENT if code else EXPLANATION.format(folder=folder))
    return code
