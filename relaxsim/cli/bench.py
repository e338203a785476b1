"""``relaxsim bench``: how fast relaxsim is on this machine."""

from __future__ import annotations

INTRODUCTION = """\
Ratios of runs that alternate, so that others on this machine disturb little; still, let it be quiet.
Speeds are particle-steps per CPU second of one core, Euler-Maruyama, float64.
"""
DENSITIES = """\
CPU seconds of one core, as ratios to 1000 products of the same generator with a vector, and L1 errors of cell masses.
"""


def run_bench(quick: bool, what: str = "all", out: str = "work_precision.png") -> int:
    """Print the table, row by row.

    Parameters
    ----------
    quick : bool
        Fewer and smaller runs.
    what : {"all", "schemes", "density", "cuda"}
        Speeds of ensembles, the bias of each scheme against its time, times and errors of densities, or speeds on a
        graphics card.
    out : str
        Where the picture of the schemes goes.

    Returns
    -------
    int
        0: a slow machine is no error.
    """
    if what == "schemes":
        return run_schemes(quick, out)
    from relaxsim.bench.table import HEADER, records, row

    if what == "cuda":
        from relaxsim.bench.cuda import records
    elif what == "density":
        from relaxsim.bench.density import records

        print(DENSITIES)
    else:
        print(INTRODUCTION)
    print(HEADER, flush=True)
    for record in records(quick):
        print(row(record), flush=True)
    return 0


def run_schemes(quick: bool, out: str) -> int:
    """Print and draw what each scheme's bias costs.

    Returns
    -------
    int
        0.
    """
    from relaxsim.bench import schemes
    from relaxsim.bench.table import row

    found = list(schemes.lines(quick))
    print(schemes.table(found))
    if not quick:
        print(row(schemes.second_order_pays()))
    schemes.picture(found).savefig(out)
    print(f"picture: {out}")
    return 0
