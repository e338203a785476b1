"""Relaxation rates and modes: against known spectra, closed forms, and where numbers span hundreds of decades."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import eigh_tridiagonal

import relaxsim as rs
from relaxsim.density import diagonal
from relaxsim.density.rates import bernoulli
from relaxsim.density.spectrum import spectrum
from relaxsim.errors import ConvergenceError, InputError

pytestmark = pytest.mark.nojit

DATA = Path(__file__).resolve().parents[1] / "data"
WELLS = ["dw_T0.25", "dw_T0.5", "dw_Kvar"]


def case(file, name):
    (found,) = [each for each in json.loads((DATA / file).read_text())["cases"] if each["id"] == name]
    return found


def well(name):
    """A double well of spectra.json and its exact rates."""
    found = case("spectra.json", name)
    system = rs.System(found["E"].replace("^", "**"), found["K"].replace("^", "**"), found["T"], rs.Domain([(-4, 4)]))
    return system, np.array(found["expect"]["lambda"]["value"])


def planck(system, cells):
    return rs.FokkerPlanck(system, rs.Grid(system.domain, cells))


def order(errors):
    """Slopes of errors on grids that double."""
    errors = np.abs(np.asarray(errors))
    return np.log2(errors[:-1] / errors[1:])


@pytest.mark.parametrize("name", WELLS)
def test_the_gap_of_the_double_well(name):
    system, exact = well(name)
    found = np.array([planck(system, n).spectrum(1 + len(exact)).rates[1:] for n in (128, 256, 512, 1024)])
    relative = found / exact - 1
    assert abs(relative[-1, 0]) < 1e-5
    for k in range(len(exact)):
        assert np.all((order(relative[:, k]) > 1.9) & (order(relative[:, k]) < 2.1))
    richardson = (4 * found[-1] - found[-2]) / 3
    assert abs(richardson[0] / exact[0] - 1) < 1e-7


def test_edges_with_the_mean_of_their_masses_miss_the_gap():
    """A mutant: the weight of an edge is the mean of the masses of its ends, not the Gibbs weight on the face."""
    system, exact = well("dw_T0.25")
    fp = planck(system, 1024)
    m = fp.gibbs
    weight = 0.25 / fp.grid.spacing[0] ** 2 * (m[1:] + m[:-1]) / 2
    n = np.arange(1023)
    rates, places = np.r_[weight / m[:-1], weight / m[1:]], (np.r_[n + 1, n], np.r_[n, n + 1])
    jumps = sparse.coo_array((rates, places), shape=(1024, 1024)).tocsr()
    mutant = (jumps - sparse.diags_array(jumps.sum(axis=0))).tocsr()
    gap = spectrum(mutant, fp.grid, fp.log_gibbs, 2, np.zeros(1024)).gap
    assert gap / exact[0] - 1 > 1.5e-5


@pytest.mark.parametrize("name", ["dm_linear", "dm_quad", "dm_cosine"])
def test_the_diffusion_machine(name):
    """K vanishes at both walls."""
    found = case("diffusion_machine.json", name)
    text = found["E"].replace("^", "**").replace("4 (x", "4*(x").replace("2 pi x", "2*pi*x")
    mobility = f"2*{found['beta']}*x*(1 - x)"
    system = rs.System(text, mobility, found["T"], rs.Domain([(0, 1)]))
    exact = np.array(found["expect"]["lambda"]["value"])
    rates = np.array([planck(system, n).spectrum(4).rates[1:] for n in (100, 200, 400)])
    error = rates / exact - 1
    assert np.all(np.abs(error[-1]) < 1e-4)
    assert np.all((order(error[:, 0]) > 1.8) & (order(error[:, 0]) < 2.2))


def beyond_kramers(gap_of):
    """c of gap = 2 k (1 + c T + ...), k = sqrt(E''(1) |E''(0)|)/(2 pi) exp(-1/4T), as T goes to zero; 16 decades.

    E = x^4/4 - x^2/2. The excess over T at three temperatures, each half of the one before, continued to zero.
    """
    excess = []
    for T in (0.025, 0.0125, 0.00625):
        system = rs.System("x**4/4 - x**2/2", temperature=T, domain=rs.Domain([(-2.2, 2.2)]))
        kramers = np.sqrt(2) / np.pi * np.exp(-0.25 / T)
        excess.append((gap_of(planck(system, 1200)) / kramers - 1) / T)
    assert kramers < 2e-18
    return np.dot([1 / 3, -2, 8 / 3], excess)


def test_rates_follow_kramers_as_the_temperature_falls():
    """The next terms of Laplace's method for the integrals over a well and over the barrier are 3T/4 each."""
    assert beyond_kramers(lambda fp: fp.spectrum(3).gap) == pytest.approx(-1.5, abs=0.01)


def test_rates_that_miss_kramers_are_seen(monkeypatch):
    """Edges of the Gibbs weight at neither face nor middle, and eigenvalues that rounding decides."""

    def mean_of_masses(log_start, log_end, _):
        log_weight = np.logaddexp(log_start, log_end) - np.log(2)
        return np.exp(log_weight - log_start), np.exp(log_weight - log_end)

    def exponential_fit(log_start, log_end, _):
        return bernoulli(log_start - log_end), bernoulli(log_end - log_start)

    def symmetric_form(fp):
        G = fp.generator
        beside = np.sqrt(G.diagonal(1) * G.diagonal(-1))
        return -eigh_tridiagonal(G.diagonal(), beside, eigvals_only=True)[-2]

    assert abs(beyond_kramers(symmetric_form) + 1.5) > 0.1
    for mutant in (mean_of_masses, exponential_fit):
        monkeypatch.setattr(diagonal, "fitted_rates", mutant)
        assert abs(beyond_kramers(lambda fp: fp.spectrum(3).gap) + 1.5) > 0.1


def test_modes_belong_to_the_generator_and_to_each_other():
    system, _ = well("dw_Kvar")
    fp = planck(system, 700)  # beyond the size at which all eigenvectors are computed
    found = fp.spectrum(6)
    G = fp.generator
    for rate, mode, function in zip(found.rates, found.modes, found.functions, strict=True):
        np.testing.assert_allclose(
            G @ mode, -rate * mode, atol=1e-8 * np.abs(mode).max() * abs(G.diagonal()).max() / 1e3
        )
        light = fp.log_gibbs < -30
        residual = G.T @ function + rate * function
        assert np.abs(residual[~light]).max() < 1e-8 * np.abs(function[~light]).max() * abs(G.diagonal()).max()
    overlap = np.einsum("ja,ka->jk", found.functions, found.modes)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(found.modes[0], fp.gibbs, rtol=1e-12)
    np.testing.assert_allclose(found.functions[0], 1.0, rtol=1e-14)
    np.testing.assert_allclose(found.functions**2 @ fp.gibbs, 1.0)
    assert found.relaxation_times[0] == np.inf
    assert found.gap == found.rates[1]


def test_the_modes_carry_a_law_through_time():
    from scipy.linalg import expm

    system, _ = well("dw_T0.5")
    fp = planck(system, 80)
    start = rs.initial.normal([-1.0], 0.5).masses(system, fp.grid)
    found = fp.spectrum(40)
    weights = found.functions @ start
    later = (weights * np.exp(-found.rates * 0.5)) @ found.modes
    np.testing.assert_allclose(later, expm(0.5 * fp.generator.toarray()) @ start, atol=1e-9)


def test_functions_are_smooth_where_masses_underflow():
    """At E/T of 10^3 u/sqrt(m) is rounding times e^500; solved for, the slow function is constant out there."""
    system = rs.System("20*(x**2 - 1)**2", temperature=1.0, domain=rs.Domain([(-2.7, 2.7)]))
    fp = planck(system, 1000)
    assert fp.log_gibbs.min() < -700
    slow = fp.spectrum(3).functions[1]
    outside = np.abs(fp.grid.centers[0]) > 1.3
    np.testing.assert_allclose(np.abs(slow[outside]), 1.0, atol=2e-2)
    assert np.abs(slow).max() < 1.1
    raw = fp.spectrum(3).modes[1] / np.maximum(fp.gibbs, 1e-320)
    assert np.isfinite(slow).all()
    assert np.isfinite(raw).all()


def test_rates_of_a_product_add_up():
    """E = U(x) + y^2/2 with K = 1: the discrete rates are sums of those of the axes."""
    T, nx, ny = 0.5, 40, 36
    plane = rs.System("(x**2 - 1)**2 + y**2/2", temperature=T, domain=rs.Domain([(-2, 2), (-4, 4)]))
    first = planck(rs.System("(x**2 - 1)**2", temperature=T, domain=rs.Domain([(-2, 2)])), nx).spectrum(8).rates
    second = planck(rs.System("x**2/2", temperature=T, domain=rs.Domain([(-4, 4)])), ny).spectrum(8).rates
    sums = np.sort(np.add.outer(first, second).ravel())[:6]
    np.testing.assert_allclose(planck(plane, (nx, ny)).spectrum(6).rates, sums, rtol=1e-9, atol=1e-9)


def test_rates_in_three_dimensions():
    """Quadratic energies on an oblique tensor: rates are sums of the eigenvalues of K H."""
    K = np.array([[1.0, 0.3, 0.0], [0.3, 0.8, 0.2], [0.0, 0.2, 0.7]])
    space = rs.System("x**2/2 + y**2/2 + z**2/2", K, 1.0, rs.Domain([(-4.5, 4.5)] * 3))
    slow, middle, _ = np.linalg.eigvalsh(K)
    exact = [0.0, slow, middle, 2 * slow]
    errors = [np.abs(planck(space, (n,) * 3).spectrum(4).rates - exact).max() for n in (12, 18)]
    assert errors[1] < 0.06
    assert errors[1] < 0.6 * errors[0]


def test_equal_rates_are_both_found():
    plane = rs.System("0*x + 0*y", temperature=1.0, domain=rs.Domain([(0, 2 * np.pi)] * 2, boundary="periodic"))
    rates = planck(plane, (30, 30)).spectrum(5).rates
    exact = 2 * (1 - np.cos(2 * np.pi / 30)) / (2 * np.pi / 30) ** 2
    np.testing.assert_allclose(rates, [0, *[exact] * 4], atol=1e-9)


def test_two_islands_have_two_laws_at_rest():
    def energy(x):
        return np.where(np.abs(x[0]) < 0.2, np.inf, x[0] ** 2)

    system = rs.System(rs.Energy(energy, grad=lambda x: (2 * x[0],), dim=1), 1.0, 1.0, rs.Domain([(-2, 2)]))
    fp = planck(system, 200)
    found = fp.spectrum(3)
    np.testing.assert_allclose(found.rates[:2], 0.0, atol=1e-12)
    assert found.rates[2] > 0.1
    assert np.all(found.functions[:, np.isneginf(fp.log_gibbs)] == 0)


@pytest.mark.parametrize("cells", [24, 48])
def test_circulation_turns_rates_complex(cells):
    """dx = -(1 + a J) x dt + noise: the rates are sums of 1 - ia and 1 + ia."""
    found = circulating(cells).spectrum(6)
    exact = np.array([0, 1 - 0.5j, 1 + 0.5j, 2, 2 - 1j, 2 + 1j])
    assert np.abs(found.rates - exact).max() < 0.14 * (24 / cells) ** 1.8
    overlap = np.einsum("jab,kab->jk", found.functions, found.modes)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-8)
    assert found.gap == pytest.approx(1.0, abs=0.03)


def circulating(cells):
    mobility = rs.Mobility.constant(np.eye(2)).with_antisymmetric([[0, 0.5], [-0.5, 0]])
    return planck(rs.System("x**2/2 + y**2/2", mobility, 1.0, rs.Domain([(-5, 5)] * 2)), cells)


def test_complex_modes_belong_to_the_generator():
    fp = circulating(32)
    found = fp.spectrum(4)
    for rate, mode, function in zip(found.rates, found.modes, found.functions, strict=True):
        np.testing.assert_allclose(fp.generator @ mode.ravel(), -rate * mode.ravel(), atol=1e-10)
        heavy = fp.log_gibbs.ravel() > -14
        residual = fp.generator.T @ function.ravel() + rate * function.ravel()
        assert np.abs(residual[heavy]).max() < 1e-6


@pytest.mark.parametrize("k", [0, 21, 1.5, True])
def test_numbers_of_modes_that_are_refused(k):
    with pytest.raises(InputError, match=r"k: expected an integer from 1 to 20, modes"):
        planck(rs.System("x**2", temperature=1.0, domain=rs.Domain([(-2, 2)])), 20).spectrum(k)


def test_one_rate_has_no_gap():
    with pytest.raises(InputError, match=r"spectrum\(2\)"):
        _ = planck(rs.System("x**2", temperature=1.0, domain=rs.Domain([(-2, 2)])), 20).spectrum(1).gap


def driven_wells(T, turning, cells=24):
    law = rs.Mobility.constant(np.eye(2))
    law = law.with_antisymmetric([[0, turning], [-turning, 0]]) if turning else law
    return planck(rs.System("(x**2 - 1)**2 + y**2", law, T, rs.Domain([(-2, 2)] * 2)), cells)


@pytest.mark.parametrize("cells", [24, 40])  # dense, sparse
@pytest.mark.parametrize("T", [0.1, 0.043])
@pytest.mark.filterwarnings("ignore:grid. the energy changes")
def test_slow_rates_with_a_weak_circulation_are_those_without(T, cells):
    """A of size a changes the gap by a^2; at T = 0.043 it is about 1e-12 of the fastest rate."""
    still, fp = driven_wells(T, 0.0, cells).spectrum(4), driven_wells(T, 1e-4, cells)
    found = fp.spectrum(4)
    np.testing.assert_allclose(found.rates[1:].real, still.rates[1:], rtol=1e-6)
    np.testing.assert_allclose(found.modes[0], fp.gibbs, rtol=1e-12)
    np.testing.assert_array_equal(found.functions[0], 1.0)
    assert np.abs(found.modes[1:].sum(axis=(1, 2))).max() < 1e-12
    assert np.abs(np.sum(found.functions[1:] * fp.gibbs, axis=(1, 2))).max() < 1e-12


@pytest.mark.filterwarnings("ignore:grid. the energy changes")
@pytest.mark.parametrize("cells", [24, 60])
def test_rates_that_rounding_decides_are_refused(cells):
    fp = driven_wells(0.02, 1e-3, cells)
    with pytest.raises(ConvergenceError, match=r"known to about 1e-13 of the fastest.*raise the temperature"):
        fp.spectrum(2)
    rest = fp.spectrum(1)
    assert rest.rates[0] == 0
    np.testing.assert_allclose(rest.modes[0], fp.gibbs, rtol=1e-12)


@pytest.mark.parametrize("cells", [560, 700])  # dense, sparse
def test_energies_that_climb_by_more_than_rates_can_tell_keep_their_rates(cells):
    """Up to 1600 T a cell: no rate leads up there, which is no sign of a circulation."""
    fp = planck(rs.System("(x**2 - 1)**2", temperature=0.02, domain=rs.Domain([(-7, 7)])), cells)
    assert np.any(fp.generator.diagonal(1) * fp.generator.diagonal(-1) == 0)
    found = fp.spectrum(4)
    assert found.rates.dtype == np.float64
    kramers = np.sqrt(32) / np.pi * np.exp(-50)
    np.testing.assert_allclose(found.rates, [0, kramers, 4, 8], rtol=0.1)  # at rest, over the barrier, on it, in a well


@pytest.mark.filterwarnings("ignore:grid. the energy changes")
def test_all_modes_of_a_circulating_generator():
    fp = circulating(5)
    found = fp.spectrum(25)
    np.testing.assert_allclose(found.modes[0], fp.gibbs, rtol=1e-12)
    # rounded, for conjugate pairs differ in their real parts by rounding
    exact, rates = (np.sort_complex(np.round(x, 8)) for x in (-np.linalg.eigvals(fp.generator.toarray()), found.rates))
    np.testing.assert_allclose(rates, exact, atol=1e-8 * np.abs(exact).max())
