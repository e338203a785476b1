"""Random walks: the covariance of the limit, and the rates of Berry and Esseen."""

import numpy as np
import pytest
from scipy.special import gammainc, ndtr

from relaxsim.errors import InputError, ShapeError
from relaxsim.functionals.random_walk import JUMPS, berry_esseen, normal_distance, random_walk
from statistical_budget import assert_rejected, assert_within


def test_the_covariance_of_the_limit():
    sigma, duration, n = np.array([[1.0, 0.3], [0.3, 0.5]]), 0.2, 20_000
    walked = random_walk(sigma, 500.0, duration, n, jumps="exponential", rng=1)
    products = np.stack([walked[:, a] * walked[:, b] for a, b in ((0, 0), (0, 1), (1, 1))])
    exact = duration * sigma[[0, 0, 1], [0, 1, 1]]
    stderr = products.std(axis=1, ddof=1) / np.sqrt(n)
    assert_within("random walk: covariance", products.mean(axis=1), exact, stderr)
    assert_rejected("random walk: covariance", products.mean(axis=1), 1.2 * exact, stderr)


@pytest.mark.parametrize("name", sorted(JUMPS))
def test_laws_have_the_moments_they_state(name):
    law = JUMPS[name]
    h = 1e-3
    near = law.characteristic(np.array([-2, -1, 0, 1, 2]) * h)
    assert near[2] == pytest.approx(1.0)
    assert np.imag(near[3]) / h == pytest.approx(0.0, abs=1e-5)
    assert 2 * (1 - np.real(near[3])) / h**2 == pytest.approx(1.0, rel=1e-4)
    third = -(np.imag(near[4]) - 2 * np.imag(near[3])) / h**3  # phi = ... - i m3 s^3/6
    assert third == pytest.approx(law.skewness, abs=1e-3)
    drawn = law.draw(np.random.default_rng(2), (200_000,))
    np.testing.assert_allclose(
        [drawn.mean(), drawn.var(), np.mean(np.abs(drawn) ** 3)], [0, 1, law.third_absolute], atol=0.2
    )
    assert np.mean(np.exp(1j * drawn)) == pytest.approx(law.characteristic(np.array([1.0]))[0], abs=0.02)


def test_the_inversion_agrees_with_the_law_of_a_sum_of_exponentials():
    x = np.linspace(-3.9, 6, 2000)
    exact = np.abs(gammainc(16, 16 + 4 * x) - ndtr(x)).max()
    assert normal_distance(16) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "rate"), [("exponential", 0.5), ("uniform", 1.0), ("laplace", 1.0), ("two-point", 0.5)]
)
def test_skewed_and_lattice_laws_need_more_jumps_than_symmetric_ones(name, rate):
    found = berry_esseen(name)
    assert found.exponent == pytest.approx(rate, abs=0.02)
    assert np.all(found.distance <= found.bound)
    np.testing.assert_allclose(found.distance[-1], found.leading[-1], rtol=0.02)
    # a symmetric law with the rate of a skewed one, or the other way round, would be seen
    assert abs(found.exponent - (1.5 - rate)) > 0.4


def test_normal_jumps_are_normal_at_once():
    assert normal_distance(3, "normal") < 1e-12
    assert np.isnan(berry_esseen("normal").exponent)


def test_a_projection_of_two_skewed_coordinates_is_less_skewed():
    one, both = normal_distance(8), normal_distance(8, direction=[1.0, 1.0])
    assert both == pytest.approx(normal_distance(16), rel=1e-6)
    assert both < one


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="one of exponential"):
        random_walk(1.0, 10, 1, 5, jumps="cauchy")
    with pytest.raises(InputError, match="positive definite"):
        random_walk([[1.0, 2.0], [2.0, 1.0]], 10, 1, 5)
    with pytest.raises(ShapeError, match="square"):
        random_walk([1.0, 2.0], 10, 1, 5)
    with pytest.raises(InputError, match="2 problems"):
        random_walk(1.0, -1, 1, 0)
    with pytest.raises(InputError, match="increasing"):
        berry_esseen("uniform", [4, 2])
