"""The time of a proximal step, as a ratio to products with the generator of the same grid.

Run it on a quiet machine: ``pytest -m benchmark tests/benchmarks/test_proximal.py``; some seconds.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import relaxsim as rs

pytestmark = pytest.mark.benchmark

BEST_OF = 5
BOX = {"domain": rs.Domain([(-3, 3)] * 2)}
TORUS = {"domain": rs.Domain([(-3, 3)] * 2, boundary="periodic")}
MATRIX = {"mobility": [[1.0, 0.4], [0.4, 0.8]]}
# energy, domain and mobility, and how many times the 1000 products with its generator a step may take
SYSTEMS = {
    "separable": ("(x**2 - 1)**2/4 + y**2/2", BOX, 1.0),
    "matrix": ("(x**2 - 1)**2/4 + y**2/2", BOX | MATRIX, 5.0),
    "matrix on a torus": ("cos(pi*x/3) + cos(2*pi*y/3)/2", TORUS | MATRIX, 6.0),
}


def best(action):
    found = []
    for _ in range(BEST_OF):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_step_on_64_by_64_cells(name):
    energy, parts, ratio = SYSTEMS[name]
    system = rs.System(energy, temperature=0.5, **parts)
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 64))
    law = rs.initial.normal([-0.8, 0.4], 0.4).masses(system, fp.grid)
    law = law / law.sum()
    step = best(lambda: fp.proximal(law, [0.0, 0.1], step=0.1, epsilon=0.01))
    path = fp.proximal(law, [0.0, 0.1], step=0.1, epsilon=0.01)
    flat = law.ravel()
    generator = fp.generator

    def products():
        p = flat
        for _ in range(1000):
            p = generator @ p

    many = best(products)
    print(f"{name}: a step of {path.iterations[0]} passes: {step:.4f} s, {step / many:.2f} of 1000 products")
    assert np.all(np.isfinite(path.mass))
    assert step < ratio * many
