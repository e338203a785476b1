"""Pictures of the proximal recursion: what they show and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import relaxsim as rs
from pictures import drawn
from relaxsim import plotting
from relaxsim.errors import InputError

pytestmark = pytest.mark.nojit

TIMES = [0.0, 0.2, 0.4]
LAW = rs.initial.normal([-1.0], 0.3)


@pytest.fixture(scope="module")
def line():
    system = rs.System("(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-2.5, 2.5)]))
    return rs.FokkerPlanck(system, rs.Grid(system.domain, 80))


@pytest.fixture(scope="module")
def path(line):
    return line.proximal(LAW, TIMES, step=0.1, epsilon=0.01, correct_bias=True)


def curve(axes, label):
    return np.asarray(next(line for line in axes.lines if line.get_label() == label).get_ydata())


def test_law_descent_and_passes(line, path):
    laws, descent, passes = drawn(plotting.proximal(path, line.evolve(LAW, TIMES), index=1)).axes
    np.testing.assert_allclose(curve(laws, "proximal, corrected"), path.density[1])
    np.testing.assert_allclose(curve(laws, "finite volumes"), line.evolve(LAW, TIMES).density[1])
    assert "0.2" in laws.get_title()
    np.testing.assert_allclose(curve(descent, r"$\Delta F$"), np.diff(path.functional))
    assert np.all(curve(descent, r"$\Delta F + \langle C, M\rangle/2h$") <= curve(descent, "entropic allowance"))
    np.testing.assert_array_equal(curve(passes, "passes"), path.iterations)
    assert f"{path.contraction.max():.4f}" in passes.get_title()


def test_in_the_plane_one_coordinate_is_drawn():
    system = rs.System("x**2/2 + y**2", temperature=0.5, domain=rs.Domain([(-3, 3), (-2, 2)]))
    fp = rs.FokkerPlanck(system, rs.Grid(system.domain, (30, 24)))
    path = fp.proximal(rs.initial.normal([0.5, 0.0], 0.4), [0, 0.2], step=0.1, epsilon=0.05)
    laws, *_ = drawn(plotting.proximal(path, axis=1)).axes
    np.testing.assert_allclose(curve(laws, "proximal"), path.mass[-1].sum(axis=0) / fp.grid.spacing[1])
    assert laws.get_xlabel() == "$y$"


def test_a_recursion_is_animated_as_any_density(path, tmp_path):
    assert plotting.animate(path, tmp_path / "jko.gif").stat().st_size > 1000


def test_slopes():
    h = np.array([0.1, 0.05, 0.025])
    (axes,) = drawn(plotting.proximal_convergence({"plain": (h, 3 * h), "corrected": (h, h**2)}, of=r"\epsilon")).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["plain: slope 1.00", "corrected: slope 2.00"]
    assert axes.get_xlabel() == r"$\epsilon$"


def test_what_cannot_be_drawn(line, path):
    other = rs.FokkerPlanck(line.system, rs.Grid(line.system.domain, 40))
    still = line.proximal(LAW, [0.0], step=0.1, epsilon=0.01)
    for call, words in (
        (lambda: plotting.proximal(line.evolve(LAW, TIMES)), "expected a ProximalPath"),
        (lambda: plotting.proximal(still), "no step"),
        (lambda: plotting.proximal(path, index=3), "3 times"),
        (lambda: plotting.proximal(path, axis=1), "1 coordinates"),
        (lambda: plotting.proximal(path, other.evolve(LAW, TIMES)), "another grid"),
        (lambda: plotting.proximal(path, line.evolve(LAW, [0.0, 0.3])), "other times"),
        (lambda: plotting.proximal_convergence({}), "no study"),
        (lambda: plotting.proximal_convergence({"a": ([0.1, 0.2], [0.0, 1.0])}), "positive"),
    ):
        with pytest.raises(InputError, match=words):
            call()
