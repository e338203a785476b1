"""What several tests of schemes share: a torus with observables, and mutants of Euler-Maruyama."""

import numpy as np

import relaxsim as rs
from relaxsim.system.elementary import sqrt

TORUS = rs.Domain([(0, 2 * np.pi)] * 2, boundary="periodic")
TWO = (
    lambda x, y: np.cos(x - y),
    lambda x, y: np.cos(x),
    lambda x, y: np.sin(x),
    lambda x, y: np.cos(y),
    lambda x, y: np.sin(x + y),
)


def torus(mobility):
    return rs.System("cos(x) + 0.7*cos(y) + 0.5*sin(x + y)", mobility, 0.8, TORUS)


def without_divergence(model, x, t, h, noise):
    """Euler-Maruyama that forgets T div K."""
    drift, kick, slope = model.drift(x, t), model.kick(x, t, noise), model.divergence(x, t)
    return [x[a] + h * (drift[a] - model.temperature * slope[a]) + sqrt(h) * kick[a] for a in range(len(x))]


def loud(model, x, t, h, noise):
    """Euler-Maruyama with 2 % too much noise."""
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    return [x[a] + h * drift[a] + 1.02 * sqrt(h) * kick[a] for a in range(len(x))]
