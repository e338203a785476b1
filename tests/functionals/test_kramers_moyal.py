"""Drift and diffusion from trajectories against exact ones, their errors, and the finite lag."""

import numpy as np
import pytest

import relaxsim as rs
from functionals.trajectories import linear_trajectories
from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.kramers_moyal import kramers_moyal
from statistical_budget import assert_rejected, assert_within

B, S, T = [[1.0, 2.0], [-1.0, 0.5]], [[1.0, 0.0], [0.0, 0.5]], 0.5
GROUPS = 24


def plane(n=7):
    return rs.Grid(rs.Domain.unbounded(2), n, bounds=[(-1.4, 1.4), (-1.0, 1.0)])


@pytest.fixture(scope="module")
def positions():
    return linear_trajectories(B, S, T, 60_000, 8, 0.05, seed=1)[0]


@pytest.mark.parametrize("method", ["histogram", "kernel"])
def test_drift_and_diffusion_are_recovered_with_honest_errors(positions, method):
    found = kramers_moyal(positions, plane(), dt=0.05, method=method)
    points = plane().points.reshape(7, 7, 2)
    true = -points @ np.array(B).T
    middle = (slice(2, 5, 2), slice(2, 5, 2))  # four cells of which each has two drifts and three entries of D
    upper = ([0, 0, 1], [0, 1, 1])
    name = "kramers-moyal: fields of a plane"
    assert_within(name, found.drift[middle], true[middle], found.drift_stderr[middle], dof=GROUPS - 1)
    D, stderr = found.diffusion[middle][..., *upper], found.diffusion_stderr[middle][..., *upper]
    exact = np.broadcast_to(T * np.array(S)[upper], D.shape)
    assert_within(name, D, exact, stderr, dof=GROUPS - 1)
    assert_rejected(name, D, 2 * exact, stderr, dof=GROUPS - 1)
    # all cells together: the squared scores have a mean of about one
    scores = ((found.drift - true) / found.drift_stderr)[found.known]
    assert 0.6 < np.mean(scores**2) < 1.7


def test_the_lag_is_corrected_to_second_order():
    """The moments of an Ornstein-Uhlenbeck process are known: E[dx] = -x (1 - e^-lag), and the second too."""
    lag, n = 0.2, 400_000
    x, _ = linear_trajectories([[1.0]], [[1.0]], 0.5, n, 3, lag, seed=2)
    grid = rs.Grid(rs.Domain.unbounded(1), 5, bounds=[(-1.5, 1.5)])
    centre = grid.centers[0]
    decay = -(1 - np.exp(-lag)) / lag
    corrected = 2 * decay + (1 - np.exp(-2 * lag)) / (2 * lag)
    plain, better = (kramers_moyal(x, grid, dt=lag, correct=c) for c in (False, True))
    name = "kramers-moyal: finite lag"
    for found, slope in ((plain, decay), (better, corrected)):
        ends = np.array([0, 4])
        assert_within(name, found.drift[ends, 0], slope * centre[ends], found.drift_stderr[ends, 0], dof=GROUPS - 1)
    # the diffusion at the centre: variance of a jump over 2 lag, and its extrapolation
    exact = 0.5 * (1 - np.exp(-2 * lag)) / (2 * lag)
    assert_within(name, plain.diffusion[2, 0, 0], exact, plain.diffusion_stderr[2, 0, 0], dof=GROUPS - 1)
    assert_rejected(name, plain.diffusion[2, 0, 0], 0.5, plain.diffusion_stderr[2, 0, 0], dof=GROUPS - 1)
    assert abs(corrected + 1) < 0.02 < abs(decay + 1)


def test_higher_moments_tell_a_diffusion_from_jumps():
    lag = 0.01
    x, _ = linear_trajectories([[1.0]], [[1.0]], 0.5, 50_000, 9, lag, seed=3)
    grid = rs.Grid(rs.Domain.unbounded(1), 4, bounds=[(-1, 1)])
    found = kramers_moyal(x, grid, dt=lag, order=4, degree=1)
    np.testing.assert_allclose(found.pawula, 1.0, atol=0.1)
    assert_within("kramers-moyal: fourth moment", found.higher[4][1:3, 0], 0.0, found.higher_stderr[4][1:3, 0], dof=23)
    rng = np.random.default_rng(4)
    jumps = np.cumsum(rng.choice([-1.0, 0.0, 1.0], (9, 50_000), p=[0.05, 0.9, 0.05]), axis=0)
    jumps = jumps + rng.uniform(-1, 1, 50_000)
    jumping = kramers_moyal(jumps, grid, dt=lag, order=4, degree=1)
    assert np.nanmin(jumping.pawula) > 3
    assert_rejected(
        "kramers-moyal: fourth moment", jumping.higher[4][1:3, 0], 0.0, jumping.higher_stderr[4][1:3, 0], dof=23
    )


def test_a_periodic_axis_is_crossed_the_shorter_way():
    rng = np.random.default_rng(5)
    domain = rs.Domain([(0.0, 1.0)], "periodic")
    free = np.cumsum(
        np.concatenate([rng.uniform(0, 1, (1, 20_000)), 0.02 + 0.05 * rng.standard_normal((4, 20_000))]), 0
    )
    found = kramers_moyal(free % 1.0, rs.Grid(domain, 8), dt=0.01, domain=domain)
    assert found.known.all()
    assert_within("kramers-moyal: circle", found.drift[[0, 7], 0], 2.0, found.drift_stderr[[0, 7], 0], dof=23)


def test_what_cannot_be_used_is_refused():
    x = np.random.default_rng(0).standard_normal((4, 1000, 2))
    with pytest.raises(InputError, match="no cell has 200 jumps"):
        kramers_moyal(x, plane(100), dt=0.1)
    with pytest.raises(InputError, match="finite positions"):
        kramers_moyal(np.where(x > 3, np.nan, x), plane(), dt=0.1)
    with pytest.raises(InputError, match="dt"):
        kramers_moyal(x, plane())
    with pytest.raises(InputError, match="too few for a lag"):
        kramers_moyal(x[:2], plane(), dt=0.1)
    with pytest.raises(InputError, match="one point"):
        kramers_moyal(np.zeros((4, 1000, 1)), dt=0.1)
    with pytest.raises(ShapeError, match="dimensions"):
        kramers_moyal(x, rs.Grid(rs.Domain([(-1, 1)]), 4), dt=0.1)
    with pytest.raises(InputError, match="2 problems"):
        kramers_moyal(x, plane(), dt=0.1, method="spline", degree=7)
    with pytest.raises(InputError, match="groups"):
        kramers_moyal(x[:, :10], plane(), dt=0.1)
