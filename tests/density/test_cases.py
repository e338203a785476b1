"""Reference cases with known digits: Gibbs laws, the diffusion machine, Ornstein-Uhlenbeck with circulation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import relaxsim as rs

pytestmark = pytest.mark.nojit

DATA = Path(__file__).resolve().parents[1] / "data"


def cases(file):
    return {case["id"]: case for case in json.loads((DATA / file).read_text())["cases"]}


GIBBS, MACHINE, OU = cases("gibbs.json"), cases("diffusion_machine.json"), cases("ou.json")
TEXTS = {
    "dw_T0.25": "x**4/4 - x**2/2",
    "dw_T0.5": "x**4/4 - x**2/2",
    "dw_T1": "x**4/4 - x**2/2",
    "harmonic": "3*x**2/2",
    "pure_quartic": "x**4",
    "tilted_dw": "x**4/4 - x**2/2 + x/5",
    "von_mises": "cos(x)",
    "periodic_P1": "cos(x) + 0.5*sin(2*x)",
    "coupled_dw_2d": "x**4/4 - x**2/2 + y**4/4 - y**2/2 - 0.3*x*y",
}


def planck(system, cells):
    grid = rs.Grid(system.domain, cells) if system.domain.bounded else rs.Grid.covering(system, cells, tail=1e-12)
    return rs.FokkerPlanck(system, grid)


def averages(fp, mass):
    """Means of what the cases name, with the second moment of a uniform cell where it matters."""
    x, y = fp.grid.points.T if fp.grid.dim == 2 else (fp.grid.points[:, 0], None)
    spread = fp.grid.spacing**2 / 12
    p = mass.ravel()
    found = {
        "<x>": p @ x,
        "<x^1>": p @ x,
        "<x^2>": p @ x**2 + spread[0],
        "<x^3>": p @ x**3 + 3 * spread[0] * (p @ x),
        "<x^4>": p @ x**4 + 6 * spread[0] * (p @ x**2),
        "<cos x>": p @ np.cos(x),
        "<sin x>": p @ np.sin(x),
        "<cos 2x>": p @ np.cos(2 * x),
    }
    if y is not None:
        found |= {"<y>": p @ y, "<xy>": p @ (x * y), "<y^2>": p @ y**2 + spread[1]}
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_the_law_at_rest_of_known_energies(name):
    case = GIBBS[name]
    domain = rs.Domain([(0, 2 * np.pi)], boundary="periodic") if "periodic" in case["domain"] else None
    system = rs.System(TEXTS[name], temperature=case["T"], domain=domain)
    fp = planck(system, 120 if system.dim == 2 else 1500)
    expect = case["expect"]
    assert fp.log_partition == pytest.approx(math.log(expect["Z"]["value"]), abs=1e-8)
    found = averages(fp, fp.stationary().mass)
    compared = [key for key in expect if key in found]
    assert compared
    for key in compared:
        assert found[key] == pytest.approx(expect[key]["value"], abs=2e-3 if system.dim == 2 else 5e-5)


@pytest.mark.parametrize("name", ["dm_linear", "dm_quad", "dm_cosine", "dm_2d"])
def test_the_machine_at_rest(name):
    texts = {
        "dm_linear": "x",
        "dm_quad": "4*(x - 1/3)**2",
        "dm_cosine": "cos(2*pi*x)",
        "dm_2d": "(x - y)**2 + x*y/2 - y/5",
    }
    case = MACHINE[name]
    dim = 2 if name == "dm_2d" else 1
    mobility = [f"2*{case.get('beta', 1.0)}*{z}*(1 - {z})" for z in "xy"[:dim]]
    system = rs.System(texts[name], rs.Mobility.diagonal(*mobility), case["T"], rs.Domain.hypercube(dim))
    fp = planck(system, 80 if dim == 2 else 600)
    expect = case["expect"]
    assert fp.log_partition == pytest.approx(math.log(expect["Z"]["value"]), abs=1e-9)
    found = averages(fp, fp.stationary().mass)
    for key in set(found) & set(expect):
        assert found[key] == pytest.approx(expect[key]["value"], abs=1e-4)


def machine(case, cells):
    mobility = rs.Mobility.diagonal(f"2*{case['beta']}*x*(1 - x)")
    return planck(rs.System("0*x", mobility, case["T"], rs.Domain.hypercube(1)), cells)


def test_the_flat_machine_relaxes_as_a_legendre_polynomial():
    case = MACHINE["dm_flat_relax"]
    times = [each["t"] for each in case["expect"]]
    errors = []
    for cells in (50, 100, 200):
        fp = machine(case, cells)
        x = fp.grid.centers[0]
        start = (1 + 0.9 * (2 * x - 1)) / cells
        path = fp.evolve(start, times)
        record = rs.track(path)
        exact = np.array([each["KL"]["value"] for each in case["expect"]])
        errors.append(np.abs(record.kl - exact).max())
        np.testing.assert_allclose(
            path.mass @ x, [each["<x>"]["value"] for each in case["expect"]], atol=1.0 / cells**2
        )
    assert errors[-1] < 2e-5
    assert errors[0] / errors[-1] > 12


def test_the_flat_machine_from_a_point():
    case = MACHINE["dm_flat_point"]
    times = [each["t"] for each in case["expect"]]
    fp = machine(case, 400)
    x = fp.grid.centers[0]
    start = np.where(np.abs(x - case["x0"]) < 0.6 / 400, 0.5, 0.0)  # the point is a face: half on either side
    assert start.sum() == 1
    path = fp.evolve(start, [0.0, *times])
    for mass, expect in zip(path.mass[1:], case["expect"], strict=True):
        assert mass @ x == pytest.approx(expect["<x>"]["value"], abs=2e-5)
        assert mass @ (x - 0.5) ** 2 == pytest.approx(expect["<(x-1/2)^2>"]["value"], abs=2e-5)


@pytest.mark.parametrize("name", ["ou2d_nonrev", "ou2d_rotation"])
def test_circulating_ornstein_uhlenbeck(name):
    """Means, covariances and KL; A is larger than S here, and part of the links are upwinded."""
    case = OU[name]
    H, K, T = (np.array(case[key]) for key in ("H", "K", "T"))
    energy = f"{H[0, 0]}*x**2/2 + {H[0, 1]}*x*y + {H[1, 1]}*y**2/2"
    S, A = (K + K.T) / 2, (K - K.T) / 2
    system = rs.System(energy, rs.Mobility.constant(S).with_antisymmetric(A), float(T), rs.Domain([(-6, 6)] * 2))
    start = rs.initial.normal(np.array(case["p0"]["mean"]), np.array(case["p0"]["cov"]))
    late = case["expect"][2]
    errors = []
    for cells in (48, 96):
        path = planck(system, (cells, cells)).evolve(start, [0.0, late["t"]])
        p, points = path.mass[-1].ravel(), path.grid.points
        mean = p @ points
        cov = (points - mean).T @ ((points - mean) * p[:, None])
        errors.append(
            [
                np.abs(mean - late["mean"]["value"]).max(),
                np.abs(cov - late["cov"]["value"]).max(),
                abs(rs.track(path).kl[-1] - late["KL"]["value"]),
            ]
        )
    coarse, fine = np.array(errors)
    assert np.all(fine < 0.03)
    assert np.all(fine < coarse)
    assert fine.sum() < 0.4 * coarse.sum()
