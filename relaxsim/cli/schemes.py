"""``relaxsim schemes``: the table of schemes, from what each says of itself."""

from __future__ import annotations

from relaxsim.particles.schemes import NOISES, registry


def print_schemes() -> int:
    """Print one block a scheme.

    Returns
    -------
    int
        0.
    """
    print('Schemes for simulate(..., scheme="ID"); "auto" takes the first of this list that can run the system.\n')
    head = f"{'id':<21} {'mobility':<22} {'weak':>5} {'rest':>5} {'wall':>5}  {'noise':<34} cost of a step"
    print(head, "-" * len(head), sep="\n")
    for row in sorted(registry().values(), key=lambda row: -row.rank):
        noise = ", ".join(kind for kind in NOISES if kind in row.weak_order)
        weak, rest = row.weak_order["gaussian"], row.invariant_order["gaussian"]
        orders = f"{weak:>5g} {rest:>5g} {row.wall_order:>5g}"
        print(f"{row.id:<21} {row.mobility:<22} {orders}  {noise:<34} {row.evaluations}")
    print(
        "\nweak: order in dt of means at a fixed time; rest: of the stationary law; wall: of stationary means where\n"
        "the Gibbs law has mass at a reflecting wall with a normal force. Orders are for Gaussian noise; with\n"
        "two-point noise all are 1. lamperti is never taken by auto."
    )
    for row in sorted(registry().values(), key=lambda row: -row.rank):
        print(f"  {row.id}: {row.reference}")
    return 0
