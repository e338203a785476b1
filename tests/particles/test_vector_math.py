"""The polynomials of kernels: their error as compiled, their special values, and that loops over them are packed."""

import functools
import re

import numpy as np
import pytest

from relaxsim.particles import vector_erf, vector_math, vector_math32
from relaxsim.system import elementary
from relaxsim.system.expression import FUNCTIONS

POINTS = 20_000  # for each function
DOUBLE = vars(vector_math) | {"erf": vector_erf.erf}
SINGLE = vars(vector_math32)
RANGES = {
    "exp": [(-708, 709.7), (-1, 1), (-1e-9, 1e-9)],
    "log": [(1e-300, 1e-290), (0.3, 3.0), (0.99, 1.01), (1, 1e6), (1e-310, 1e-309)],
    "sqrt": [(0, 100)],
    "sin": [(-10, 10), (-(2.0**20), 2.0**20), (-1e-3, 1e-3)],
    "cos": [(-10, 10), (-(2.0**20), 2.0**20)],
    "tan": [(-10, 10), (-(2.0**20), 2.0**20)],
    "asin": [(-1, 1), (-0.5, 0.5), (0.97, 1)],
    "acos": [(-1, 1), (-0.5, 0.5), (0.99, 1), (-1, -0.99)],
    "atan": [(-3, 3), (-0.5, 0.5), (-1e5, 1e5)],
    "sinh": [(-1e-3, 1e-3), (-3, 3), (-30, 30), (-710, 710)],
    "cosh": [(-4, 4), (-710, 710)],
    "tanh": [(-1e-3, 1e-3), (-0.5, 0.5), (-3, 3), (-22, 22)],
    "erf": [(-0.85, 0.85), (0.8, 1.3), (-6, 6)],
    "power": [(0, 10), (0.9, 1.1), (1e-300, 1e-299)],
}
LIMITS_32 = {  # where float32 ends, or its statement
    "exp": (-87, 88.7),
    "log": (1e-37, 1e6),
    "power": (1e-37, 1e6),
    "sin": (-(2.0**13), 2.0**13),
    "cos": (-(2.0**13), 2.0**13),
    "tan": (-(2.0**13), 2.0**13),
    "sinh": (-89, 89),
    "cosh": (-89, 89),
}


def arguments(name, dtype):
    """Points of every range, and exponents for powers that neither overflow nor vanish."""
    rng = np.random.default_rng(11)
    low, high = LIMITS_32.get(name, (-np.inf, np.inf)) if dtype == np.float32 else (-np.inf, np.inf)
    ranges = [(np.clip(a, low, high), np.clip(b, low, high)) for a, b in RANGES[name]]
    ranges = [(a, b) for a, b in ranges if a < b]
    x = np.concatenate([rng.uniform(a, b, POINTS // len(ranges) + 1) for a, b in ranges]).astype(dtype)
    if name != "power":
        return (x,)
    largest = 600 if dtype == np.float64 else 80
    return x, (rng.uniform(-largest, largest, x.size) / np.maximum(1, abs(np.log(x)))).astype(dtype)


@functools.cache
def compiled(name):
    import numba

    from relaxsim._jit import FASTMATH
    from relaxsim.particles import overloads  # noqa: F401

    function = getattr(elementary, name)
    names = "u, v" if name == "power" else "u"
    at_i = ", ".join(f"{name}[i]" for name in names.split(", "))
    namespace = {"function": function}
    source = f"def loop({names}, y):\n    for i in range(y.size):\n        y[i] = function({at_i})\n"
    exec(source, namespace)
    return numba.njit(fastmath=FASTMATH, error_model="numpy")(namespace["loop"])


def exact(name, points):
    import mpmath

    mpmath.mp.prec = 90
    if name == "power":
        return [mpmath.mpf(float(u)) ** mpmath.mpf(float(v)) for u, v in zip(*points, strict=True)]
    function = getattr(mpmath, name)
    return [function(mpmath.mpf(float(value))) for value in points[0]]


def test_every_function_of_the_grammar_has_a_stated_error():
    for module in (vector_math, vector_math32):
        assert module.ULP.keys() == (set(FUNCTIONS) - {"abs", "sign"}) | {"power"}
    assert set(FUNCTIONS) - {"abs"} | {"power"} == set(elementary.__all__)
    assert vector_math.ULP.keys() == RANGES.keys()


@pytest.mark.parametrize("name", sorted(RANGES))
def test_error_in_units_of_the_last_place(name):
    points = arguments(name, np.float64)
    assert points[0].size >= POINTS
    y = np.empty_like(points[0])
    compiled(name)(*points, y)
    reference = exact(name, points)
    error = np.array([float(abs(got - value)) for got, value in zip(y, reference, strict=True)])
    ulp = error / np.spacing(np.abs(np.array([float(value) for value in reference])))
    assert ulp.max() <= vector_math.ULP[name]
    assert ulp.max() > 0.3 * vector_math.ULP[name]  # the statement is not idle


@pytest.mark.parametrize("name", sorted(RANGES))
def test_error_in_single_precision(name):
    """Against NumPy in double precision, whose own error is nothing here."""
    points = arguments(name, np.float32)
    assert points[0].size >= POINTS
    y = np.empty_like(points[0])
    compiled(name)(*points, y)
    reference = getattr(elementary, name)(*(x.astype(np.float64) for x in points))
    ulp = np.abs(y - reference) / np.spacing(np.abs(reference).astype(np.float32))
    assert ulp.max() <= vector_math32.ULP[name]
    assert ulp.max() > 0.3 * vector_math32.ULP[name]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(RANGES))
def test_loops_are_packed(name, dtype):
    x = np.full(64, 0.5, dtype)
    loop = compiled(name)
    loop(*([x] * (2 if name == "power" else 1)), np.empty_like(x))
    (assembly,) = (text for types, text in loop.inspect_asm().items() if types[0].dtype.name == dtype)
    if "mulpd" not in assembly and "fmul" in assembly:
        pytest.skip("not an x86 processor")
    suffix = "s" if dtype == "float32" and (name == "sqrt" or hasattr(vector_math32, name)) else "d"
    packed = re.findall(rf"\sv?(?:mul|div|sqrt|fn?m(?:add|sub)\d*)p{suffix}\s", assembly)
    assert len(packed) >= (1 if name == "sqrt" else 8)
    for scalar in (name, f"{name}f", "pow", "powf"):  # nothing of the C library
        assert not re.search(rf"call\w*\s+\*?\S*\b_?{scalar}\b", assembly)


def same(got, expected, ulp):
    """Equal to within a few units, with the same infinities, nan, and signs (of zeros too)."""
    near = np.abs(got - expected) <= ulp * np.spacing(np.abs(expected))
    assert ((got == expected) | near | (np.isnan(got) & np.isnan(expected))).all()
    assert (np.isnan(expected) | (np.signbit(got) == np.signbit(expected))).all()


SPECIAL = [0.0, 0.5, 1.0, 1 + 2**-52, 5e-324, 1e-310, 2.2250738585072014e-308, 1e-20, 22.0, 710.0, 709.78, 745.1, 746.0]
SPECIAL = np.array([sign * value for value in (*SPECIAL, 1e300, np.inf) for sign in (1, -1)] + [np.nan])
with np.errstate(over="ignore"):
    SPECIAL = {"float64": SPECIAL, "float32": SPECIAL.astype(np.float32)}


@pytest.mark.nojit
@pytest.mark.parametrize("functions", [DOUBLE, SINGLE], ids=["double", "single"])
@pytest.mark.parametrize("name", sorted(RANGES.keys() - {"power", "sqrt"} | {"sign"}))
def test_special_values_are_numpys(name, functions):
    if functions is SINGLE and name not in SINGLE:
        pytest.skip("computed in double precision")
    x = SPECIAL["float64" if functions is DOUBLE else "float32"]
    if name in ("sin", "cos", "tan"):
        x = x[np.abs(x) < 1000]
    with np.errstate(all="ignore"):
        got, expected = functions[name](x), getattr(elementary, name)(x.astype(np.float64)).astype(x.dtype)
        assert got.dtype == x.dtype
        same(got, expected, 3)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(RANGES.keys() - {"power", "sin", "cos", "tan"} | {"sign"}))
def test_special_values_of_compiled_functions(name, dtype):
    x = SPECIAL[dtype]
    got = np.empty_like(x)
    compiled(name)(x, got)
    with np.errstate(all="ignore"):
        same(got, getattr(elementary, name)(x.astype(np.float64)).astype(dtype), 3)


BASES = [0.0, 1.0, 2.0, 3.0, 0.5, np.inf, 5e-324, 1e308, 1.0000000000000002]
BASES = np.array([sign * value for value in BASES for sign in (1, -1)] + [np.nan])
EXPONENTS = [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, np.inf, 1e-300, 1e17, 2.0**53 + 2, 1e19, 1e300]
EXPONENTS = np.array([sign * value for value in EXPONENTS for sign in (1, -1)] + [np.nan])


@pytest.mark.nojit
def test_special_powers_are_numpys():
    u, v = (grid.ravel() for grid in np.meshgrid(BASES, EXPONENTS))
    with np.errstate(all="ignore"):
        same(vector_math.power(u, v), np.power(u, v), 1)


@pytest.mark.nojit
@pytest.mark.parametrize("module", [vector_math, vector_math32], ids=["double", "single"])
def test_sine_of_what_is_no_angle_is_not_a_number(module):
    x = np.array([np.inf, -np.inf, np.nan, 1e13], dtype="float64" if module is vector_math else "float32")
    with np.errstate(all="ignore"):
        for name in ("sin", "cos", "tan"):
            assert np.isnan(getattr(module, name)(x)).all()


@pytest.mark.nojit
@pytest.mark.parametrize("name", sorted(RANGES.keys() - {"sqrt", "power", "asin", "acos"}))
def test_the_polynomials_run_on_arrays_too(name):
    x = np.linspace(0.01 if name == "log" else -3, 3, 101)
    np.testing.assert_allclose(DOUBLE[name](x), getattr(elementary, name)(x), rtol=2e-15, atol=1e-16)


def test_wide_vectors_is_a_hint_to_the_compiler_alone():
    import numba

    from relaxsim.particles import noise, overloads  # noqa: F401

    fill, wide = noise.fill_normals, vector_math.wide_vectors

    def plain(z):
        fill(np.uint64(1), 0, 0, 0, z[0], z[1])

    def hinted(z):
        wide()
        fill(np.uint64(1), 0, 0, 0, z[0], z[1])

    assert vector_math.wide_vectors() is None
    results = []
    for function, expected in ((plain, False), (hinted, True)):
        z = np.empty((2, 128))
        loop = numba.njit(fastmath={"contract"}, error_model="numpy")(function)
        loop(z)
        said = "".join(loop.inspect_llvm().values())
        for attribute in ('"prefer-vector-width"="512"', '"stackrealign"'):
            assert (attribute in said) == expected
        results.append(z)
    np.testing.assert_array_equal(*results)
