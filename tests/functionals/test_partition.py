"""ln Z by quadrature against reference numbers, by annealing against closed forms; F both ways."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from relaxsim.errors import InputError
from relaxsim.functionals import Estimate, free_energy, log_partition
from relaxsim.system.domain import Domain
from relaxsim.system.system import System
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.nojit

CASES = json.loads((Path(__file__).parents[1] / "data" / "gibbs.json").read_text(encoding="utf-8"))["cases"]
TEXTS = {
    "3 x^2/2": "3*x**2/2",
    "x^4/4-x^2/2+y^4/4-y^2/2-0.3xy": "x**4/4 - x**2/2 + y**4/4 - y**2/2 - 0.3*x*y",
    "cos x": "cos(x)",
    "cos x + 0.5 sin 2x": "cos(x) + 0.5*sin(2*x)",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_gibbs_cases(case):
    domain = Domain([(0, 2 * math.pi)], boundary="periodic") if "periodic" in case["domain"] else None
    text = TEXTS.get(case["E"], case["E"].replace("^", "**"))
    found = log_partition(System(text, temperature=case["T"], domain=domain))
    truth = math.log(case["expect"]["Z"]["value"])
    assert found.method == "quadrature"
    assert found.stderr == 0.0
    assert abs(found.value - truth) <= found.bias_bound * 1.01 < 1e-10


def wells(dim, tilt, **options):
    text = " + ".join(f"(x{i}**2 - 1)**2" for i in range(dim)) + f" + {tilt}*x0"
    system = System(text, temperature=0.5, **options)
    limits = (system.domain.lower[0], system.domain.upper[0])
    low, high = np.clip(limits, -6, 6)

    def axis(a):
        return math.log(quad(lambda x: math.exp(-((x * x - 1) ** 2 + a * x) / 0.5), low, high)[0])

    return system, axis(tilt) + (dim - 1) * axis(0.0)


@pytest.mark.parametrize("method", ["annealed", "thermodynamic"])
@pytest.mark.parametrize("box", [None, Domain.hypercube(4)], ids=["free", "box"])
def test_ln_z_of_sixteen_wells(method, box):
    system, truth = wells(4, 0.2, domain=box)
    found = log_partition(system, method=method, n_walkers=2000, levels=60)
    assert 0.0 < found.stderr < 0.1
    assert_within("partition: many dimensions", found.value, truth, found.stderr, found.bias_bound)
    if method == "annealed":
        cold = log_partition(system.replace(temperature=0.4), method=method, n_walkers=2000, levels=60)
        assert_rejected("partition: many dimensions", cold.value, truth, cold.stderr, cold.bias_bound)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("x1**2 + x2**2 + x3**2 - 0.5*x0**2", "not normalisable"),
        ("x1**2 + x2**2 + x3**2 + 0*x0", "not normalisable"),
        ("0.1*log(1 + x0**2) + x1**2 + x2**2 + x3**2", "not normalisable"),
    ],
)
def test_a_law_that_cannot_be_normalised_is_nan(text, cause):
    with pytest.warns(UserWarning, match=cause):
        found = log_partition(System(text, temperature=1.0))
    assert math.isnan(found.value)


def test_bad_input():
    system, _ = wells(4, 0.0)
    with pytest.raises(InputError, match="quadrature serves up to 3"):
        log_partition(system, method="quadrature")
    with pytest.raises(InputError, match="did you mean 'annealed'"):
        log_partition(system, method="anneal")
    with pytest.raises(InputError, match="n_walkers"):
        log_partition(system, n_walkers=10)
    with pytest.raises(InputError, match="not normalisable"):
        log_partition(System("-x**2", temperature=1.0))
    with pytest.raises(InputError, match="depend on time"):
        log_partition(System("x**2*(1 + t)", temperature=1.0))


# ---------------------------------------------------------------------------------------------- free energy


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_free_energy_both_ways(dim):
    system = System(" + ".join(f"x{i}**2/2" for i in range(dim)), temperature=0.7)
    x = 0.5 + np.random.default_rng(dim).standard_normal((4000, dim))
    truth = dim * (1.25 / 2 - 0.7 * 0.5 * math.log(2 * math.pi * math.e))
    log_z = Estimate(dim * 0.5 * math.log(2 * math.pi * 0.7), 0.0, 0.0, "closed form")
    found = free_energy(x, system, log_partition=log_z)
    for way in (found.from_entropy, found.from_kl):
        assert_within("free energy: both ways", way.value, truth, way.stderr, way.bias_bound)
    assert found.agree is True
    assert found.best.stderr < 0.05
    assert found.energy.value - 0.7 * found.entropy.value == pytest.approx(found.from_entropy.value, rel=1e-12)
    assert 0.7 * (found.kl.value - found.log_partition.value) == pytest.approx(found.from_kl.value, rel=1e-12)
    # A wrong ln Z is told.
    wrong = free_energy(x, system, log_partition=log_z.value + 0.8)
    assert wrong.agree is False
    way = wrong.from_kl
    assert_rejected("free energy: both ways", way.value, truth, way.stderr, way.bias_bound)


def test_free_energy_of_a_point_law():
    system = System("x**2/2", temperature=1.0)
    with pytest.warns(UserWarning, match="all 200 points are the same"):
        found = free_energy(np.ones(200), system)
    assert math.isnan(found.from_entropy.value)
    assert found.agree is None
