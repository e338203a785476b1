"""Selling's split in two and three dimensions, and what walls are given back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from density.support import turned
from naive import density as naive
from relaxsim.density.stencil import selling
from relaxsim.density.walls import strip_tensor
from relaxsim.errors import InputError

pytestmark = pytest.mark.nojit

tensors = st.builds(turned, st.floats(1.0, 1e4), st.floats(-3.2, 3.2))


@st.composite
def stacks(draw, dim):
    """Several random positive matrices (n, dim, dim) with eigenvalues between 1 and 1/ratio."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ratio = draw(st.sampled_from([1.0, 10.0, 1000.0]))
    frames = np.linalg.qr(rng.normal(size=(20, dim, dim)))[0]
    sides = np.exp(rng.uniform(-np.log(ratio), 0, (20, 1, dim)))
    aspect = np.exp(rng.uniform(-1, 1, dim))
    found = (frames * sides) @ np.swapaxes(frames, -1, -2)
    return (found + np.swapaxes(found, -1, -2)) / 2 * np.outer(aspect, aspect)


@given(st.one_of(stacks(2), stacks(3)))
def test_split_rebuilds_the_tensors_from_nonnegative_parts(matrices):
    weights, offsets = selling(matrices)
    rebuilt = np.einsum("nk,nka,nkb->nab", weights, offsets, offsets)
    size = np.trace(matrices, axis1=1, axis2=2)[:, None, None]
    assert np.all(weights >= 0)
    assert np.all(np.abs(rebuilt - matrices) <= 1e-13 * size * np.maximum(np.abs(offsets).max() ** 2, 1))
    # one of v and -v, no offset twice
    leading = np.take_along_axis(offsets, np.argmax(offsets != 0, axis=-1)[..., None], axis=-1)
    assert np.all(leading > 0)
    for row in offsets:
        assert len({tuple(v) for v in row.tolist()}) == len(row)


@given(st.builds(turned, st.floats(1.0, 60.0), st.floats(-3.2, 3.2)))
def test_split_is_the_one_found_by_search(tensor):
    def parts(pairs):
        return {tuple(np.sign(v[0] or v[1]) * np.array(v)): w for w, v in pairs if w > 1e-9}

    found = parts(naive.selling_by_search(tensor))
    weights, offsets = selling(tensor)
    split = parts((w, tuple(map(int, v))) for w, v in zip(weights, offsets, strict=True))
    assert found.keys() == split.keys()
    assert all(found[v] == pytest.approx(split[v], abs=1e-12) for v in found)


def test_splits_of_diagonal_tensors_need_neighbours_only():
    weights, offsets = selling(np.diag([3.0, 0.5]))
    assert sorted(zip(weights, map(tuple, offsets), strict=True)) == [(0.0, (1, -1)), (0.5, (0, 1)), (3.0, (1, 0))]
    weights, offsets = selling(np.diag([3.0, 0.5, 2.0]))
    assert sorted(weights) == [0, 0, 0, 0.5, 2, 3]
    assert np.all(np.abs(offsets[weights > 0]).sum(axis=1) == 1)
    assert selling(np.array([[[2.0]]]))[0].tolist() == [[2.0]]
    assert selling(np.diag([0.0, 1.0]))[0].sum() == 1


@pytest.mark.parametrize("dim", [2, 3])
def test_a_singular_tensor_is_refused(dim):
    tensor = np.eye(dim)
    tensor[:2, :2] = turned(1e12, 1e-5)
    with pytest.raises(InputError, match="close to singular"):
        selling(tensor)


@given(stacks(2), st.integers(0, 1), st.floats(-3.0, 3.0), st.integers(0, 2))
def test_strips_in_two_dimensions_are_the_formula_s(matrices, normal, a, depth):
    weights, offsets = selling(matrices)
    along, turning = 1 - normal, np.array([[0.0, a], [-a, 0.0]])
    strips = strip_tensor(matrices, weights, offsets, normal, np.broadcast_to(turning, matrices.shape), depth)
    for tensor, lam, vs, strip in zip(matrices, weights, offsets, strips, strict=True):
        across = tensor[normal, normal]
        expected = 0.0
        for w, v in zip(lam, vs, strict=True):
            slip = v[along] - v[normal] * tensor[along, normal] / across
            expected += 0.5 * w * (abs(v[normal]) > depth) * (slip**2 + (v[normal] * a / across) ** 2)
        assert strip[0, 0] == pytest.approx(expected, rel=1e-10, abs=1e-12 * np.trace(tensor))
        assert strip[0, 0] >= 0


@given(stacks(3), st.integers(0, 2))
def test_strips_in_three_dimensions_are_positive_and_vanish_for_aligned_tensors(matrices, normal):
    strips = strip_tensor(matrices, *selling(matrices), normal)
    assert np.all(np.linalg.eigvalsh(strips) >= -1e-12 * np.trace(matrices, axis1=1, axis2=2)[:, None])
    aligned = matrices.copy()
    aligned[:, normal, :] = aligned[:, :, normal] = 0
    aligned[:, normal, normal] = matrices[:, normal, normal]
    assert np.all(strip_tensor(aligned, *selling(aligned), normal) == 0)
