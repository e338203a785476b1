"""``relaxsim bench``: how fast relaxsim is on this machine."""

from __future__ import annotations

INTRODUCTION = """\
Ratios of runs that alternate, so that others on this machine disturb little; still, let it be quiet.
Speeds are particle-steps per CPU second of one core, Euler-Maruyama, float64.
"""


def run_bench(quick: bool) -> int:
    """Print the table, row by row.

    Returns
    -------
    int
        0: a slow machine is no error.
    """
    from relaxsim.bench.table import HEADER, records, row

    print(INTRODUCTION)
    print(HEADER, flush=True)
    for record in records(quick):
        print(row(record), flush=True)
    return 0
