"""The registry: every file of statements is named here, and nothing else."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from relaxsim.theorems.check import Statement

# One file a topic; each holds a tuple STATEMENTS.
TOPICS: tuple[str, ...] = (
    "discrete",
    "continuum",
    "covariant",
    "adjoint",
    "dissipation",
    "descent",
    "flux",
    "sde",
    "ensembles",
    "potentials",
    "free_energies",
    "two_layers",
    "walks",
    "mirror",
    "geodesics",
    "diffusion_machines",
    "proximal",
    "continuous_hopfield",
)


@cache
def statements() -> dict[str, Statement]:
    """All statements by id, in the order of TOPICS."""
    rows = [row for topic in TOPICS for row in import_module(f"relaxsim.theorems.{topic}").STATEMENTS]
    found = {row.id: row for row in rows}
    if len(found) != len(rows):
        raise RuntimeError("theorems: two statements share an id")
    return found
