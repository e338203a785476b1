"""One system, two executions: the ensemble and the density measured on the same bins are the same law."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.particles.schemes import Scheme, registry
from relaxsim.system.elementary import sqrt
from scheme_law import euler_maruyama_bias
from statistical_budget import assert_rejected, assert_within, z_threshold
from systems import OrnsteinUhlenbeck, demo_system

TIMES = np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0])
DT = 1e-3
N = 100_000
FUNCTIONALS = ("free_energy", "kl")


def without_thermal_drift(model, x, t, h, noise):
    """A mutant of Euler-Maruyama: the drift lacks T div K, as if the noise were Stratonovich's or K constant."""
    drift = model.drift(x, t)
    divergence = model.divergence(x, t)
    kick = model.kick(x, t, noise)
    return [x[a] + h * (drift[a] - model.temperature * divergence[a]) + sqrt(h) * kick[a] for a in range(len(x))]


def mutant():
    row = registry()["euler-maruyama"]
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return Scheme(**{**fields, "id": "without T div K", "step": without_thermal_drift})


@pytest.fixture(scope="module")
def demo():
    """The demo system's density, ensemble and the scheme's bias on the ensemble's bins."""
    system, initial = demo_system(), rs.initial.normal([-1, 0], 0.3)
    arguments = {"n_particles": N, "dt": DT, "times": TIMES, "rng": 1}
    micro = rs.track(rs.simulate(system, initial, scheme="euler-maruyama", **arguments))
    density = rs.FokkerPlanck(system, rs.Grid(system.domain, (96, 96))).evolve(initial, TIMES)
    bias = euler_maruyama_bias(system, initial, TIMES, DT, micro)
    wrong = rs.track(rs.simulate(system, initial, scheme=mutant(), **arguments), like=micro)
    return micro, rs.track(density, like=micro), bias, wrong


def test_the_bias_of_the_scheme_is_below_a_third_of_the_error(demo):
    micro, _, bias, _ = demo
    for name in FUNCTIONALS:
        assert np.all(bias[name] <= getattr(micro, f"{name}_stderr") / 3)


def test_ensemble_and_density_have_the_same_free_energy_at_every_time(demo):
    micro, macro, bias, _ = demo
    for name in FUNCTIONALS:
        value, expected, error = getattr(micro, name), getattr(macro, name), getattr(micro, f"{name}_stderr")
        assert_within("agreement: F and KL of ensemble and density", value, expected, error, bias[name])
    assert_within(
        "agreement: energy of ensemble and density", micro.energy, macro.energy, micro.energy_stderr, bias["energy"]
    )
    # a mutant without T div K hardly moves the energy; one whose clock is a stored time late does
    late = (macro.energy[2], micro.energy_stderr[1], bias["energy"][1])
    assert_rejected("agreement: energy of ensemble and density", micro.energy[1], *late)


def test_without_the_divergence_of_the_mobility_they_disagree(demo):
    _, macro, bias, wrong = demo
    for name in FUNCTIONALS:
        z = abs(getattr(wrong, name) - getattr(macro, name)) / getattr(wrong, f"{name}_stderr")
        worst = int(np.argmax(z))
        assert_rejected(
            "agreement: F and KL of ensemble and density",
            getattr(wrong, name)[worst],
            getattr(macro, name)[worst],
            getattr(wrong, f"{name}_stderr")[worst],
            bias[name][worst],
        )
        assert z[worst] > 2 * z_threshold()


def test_the_free_energy_of_both_falls(demo):
    micro, macro, _, _ = demo
    assert micro.check_monotone().monotone is True
    assert np.all(np.diff(macro.free_energy) < 0)


@pytest.mark.parametrize("case", ["ou1d", "ou2d_aniso"])
def test_free_energy_of_an_ornstein_uhlenbeck_ensemble(case):
    """F(t) against the closed form: the exact Gaussian on the same bins, plus the exactly known bias of the scheme."""
    ou, dt = OrnsteinUhlenbeck(case), 0.005
    times = np.array([0.1, 0.3, 0.6, 1.0, 2.0])
    path = rs.simulate(
        ou.system(), ou.initial(), n_particles=N, dt=dt, times=[0.0, *times], rng=6, scheme="euler-maruyama"
    )
    micro = rs.track(path)
    exact = gaussian_free_energy(ou, [ou.exact(t) for t in times], micro)
    own = gaussian_free_energy(ou, [ou.euler_maruyama(dt, round(t / dt)) for t in times], micro)
    value, error = micro.free_energy[1:], micro.free_energy_stderr[1:]
    assert_within("ou: free energy of the ensemble", value, exact, error, abs(own - exact))
    late = gaussian_free_energy(ou, [ou.exact(1.3 * t) for t in times], micro)  # a mutant that runs 30 % too slowly
    worst = int(np.argmax(abs(value - late) / error))
    assert_rejected("ou: free energy of the ensemble", value[worst], late[worst], error[worst], abs(own - exact)[worst])
    # what the bins smooth away is small beside what relaxes
    continuous = [closed_form_free_energy(ou, *ou.exact(t)) for t in times]
    assert np.all(np.abs(exact - continuous) < 0.02 * ou.T + 0.02 * (continuous[0] - continuous[-1]))


def gaussian_free_energy(ou, laws, micro):
    """F of Gaussians whose masses are summed to the bins of a record."""
    from relaxsim.system.relative_entropy import kl_divergence

    base = micro.bins.grid
    fine = rs.Grid(base.domain, tuple(4 * n for n in base.shape), bounds=base.bounds)
    system = ou.system()
    mass = np.array([rs.initial.normal(mean, cov).masses(system, fine) for mean, cov in laws])
    kl = kl_divergence(micro.bins.masses(mass, fine), micro.bins.log_gibbs)
    return ou.T * kl - ou.T * micro.bins.log_partition


def closed_form_free_energy(ou, mean, cov):
    """F = <E> - T H of a Gaussian, H its entropy."""
    energy = 0.5 * (np.trace(ou.H @ cov) + mean @ ou.H @ mean)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * cov)[1]
    return energy - ou.T * entropy
