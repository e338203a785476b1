"""Selling's split, wall weights and pairs of neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from density.support import turned
from naive import density as naive
from relaxsim.density.stencil import neighbours, selling, wall_weight
from relaxsim.errors import InputError
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid

pytestmark = pytest.mark.nojit

tensors = st.builds(turned, st.floats(1.0, 1e4), st.floats(-3.2, 3.2))


@given(tensors, st.floats(0.1, 10.0))
def test_split_rebuilds_the_tensor_from_nonnegative_parts(tensor, aspect):
    tensor = tensor * np.outer([1, aspect], [1, aspect])
    weights, offsets = selling(tensor)
    rebuilt = np.einsum("k,ka,kb->ab", weights, offsets, offsets)
    assert np.all(weights >= 0)
    assert np.allclose(rebuilt, tensor, rtol=0, atol=1e-12 * np.trace(tensor) * np.abs(offsets).max() ** 2)


@given(st.builds(turned, st.floats(1.0, 60.0), st.floats(-3.2, 3.2)))
def test_split_is_the_one_found_by_search(tensor):
    def parts(pairs):
        return {tuple(np.sign(v[0] or v[1]) * np.array(v)): w for w, v in pairs if w > 1e-9}

    found = parts(naive.selling_by_search(tensor))
    weights, offsets = selling(tensor)
    split = parts((w, tuple(map(int, v))) for w, v in zip(weights, offsets, strict=True))
    assert found.keys() == split.keys()
    assert all(found[v] == pytest.approx(split[v], abs=1e-12) for v in found)


def test_split_of_a_diagonal_tensor_needs_neighbours_only():
    weights, offsets = selling(np.diag([3.0, 0.5]))
    assert sorted(zip(weights, map(tuple, offsets), strict=True)) == [(0.0, (1, -1)), (0.5, (0, 1)), (3.0, (1, 0))]


def test_a_singular_tensor_is_refused():
    with pytest.raises(InputError, match="close to singular"):
        selling(turned(1e12, 1e-5))


@given(tensors)
def test_wall_weight_is_nonnegative_and_vanishes_for_an_aligned_tensor(tensor):
    weights, offsets = selling(tensor)
    assert wall_weight(tensor, weights, offsets, 0) >= 0
    aligned = np.diag(np.diag(tensor))
    weights, offsets = selling(aligned)
    assert wall_weight(aligned, weights, offsets, 1) == 0


@given(
    st.lists(st.integers(2, 5), min_size=1, max_size=3),
    st.data(),
)
def test_neighbours_are_those_of_the_loop(shape, data):
    periodic = [data.draw(st.booleans()) for _ in shape]
    offset = tuple(data.draw(st.integers(1 - n, n - 1)) for n in shape)
    walls = ["periodic" if wraps else "reflecting" for wraps in periodic]
    grid = Grid(Domain([(0, 1)] * len(shape), boundary=walls), shape)
    number = {cell: k for k, cell in enumerate(naive.cells_of(grid))}
    expected = [
        (number[cell], number[there]) for cell in number if (there := naive.shifted(grid, cell, offset)) is not None
    ]
    start, end = neighbours(tuple(shape), tuple(periodic), offset)
    assert list(zip(start.tolist(), end.tolist(), strict=True)) == expected
