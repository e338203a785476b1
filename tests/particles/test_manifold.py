"""Ensembles on manifolds: with the Itô drift of the measure the law exp(-E/T) sqrt(g) dx is at rest; without it not."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.system.activation import ACTIVATIONS
from relaxsim.system.measure import Measure
from statistical_budget import assert_rejected, assert_within

T, PI = 0.7, np.pi
N, DT, LATER = 40_000, 1e-3, 0.6
BIAS = 1e-3  # schemes of order 1: at four times the step the worst of the cases below is off by 2.5e-3
RANGES = dict.fromkeys(ACTIVATIONS, (0.05, 0.9)) | dict.fromkeys(("tanh", "algebraic", "softsign"), (-0.85, 0.9))
RANGES |= {"softplus": (0.05, 2.0), "exp": (0.05, 2.0)}


def circle():
    domain = rs.Domain([(0, 2 * PI)], boundary="periodic")
    return rs.System("cos(x)", rs.Mobility.diagonal("1/(1 + 0.5*cos(x))**2"), T, domain), "1 + 0.5*cos(x)"


def sphere():
    """A zone of the sphere, by the angle from the pole."""
    return rs.System("cos(x)", temperature=T, domain=rs.Domain([(0.4, 2.8)])), "sin(x)"


def torus():
    domain = rs.Domain([(0, 2 * PI)] * 2, boundary="periodic")
    return rs.System("cos(y) + sin(x)", rs.Mobility.diagonal("1", "1/(2 + cos(x))**2"), T, domain), "2 + cos(x)"


def hessian(name):
    mobility, text = rs.Mobility.diagonal(ACTIVATIONS[name].mobility, params={"beta": 1.5}), ACTIVATIONS[name].mobility
    measure = Measure(f"1/sqrt({text})", params={"beta": 1.5})
    return rs.System("x", mobility, T, rs.Domain([RANGES[name]])), measure


def values(system, x):
    """A mean and a spread of the first coordinate, from 0 to 1 across the domain, or of its cosine on a circle."""
    low, high = system.domain.lower[0], system.domain.upper[0]
    share = (x[..., 0] - low) / (high - low)
    return np.stack([np.cos(x[..., 0]) if system.domain.periodic[0] else share, (share - 0.5) ** 2], axis=-1)


def exact(system, measure):
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 300 if system.dim == 1 else 100, measure=measure))
    return fp.gibbs.ravel() @ values(system, fp.grid.points)


def run(system, law):
    path = rs.simulate(system, law, n_particles=N, dt=DT, times=[0, LATER], rng=7, store="final")
    found = values(system, path.positions[-1])
    return found.mean(axis=0), found.std(axis=0) / np.sqrt(N)


@pytest.mark.parametrize("make", [circle, sphere, torus], ids=["circle", "sphere", "torus"])
def test_the_gibbs_law_of_the_measure_is_at_rest(make):
    system, measure = make()
    found, error = run(system.on_manifold(measure), rs.initial.gibbs())
    truth = exact(system, measure)
    assert_within("manifold: Gibbs at rest", found, truth, error, bias=BIAS)
    assert_rejected("manifold: Gibbs at rest", exact(system, None), truth, error, bias=BIAS)  # the law without sqrt(g)


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gibbs_law_of_each_hessian_manifold_is_at_rest(name):
    system, measure = hessian(name)
    found, error = run(system.on_manifold(measure), rs.initial.gibbs())
    truth = exact(system, measure)
    assert_within("manifold: Gibbs at rest of each activation", found, truth, error, bias=BIAS)
    if name != "identity":  # whose measure is constant
        flat = exact(system, None)
        assert_rejected("manifold: Gibbs at rest of each activation", flat, truth, error, bias=BIAS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["circle", "sphere", "torus", *(n for n in ACTIVATIONS if n != "identity")])
def test_particles_that_miss_the_drift_of_the_measure_leave_its_law(name):
    make = {"circle": circle, "sphere": sphere, "torus": torus}.get(name)
    system, measure = make() if make else hessian(name)
    draws = rs.initial.samples(run_start(system.on_manifold(measure)))
    found, error = run(system, draws)
    row = "manifold: Gibbs at rest" if make else "manifold: Gibbs at rest of each activation"
    assert_rejected(row, found, exact(system, measure), error, bias=BIAS)


def run_start(curved):
    """Draws from the Gibbs law of a system on a manifold."""
    path = rs.simulate(curved, rs.initial.gibbs(), n_particles=N, dt=DT, times=[0], rng=3)
    return path.positions[0]


def test_free_energy_energy_and_entropy_of_an_ensemble_are_those_of_its_density():
    system, measure = circle()
    curved = system.on_manifold(measure)
    path = rs.simulate(curved, rs.initial.gibbs(), n_particles=N, dt=DT, times=[0, 0.1], rng=5)
    record = rs.track(path)
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, 200, measure=measure))
    rest = rs.track(fp.evolve(rs.initial.gibbs(), [0, 0.1]))
    for name in ("free_energy", "energy", "entropy"):
        found, error = getattr(record, name)[1], getattr(record, f"{name}_stderr")[1]
        bias = BIAS + getattr(record, f"{name}_bias_bound")[1]
        assert_within("manifold: functionals", found, getattr(rest, name)[1], error, bias=bias)
        if name != "free_energy":  # energy and entropy of the flat description are others
            flat = getattr(rest, name)[1] - (T if name == "energy" else 1.0) * _mean_log(fp, measure)
            assert_rejected("manifold: functionals", flat, getattr(rest, name)[1], error, bias=bias)


def _mean_log(fp, measure):
    return float(fp.gibbs.ravel() @ np.log(Measure(measure)(fp.grid.points)))
