"""Densities of Ornstein-Uhlenbeck systems against the closed form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

from density.support import coarsened, gaussian_masses
from relaxsim import Domain, FokkerPlanck, Grid, Mobility, System
from relaxsim.system.relative_entropy import kl_divergence

CASES = {
    case["id"]: case for case in json.loads((Path(__file__).parent.parent / "data" / "ou.json").read_text())["cases"]
}


class Gaussian:
    """m = e^{-KHt} m0, C = T/H + e^{-KHt} (C0 - T/H) e^{-KHt}^T and the free energy of that law."""

    def __init__(self, case):
        self.T = case["T"]
        self.H = np.atleast_2d(case["H"])
        self.K = np.atleast_2d(case["K"])
        self.mean0 = np.array(case["p0"]["mean"])
        self.covariance0 = np.atleast_2d(case["p0"]["cov"]).reshape(self.H.shape)
        self.rest = self.T * np.linalg.inv(self.H)

    def law(self, t):
        decay = expm(-self.K @ self.H * t)
        return decay @ self.mean0, self.rest + decay @ (self.covariance0 - self.rest) @ decay.T

    def free_energy(self, t):
        mean, covariance = self.law(t)
        energy = (np.trace(self.H @ covariance) + mean @ self.H @ mean) / 2
        entropy = np.linalg.slogdet(2 * np.pi * np.e * covariance)[1] / 2
        return energy - self.T * entropy


@pytest.mark.parametrize("name", ["ou1d", "ou2d_aniso"])
def test_the_closed_form_is_the_reference_s(name):
    exact = Gaussian(CASES[name])
    for expected in CASES[name]["expect"]:
        mean, covariance = exact.law(expected["t"])
        assert np.allclose(mean, expected["mean"]["value"], rtol=1e-13)
        assert np.allclose(covariance.ravel(), np.ravel(expected["cov"]["value"]), rtol=1e-12)
        assert exact.free_energy(expected["t"]) == pytest.approx(expected["F"]["value"], rel=1e-12)


def evolved(exact, n, bounds, times, step, mobility=None, temperature=None):
    dim = len(exact.H)
    names = "xy"[:dim]
    text = " + ".join(f"{exact.H[a, b] / 2} * {names[a]} * {names[b]}" for a in range(dim) for b in range(dim))
    constant = Mobility.constant(exact.K if dim > 1 else exact.K[0, 0]) if mobility is None else mobility
    system = System(text, constant, exact.T if temperature is None else temperature, Domain.unbounded(dim))
    grid = Grid(system.domain, n, bounds=bounds)
    mass = gaussian_masses(grid, exact.mean0, exact.covariance0)
    path = FokkerPlanck(system, grid).evolve(mass, times, step=step)
    expected = np.stack([gaussian_masses(grid, *exact.law(t)) for t in times])
    return path, np.abs(path.mass - expected).reshape(len(times), -1).sum(axis=1), expected


ONE = {"n": 256, "bounds": [(-6, 6)], "times": [0.0, 0.25, 0.5, 1.0, 3.0], "step": 5e-4}
TWO = {"n": 64, "bounds": [(-5, 5), (-5, 5)], "times": [0.0, 0.2, 0.5, 0.7, 2.0], "step": 2e-3}


@pytest.mark.parametrize(("name", "setting", "tolerance"), [("ou1d", ONE, 1e-3), ("ou2d_aniso", TWO, 1e-2)])
def test_density_and_free_energy_are_the_closed_form_s(name, setting, tolerance):
    exact = Gaussian(CASES[name])
    path, error, expected = evolved(exact, **setting)
    assert error.max() < tolerance
    # On the same cells F differs through the evolution only; without cells also by what averaging hides,
    # O(h^2).
    free_energy = exact.T * (kl_divergence(path.mass, path.log_gibbs) - path.log_partition)
    on_cells = exact.T * (kl_divergence(expected, path.log_gibbs) - path.log_partition)
    closed_form = np.array([exact.free_energy(t) for t in path.times])
    assert np.abs(free_energy - on_cells).max() < 2.5 * tolerance * exact.T
    assert np.abs(free_energy - closed_form).max() < 2.5 * tolerance * exact.T


@pytest.mark.parametrize(("name", "setting", "tolerance"), [("ou1d", ONE, 1e-3), ("ou2d_aniso", TWO, 1e-2)])
@pytest.mark.parametrize("mutant", ["slow", "hot", "isotropic"])
def test_wrong_dynamics_are_told_apart(name, setting, tolerance, mutant):
    exact = Gaussian(CASES[name])
    changes = {
        "slow": {"mobility": Mobility.constant(0.9 * (exact.K if len(exact.K) > 1 else exact.K[0, 0]))},
        "hot": {"temperature": 1.1 * exact.T},
        "isotropic": {"mobility": Mobility.constant(float(np.trace(exact.K)) / len(exact.K) * 1.2)},
    }[mutant]
    _, error, _ = evolved(exact, **{**setting, "step": 10 * setting["step"]}, **changes)
    assert error.max() > 2 * tolerance


def test_the_error_falls_with_the_square_of_the_cell():
    exact = Gaussian(CASES["ou2d_aniso"])
    bounds, times = [(-4, 4.5), (-5, 4.5)], [0.0, 0.3, 0.9]
    finest, *coarse = (evolved(exact, n, bounds, times, 1e-2)[0].mass[-1] for n in (160, 40, 20))
    # All three share the error in time.
    middling, coarsest = (np.abs(coarsened(finest, mass.shape) - mass).sum() for mass in coarse)
    assert 1.9 < np.log2(coarsest / middling) < 2.3
