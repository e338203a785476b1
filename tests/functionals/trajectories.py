"""Trajectories of linear systems with their exact law, without a compiled kernel."""

import numpy as np
from scipy.linalg import expm

from relaxsim.functionals.linear_drift import linear_split


def linear_trajectories(B, S, T, n_particles, n_times, lag, seed):
    """Positions (n_times, n_particles, dim) at rest of dx = -B x dt + sqrt(2 T) dW, Cov(dW) = S dt; and the split."""
    rng = np.random.default_rng(seed)
    split = linear_split(B, S, T)
    step = expm(-np.asarray(B) * lag)
    noise = np.linalg.cholesky(split.covariance - step @ split.covariance @ step.T)
    start = np.linalg.cholesky(split.covariance)
    positions = [rng.standard_normal((n_particles, len(start))) @ start.T]
    for _ in range(n_times - 1):
        positions.append(positions[-1] @ step.T + rng.standard_normal((n_particles, len(start))) @ noise.T)
    return np.array(positions), split


def normalised(energy, known, grid, T):
    """Values of E with exp(-E/T) integrating to one over the known cells."""
    return energy + T * np.log(np.exp(-energy[known] / T).sum() * grid.cell_volume)
