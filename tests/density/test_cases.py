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


def misfits(fp, expect):
    """How far ln Z, F, energy, entropy and averages at rest are from those of a case, by name."""
    record = rs.track(fp.evolve(fp.stationary().mass, [0.0]))
    found = averages(fp, fp.stationary().mass)
    found |= {"<E>": record.energy[0], "entropy": record.entropy[0], "F_eq": record.free_energy[0]}
    off = {key: abs(found[key] - expect[key]["value"]) for key in set(found) & set(expect)}
    return {"ln Z": abs(fp.log_partition - math.log(expect["Z"]["value"])), **off}


def known(name, heat=1.0):
    """The equation of a case of gibbs.json at `heat` times its temperature."""
    case = GIBBS[name]
    domain = rs.Domain([(0, 2 * np.pi)], boundary="periodic") if "periodic" in case["domain"] else None
    system = rs.System(TEXTS[name], temperature=heat * case["T"], domain=domain)
    return planck(system, 120 if system.dim == 2 else 1500)


@pytest.mark.parametrize("name", TEXTS)
def test_the_law_at_rest_of_known_energies(name):
    expect = GIBBS[name]["expect"]
    off = misfits(known(name), expect)
    assert off.pop("ln Z") < 1e-8
    assert off.get("F_eq", 0.0) < 1e-8
    assert len(off) >= 2
    assert max(off.values()) < (2e-3 if name == "coupled_dw_2d" else 5e-5), off
    hotter = misfits(known(name, heat=1.02), expect)  # the mutant
    assert hotter.pop("ln Z") > 1e-4
    assert max(hotter.values()) > 4e-3, hotter


MACHINES = {
    "dm_linear": "x",
    "dm_quad": "4*(x - 1/3)**2",
    "dm_cosine": "cos(2*pi*x)",
    "dm_2d": "(x - y)**2 + x*y/2 - y/5",
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_machine_at_rest(name):
    case = MACHINE[name]
    dim = 2 if name == "dm_2d" else 1
    mobility = [f"2*{case.get('beta', 1.0)}*{z}*(1 - {z})" for z in "xy"[:dim]]

    def off(heat):
        system = rs.System(MACHINES[name], rs.Mobility.diagonal(*mobility), heat * case["T"], rs.Domain.hypercube(dim))
        return misfits(planck(system, 80 if dim == 2 else 600), case["expect"])

    right, hotter = off(1.0), off(1.02)
    assert right.pop("ln Z") < 1e-9
    assert max(right.values()) < 1e-4, right
    assert hotter.pop("ln Z") > 1e-4
    assert max(hotter.values()) > 1e-3, hotter


def machine(case, cells, speed=1.0):
    mobility = rs.Mobility.diagonal(f"{2 * speed}*{case['beta']}*x*(1 - x)")
    return planck(rs.System("0*x", mobility, case["T"], rs.Domain.hypercube(1)), cells)


def test_the_flat_machine_relaxes_as_a_legendre_polynomial():
    case = MACHINE["dm_flat_relax"]
    times = [each["t"] for each in case["expect"]]

    def off(cells, speed=1.0):
        fp = machine(case, cells, speed)
        x = fp.grid.centers[0]
        path = fp.evolve((1 + 0.9 * (2 * x - 1)) / cells, times)
        return (
            np.abs(rs.track(path).kl - [each["KL"]["value"] for each in case["expect"]]).max(),
            np.abs(path.mass @ x - [each["<x>"]["value"] for each in case["expect"]]).max() * cells**2,
        )

    errors, means = np.transpose([off(cells) for cells in (50, 100, 200)])
    assert errors[-1] < 2e-5
    assert errors[0] / errors[-1] > 12
    assert np.all(means < 1)
    assert off(200, speed=1.01)[0] > 1e-4  # the mutant: one per cent too fast
    assert off(200, speed=1.01)[1] > 4


def test_the_flat_machine_from_a_point():
    case = MACHINE["dm_flat_point"]
    times = [each["t"] for each in case["expect"]]

    def off(speed):
        fp = machine(case, 400, speed)
        x = fp.grid.centers[0]
        start = np.where(np.abs(x - case["x0"]) < 0.6 / 400, 0.5, 0.0)  # the point is a face: half on either side
        assert start.sum() == 1
        mass = fp.evolve(start, [0.0, *times]).mass[1:]
        found = np.stack([mass @ x, mass @ (x - 0.5) ** 2], axis=-1)
        expected = [[each[key]["value"] for key in ("<x>", "<(x-1/2)^2>")] for each in case["expect"]]
        return np.abs(found - expected).max()

    assert off(1.0) < 2e-5
    assert off(1.01) > 1e-4


@pytest.mark.parametrize("name", ["ou2d_nonrev", "ou2d_rotation"])
def test_circulating_ornstein_uhlenbeck(name):
    """Means, covariances and KL; A is larger than S here, and part of the links are upwinded."""
    case = OU[name]
    H, K, T = (np.array(case[key]) for key in ("H", "K", "T"))
    energy = f"{H[0, 0]}*x**2/2 + {H[0, 1]}*x*y + {H[1, 1]}*y**2/2"
    S, A = (K + K.T) / 2, (K - K.T) / 2
    start = rs.initial.normal(np.array(case["p0"]["mean"]), np.array(case["p0"]["cov"]))
    late = case["expect"][2]

    def off(cells, turning):
        mobility = rs.Mobility.constant(S).with_antisymmetric(turning * A)
        system = rs.System(energy, mobility, float(T), rs.Domain([(-6, 6)] * 2))
        path = planck(system, (cells, cells)).evolve(start, [0.0, late["t"]])
        p, points = path.mass[-1].ravel(), path.grid.points
        mean = p @ points
        cov = (points - mean).T @ ((points - mean) * p[:, None])
        return np.array(
            [
                np.abs(mean - late["mean"]["value"]).max(),
                np.abs(cov - late["cov"]["value"]).max(),
                abs(rs.track(path).kl[-1] - late["KL"]["value"]),
            ]
        )

    coarse, fine = off(48, 1.0), off(96, 1.0)
    assert np.all(fine < 0.03)
    assert np.all(fine < coarse)
    assert fine.sum() < 0.4 * coarse.sum()
    for turning in (0.8, -1.0):  # mutants: it turns more slowly, or the other way
        assert np.max(off(96, turning)) > 0.06
