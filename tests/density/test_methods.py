"""Every method of time stepping against dense exponentials, held to its promise; mutants break it and are caught."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from density.support import gaussian_masses, general_systems, plain_system, systems, turned
from relaxsim.density import FokkerPlanck, chebyshev, evolve, krylov, methods, radau
from relaxsim.density.flow import Balance, Flow
from relaxsim.density.methods import METHODS, Task, choose
from relaxsim.density.promise import TOLERANCE, BrokenPromiseError, Fall, Worst
from relaxsim.errors import ConvergenceError, IncompatibleSchemeError, InputError
from relaxsim.progress import Silent
from relaxsim.system.domain import Domain
from relaxsim.system.grid import Grid
from relaxsim.system.relative_entropy import kl_divergence
from relaxsim.system.system import System

pytestmark = pytest.mark.nojit
PRECISE = ("chebyshev", "krylov", "radau")


def well(n=80, temperature=0.5):
    domain = Domain([(-2.5, 2.5)])
    system = plain_system(
        lambda x: (x[..., 0] ** 2 - 1) ** 2, lambda x: 1 + 0.5 * np.sin(x) ** 2, domain, temperature=temperature
    )
    return FokkerPlanck(system, Grid(domain, n)), [-1.0]


def plane(antisymmetric=None, boundary="reflecting"):
    domain = Domain([(-1.5, 1.5)] * 2, boundary=[boundary, "reflecting"])
    turn = 2 * np.pi / 3
    system = plain_system(
        lambda x: np.cos(turn * x[..., 0]) + x[..., 1] ** 2 + 0.5 * np.sin(turn * x[..., 0]) * x[..., 1],
        turned(4.0, 0.4), domain, temperature=0.4, antisymmetric=antisymmetric,
    )  # fmt: skip
    return FokkerPlanck(system, Grid(domain, (18, 16))), [-0.5, 0.3]


def separate():
    domain = Domain([(-1.5, 1.5), (0.0, 2.0), (-1.0, 1.0)], boundary=["reflecting", "periodic", "reflecting"])
    system = plain_system(
        lambda x: x[..., 0] ** 2 + np.cos(np.pi * x[..., 1]) - 0.5 * x[..., 2],
        lambda x: 1 + 0.5 * np.stack([np.sin(x[..., 0]), np.cos(np.pi * x[..., 1]), 0 * x[..., 2]], axis=-1) ** 2,
        domain, temperature=0.3,
    )  # fmt: skip
    return FokkerPlanck(system, Grid(domain, (9, 7, 6))), [-0.5, 1.0, 0.2]


CASES = {
    "1-D": well,
    "tensor": plane,
    "periodic tensor": lambda: plane(boundary="periodic"),
    "circulating": lambda: plane(np.array([[0.0, 0.7], [-0.7, 0.0]])),
    "separable": separate,
}


def begin(case, width=0.05):
    fp, mean = CASES[case]()
    return fp, gaussian_masses(fp.grid, np.array(mean), width * np.eye(fp.grid.dim))


def exact(fp, mass, times):
    """exp(t G) mass by a dense exponential of each interval; both have rounding errors below 1e-12."""
    dense, found = fp.generator.toarray(), [mass.ravel()]
    for interval in np.diff(times):
        found.append(expm(interval * dense) @ found[-1])
    return np.array(found).reshape(len(times), *fp.grid.shape)


TIMES = [0.5, 0.503, 0.55, 1.0, 1.5, 40.0]


@pytest.mark.parametrize("case", CASES)
def test_precise_methods_follow_the_exponential(case):
    fp, mass = begin(case)
    expected = exact(fp, mass, TIMES)
    for method in (*PRECISE, "auto", *(["separable"] if case == "separable" else [])):
        path = fp.evolve(mass, TIMES, method)
        error = np.abs(path.mass - expected).reshape(len(TIMES), -1).sum(axis=1).max()
        assert error < 2e-10, (method, error)
        assert path.mass.min() >= 0
        assert np.abs(path.mass.reshape(len(TIMES), -1).sum(axis=1) - 1).max() < 1e-14
        assert np.all(np.diff(path.kl) <= TOLERANCE * (1 + np.abs(fp.log_gibbs).max()))
        assert path.method in METHODS
        assert path.work is None


@settings(max_examples=15)
@given(st.one_of(systems(), systems(tensor=True), general_systems()), st.floats(-3.0, 3.0), st.integers(0, 2**32 - 1))
def test_promises_of_the_precise_methods_hold_for_any_system(case, exponent, seed):
    system, grid = case
    fp = quiet(system, grid)
    rng = np.random.default_rng(seed)
    mass = rng.exponential(size=grid.shape) * (rng.random(grid.shape) < 0.3) * np.isfinite(fp.log_gibbs)
    mass[np.unravel_index(np.argmax(fp.log_gibbs), grid.shape)] += 1e-3
    mass /= mass.sum()
    times = np.array([0.0, 0.3, 1.0, 1.1]) * 10.0**exponent
    largest = np.abs(fp.log_gibbs[np.isfinite(fp.log_gibbs)]).max()
    for method in ("auto", "chebyshev", "krylov"):
        path = fp.evolve(mass, times, method)
        assert path.mass.min() >= 0
        assert np.abs(path.mass.reshape(4, -1).sum(axis=1) - 1).max() < 1e-14
        assert np.all(np.diff(path.kl) <= TOLERANCE * (1 + largest))
        assert path.method in METHODS  # nothing had to take over


def quiet(system, grid):
    """A FokkerPlanck on a grid that is too coarse on purpose."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return FokkerPlanck(system, grid)


def steep():
    """E/T up to 400 at the walls, and a start there: far from normal for a polynomial of G."""
    domain = Domain([(-3.0, 3.0)])
    system = plain_system(lambda x: 20 * x[..., 0] ** 2, lambda x: np.ones_like(x), domain, temperature=0.5)
    fp = quiet(system, Grid(domain, 400))
    return fp, gaussian_masses(fp.grid, np.array([2.0]), np.array([[0.01]]))


class Unchecked(Worst):
    """A mutant that lets everything pass and mends nothing."""

    def settle(self, mass, tolerance=TOLERANCE, rounding=0.0):
        return mass


def unchecked_segments(monkeypatch, length):
    monkeypatch.setattr(chebyshev, "_GROWN", np.inf)
    monkeypatch.setattr(chebyshev, "_BURST", np.inf)
    monkeypatch.setattr(chebyshev, "FIRST", length)
    monkeypatch.setattr(chebyshev.Segments, "_worst", Unchecked(), raising=False)

    def begin_long(self, action, worst):
        self._make, self._length, self._growth, self._alone, self._passed = action, length, 4.0, True, np.inf
        self.products = self.rejected = 0

    monkeypatch.setattr(chebyshev.Segments, "__init__", begin_long)


def test_an_unchecked_chebyshev_segment_is_caught_and_backward_euler_goes_on(monkeypatch):
    fp, mass = steep()
    times = [0.0, 0.05, 0.1]
    checked = fp.evolve(mass, times, "chebyshev")
    assert np.abs(checked.mass - exact(fp, mass, times)).sum(axis=1).max() < 1e-10
    assert checked.method == "chebyshev"
    unchecked_segments(monkeypatch, 1e9)
    with pytest.warns(UserWarning, match="chebyshev returned negative mass of .* after t = 0, so backward Euler"):
        path = fp.evolve(mass, times, "chebyshev", tol=1.0)
    assert path.method == "chebyshev, then backward-euler"
    assert "backward Euler took over" in path.why
    assert path.mass.min() >= 0
    assert np.abs(path.mass - checked.mass).sum(axis=1).max() < 0.2


def test_growing_terms_are_compared_with_their_halves(monkeypatch):
    """At low temperature rounding shifts mass between wells, neither negative nor wrong in total."""
    domain = Domain([(-2.0, 2.0)])
    system = plain_system(lambda x: (x[..., 0] ** 2 - 1) ** 2, lambda x: np.ones_like(x), domain, temperature=0.005)
    fp = quiet(system, Grid(domain, 400))
    mass, times = gaussian_masses(fp.grid, np.array([0.1]), np.array([[0.04]])), [0.0, 1.0]
    expected = fp.evolve(mass, times, "radau").mass
    assert np.abs(fp.evolve(mass, times, "chebyshev").mass - expected).sum(axis=1).max() < 3e-11
    assert np.abs(fp.evolve(mass, times, "krylov").mass - expected).sum(axis=1).max() < 3e-11
    monkeypatch.setattr(chebyshev, "_GROWN", np.inf)  # the mutant, which none of the promises catches
    monkeypatch.setattr(chebyshev, "_CALM", np.inf)
    path = fp.evolve(mass, times, "chebyshev")
    assert path.method == "chebyshev"
    assert np.abs(path.mass - expected).sum(axis=1).max() > 3e-10


def test_segments_are_rejected_where_rounding_would_show(monkeypatch):
    fp, mass = steep()
    monkeypatch.setattr(chebyshev, "FIRST", 1e5)
    task = new_task(fp, mass, [0.0, 0.05, 0.1])
    segments = methods._segments(task)
    found = list(segments.run(task.mass, task.times, task.bar))
    assert segments.rejected >= 1
    assert np.abs(found - exact(fp, mass, task.times)[1:]).sum(axis=1).max() < 1e-10


def test_an_unchecked_projection_is_caught(monkeypatch):
    fp, mass = begin("1-D")
    monkeypatch.setattr(krylov, "_SIZES", (6,))
    monkeypatch.setattr(krylov, "TOLERANCE", np.inf)
    monkeypatch.setattr(krylov, "_NEAR", 0.0)
    monkeypatch.setattr(methods, "Arnoldi", lambda *arguments: krylov.Arnoldi(*arguments[:3], Unchecked()))
    with pytest.warns(UserWarning, match=r"krylov returned .*, so backward Euler took over"):
        assert fp.evolve(mass, [0.0, 0.01, 100.0], "krylov").method.endswith("backward-euler")


def test_few_vectors_still_reach_every_time(monkeypatch):
    fp, mass = begin("tensor")
    monkeypatch.setattr(krylov, "_SIZES", (8, 12))
    expected = exact(fp, mass, TIMES)
    assert np.abs(fp.evolve(mass, TIMES, "krylov").mass - expected).reshape(len(TIMES), -1).sum(axis=1).max() < 1e-9


def test_a_radau_step_that_is_too_long_from_a_point_is_refused():
    fp, _ = well()
    point = np.zeros(80)
    point[20] = 1.0
    stepper = radau.Stepper(fp.generator, None, Worst())
    with pytest.raises(BrokenPromiseError, match="negative mass of"):
        stepper.step(point, 20.0 / np.max(-fp.generator.diagonal()))
    path = fp.evolve(point, [0.0, 0.1], "radau")  # chosen steps are short enough
    assert np.abs(path.mass - exact(fp, point, path.times)).sum(axis=1).max() < 1e-9


def test_a_fixed_radau_step_that_breaks_its_promise_gives_way():
    fp, _ = well()
    point = np.zeros(80)
    point[20] = 1.0
    with pytest.warns(UserWarning, match="radau returned negative mass"):
        path = fp.evolve(point, [0.0, 0.25, 0.5], "radau", step=0.25)
    assert path.method == "radau, then backward-euler"
    assert path.steps == 2 + 2


def test_radau_is_of_order_five():
    fp, mass = begin("1-D")
    mass = exact(fp, mass, [0.0, 0.3])[-1]  # smooth enough for steps that are not small
    mass /= mass.sum()
    reference = exact(fp, mass, [0.0, 1.0])[-1]
    errors = [np.abs(fp.evolve(mass, [0.0, 1.0], "radau", step=1 / n).mass[-1] - reference).sum() for n in (8, 16, 32)]
    orders = -np.diff(np.log2(errors))
    assert np.all((orders > 4.5) & (orders < 5.5)), (errors, orders)


def test_partial_fractions_are_the_rational_function():
    z = np.array([0.0, -0.3, -5.0, -1e6])
    (real, share), (pair, weight) = radau.partial_fractions()
    found = share / (1 - real * z) + 2 * (weight / (1 - pair * z)).real
    expected = (1 + 2 * z / 5 + z**2 / 20) / (1 - 3 * z / 5 + 3 * z**2 / 20 - z**3 / 60)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    nodes, matrix = radau.tableau()
    for k in (1, 2, 3):  # the stages integrate polynomials
        np.testing.assert_allclose(matrix @ nodes ** (k - 1), nodes**k / k, rtol=1e-13)


# ---- weights of the expansions


@pytest.mark.parametrize("length", [33.0, 64.0, 4e3, 1e6])
def test_weights_of_the_expansion_are_bessel_functions(length):
    from scipy.special import ive

    found = chebyshev.bessel_weights(np.array([length / 3, length]))
    for z, weights in zip((length / 3, length), found, strict=True):
        expected = ive(np.arange(weights.size), z) * np.where(np.arange(weights.size) == 0, 1, 2)
        np.testing.assert_allclose(weights, expected, rtol=0, atol=3e-16)
        assert weights.sum() == pytest.approx(1, abs=1e-13)
    # the terms with weight, and no others
    assert 2 * ive(found.shape[1], length) < 2e-16
    assert 2 * ive(found.shape[1] - 1, length) > 3e-17


def test_powers_have_poisson_weights():
    from scipy.special import gammaln, pdtrc

    lengths = np.array([1e-3, 4.0, 32.0])
    found = chebyshev.poisson_weights(lengths)
    k = np.arange(found.shape[1])
    np.testing.assert_allclose(
        found, np.exp(k * np.log(lengths[:, None]) - lengths[:, None] - gammaln(k + 1)), rtol=1e-12
    )
    assert pdtrc(k[-1], 32.0) < 1e-16


# ---- promises


def test_rounding_of_the_total_shortens_no_segment():
    """Columns of B sum to one but for 1e-16, so that a path of length 4e5 is off by 1e-11, whatever its segments."""
    domain = Domain([(-1.8, 1.8)])
    fp = FokkerPlanck(System("(x**2 - 1)**2", 1.0, 0.5, domain), Grid(domain, 512))
    task = new_task(fp, gaussian_masses(fp.grid, np.array([-1.0]), np.array([[0.09]])), [0.0, 20.0])
    segments = methods._segments(task)
    (found,) = segments.run(task.mass, task.times, Silent())
    assert segments.rejected == 0
    assert segments.products <= chebyshev.expected_terms(task.times, task.rate)
    assert 1e-12 < task.worst.defect < 1e-10  # 1e-12 is refused where no rounding explains it
    assert np.abs(found - fp.evolve(task.mass, task.times, "krylov").mass[-1]).sum() < 1e-12


def test_settle_mends_little_and_refuses_more():
    worst = Worst()
    mended = worst.settle(np.array([0.5, 0.5 + 5e-11, -5e-11]))
    assert mended.min() == 0
    assert mended.sum() == pytest.approx(1, abs=1e-16)
    assert worst.negative == pytest.approx(5e-11)
    for bad in ([0.5, 0.5 + 2e-10, -2e-10], [0.5, 0.5 + 2e-10, 0.0], [np.nan, 0.5, 0.5]):
        with pytest.raises(BrokenPromiseError):
            worst.settle(np.array(bad))
        with pytest.raises(BrokenPromiseError):
            worst.settle(np.array(bad), 1e-12, rounding=1.0)
    off = [0.5, 0.5 + 5e-12]
    worst.settle(np.array(off), 1e-12, rounding=1e-11)
    with pytest.raises(BrokenPromiseError):
        worst.settle(np.array(off), 1e-12)
    with pytest.raises(BrokenPromiseError):  # rounding of the total is no negative mass
        worst.settle(np.array([0.5, 0.5, -5e-12]), 1e-12, rounding=1e-11)


def test_a_relative_entropy_that_grows_is_refused():
    log_gibbs = np.log([0.25, 0.75])
    Fall(np.array([0.4, 0.6]), log_gibbs).to(np.array([0.3, 0.7]))
    with pytest.raises(BrokenPromiseError, match="relative entropy that grew"):
        Fall(np.array([0.3, 0.7]), log_gibbs).to(np.array([0.3 + 1e-8, 0.7 - 1e-8]))


def test_a_method_that_raises_the_entropy_is_caught(monkeypatch):
    fp, mass = begin("1-D")

    def backwards(task):
        yield expm(-0.001 * fp.generator.toarray()) @ task.mass

    row = METHODS["chebyshev"]
    monkeypatch.setitem(METHODS, "chebyshev", methods.Row(backwards, *[False] * 4, row.summary))
    rested = fp.evolve(mass, [0.0, 0.5], "krylov").mass[-1]
    with pytest.warns(UserWarning, match="chebyshev returned a relative entropy that grew by"):
        fp.evolve(rested, [0.0, 0.001], "chebyshev")


def test_a_broken_backward_euler_is_an_error(monkeypatch):
    fp, mass = begin("1-D")
    row = METHODS["backward-euler"]
    monkeypatch.setitem(
        METHODS, "backward-euler", methods.Row(lambda task: iter([2 * task.mass]), True, True, True, True, row.summary)
    )
    with pytest.raises(ConvergenceError, match=r"backward Euler returned negative mass of 0\.00e"):
        fp.evolve(mass, [0.0, 1.0], "backward-euler")


# ---- which method


def new_task(fp, mass, times, step=None):
    flow = Flow(fp)
    return Task(fp, flow, flow.enter(mass), np.asarray(times, float), step, None, Silent(), Balance(flow))


@pytest.mark.parametrize(
    ("case", "times", "step", "method", "why"),
    [
        ("1-D", [0, 1e-3], None, "chebyshev", "cost less than factors; it has one axis only"),
        ("1-D", [0, 100.0], None, "krylov", "factors cost less than"),
        ("1-D", [0, 100.0], 1.0, "backward-euler", "a fixed step was given"),
        ("separable", [0, 1.0], None, "separable", "energy and mobility separate"),
        ("tensor", [0, 0.1], None, "chebyshev", "its mobility is not diagonal"),
        ("circulating", [0, 0.1], None, "chebyshev", "its mobility has an antisymmetric part"),
        ("tensor", [0.0], None, "chebyshev", "there is one time only"),
    ],
)
def test_the_choice_and_its_reason(case, times, step, method, why):
    fp, mass = begin(case)
    found, reason = choose(new_task(fp, mass, times, step))
    assert found == method
    assert why in reason
    path = fp.evolve(mass, times, step=step)
    assert path.method == method
    assert path.why == reason
    assert fp.evolve(mass, times, method, step=step).why == "it was asked for"


def test_a_longer_horizon_turns_to_factors():
    fp, mass = begin("tensor")
    chosen = [choose(new_task(fp, mass, [0.0, t]))[0] for t in 10.0 ** np.arange(-4, 6)]
    assert chosen == sorted(chosen)  # chebyshev first, then krylov
    assert set(chosen) == {"chebyshev", "krylov"}


def test_what_does_not_fit_is_refused_with_a_way_out(monkeypatch):
    fp, mass = begin("tensor")
    with pytest.raises(IncompatibleSchemeError, match="does not separate into axes: its mobility is not diagonal; use"):
        fp.evolve(mass, [0, 1], "separable")
    monkeypatch.setattr("relaxsim.density.solve._LARGEST", 1000)
    with pytest.raises(InputError, match=r"18 x 16 cells would take about .* use method='chebyshev'"):
        fp.evolve(mass, [0, 1], "krylov")


def test_every_row_says_what_it_is():
    assert all(row.summary for row in METHODS.values())
    assert ("auto", *METHODS) == methods.NAMES
    assert evolve._FALLBACK in METHODS


# ---- axis by axis


def test_the_generator_is_the_sum_of_its_axes():
    from relaxsim.density.separable import axis_generators

    fp, _ = separate()
    parts = axis_generators(fp)
    n = fp.grid.shape
    total = (
        np.kron(np.kron(parts[0], np.eye(n[1])), np.eye(n[2]))
        + np.kron(np.kron(np.eye(n[0]), parts[1]), np.eye(n[2]))
        + np.kron(np.kron(np.eye(n[0]), np.eye(n[1])), parts[2])
    )
    np.testing.assert_allclose(fp.generator.toarray(), total, rtol=1e-11, atol=1e-12 * np.abs(total).max())


def test_propagators_are_stochastic_however_stiff():
    from relaxsim.density.separable import propagator

    fp, _ = well(40)
    dense = fp.generator.toarray()
    for length in (1e-4, 0.3, 1e4):
        found = propagator(dense, length)
        assert found.min() >= 0
        np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-15)
        if length < 1:
            np.testing.assert_allclose(found, expm(length * dense), atol=2e-13)
        else:
            assert np.abs(found - fp.gibbs[:, None]).max() < 1e-10
    assert np.array_equal(propagator(np.zeros((3, 3)), 1.0), np.eye(3))


@pytest.mark.parametrize(
    ("energy", "mobility", "reason"),
    [
        (lambda x: x[..., 0] * x[..., 1], lambda x: np.ones_like(x), "its energy is not a sum over the axes"),
        (lambda x: x[..., 0], lambda x: 1 + x[..., ::-1] ** 2, "K_0 of its mobility depends on other coordinates"),
        (lambda x: np.where(x[..., 0] > 0.5, np.inf, 0.0), lambda x: np.ones_like(x), "its energy is not a sum"),
        (lambda x: x[..., 0] + 1e-6 * x[..., 0] * x[..., 1], lambda x: np.ones_like(x), "its energy is not a sum"),
    ],
)
def test_what_does_not_separate(energy, mobility, reason):
    from relaxsim.density.separable import why_not

    domain = Domain([(0.0, 1.0)] * 2)
    fp = FokkerPlanck(plain_system(energy, mobility, domain), Grid(domain, (8, 6)))
    assert reason in why_not(fp)


@pytest.mark.parametrize("waves", [16, 64])
def test_a_mobility_that_couples_between_the_points_of_a_coarser_grid(waves):
    """K_0 of y is the same on every fourth row of cells, or in all of them and another on the faces between."""
    from relaxsim.density.separable import why_not

    domain, reasons = Domain([(-2.0, 2.0)] * 2), []
    for of in (0, 1):
        law = lambda x, of=of: 1 + np.abs(waves * x[..., [of]] % 1 - 0.5) * np.array([1.0, 0.0])  # noqa: E731
        fp = FokkerPlanck(plain_system(lambda x: (x**2).sum(axis=-1), law, domain), Grid(domain, 256))
        reasons.append(why_not(fp))
    assert reasons == [None, "K_0 of its mobility depends on other coordinates than x0"]


# ---- walls that absorb


def test_what_is_left_between_absorbing_walls():
    domain = Domain([(0.0, 1.0)], boundary="absorbing")
    system = plain_system(lambda x: 0.0 * x[..., 0], lambda x: np.ones_like(x), domain, temperature=1.0)
    fp = FokkerPlanck(system, Grid(domain, 32))
    mass = np.full(32, 1 / 32)
    times = [0.0, 0.01, 0.1, 0.4]
    expected = exact(fp, mass, times)
    survival = expected.sum(axis=1)
    assert np.all(np.diff(survival) < 0)
    for method in PRECISE:
        path = fp.evolve(mass, times, method)
        assert np.abs(path.mass - expected).sum(axis=1).max() < 2e-10
    coarse = fp.evolve(mass, times, "backward-euler")
    assert np.abs(coarse.mass.sum(axis=1) - survival).max() < 2e-3
    assert coarse.mass.min() >= 0


def test_relative_entropy_of_a_path_is_that_of_its_masses():
    fp, mass = begin("1-D")
    path = fp.evolve(mass, [0.0, 0.5])
    np.testing.assert_array_equal(path.kl, kl_divergence(path.mass, path.log_gibbs))
    np.testing.assert_allclose(path.free_energy, 0.5 * (path.kl - fp.log_partition))
    assert np.all(np.diff(path.dissipated) > 0)


# ---- long horizons


def double_well():
    domain = Domain([(-2.5, 2.5)])
    system = plain_system(lambda x: (x[..., 0] ** 2 - 1) ** 2, np.eye(1), domain, temperature=0.1)
    point = np.zeros(150)
    point[40] = 1.0
    return FokkerPlanck(system, Grid(domain, 150)), point


@pytest.mark.parametrize("times", [[0.0, 1e4], [0.0, 1e4, 1e6], [0.0, 1e7], [0.0, 1e12], [0.0, 10.0, 1e3, 1e6, 1e9]])
def test_krylov_takes_one_space_however_long_the_horizon(times):
    """Against the modes of the symmetric form of G, with the slowest set to rest."""
    fp, point = double_well()
    path = fp.evolve(point, times, "krylov")
    assert path.method == "krylov"
    assert path.steps <= (50 if len(times) < 4 else 1000)
    root = np.sqrt(fp.gibbs)
    symmetric = fp.generator.toarray() * root / root[:, None]
    rates, modes = np.linalg.eigh((symmetric + symmetric.T) / 2)
    rates[-1], modes[:, -1] = 0.0, root
    expected = np.exp(np.outer(times, rates)) * (modes.T @ (point / root)) @ modes.T * root
    assert np.abs(path.mass[1:] - expected[1:]).sum(axis=1).max() < 3e-10


@pytest.mark.parametrize(("temperature", "rare", "error"), [(0.05, 1e-10, 1e-10), (0.03, 2e-15, 1e-8)])
def test_krylov_serves_long_horizons_with_absorbing_walls(temperature, rare, error):
    """Also where escapes are rarer than the rounding of sums of rates."""
    domain = Domain([(-1.5, 1.3)], boundary="absorbing")
    system = plain_system(lambda x: x[..., 0] ** 2 / 2, np.eye(1), domain, temperature)
    fp = FokkerPlanck(system, Grid(domain, 400))
    rate = float(np.real(fp.spectrum(1).rates[0]))
    assert rate < rare * np.max(-fp.generator.diagonal())
    point = np.zeros(400)
    point[200] = 1.0
    path = fp.evolve(point, np.array([0.0, 1.0, 2.0, 20.0]) / rate, "krylov")
    assert path.method == "krylov"
    assert path.steps <= 100
    assert path.mass[2].sum() / path.mass[1].sum() == pytest.approx(np.exp(-1.0), rel=1e-6)
    assert abs(path.mass[3].sum() - np.exp(-20.0)) < error


def test_a_step_that_rounding_takes_over_says_so():
    """A solve that lost all of the mass was divided by it."""
    domain = Domain([(-2, 2)])
    fp = FokkerPlanck(
        plain_system(lambda x: (x[..., 0] ** 2 - 1) ** 2 + 0.02 * x[..., 0], np.eye(1), domain, 0.05), Grid(domain, 150)
    )
    with pytest.raises(ConvergenceError, match="rounding took"):
        fp.evolve(np.eye(150)[30], [0, 1e18], "backward-euler", step=1e18)


def core(low):
    """A pair potential down to `low`, in cells of .004."""
    domain = Domain([(low, 3.01)])
    system = plain_system(lambda x: 4 * (x[..., 0] ** -12.0 - x[..., 0] ** -6.0), np.eye(1), domain)
    return FokkerPlanck(system, Grid(domain, round((3.01 - low) / 0.004)))


def test_a_core_of_huge_energies_changes_nothing_outside():
    """Rates of 1e25 there once set the unit of time: laws stood still, and the gap was that of the core."""
    whole, outer = core(0.01), core(0.65)
    core_cells = whole.grid.n_cells - outer.grid.n_cells
    start = gaussian_masses(outer.grid, np.array([2.0]), np.array([[0.01]]))
    times = [0.0, 0.1, 1.0, 10.0]
    path = whole.evolve(np.append(np.zeros(core_cells), start), times)
    assert path.method == "krylov"
    assert path.mass[:, :core_cells].max() < 1e-30
    np.testing.assert_allclose(path.mass[:, core_cells:], outer.evolve(start, times).mass, atol=1e-10)
    assert whole.spectrum(2).gap == pytest.approx(outer.spectrum(2).gap, rel=1e-9)
    assert whole.entropy_production() == pytest.approx(0.0, abs=1e-12)


def test_segments_shorter_than_times_can_tell_are_counted():
    times = np.array([0.0, 1.0, 1.0 + 1e-15, 100.0])
    assert 1e24 < chebyshev.expected_terms(times, 1e25) < 1e25


def test_krylov_rejects_weights_of_any_size_without_a_word(monkeypatch, recwarn):
    """Where the projected matrix is nearly singular its exponentials may be infinite; a larger space follows."""
    fp, mean = well()
    start = gaussian_masses(fp.grid, np.array(mean), np.array([[0.04]]))
    times, true, wild = [0.0, 5.0, 50.0], krylov._weights, iter([np.inf, -np.inf])

    def weights(*given):
        value = next(wild, None)
        return true(*given) if value is None else np.full((len(given[2]), len(given[0])), value)

    expected = fp.evolve(start, times, "chebyshev").mass
    monkeypatch.setattr(krylov, "_weights", weights)
    path = fp.evolve(start, times, "krylov")
    assert next(wild, None) is None
    assert path.method == "krylov"
    assert np.abs(path.mass - expected).sum(axis=1).max() < 1e-10
    assert not recwarn.list
