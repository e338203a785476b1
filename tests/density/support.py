"""Systems that tests generate, and the exact properties a generator has to have."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid

EPS = np.finfo(float).eps


class Function:
    """Energy from a NumPy function of points (..., dim): nothing is traced or compiled."""

    time_dependent = False

    def __init__(self, function):
        self.function = function

    def __call__(self, x, t=0.0):
        return self.function(np.asarray(x))


class Matrix:
    """S and A from NumPy functions of points (..., dim) that give matrices (..., dim, dim); no A if that is None."""

    time_dependent = depends_on_density = False

    def __init__(self, symmetric, structure="tensor", is_constant=False, antisymmetric=None):
        self._symmetric, self.structure, self._antisymmetric = symmetric, structure, antisymmetric
        self.symmetric_is_constant, self.is_constant = is_constant, is_constant and antisymmetric is None

    @property
    def reversible(self):
        return self._antisymmetric is None

    def symmetric(self, x, t=0.0):
        return self._symmetric(np.asarray(x))

    def antisymmetric(self, x, t=0.0):
        return self._antisymmetric(np.asarray(x)) if self._antisymmetric else 0.0 * self._symmetric(np.asarray(x))

    def diagonal_of(self, x, t=0.0):
        return np.diagonal(self.symmetric(x), axis1=-2, axis2=-1)

    def __call__(self, x, t=0.0):
        return self.symmetric(x) + self.antisymmetric(x)


def plain_system(energy, mobility, domain, temperature=1.0, antisymmetric=None):
    """A stand-in for System.

    `mobility`: a matrix, a function of points that gives diagonal entries (..., dim), or a `Matrix`.
    `antisymmetric`: a matrix or a function of points that gives matrices; not beside a `Matrix`, which has its own.
    """
    assert antisymmetric is None or not isinstance(mobility, Matrix)
    if antisymmetric is not None and not callable(antisymmetric):
        constant = np.asarray(antisymmetric, dtype=float)
        antisymmetric = lambda x: np.broadcast_to(constant, (*x.shape[:-1], *constant.shape))  # noqa: E731
    if isinstance(mobility, Matrix):
        law = mobility
    elif callable(mobility):
        law = Matrix(lambda x: mobility(x)[..., None] * np.eye(domain.dim), "diagonal", False, antisymmetric)
    else:
        matrix = np.asarray(mobility, dtype=float)
        law = Matrix(lambda x: np.broadcast_to(matrix, (*x.shape[:-1], *matrix.shape)), "tensor", True, antisymmetric)
    return SimpleNamespace(
        energy=Function(energy),
        mobility=law,
        domain=domain,
        dim=domain.dim,
        temperature=temperature,
        temperature_at=lambda t=0.0: temperature,
        time_dependent=False,
    )


def field_of(matrix):
    """A constant matrix as a function of points."""
    matrix = np.asarray(matrix, dtype=float)
    return lambda x: np.broadcast_to(matrix, (*x.shape[:-1], *matrix.shape))


def turning(ratio, angle):
    """S(x) in two dimensions with eigenvalues 1 and 1/ratio, turned by angle(x)."""

    def tensors(x):
        c, s = np.cos(angle(x)), np.sin(angle(x))
        turn = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=-2)
        return turn @ (np.diag([1.0, 1.0 / ratio]) @ np.swapaxes(turn, -1, -2))

    return tensors


def swirl(strength):
    """A(x) in two dimensions with A^12 = strength(x)."""

    def matrices(x):
        a = strength(x)
        return np.stack([np.stack([0 * a, a], axis=-1), np.stack([-a, 0 * a], axis=-1)], axis=-2)

    return matrices


def turned(ratio, angle):
    """Matrix with eigenvalues 1 and 1/ratio, turned."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([1.0, 1.0 / ratio]) @ turn.T


@st.composite
def systems(draw, tensor=False, steep=30.0, forbidden=True):
    """A random system on a box with random walls, and a small grid."""
    dim = 2 if tensor else draw(st.integers(1, 2))
    lengths = np.array([draw(st.floats(0.5, 4.0)) for _ in range(dim)])
    walls = [draw(st.sampled_from(["reflecting", "periodic"])) for _ in range(dim)]
    domain = Domain([(0.0, length) for length in lengths], boundary=walls)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    waves = rng.integers(-2, 3, size=(3, dim))
    phases, sizes = rng.uniform(0, 6.3, 3), rng.uniform(-1, 1, 3) * draw(st.floats(0.0, steep))
    closed = draw(st.floats(0.0, 0.4)) if forbidden and draw(st.booleans()) else 0.0

    def energy(x):
        turns = 2 * np.pi * (x / lengths)
        values = np.sum(sizes * np.cos(turns @ waves.T + phases), axis=-1)
        return np.where(x[..., 0] < closed * lengths[0], np.inf, values)

    def diagonal(x):
        return np.exp(1.5 * np.cos(2 * np.pi * x / lengths + phases[:dim]))

    if tensor:
        shape = [draw(st.integers(7, 12)) for _ in range(dim)]
        # Turned in units of cells, so that seven cells are enough for every ratio up to thirty.
        spacing = lengths / shape
        mobility = turned(draw(st.floats(1.0, 30.0)), draw(st.floats(0.0, 3.14))) * np.outer(spacing, spacing)
    else:
        mobility = diagonal
        shape = [draw(st.integers(2, 7)) for _ in range(dim)]
    temperature = draw(st.floats(0.2, 3.0))
    return plain_system(energy, mobility, domain, temperature), Grid(domain, shape)


@st.composite
def general_systems(draw, dims=(2, 3), circulating=None, steep=30.0, ratio=20.0, forbidden=True):
    """A random full S(x) and, unless `circulating` is False, A(x), on a box with random walls, and a small grid.

    S is drawn in units of cells, so that the same few cells are enough for every aspect ratio.
    """
    dim = draw(st.sampled_from(dims))
    lengths = np.array([draw(st.floats(0.5, 4.0)) for _ in range(dim)])
    walls = [draw(st.sampled_from(["reflecting", "periodic"])) for _ in range(dim)]
    domain = Domain([(0.0, length) for length in lengths], boundary=walls)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    waves, phases = rng.integers(-2, 3, size=(3, dim)), rng.uniform(0, 6.3, 3)
    sizes = rng.uniform(-1, 1, 3) * draw(st.floats(0.0, steep))
    closed = draw(st.floats(0.0, 0.4)) if forbidden and draw(st.booleans()) else 0.0
    shape = [draw(st.integers(6, 9) if dim == 2 else st.integers(4, 5)) for _ in range(dim)]
    scale = np.outer(lengths / shape, lengths / shape)
    frame, sides = (
        np.linalg.qr(rng.normal(size=(dim, dim)))[0],
        np.exp(rng.uniform(-np.log(ratio) * (1.0 if dim == 2 else 0.5), 0, dim)),
    )
    base, other = frame @ np.diag(sides) @ frame.T, np.diag(np.exp(rng.uniform(-1, 0, dim)))
    turned_by, strength = rng.normal(size=(dim, dim)), draw(st.floats(0.0, 3.0))

    def angle(x):
        return 2 * np.pi * (x / lengths)

    def energy(x):
        values = np.sum(sizes * np.cos(angle(x) @ waves.T + phases), axis=-1)
        return np.where(x[..., 0] < closed * lengths[0], np.inf, values)

    def symmetric(x):
        share = (1 + np.cos(angle(x)[..., -1] + phases[0]))[..., None, None] / 2
        return (share * base + (1 - share) * other) * scale

    def antisymmetric(x):
        size = (1 + 0.5 * np.sin(angle(x)[..., 0] + phases[1]))[..., None, None]
        return strength * size * (turned_by - turned_by.T) * scale

    turns = draw(st.booleans()) if circulating is None else circulating
    law = Matrix(symmetric, antisymmetric=antisymmetric if turns else None)
    return plain_system(energy, law, domain, draw(st.floats(0.2, 3.0))), Grid(domain, shape)


def defects(generator, log_gibbs, reversible=True):
    """How far a generator is from its exact properties, each in units of its rounding bound (so below one).

    Detailed balance is asked of reversible systems only.

    Balance and rest are measured against 1e-13, or eps |l| where that is more: the rounding of masses exp(l).
    """
    dense = generator.toarray()
    l = log_gibbs.ravel()
    open_ = np.isfinite(l)
    dense_open, l_open = dense[np.ix_(open_, open_)], l[open_]
    jumps = dense - np.diag(np.diag(dense))
    bound = max(1e-13, 2 * EPS * (1 + np.abs(l_open).max(initial=0.0)))
    largest = max(np.abs(dense).max(), 1e-300)
    rates = jumps[np.ix_(open_, open_)]
    both = (rates > 1e-290) & (rates.T > 1e-290)
    # ln of m_j r_ji / m_i r_ij, with j the column
    ratio = np.log(np.where(both, rates, 1.0) / np.where(both, rates.T, 1.0)) + both * (l_open - l_open[:, None])
    m = np.exp(l_open - l_open.max())
    scale = np.abs(np.diag(dense_open)) * m
    rest = np.abs(dense_open @ m)
    closed_edges = np.abs(dense[~open_]).sum() + np.abs(dense[:, ~open_]).sum()
    found = {
        "columns": np.abs(dense.sum(axis=0)).max() / (16 * EPS * largest),
        "sign": float(-jumps.min(initial=0.0)) / 1e-300,
        "balance": np.abs(ratio).max(initial=0.0) / bound,
        "one-way": float(np.any((rates > 1e-250) & (rates.T == 0) & (l_open[None, :] > l_open[:, None]))) * 2,
        "rest": np.max(rest / np.maximum(scale, 1e-290), initial=0.0) / bound,
        "forbidden": closed_edges / 1e-300,
    }
    return found if reversible else {k: v for k, v in found.items() if k not in ("balance", "one-way")}


def gaussian_masses(grid, mean, covariance, nodes=8):
    """Cell masses of a normal law by quadrature, normalised on the grid."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    axes = [(c[:, None] + h * x / 2).ravel() for c, h in zip(grid.centers, grid.spacing, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - mean
    values = np.exp(-0.5 * np.einsum("...a,ab,...b->...", points, np.linalg.inv(covariance), points))
    for axis, n in enumerate(grid.shape):
        shape = values.shape
        values = values.reshape((*shape[:axis], n, nodes, *shape[axis + 1 :]))
        values = np.tensordot(values, w / 2, axes=(axis + 1, 0))
    return values / values.sum()


def coarsened(mass, shape):
    """Masses summed to a coarser grid of the given shape."""
    for axis, n in enumerate(shape):
        mass = mass.reshape((*mass.shape[:axis], n, -1, *mass.shape[axis + 1 :])).sum(axis=axis + 1)
    return mass
