"""Mobilities that depend on the density: values, checks, and that particles are refused."""

from __future__ import annotations

import numpy as np
import pytest

from relaxsim import Domain, Mobility, System, initial, simulate
from relaxsim.errors import MobilityError, ShapeError

SQUARE = Domain([(-1, 1), (-1, 1)])
pytestmark = pytest.mark.nojit


def test_values_at_a_density():
    law = System("x**2 + y**2", Mobility.of_density(lambda x, p: 1 + p * x[0] ** 2), 1.0, SQUARE).mobility
    points = np.array([[0.5, 0.0], [1.0, 0.3]])
    assert law.depends_on_density
    assert law.structure == "scalar"
    assert law.symmetric(points, 0.0, np.array([2.0, 3.0]))[:, 0, 0].tolist() == [1.5, 4.0]
    assert law.symmetric(points)[1].tolist() == [[2.0, 0.0], [0.0, 2.0]]  # density one
    assert law.diagonal_of(points, 0.0, 3.0).tolist() == [[1.75, 1.75], [4.0, 4.0]]
    assert np.allclose(law.divergence(points), [[1.0, 0.0], [2.0, 0.0]])
    assert law.reversible
    assert not law.time_dependent
    assert not law.is_constant
    assert np.all(law.antisymmetric(points) == 0)
    assert repr(law) == "<Mobility: scalar of the density in 2 dimensions>"
    assert not Mobility.constant(1.0).depends_on_density


def test_a_full_one_with_an_antisymmetric_part_and_time():
    law = Mobility.of_density(
        lambda x, p, t: ((1 + p, t), (t, 1 + p)),
        antisymmetric=lambda x, p, t: ((0, p * t), (-p * t, 0)),
        time_dependent=True,
    )
    system = System("x**2 + y**2", law, 1.0, SQUARE)
    assert system.time_dependent
    assert system.mobility.structure == "tensor"
    assert system.mobility([0.1, 0.2], 0.5, 2.0).tolist() == [[3.0, 1.5], [-0.5, 3.0]]


def test_a_function_that_branches_is_called_point_by_point():
    law = Mobility.of_density(lambda x, p: 1.0 if p > 2 else 2.0, dim=1)
    assert law.symmetric(np.zeros((3, 1)), 0.0, np.array([1.0, 2.5, 3.0])).ravel().tolist() == [2, 1, 1]


def test_particles_are_refused():
    system = System("x**2 + y**2", Mobility.of_density(lambda x, p: 1 + p), 1.0, SQUARE)
    with pytest.raises(MobilityError, match=r"depends on the density .* use FokkerPlanck"):
        simulate(system, initial.point([0.0, 0.0]), n_particles=10, dt=0.1, times=[0.0, 1.0], rng=1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Mobility.of_density(1.0), MobilityError, r"mobility: expected a function f\(x, p\), got float"),
        (lambda: Mobility.of_density(lambda x, p: (1, 2, 3), dim=2), ShapeError, "must return a number, 2 numbers"),
        (lambda: Mobility.of_density(lambda x, p: ((1, p), (0, 1)), dim=2), MobilityError, "must be symmetric"),
        (
            lambda: Mobility.of_density(lambda x, p: 1, antisymmetric=lambda x, p: ((0, p), (p, 0)), dim=2),
            MobilityError,
            "differ by 2",
        ),
        (
            lambda: Mobility.of_density(lambda x, p: 1, dim=2).with_antisymmetric([[0, 1], [-1, 0]]),
            MobilityError,
            "antisymmetric=g",
        ),
        (lambda: System("x**2", Mobility.of_density(lambda x, p: -p), 1.0), MobilityError, "positive definite"),
        (
            lambda: System("x**2", Mobility.of_density(lambda x, p: p, dim=2), 1.0, Domain([(0, 1)])),
            ShapeError,
            "coordinates",
        ),
    ],
)
def test_what_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
