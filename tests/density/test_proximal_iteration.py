"""The fixed-point iteration with momentum: how many passes it takes, what it measures, and when it goes without."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim.density.proximal_iteration as iteration
from relaxsim.density.proximal_iteration import Iterates
from relaxsim.density.proximal_step import proximal_step
from relaxsim.errors import ConvergenceError

pytestmark = pytest.mark.nojit

X = np.linspace(0, 1, 40)
COST = (X[:, None] - X) ** 2
POTENTIAL = 4 * (X - 1 / 3) ** 2


def plain(mass, h, epsilon, temperature, tol=1e-12):
    """The iteration without momentum, and how many passes it takes."""
    kernel, r = np.exp(-COST / (2 * epsilon)), h / (h + epsilon / temperature)
    z, count = np.ones(X.size), 0
    while True:
        new = (np.exp(-POTENTIAL / temperature - 1) / (kernel.T @ (mass / (kernel @ z)))) ** r
        change, z, count = np.abs(np.log(new / z)).max(), new, count + 1
        if change * r <= tol * (1 - r):
            return z * (kernel.T @ (mass / (kernel @ z))), count


@pytest.mark.parametrize(("h", "epsilon", "share"), [(0.1, 0.05, 1 / 2), (0.2, 0.02, 1 / 3), (0.5, 0.02, 1 / 4)])
def test_the_same_fixed_point_in_far_fewer_passes(h, epsilon, share):
    mass = np.exp(-((X - 0.7) ** 2) / 0.02)
    mass /= mass.sum()
    expected, passes = plain(mass, h, epsilon, 0.5)
    made = proximal_step(mass, POTENTIAL, COST, step=h, epsilon=epsilon, temperature=0.5, tol=1e-12)
    np.testing.assert_allclose(made.mass, expected, rtol=1e-10)
    assert made.iterations < share * passes
    assert made.contraction <= made.bound


def iterate(move, bound, tol=1e-10, most=10_000):
    """The fixed point of a map from a given place; the number of passes."""
    tried, place = Iterates(bound, np.ones(2, dtype=bool), 1.0), np.array([3.0, -2.0])
    while tried.count < most:
        image = move(place)
        tried.add(place, image)
        if tried.reached(tol):
            return image, tried
        place = tried.next()
    raise AssertionError("no end")


def test_where_momentum_fails_the_plain_map_still_arrives_in_the_passes_it_needs(monkeypatch):
    """A contraction whose derivative has the eigenvalue -r, which no proximal step has."""
    bound = 0.9

    def swing(x):
        return 1.0 - bound * (x - 1.0)

    needed = np.log(1e-10 * (1 - bound) / 4 / bound) / np.log(bound) + 12
    found, tried = iterate(swing, bound)
    np.testing.assert_allclose(found, 1.0, atol=1e-10)
    assert tried.count <= needed
    assert tried.worst <= bound
    # without the way back it would run away
    monkeypatch.setattr(Iterates, "next", unguarded)
    with pytest.raises(ConvergenceError, match="still changes by"), np.errstate(all="ignore"):
        iterate(swing, bound)


def unguarded(self):
    place, image = self._places[-1]
    if self.count == 1:
        return image
    return place + self._reach * (image - place) + self._rate**2 * (place - self._places[0][0])


def test_the_contraction_is_measured_and_a_map_that_lacks_it_is_an_error():
    _, tried = iterate(lambda x: 0.8 * x, 0.9)
    assert tried.worst == pytest.approx(0.8, abs=1e-3)
    with pytest.raises(ConvergenceError, match=r"should do at the contraction 0\.5"):
        iterate(lambda x: 0.99 * x, 0.5)


def test_a_contraction_that_rounds_to_one_is_an_error_with_numbers():
    with pytest.raises(ConvergenceError, match="more than max_iterations"):
        proximal_step([0.5, 0.5], [0.0, 3.0], [[0.0, 1.0], [1.0, 0.0]], step=1e18, epsilon=1e-3, temperature=1.0)


def test_a_contraction_that_is_all_but_complete_takes_a_few_passes():
    made = proximal_step([0.4, 0.6], [0.0, 3.0], [[0.0, 1.0], [1.0, 0.0]], step=1e-20, epsilon=0.1, temperature=1.0)
    assert made.iterations <= 3
    assert iteration.largest(made.log_z) >= 1.0
