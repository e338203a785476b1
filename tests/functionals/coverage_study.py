"""How often the intervals of the estimators hold the truth: the study behind the table in the docs.

Run as a script it writes that table (about 15 minutes of one core)::

    python tests/functionals/coverage_study.py --repeats 500 --out docs/coverage.csv

One row a law, estimator and number of points: the share of repeats whose 95 % interval holds the exact value (nominal:
from the standard error alone; widened: by the bias bound on both sides), the mean error and standard deviation, the
mean stated standard error and bias bound, and the share of results marked bias-limited.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relaxsim.functionals import entropy, kl_between, kl_to_gibbs
from relaxsim.system.energy import Energy
from relaxsim.system.system import System

COLUMNS = (
    "quantity", "law", "dim", "n", "method",
    "repeats", "nominal", "widened", "bias", "sd", "stderr", "bound", "limited",
)  # fmt: skip
SEED = 20261122  # of the table; drawn after the estimators were fixed
WELL = 0.45  # standard deviation of each well of the bimodal law, at -1 and +1 along the first axis
WELLS = 0.4  # weight of the one at -1
SHIFT, SPREAD = 0.5, 1.2  # mean and standard deviation along every axis of the law that KL is taken to


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    quantity: str
    law: str
    dim: int
    n: int
    method: str

    @property
    def key(self):
        return (self.quantity, self.law, str(self.dim), str(self.n), self.method)

    @property
    def plane(self):
        """Whether the nominal interval has to hold: in one and two dimensions."""
        return self.dim <= 2


CASES = [
    Case("entropy", law, dim, n, method)
    for law in ("gaussian", "bimodal")
    for dim, method, sizes in (
        (1, "histogram", (2000, 20_000)),
        (1, "neighbours", (2000, 20_000)),
        (1, "kernel", (2000,)),
        (2, "histogram", (2000, 20_000)),
        (2, "neighbours", (2000, 20_000)),
        (2, "kernel", (2000,)),
        (3, "histogram", (2000,)),
        (3, "neighbours", (2000,)),
        (4, "neighbours", (2000, 10_000)),
        (8, "neighbours", (2000,)),
    )
    for n in sizes
] + [
    Case(quantity, law, dim, 5000, method)
    for quantity, laws in (
        ("KL to Gibbs", ("gaussian", "bimodal")),
        ("KL to Gibbs at rest", ("gaussian",)),
        ("KL of two ensembles", ("gaussian", "bimodal")),
    )
    for law in laws
    for dim, method in ((1, "histogram"), (1, "neighbours"), (2, "histogram"), (2, "neighbours"), (4, "neighbours"))
]


def draw(law, n, dim, rng):
    x = rng.standard_normal((n, dim))
    if law == "bimodal":
        x[:, 0] = WELL * x[:, 0] + np.where(rng.random(n) < WELLS, -1.0, 1.0)
    return x


def axis_density(law, t):
    if law == "gaussian":
        return np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    wells = [w * np.exp(-(((t - m) / WELL) ** 2) / 2) for w, m in ((WELLS, -1.0), (1 - WELLS, 1.0))]
    return sum(wells) / math.sqrt(2 * math.pi) / WELL


def exact(case):
    """The true value."""
    t = np.linspace(-12.0, 12.0, 240_001)
    p = axis_density(case.law, t)
    first = -float(np.trapezoid(p * np.log(np.maximum(p, 1e-300)), t))
    normal = 0.5 * math.log(2 * math.pi * math.e)
    h = first + (case.dim - 1) * normal
    if case.quantity == "entropy":
        return h
    spread, shift = (1.0, 0.0) if case.quantity.endswith("at rest") else (SPREAD, SHIFT)
    second = float(np.trapezoid(p * (t - shift) ** 2, t)) + (case.dim - 1) * (1.0 + shift**2)
    return second / (2 * spread**2) + case.dim * 0.5 * math.log(2 * math.pi * spread**2) - h


def measure(case, rng, gibbs):
    x = draw(case.law, case.n, case.dim, rng)
    if case.quantity == "entropy":
        return entropy(x, method=case.method, workers=1)
    if case.quantity == "KL of two ensembles":
        y = SHIFT + SPREAD * rng.standard_normal((case.n, case.dim))
        return kl_between(x, y, method=case.method, workers=1)
    log_z = case.dim * 0.5 * math.log(2 * math.pi * gibbs.temperature)
    return kl_to_gibbs(x, gibbs, method=case.method, log_partition=log_z, workers=1)


def run(case, repeats, seed):
    """One row as a dict of numbers."""
    spread, shift = (1.0, 0.0) if case.quantity.endswith("at rest") else (SPREAD, SHIFT)
    energy = " + ".join(f"(x{i} - {shift})**2/2" for i in range(case.dim))
    gibbs = System(Energy(energy), temperature=spread**2)
    rng = np.random.default_rng([*map(ord, "".join(case.key)), seed])
    truth = exact(case)
    found = [measure(case, rng, gibbs) for _ in range(repeats)]
    values, stderrs, bounds = (np.array([getattr(e, k) for e in found]) for k in ("value", "stderr", "bias_bound"))
    nominal = np.mean([e.interval()[0] <= truth <= e.interval()[1] for e in found])
    widened = np.mean([e.widened()[0] <= truth <= e.widened()[1] for e in found])
    limited = np.mean([e.bias_limited for e in found])
    numbers = (
        repeats, nominal, widened, values.mean() - truth, values.std(ddof=1), stderrs.mean(), bounds.mean(), limited
    )  # fmt: skip
    return dict(zip(COLUMNS[5:], map(float, numbers), strict=True))


def read(path):
    """The table as a dict: key of the case -> row."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {tuple(row[c] for c in COLUMNS[:5]): {c: float(row[c]) for c in COLUMNS[5:]} for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="run rows whose key holds this text, such as 'entropy gaussian 1'")
    parser.add_argument(
        "--rows", default=":", help="rows first:last of the table, to share the work; a row has its own draws"
    )
    asked = parser.parse_args()
    rows = []
    for case in CASES[slice(*(int(end) if end else None for end in asked.rows.split(":")))]:
        if asked.only not in " ".join(case.key):
            continue
        row = run(case, asked.repeats, SEED)
        shares, errors = ("nominal", "widened", "limited"), ("bias", "sd", "stderr", "bound")
        text = {**{c: f"{row[c]:.3f}" for c in shares}, **{c: f"{row[c]:.4f}" for c in errors}}
        rows.append([*case.key, str(asked.repeats), *(text[c] for c in COLUMNS[6:])])
        print(*rows[-1], file=sys.stderr, flush=True)
    with asked.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
