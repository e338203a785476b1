"""Instruments that are given the wrong kind of thing say what they take, what they got and what serves it."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim import functionals
from relaxsim.functionals import sample_distance

pytestmark = pytest.mark.nojit

BOX = rs.Domain([(-4, 4)])
SYSTEM = rs.System("x**2/2", temperature=1.0, domain=BOX)
TIMES = np.array([0.0, 0.1])
X = np.random.default_rng(3).standard_normal((2, 500, 1)).clip(-3.9, 3.9)
ENSEMBLE = rs.EnsemblePath(TIMES, X, SYSTEM, 0.1, 0.0, "euler-maruyama", 1, 1, 1)
SOLVER = rs.FokkerPlanck(SYSTEM, rs.Grid(BOX, 16))
DENSITY = SOLVER.evolve(rs.initial.normal(1, 0.5), TIMES)
RECORD = rs.track(DENSITY)
MASS = DENSITY.mass[0]

DISTANCES = (
    sample_distance.wasserstein,
    sample_distance.total_variation,
    sample_distance.hellinger,
    sample_distance.mmd,
)

# what is public, called with one wrong argument; the rest is right
CALLS = {
    "free_energy": lambda it: rs.free_energy(it, SYSTEM),
    "free_energy alone": lambda it: rs.free_energy(it),
    "kl_to_gibbs": lambda it: rs.kl_to_gibbs(it, SYSTEM),
    "kl_to_gibbs alone": lambda it: rs.kl_to_gibbs(it),
    "entropy": rs.entropy,
    "kl_between": lambda it: rs.kl_between(it, X[0]),
    "kl_between alone": lambda it: rs.kl_between(it),
    "circulation_cost": lambda it: functionals.circulation_cost(it, SYSTEM),
    "circulation_cost alone": lambda it: functionals.circulation_cost(it),
    "fisher_information": functionals.fisher_information,
    "density_fisher_information": functionals.density_fisher_information,
    "track": rs.track,
    "dissipation": rs.dissipation,
    "entropy_production": rs.entropy_production,
    "check_monotone": functionals.check_monotone,
    "log_partition": rs.log_partition,
    "Bins.fit": lambda it: functionals.Bins.fit(it, X),
    "wasserstein": lambda it: functionals.wasserstein(it, X[0, :, 0]),
    "entropic_wasserstein": lambda it: functionals.entropic_wasserstein(it, MASS, epsilon=1.0, cost=np.eye(16)),
    "wasserstein_divergence": lambda it: functionals.wasserstein_divergence(it, MASS, epsilon=1.0, cost=np.eye(16)),
    "count_entropy": functionals.count_entropy,
    **{f"{each.__name__} of samples": lambda it, each=each: each(it, X[0]) for each in DISTANCES},
}
NUMBERS = {name for name in CALLS if not name.endswith("alone")} - {
    "density_fisher_information", "track", "dissipation", "entropy_production", "check_monotone", "log_partition",
    "Bins.fit",
}  # fmt: skip
PATHS = {"track", "dissipation", "entropy_production"}
WRONG = {
    "ensemble": (ENSEMBLE, PATHS),
    "density": (DENSITY, PATHS | {"density_fisher_information"}),
    "system": (SYSTEM, {"log_partition", "Bins.fit"}),
    "solver": (SOLVER, set()),
    "record": (RECORD, {"check_monotone"}),
    "grid": (SOLVER.grid, set()),
    "law": (rs.initial.normal(0, 1), set()),
    "estimate": (functionals.Estimate(0.0, 0.0, 0.0, "given", 1, 1), set()),
    "none": (None, set()),
    "text": ("x**2", set()),
    "texts": (["a", "b"], set()),
    "mapping": ({"a": 1.0}, set()),
    "number": (1.0, set()),
    "points": (X[0], NUMBERS),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_kind_is_a_typed_error_that_says_what_was_expected(wrong):
    given, served = WRONG[wrong]
    for name in CALLS.keys() - served:
        with pytest.raises((rs.InputError, rs.ShapeError), match=r"^\w+: .*expected"):
            CALLS[name](given)


def test_the_table_holds_every_public_function():
    classes = {name for name in functionals.__all__ if name[0].isupper()}
    assert {name.split()[0] for name in CALLS} >= set(functionals.__all__) - classes


def test_what_is_right_passes():
    """The control: nothing above is refused for its own sake."""
    assert rs.free_energy(X[0], SYSTEM).best.value < 0
    assert rs.kl_to_gibbs(X[0].tolist(), SYSTEM).value < 0.5
    assert functionals.circulation_cost(X[0], SYSTEM).value == 0
    assert rs.track(ENSEMBLE).free_energy.shape == rs.entropy_production(DENSITY).total.shape
    assert functionals.check_monotone(RECORD).monotone


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (
            "free_energy alone",
            ENSEMBLE,
            r"\[k\], got an EnsemblePath; rs\.track\(path\)\.free_energy has all times",
        ),
        ("free_energy alone", DENSITY, r"got a DensityPath; .*rs\.track\(path\)\.free_energy serves it"),
        ("kl_to_gibbs alone", ENSEMBLE, r"rs\.track\(path\)\.kl has all times"),
        ("kl_to_gibbs alone", X[0], r"^system: expected a System, such as path\.system, got None"),
        ("mmd of samples", ENSEMBLE, r"^x: expected positions .* path\.positions\[k\], got an EnsemblePath$"),
        ("entropy", DENSITY, r"rs\.track\(path\)\.entropy serves it"),
        ("free_energy", SYSTEM, r"got a System; the system comes after the points"),
        ("circulation_cost", ENSEMBLE, r"rs\.entropy_production\(path\)\.circulating has all times"),
        ("fisher_information", DENSITY, r"density_fisher_information\(path\) serves it"),
        ("density_fisher_information", ENSEMBLE, r"fisher_information\(path\.positions\[k\]\) serves particles"),
        ("check_monotone", ENSEMBLE, r"write check_monotone\(track\(path\)\)"),
        ("track", SYSTEM, r"got a System; run it first"),
        ("track", SOLVER, r"got a FokkerPlanck; write path = fp\.evolve"),
        ("track", X[0], r"rs\.free_energy\(points, system\) measures positions at one time"),
        ("log_partition", DENSITY, r"got a DensityPath; pass its \.system"),
        ("wasserstein", DENSITY, r"\(path\.grid\.edges\[0\], path\.mass\[k\]\)"),
    ],
)
def test_the_error_names_what_serves_it(name, given, words):
    with pytest.raises(rs.InputError, match=words):
        CALLS[name](given)


def test_what_has_no_energy_is_told_the_same_everywhere():
    driven = rs.FokkerPlanck.from_drift("-x", 2.0, BOX, rs.Grid(BOX, 16))
    path = driven.evolve(driven.gibbs, TIMES)
    for ask in (
        lambda: rs.track(path),
        lambda: rs.kl_to_gibbs(X[0], path.system),
        lambda: rs.log_partition(path.system),
    ):
        with pytest.raises(rs.InputError, match=r"^(path|system): .* has no energy, so .* law at rest is path\.kl$"):
            ask()


def test_what_is_named_works():
    assert rs.track(DENSITY).free_energy.shape == rs.track(DENSITY).kl.shape == rs.track(DENSITY).entropy.shape == (2,)
    assert rs.entropy_production(DENSITY).circulating.shape == (2,)
    assert functionals.wasserstein((DENSITY.grid.edges[0], MASS), X[0, :, 0]) > 0
    assert functionals.fisher_information(X[0]).value > 0
