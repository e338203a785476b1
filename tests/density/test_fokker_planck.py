"""FokkerPlanck: what it takes, what it refuses and how it says so."""

from __future__ import annotations

import re

import numpy as np
import pytest

from relaxsim import Domain, Energy, FokkerPlanck, Grid, Mobility, System, initial
from relaxsim.errors import DomainError, IncompatibleSchemeError, InputError, MobilityError, ShapeError

BOX = Domain([(-2, 2)])


def one(energy="x**2", mobility=1.0, temperature=0.5, domain=BOX, n=16):
    return FokkerPlanck(System(energy, mobility, temperature, domain), Grid(domain, n))


def test_gibbs_and_partition_function_of_a_gaussian():
    fp = one(domain=Domain([(-8, 8)]), n=128)
    assert fp.log_partition == pytest.approx(0.5 * np.log(np.pi * 0.5), rel=1e-12)
    assert fp.gibbs.shape == (128,)
    assert fp.gibbs.sum() == pytest.approx(1, rel=1e-14)
    assert np.allclose(fp.generator @ fp.gibbs, 0, atol=1e-12)
    assert fp.generator is fp.generator
    assert repr(fp) == "FokkerPlanck(shape=(128,), temperature=0.5)"


def test_initial_laws_and_arrays_are_the_same():
    fp = one()
    law = initial.normal([0.5], 0.3)
    masses = law.masses(fp.system, fp.grid)
    by_law, by_array = (fp.evolve(start, [0.0, 1.0]) for start in (law, masses))
    assert np.array_equal(by_law.mass, by_array.mass)
    assert np.allclose(fp.evolve(masses * (1 + 1e-7), [0.0]).mass[0], masses)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"times": [0.0, np.nan]}, InputError, "times: times must be finite"),
        ({"times": [1.0, 0.0]}, InputError, "times must increase, got 1 followed by 0; sort them"),
        ({"times": [[0.0, 1.0]]}, ShapeError, "times: expected a list of times"),
        ({"times": []}, ShapeError, "times: expected a list of times"),
        ({"method": "krilov"}, InputError, "method: expected one of .*'backward-euler'.*did you mean 'krylov'"),
        ({"method": "separable"}, IncompatibleSchemeError, "does not separate into axes: it has one axis only"),
        ({"method": "krylov", "step": 0.5}, IncompatibleSchemeError, "it chooses its own steps; leave step out"),
        ({"step": -1.0}, InputError, "step: expected a positive finite number, got -1.0"),
        ({"step": 0.4}, InputError, "step: 0.4 does not divide .* 0.333"),
        ({"tol": 0.0}, InputError, "tol: expected a positive finite number"),
        ({"initial": np.ones(15) / 15}, ShapeError, r"initial: expected .* shape \(16,\), got \(15,\)"),
        ({"initial": np.ones(16)}, InputError, "initial: cell masses must sum to one, got 16"),
        ({"initial": np.r_[-0.5, 1.5, np.zeros(14)]}, InputError, "must be finite and zero or positive, got -0.5"),
        ({"initial": np.r_[np.nan, np.zeros(15)]}, InputError, "must be finite and zero or positive"),
        ({"initial": "gibbs"}, InputError, "initial: expected a law such as initial.normal"),
        ({"times": [1.0, 0.0], "tol": -1}, InputError, "2 problems with the input"),
    ],
)
def test_bad_arguments_of_evolve(arguments, error, message):
    fp = one()
    good = {"initial": fp.gibbs, "times": [0.0, 1.0]}
    with pytest.raises(error, match=message):
        fp.evolve(**{**good, **arguments})


def test_what_is_no_grid_is_refused_with_the_fix():
    with pytest.raises(InputError, match=r"grid: expected a Grid, such as Grid\(system.domain, shape=100\), got int"):
        FokkerPlanck(System("x**2", temperature=0.5, domain=BOX), 100)
    with pytest.raises(InputError, match="2 problems"):
        FokkerPlanck("x**2", 100)


def test_a_grid_of_another_domain_is_refused():
    system = System("x**2", temperature=0.5, domain=BOX)
    with pytest.raises(InputError, match="grid: it has 2 axes, the system 1"):
        FokkerPlanck(system, Grid(Domain([(0, 1), (0, 1)]), 4))
    with pytest.raises(DomainError, match=r"axis 0 covers \(-3, 3\), beyond the system's \(-2, 2\)"):
        FokkerPlanck(system, Grid(Domain([(-3, 3)]), 8))
    with pytest.raises(DomainError, match=r"axis 0 is periodic .* unlike the system's"):
        FokkerPlanck(system, Grid(Domain([(-2, 2)], boundary="periodic"), 8))


def test_a_part_of_the_domain_may_be_covered():
    system = System("x**2", temperature=0.5, domain=BOX)
    fp = FokkerPlanck(system, Grid(BOX, 8, bounds=[(-1, 1)]))
    assert fp.grid.bounds.tolist() == [[-1, 1]]


def test_an_energy_that_is_no_number_is_named_with_its_point():
    with pytest.raises(InputError, match=r"the energy is nan at \(-1\.\d+\), expected a finite number"):
        one(energy=Energy(lambda x: np.where(x[0] < -1.9, np.nan, x[0] ** 2), grad=lambda x: (2 * x[0],)), n=64)


def test_a_mobility_that_is_not_positive_is_named_with_its_point():
    dip = Mobility.from_function(lambda x: 1 - 2 * np.exp(-(((x[0] - 0.5625) / 0.01) ** 2)))
    with pytest.raises(MobilityError, match=r"positive definite .* at \(0.5625\) its smallest eigenvalue is -1"):
        one(mobility=dip, n=32)


def test_a_temperature_that_is_not_positive_later_is_refused():
    fp = one(temperature="1 - t")
    assert fp.evolve(initial.normal([0.5], 0.3), [0.0, 0.5]).mass.shape == (2, 16)
    with pytest.raises(InputError, match="expected a positive finite number at every time, got -1 at t = 2"):
        fp.evolve(initial.normal([0.5], 0.3), [0.0, 2.0])


def test_four_dimensions_are_refused():
    cube = Domain.hypercube(4)
    with pytest.raises(InputError, match="in one to three dimensions, got 4"):
        FokkerPlanck(System("x + y + z + w", temperature=1.0, domain=cube), Grid(cube, 3))


def test_a_coarse_grid_warns_with_a_number_of_cells_that_is_enough():
    with pytest.warns(UserWarning, match=r"changes by \S+ T between .* Peclet number .* Use about \d+ times") as caught:
        one(energy="40*x**2", n=8)
    jump, peclet, factor = map(
        float, re.search(r"by (\S+) T .* number (\S+)\); .* about (\d+) times", str(caught[0].message)).groups()
    )
    assert jump > 4
    assert peclet == pytest.approx(jump / 2, rel=0.05)
    one(energy="40*x**2", n=8 * int(factor))  # does not warn, which would be an error here


def test_mass_in_forbidden_cells():
    walled = Energy(lambda x: np.where(x[0] > 0, np.inf, x[0] ** 2), grad=lambda x: (2 * x[0],))
    fp = one(energy=walled)
    with pytest.raises(InputError, match=r"initial: 0.5 of the mass lies in cells where the energy is infinite"):
        fp.evolve(np.full(16, 1 / 16), [0.0])
    with pytest.raises(InputError, match="energy is infinite"):
        fp.evolve(initial.uniform([(1, 2)]), [0.0])
    with pytest.warns(UserWarning, match=r"50.0% of the law lies where the energy is infinite"):
        path = fp.evolve(initial.uniform([(-1, 1)]), [0.0, 1.0])
    assert np.all(path.mass[:, 8:] == 0)


@pytest.mark.parametrize("law", [initial.uniform([(-1, 1)]), initial.normal([-1.8], 0.3)], ids=["forbidden", "outside"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda fp, law: fp.evolve(law, [0.0, 0.1]),
        lambda fp, law: fp.evolve(law, [0.0, 0.1], step=0.1),
        lambda fp, law: fp.proximal(law, [0.0, 0.1], step=0.1, epsilon=0.2),
    ],
    ids=["evolve", "with a step", "proximal"],
)
def test_what_an_initial_law_loses_is_said_at_the_line_that_gave_it(ask, law):
    """Not at a line of relaxsim, nor at one that only led to that line, such as `ask(...)` here."""
    walled = Energy(lambda x: np.where(x[0] > 0, np.inf, x[0] ** 2), grad=lambda x: (2 * x[0],))
    with pytest.warns(UserWarning, match="of the (normal )?law lies") as caught:
        ask(one(energy=walled), law)
    where = [(each.filename, each.lineno) for each in caught]
    assert where == [(__file__, ask.__code__.co_firstlineno)]


def test_progress_is_shown_when_asked(capsys):
    fp = one()
    fp.evolve(fp.gibbs, [0.0, 1.0], step=0.1, progress=True)
    assert "density" in capsys.readouterr().err
    fp.evolve(fp.gibbs, [0.0, 1.0], progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("convert", [lambda p: p.astype(complex), lambda p: (p + 0j).tolist()])
def test_complex_cell_masses_are_refused(convert):
    domain = Domain([(-2.0, 2.0)])
    fp = FokkerPlanck(System(Energy("x**2"), temperature=1.0, domain=domain), Grid(domain, 8))
    with pytest.raises(InputError, match="initial: cell masses must be real, got complex numbers"):
        fp.evolve(convert(fp.gibbs), [0.0, 0.1])
