"""How often the interval of a gap holds the gap, on ensembles that no constant of the fit was chosen by."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.functionals.tail import gap_from_tail
from statistical_budget import assert_rejected, assert_within

pytestmark = pytest.mark.slow

SEED = 20261126
ENSEMBLES = 250
WELL = 0.422944645397757  # gap of x^4/4 - x^2/2 at T = 1/2, by a 60-digit Rayleigh-Ritz computation
# Coverage of 91 to 99 % is what is promised: 95 % give or take 4. The binomial error is that at 91 %, the largest.
MARGIN, ERROR = 0.04, (0.91 * 0.09 / ENSEMBLES) ** 0.5


def two_modes(number):
    """Exact steps of an Ornstein-Uhlenbeck ensemble whose mean and variance are both off: exp(-2t) and exp(-4t)."""
    rng = np.random.default_rng([SEED, number])
    times, decay = np.arange(40) * 0.08, np.exp(-0.08)
    x = [0.6 + 0.3 * rng.standard_normal(20_000)]
    for _ in times[1:]:
        x.append(decay * x[-1] + np.sqrt(1 - decay**2) * rng.standard_normal(20_000))
    system = rs.System("x**2/2", temperature=1.0, domain=rs.Domain([(-8, 8)]))
    return rs.track(rs.EnsemblePath(times, np.array(x)[..., None], system, 0.08, 0.0, "exact", 1, 1, 1))


def double_well(number):
    """From within one well."""
    system = rs.System("x**4/4 - x**2/2", temperature=0.5, domain=rs.Domain([(-4, 4)]))
    return rs.track(
        rs.simulate(
            system, rs.initial.normal([1.0], 0.3), n_particles=3000, dt=0.01, times=np.arange(25) * 0.25,
            rng=SEED * 1000 + number, threads=1, progress=False,
        )
    )  # fmt: skip


def study(draw, exact):
    """Shares of 95 % intervals that hold the gap, of fits and of fits in a window taken as given; ln stderr/sd."""
    fits, fixed = [], []
    for number in range(ENSEMBLES):
        record = draw(number)
        fits.append(gap_from_tail(record))
        fixed.append(gap_from_tail(record, start=fits[-1].start))
    held = [
        np.mean([low <= exact <= high for low, high in (fit.estimate.interval() for fit in each)])
        for each in (fits, fixed)
    ]
    variance = np.array([fit.stderr for fit in fits]) ** 2
    away = (np.array([fit.gap for fit in fits]) - np.mean([fit.gap for fit in fits])) ** 2
    relative = [v.std() / v.mean() / (2 * ENSEMBLES**0.5) for v in (variance, away)]
    return (*held, 0.5 * np.log(variance.mean() / away.mean()), np.hypot(*relative))


def test_intervals_of_the_gap_cover_it():
    """Of 250 intervals that each hold with 91 %, fewer than the threshold's 80 % do so with probability 3e-8.

    An interval from a fit that forgets the choice of its window holds too seldom, and is rejected for two modes. One
    that is three times too long holds always, which no share of 95 % can tell: its length is compared with the spread.
    """
    covered, forgetful, log_ratio, error = map(
        np.array, zip(study(two_modes, 1.0), study(double_well, WELL), strict=True)
    )
    assert_within("tail: coverage of the gap", covered, 0.95, ERROR, MARGIN)
    assert_rejected("tail: coverage of the gap", forgetful, 0.95, ERROR, MARGIN)
    assert_within("tail: stated error against the spread", log_ratio, 0.0, error, 0.1)
    assert_rejected("tail: stated error against the spread", log_ratio + np.log(3), 0.0, error, 0.1)
