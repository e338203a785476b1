"""Elementary functions as branch-free polynomials, which the compiler turns into vector instructions.

The functions run on NumPy arrays as they stand. `register` makes kernels use them for the names of
`relaxsim.system.elementary`; there the C library's scalar functions would keep a loop from being vectorised.
"""

from __future__ import annotations

import numpy as np

_U, _I = np.uint64, np.int64

MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer, found in the low bits
MAGIC_BITS = _I(0x4338000000000000)
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2 = 0.6931471805599453
HALF_PI_1, HALF_PI_2, HALF_PI_3 = 1.5707963267341256e00, 6.0771005063039659e-11, 2.0222662487959506e-21
SQRT_HALF_BITS = _I(0x3FE6A09E667F3BCD)
MANTISSA = _I(52)
BIAS = _I(1023)
U1, U2, U62 = _U(1), _U(2), _U(62)


def where(condition, a, b):
    """`a` where the condition holds, else `b`: a selection, never a branch."""
    return np.where(condition, a, b)


def bits_to_float(bits):
    """The double with these 64 bits."""
    return np.asarray(bits, dtype=np.uint64).view(np.float64)[()]


def float_to_bits(x):
    """The 64 bits of a double."""
    return np.asarray(x, dtype=np.float64).view(np.uint64)[()]


def to_signed(bits):
    """The same 64 bits as a signed integer."""
    return np.asarray(bits).view(np.int64)[()]


def to_unsigned(bits):
    """The same 64 bits as an unsigned integer."""
    return np.asarray(bits).view(np.uint64)[()]


def log_positive(x):
    """ln x for finite normal x > 0 (fdlibm's reduction and coefficients)."""
    bits = to_signed(float_to_bits(x))
    k = (bits - SQRT_HALF_BITS) >> MANTISSA
    f = bits_to_float(to_unsigned(bits - (k << MANTISSA))) - 1.0
    exponent = bits_to_float(to_unsigned(k + MAGIC_BITS)) - MAGIC
    s = f / (f + 2.0)
    z = s * s
    p = 0.14798198605116586
    p = 0.15313837699209373 + z * p
    p = 0.18183572161618050 + z * p
    p = 0.22222198432149784 + z * p
    p = 0.28571428743662391 + z * p
    p = 0.39999999999409419 + z * p
    p = 0.66666666666667351 + z * p
    return exponent * LN2_HIGH + (s * 2.0 + (s * (z * p) + exponent * LN2_LOW))


def log(x):
    """Natural logarithm: -inf at 0, nan below."""
    small = x < 2.2250738585072014e-308
    scaled = x * where(small, 18014398509481984.0, 1.0)  # subnormals times 2**54
    value = log_positive(where((scaled > 0.0) & (scaled < np.inf), scaled, 1.0))
    value = value - where(small, 54.0 * LN2, 0.0)
    return where(x > 0.0, where(x < np.inf, value, x), where(x == 0.0, -np.inf, np.nan))


def _reduce_exp(x):
    """x = n ln 2 + r with |r| <= ln(2)/2; n comes as bits that `_scale` understands."""
    shifted = x * LOG2_E + MAGIC
    n = shifted - MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return shifted, r


def _expm1_polynomial(r):
    """e**r - 1 for |r| <= 0.35 by Taylor's series to r**13."""
    p = 1.0 / 6227020800.0
    p = 1.0 / 479001600.0 + r * p
    p = 1.0 / 39916800.0 + r * p
    p = 1.0 / 3628800.0 + r * p
    p = 1.0 / 362880.0 + r * p
    p = 1.0 / 40320.0 + r * p
    p = 1.0 / 5040.0 + r * p
    p = 1.0 / 720.0 + r * p
    p = 1.0 / 120.0 + r * p
    p = 1.0 / 24.0 + r * p
    p = 1.0 / 6.0 + r * p
    p = 1.0 / 2.0 + r * p
    return r + r * r * p


def _power_of_two(n):
    """2**n for -1022 <= n <= 1023 as a double."""
    return bits_to_float(to_unsigned((n + BIAS) << MANTISSA))


def exp(x):
    """e**x; overflows to inf above 709.78, underflows gradually to 0."""
    clamped = where(x > 710.0, 710.0, where(x < -746.0, -746.0, x))
    shifted, r = _reduce_exp(where(x == x, clamped, 0.0))
    n = to_signed(float_to_bits(shifted)) - MAGIC_BITS
    half = n >> _I(1)  # two factors, each within range
    value = (1.0 + _expm1_polynomial(r)) * _power_of_two(half) * _power_of_two(n - half)
    return where(x == x, value, x)


def _expm1(x):
    """e**x - 1 for 0 <= x <= 709."""
    shifted, r = _reduce_exp(x)
    scale = _power_of_two(to_signed(float_to_bits(shifted)) - MAGIC_BITS)
    return scale * _expm1_polynomial(r) + (scale - 1.0)


def tanh(x):
    """Hyperbolic tangent, accurate near 0 too."""
    size = abs(x)
    rise = _expm1(where(size < 22.0, 2.0 * size, 44.0))
    value = rise / (rise + 2.0)
    return where(x == x, where(x < 0.0, -value, value), x)


def sinh(x):
    """Hyperbolic sine."""
    size = abs(x)
    rise = _expm1(where(size < 700.0, size, 0.0))
    large = 0.5 * exp(0.5 * size)
    value = where(size < 700.0, 0.5 * (rise + rise / (rise + 1.0)), large * exp(0.5 * size))
    return where(x == x, where(x < 0.0, -value, value), x)


def cosh(x):
    """Hyperbolic cosine."""
    size = abs(x)
    half = exp(0.5 * size)
    return 0.5 * half * half + 0.5 / half / half


def sincos_quarter(t):
    """Sine and cosine for |t| <= pi/4 (fdlibm's minimax coefficients, error below 2**-57)."""
    z = t * t
    p = 1.58969099521155010221e-10
    p = -2.50507602534068634195e-08 + z * p
    p = 2.75573137070700676789e-06 + z * p
    p = -1.98412698298579493134e-04 + z * p
    p = 8.33333333332248946124e-03 + z * p
    p = -1.66666666666666324348e-01 + z * p
    sine = t + t * (z * p)
    p = -1.13596475577881948265e-11
    p = 2.08757232129817482790e-09 + z * p
    p = -2.75573143513906633035e-07 + z * p
    p = 2.48015872894767294178e-05 + z * p
    p = -1.38888888888741095749e-03 + z * p
    p = 4.16666666666666019037e-02 + z * p
    cosine = (1.0 - 0.5 * z) + z * z * p
    return sine, cosine


def _sincos(x):
    """Sine and cosine; the reduction by pi/2 in three parts is exact to the last bits for |x| <= 2**20."""
    shifted = x * 0.6366197723675814 + MAGIC
    n = shifted - MAGIC
    t = ((x - n * HALF_PI_1) - n * HALF_PI_2) - n * HALF_PI_3
    sine, cosine = sincos_quarter(where(abs(x) < 1e12, t, np.nan))
    quadrant = float_to_bits(shifted)
    swap = (quadrant & U1) != 0
    first = where(swap, cosine, sine)
    second = where(swap, sine, cosine)
    first = bits_to_float(float_to_bits(first) ^ ((quadrant & U2) << U62))
    second = bits_to_float(float_to_bits(second) ^ (((quadrant + U1) & U2) << U62))
    return first, second


def sin(x):
    """Sine, for |x| <= 2**20 (nan above 1e12)."""
    return _sincos(x)[0]


def cos(x):
    """Cosine, for |x| <= 2**20 (nan above 1e12)."""
    return _sincos(x)[1]


def tan(x):
    """Tangent, for |x| <= 2**20."""
    sine, cosine = _sincos(x)
    return sine / cosine


def sign(x):
    """-1, 0 or 1."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))
