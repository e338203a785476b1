"""The law at rest: Gibbs where an energy is known, and the same law where it has to be solved for."""

import numpy as np
import pytest
from scipy import sparse

import relaxsim as rs
from relaxsim.density.stationary import check_rest, imbalance, solve_rest
from relaxsim.errors import ConvergenceError, InputError

pytestmark = pytest.mark.nojit


def planck(system, cells):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def test_a_law_prints_as_a_line():
    system = rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-6, 6)]))
    assert repr(planck(system, 101).stationary()) == "Density(shape=(101,), highest density 0.3987)"


def systems():
    box = rs.Domain([(-2, 2)] * 2)
    turned = np.array([[1.0, 0.6], [0.6, 0.8]])
    energy = "(x**2 - 1)**2 + y**2 + 0.5*x*y"
    return {
        "line": (rs.System("x**4/4 - x**2/2", "1 + x**2/2", 0.3, rs.Domain([(-3, 3)])), 200),
        "ring": (rs.System("cos(x) + 0.3*sin(2*x)", 1.0, 0.2, rs.Domain([(0, 2 * np.pi)], boundary="periodic")), 150),
        "tensor": (rs.System(energy, turned, 0.5, box), (32, 30)),
        "circulating": (
            rs.System(energy, rs.Mobility.constant(turned).with_antisymmetric([[0, 2], [-2, 0]]), 0.5, box), (30, 32),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["line", "ring", "tensor", "circulating"])
def test_the_law_at_rest_is_gibbs_and_is_found_without_it(name):
    fp = planck(*systems()[name])
    rest = fp.stationary()
    np.testing.assert_allclose(rest.mass, fp.gibbs, rtol=1e-14)
    np.testing.assert_allclose(rest.density * fp.grid.cell_volume, rest.mass)
    solved = solve_rest(fp.generator)
    heavy = fp.gibbs.ravel() > 1e-30
    np.testing.assert_allclose(solved[heavy], fp.gibbs.ravel()[heavy], rtol=1e-8)
    assert imbalance(fp.generator, solved) < 1e-10


def test_a_generator_that_keeps_another_law_is_refused():
    """A mutant: one rate in a thousand is off by a part in a million."""
    fp = planck(*systems()["tensor"])
    entries = fp.generator.tocoo()
    data = entries.data.copy()
    jump = int(np.flatnonzero(entries.row != entries.col)[1500])
    data[jump] *= 1 + 1e-6
    wrong = sparse.coo_array((data, (entries.row, entries.col)), shape=entries.shape).tocsr()
    with pytest.raises(ConvergenceError, match="gain and loss differ"):
        check_rest(wrong, fp.gibbs)


def test_rest_far_below_rounding_is_kept():
    """E/T up to 10^3: masses underflow, and what is left of them is still at rest."""
    fp = planck(rs.System("20*(x**2 - 1)**2", temperature=0.5, domain=rs.Domain([(-2.5, 2.5)])), 800)
    assert fp.stationary().mass.sum() == pytest.approx(1.0, abs=1e-12)


def test_several_laws_at_rest_are_told():
    rates = sparse.block_diag([[[-1.0, 2.0], [1.0, -2.0]]] * 2).tocsr()
    with pytest.raises(InputError, match="2 sets of cells cannot be left"):
        solve_rest(rates)


def test_a_trap_takes_all():
    rates = sparse.csr_array(np.array([[-1.0, 0.0, 0.0], [1.0, -3.0, 2.0], [0.0, 3.0, -2.0]]))
    np.testing.assert_allclose(solve_rest(rates), [0, 0.4, 0.6], atol=1e-8)


def test_nothing_is_at_rest_between_absorbing_walls():
    fp = planck(rs.System("x", temperature=1.0, domain=rs.Domain([(0, 1)], boundary="absorbing")), 20)
    with pytest.raises(InputError, match=r"spectrum\(1\)"):
        fp.stationary()
