"""The polynomials of kernels against mpmath, in compiled code, and their special values."""

import numpy as np
import pytest

from relaxsim.particles import vector_math
from relaxsim.system import elementary

RANGES = {
    "exp": [(-708, 709), (-1, 1)],
    "log": [(1e-300, 1e-290), (0.3, 3.0), (1, 1e6)],
    "sin": [(-10, 10), (-(2.0**20), 2.0**20)],
    "cos": [(-10, 10), (-(2.0**20), 2.0**20)],
    "tan": [(-10, 10)],
    "tanh": [(-1e-3, 1e-3), (-3, 3)],
    "sinh": [(-1e-3, 1e-3), (-700, 700)],
    "cosh": [(-1, 1), (-700, 700)],
    "erf": [(-3, 3)],
    "atan": [(-5, 5)],
}
ULP = 3.0


def ulp_error(name, x, y):
    import mpmath

    mpmath.mp.prec = 100
    reference = [getattr(mpmath, name)(mpmath.mpf(float(value))) for value in x]
    return max(
        float(abs(mpmath.mpf(float(got)) - exact)) / np.spacing(abs(float(exact)))
        for got, exact in zip(y, reference, strict=True)
    )


def compiled(name):
    import numba

    from relaxsim._jit import FASTMATH
    from relaxsim.particles import overloads  # noqa: F401

    function = getattr(elementary, name)

    @numba.njit(fastmath=FASTMATH, error_model="numpy")
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


@pytest.mark.parametrize("name", sorted(RANGES))
def test_error_in_units_of_the_last_place(name):
    rng = np.random.default_rng(11)
    loop = compiled(name)
    for low, high in RANGES[name]:
        x = rng.uniform(low, high, 1000)
        y = np.empty_like(x)
        loop(x, y)
        assert ulp_error(name, x, y) < ULP


SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 1e-310, 710.0, -746.0, np.inf, -np.inf, np.nan])


@pytest.mark.nojit
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sinh", "cosh", "sign"])
def test_special_values_are_numpys(name):
    with np.errstate(all="ignore"):
        got, expected = getattr(vector_math, name)(SPECIAL), getattr(elementary, name)(SPECIAL)
    np.testing.assert_allclose(got, expected, rtol=3e-15, atol=5e-324)


@pytest.mark.nojit
def test_sine_of_what_is_no_angle_is_not_a_number():
    with np.errstate(all="ignore"):
        assert np.isnan(vector_math.sin(np.array([np.inf, -np.inf, np.nan, 1e13]))).all()
        assert np.isnan(vector_math.cos(np.array([np.inf, -np.inf, np.nan, 1e13]))).all()


@pytest.mark.nojit
@pytest.mark.parametrize("name", ["exp", "sin", "cos", "tan", "tanh", "sinh", "cosh"])
def test_the_polynomials_run_on_arrays_too(name):
    x = np.linspace(-3, 3, 101)
    np.testing.assert_allclose(getattr(vector_math, name)(x), getattr(np, name)(x), rtol=2e-15, atol=1e-16)
