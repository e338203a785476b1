"""``relaxsim schemes``: the table of schemes, from what each says of itself."""

from __future__ import annotations

import math

from relaxsim.particles.schemes import NOISES, registry


def print_schemes() -> int:
    """Print one block a scheme.

    Returns
    -------
    int
        0.
    """
    print('Schemes for simulate(..., scheme="ID"); "auto" takes the first of this list that can run the system.\n')
    head = f"{'id':<26} {'mobility':<22} {'weak':>5} {'rest':>5} {'wall':>5}  {'noise':<34} a step"
    print(head, "-" * len(head), sep="\n")
    for row in sorted(registry().values(), key=lambda row: -row.rank):
        noise = ", ".join(kind for kind in NOISES if kind in row.weak_order)
        weak, rest = row.weak_order["gaussian"], row.invariant_order["gaussian"]
        orders = " ".join(f"{_order(value):>5}" for value in (weak, rest, row.wall_order))
        print(f"{row.id:<26} {row.mobility:<22} {orders}  {noise:<34} {row.evaluations}")
    print(
        "\nweak: order in dt of means at a fixed time, - where the path is not the system's (stationary=True says\n"
        "that only its law is wanted); rest: of the stationary law; wall: of stationary means where the Gibbs law\n"
        "has mass at a reflecting wall with a normal force. Orders are for Gaussian noise;\n"
        "with two-point noise all are 1. What stands below euler-maruyama is never taken by auto.\n"
        "Reflecting walls that K meets obliquely leave euler-maruyama and mala where K is full and symmetric, and\n"
        "where it is K_i(x_i) with an antisymmetric part milstein and euler-maruyama.\n"
        "(S1) to (S12) are the equations of the page 'The steps of the schemes' of the documentation."
    )
    for row in sorted(registry().values(), key=lambda row: -row.rank):
        print(f"  {row.id}: {row.reference}")
    return 0


def _order(value: float) -> str:
    return "exact" if value == math.inf else "-" if value == 0 else f"{value:g}"
