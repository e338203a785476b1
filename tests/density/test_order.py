"""Second order in the cell width, by comparison with a much finer grid; mutants are first order or worse."""

from __future__ import annotations

import numpy as np
import pytest

from density.support import coarsened, gaussian_masses, plain_system, turned
from relaxsim.density import FokkerPlanck
from relaxsim.density import generator as generator_module
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid

pytestmark = pytest.mark.nojit


def masses(system, shape, steps=(0.05, 0.05, 0.05, 0.1, 0.1, 0.2)):
    """Cell masses after backward Euler steps, the same ones on every grid: only the error in space "
    "differs."""
    grid = Grid(system.domain, shape)
    start = gaussian_masses(grid, np.array([-0.3, 0.2][: grid.dim]), 0.3 * np.eye(grid.dim))
    return FokkerPlanck(system, grid).evolve(start, np.concatenate([[0.0], np.cumsum(steps)]), step=0.05).mass[-1]


def slopes(system, sizes, finest):
    """Orders between successive grids; an h^p error against grid `finest` is compared with that law "
    "exactly."""
    reference = masses(system, finest)
    dim = reference.ndim
    errors = [np.abs(coarsened(reference, (n,) * dim) - masses(system, n)).sum() for n in sizes]
    # The reference has an error of its own: e_n - e_N for an error c/n^2.
    raw = np.array(errors) / (1 - (np.array(sizes) / finest) ** 2)
    return np.log2(raw[:-1] / raw[1:])


def well(x):
    return (x**2 - 1) ** 2


def test_one_dimension_with_position_dependent_mobility_and_mass_at_the_walls():
    system = plain_system(
        lambda x: well(x[..., 0]) + 0.5 * x[..., 0],
        lambda x: 1 + 0.8 * np.sin(2 * x),
        Domain([(-1.3, 1.1)]),
        temperature=0.4,
    )
    orders = slopes(system, (16, 32, 64, 128), 1024)
    assert np.all((orders > 1.9) & (orders < 2.1)), orders


@pytest.mark.parametrize("boundary", ["reflecting", "periodic"])
def test_two_dimensions_with_diagonal_mobility(boundary):
    turn = 2 * np.pi / 2.4
    domain = Domain([(-1.2, 1.2)] * 2, boundary=[boundary, "reflecting"])
    system = plain_system(
        lambda x: 0.6 * np.cos(turn * x[..., 0]) + 0.5 * x[..., 1] ** 2 + 0.4 * np.sin(turn * x[..., 0]) * x[..., 1],
        lambda x: 1 + 0.5 * np.stack([np.sin(turn * x[..., 0]), np.cos(x[..., 0] + x[..., 1])], axis=-1) ** 2,
        domain,
        temperature=0.5,
    )
    orders = slopes(system, (8, 16, 32), 128)
    assert np.all((orders > 1.85) & (orders < 2.15)), orders


def tensor_case():
    domain = Domain([(-1.2, 1.2)] * 2)
    return plain_system(
        lambda x: 0.5 * well(x[..., 0]) + 0.5 * x[..., 1] ** 2 + 0.3 * x[..., 0] * x[..., 1],
        turned(4.0, 0.4),
        domain,
        temperature=0.5,
    )


def test_two_dimensions_with_a_constant_full_tensor_and_mass_at_the_walls():
    orders = slopes(tensor_case(), (8, 16, 32, 64), 128)
    assert np.all((orders > 1.85) & (orders < 2.3)), orders


def test_without_wall_edges_the_order_is_lost(monkeypatch):
    monkeypatch.setattr(generator_module, "wall_weight", lambda *_: 0.0)
    orders = slopes(tensor_case(), (16, 32, 64), 256)
    assert np.all(orders < 1.6), orders
