"""Densities of any Itô drift and covariance: conservation, sign, order, singular noise, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_continuous_lyapunov
from scipy.sparse.linalg import splu

from density.support import turning
from relaxsim.density.from_drift import DriftProcess, drift_generator
from relaxsim.errors import DomainError, ExpressionError, InputError, MobilityError, ShapeError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid

pytestmark = pytest.mark.nojit

PLANE = Domain([(-5, 5), (-5, 5)])


def at_rest(generator):
    """The law with G p = 0 and sum one."""
    n = generator.shape[0]
    matrix = generator.tolil()
    matrix[0] = 1.0
    return splu(matrix.tocsc()).solve(np.eye(1, n).ravel())


def covariance(grid, p):
    return (grid.points.T * p) @ grid.points


def check_markov(matrix):
    off = matrix - np.diag(np.diag(matrix))
    assert np.isfinite(matrix).all()
    assert off.min() >= 0
    assert np.abs(matrix.sum(axis=0)).max() <= 1e-14 * np.abs(matrix).max() * 4


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.booleans(), st.floats(0.0, 5.0))
def test_generators_of_random_processes_conserve_mass_and_sign(seed, dim, full, exponent):
    rng = np.random.default_rng(seed)
    walls = [("reflecting", "periodic")[k] for k in rng.integers(0, 2, dim)]
    waves, phases = rng.integers(-1, 2, (dim, dim)), rng.uniform(0, 6, dim)
    factors = np.tril(rng.normal(size=(dim, dim)), -1) * 0.5 + np.diag(rng.uniform(0.7, 1.3, dim))

    def mu(x):
        return tuple(
            10**exponent * np.cos(2 * np.pi * sum(w * c for w, c in zip(waves[k], x, strict=True)) + phases[k])
            for k in range(dim)
        )

    def sigma(x):
        size = 1 + 0.5 * np.cos(2 * np.pi * x[0])
        matrix = factors @ factors.T
        return [[size * matrix[a, b] for b in range(dim)] for a in range(dim)] if full else size

    domain = Domain([(0, 1)] * dim, boundary=walls)
    check_markov(drift_generator(DriftProcess(mu, sigma, domain), Grid(domain, 5)).toarray())


def rotating(n):
    """Error of the stationary covariance of dx = -B x dt + noise of covariance S."""
    process = DriftProcess(["-(x + 1.5*y)", "1.5*x - 0.6*y"], [[1.0, 0.5], [0.5, 0.7]], PLANE)
    exact = solve_continuous_lyapunov(np.array([[-1, -1.5], [1.5, -0.6]]), -np.array([[1, 0.5], [0.5, 0.7]]))
    grid = Grid(PLANE, n)
    return np.abs(covariance(grid, at_rest(drift_generator(process, grid))) - exact).max()


def test_covariance_of_a_rotating_drift_is_second_order():
    errors = np.array([rotating(n) for n in (20, 40, 80)])
    assert np.all(np.abs(np.log2(errors[:-1] / errors[1:]) - 2) < 0.15), errors


def gradient_errors():
    """L1 errors of the law at rest of mu = T div K - K grad E, Sigma = 2 T K, given by functions."""
    domain, T = Domain([(-1, 1), (-1, 1)]), 0.5
    K = turning(4.0, lambda x: 0.4 + 0.5 * x[..., 0] - 0.3 * x[..., 1])

    def half(x):
        return K(np.stack(np.broadcast_arrays(*x), axis=-1))

    def mu(x):
        e, points = 1e-4, np.stack(np.broadcast_arrays(*map(np.asarray, x)), axis=-1)
        div = sum((K(points + e * d) - K(points - e * d))[..., b] / (2 * e) for b, d in enumerate(np.eye(2)))
        gradient = np.stack([points[..., 0] + 0.3 * points[..., 1], 2 * points[..., 1] + 0.3 * points[..., 0]], axis=-1)
        return tuple(np.moveaxis(T * div - np.einsum("...ab,...b->...a", K(points), gradient), -1, 0))

    def sigma(x):
        return np.moveaxis(2 * T * half(tuple(map(np.asarray, x))), (-2, -1), (0, 1))

    errors = []
    for n in (10, 20, 40):
        grid = Grid(domain, n)
        p = at_rest(drift_generator(DriftProcess(mu, sigma, domain), grid))
        fine = Grid(domain, 4 * n).points
        q = np.exp(-(fine[:, 0] ** 2 / 2 + 0.3 * fine.prod(axis=1) + fine[:, 1] ** 2) / T)
        q = q.reshape(n, 4, n, 4).sum(axis=(1, 3)).ravel()
        errors.append(np.abs(p - q / q.sum()).sum())
    return np.array(errors)


def test_a_gradient_drift_relaxes_to_its_gibbs_law_with_walls_and_turning_noise():
    errors = gradient_errors()
    assert np.all(np.log2(errors[:-1] / errors[1:]) > 1.8), errors


def test_without_the_divergence_of_the_covariance_the_law_is_another(monkeypatch):
    monkeypatch.setattr(DriftProcess, "conservative_drift", lambda self, x, t, steps: self.drift(x, t))
    assert gradient_errors()[-1] > 0.05


def test_kinetic_noise_along_one_axis_only():
    """Underdamped Langevin: no noise on positions, whose drift is upwinded; the law at rest is standard normal."""
    process = DriftProcess(["y", "-x - y"], [0.0, 2.0], PLANE)
    errors = []
    for n in (20, 40, 80):
        grid = Grid(PLANE, n)
        generator = drift_generator(process, grid)
        check_markov(generator.toarray() if n == 20 else np.zeros((1, 1)))
        errors.append(np.abs(covariance(grid, at_rest(generator)) - np.eye(2)).max())
    assert errors[2] < 0.62 * errors[1] < 0.62**2 * errors[0], errors


@pytest.mark.parametrize("direction", [(1.0, 1.0), (1.0, np.sqrt(0.3))])
def test_noise_along_one_oblique_direction(direction):
    process = DriftProcess(["-x", "-y"], np.outer(direction, direction), PLANE)
    errors = []
    for n in (20, 40):
        generator = drift_generator(process, Grid(PLANE, n))
        check_markov(generator.toarray())
        errors.append(np.abs(covariance(Grid(PLANE, n), at_rest(generator)) - np.outer(direction, direction) / 2).max())
    assert errors[1] < 0.65 * errors[0], errors


def test_drift_without_noise_is_upwinded():
    domain = Domain([(0, 1)], boundary="periodic")
    matrix = drift_generator(DriftProcess(2.0, 0.0, domain), Grid(domain, 4)).toarray()
    assert np.array_equal(matrix, 8.0 * (np.roll(np.eye(4), 1, axis=0) - np.eye(4)))


def test_time_in_drift_and_covariance():
    domain = Domain([(-1, 1), (-1, 1)])
    grid = Grid(domain, 6)
    moving = DriftProcess(["-t*x", "-y"], [["1 + t", "0.3*t"], ["0.3*t", "1"]], domain)
    frozen = DriftProcess(["-2*x", "-y"], [[3.0, 0.6], [0.6, 1.0]], domain)
    assert moving.time_dependent
    assert not frozen.time_dependent
    assert np.allclose(drift_generator(moving, grid, 2.0).toarray(), drift_generator(frozen, grid).toarray())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["x"], 1.0, PLANE), ShapeError, "mu: expected a number, 2 entries"),
        (("x", 1.0, PLANE), ShapeError, "mu: expected 2 numbers, one a coordinate"),
        ((["x", "y"], [[1.0, 0.0]], PLANE), ShapeError, "Sigma: expected a number, 2 entries or 2 rows"),
        ((["x", "y +"], 1.0, PLANE), ExpressionError, "y +"),
        ((["x", "y"], 1.0, [(-1, 1)]), DomainError, "domain: expected a Domain"),
        ((["x"] * 4, 1.0, Domain.hypercube(4)), InputError, "one to three dimensions, got 4"),
    ],
)
def test_bad_processes(arguments, error, message):
    with pytest.raises(error, match=message):
        DriftProcess(*arguments)


@pytest.mark.parametrize(
    ("mu", "sigma", "walls", "error", "message"),
    [
        (["x", "y"], [1.0, -1.0], "reflecting", MobilityError, "negative"),
        (["x", "y"], [[1.0, 2.0], [2.0, 1.0]], "reflecting", MobilityError, "must be positive"),
        (["log(x)", "y"], 1.0, "reflecting", InputError, "mu: it is .* expected finite numbers"),
        (["x", "y"], ["log(x + 1/2)", "1"], "reflecting", MobilityError, "Sigma: it is .* expected finite numbers"),
        (["x", "y"], 1.0, "periodic", InputError, "mu is"),
        ([0, 0], [["2", "x/9"], ["x/9", "2"]], "periodic", DomainError, "Sigma is"),
    ],
)
def test_bad_fields(mu, sigma, walls, error, message):
    domain = Domain([(-1, 1), (-1, 1)], boundary=walls)
    with pytest.raises(error, match=message):
        drift_generator(DriftProcess(mu, sigma, domain), Grid(domain, 5))


@pytest.mark.parametrize(
    "sigma", [[[1.0, 0.5], [0.2, 1.0]], [["1", "0.3*x"], ["0", "1"]], lambda x: [[1.0, 0.5 + 0 * x[0]], [0.2, 1.0]]]
)
def test_covariances_that_are_not_symmetric_are_refused(sigma):
    with pytest.raises(MobilityError, match=r"Sigma: it is .* expected a symmetric matrix"):
        drift_generator(DriftProcess(["-x", "-y"], sigma, PLANE), Grid(PLANE, 10))


def test_covariances_are_symmetric_to_rounding():
    B = np.array([[0.1, 0.7], [0.3, 1.1]])
    rounded = B @ B.T + np.array([[0.0, 1e-15], [0.0, 0.0]])
    check_markov(drift_generator(DriftProcess(["-x", "-y"], rounded, PLANE), Grid(PLANE, 10)).toarray())
