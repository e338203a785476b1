"""The functions of `vector_math` in single precision, so that a float32 kernel keeps all its lanes.

Every constant is a float32: one double would make the compiler widen the whole expression. Names are those of
`vector_math`, and `overloads` chooses by the type of the argument. What is not written here (asin, acos, atan, erf,
power) is computed in double precision and rounded.

References
----------
Cephes (Moshier, https://www.netlib.org/cephes), single precision, for the coefficients of log, exp, sin and cos.
"""

from __future__ import annotations

import numpy as np

from relaxsim.particles.vector_math import where

# The largest error in units of the last place of a float32; sin, cos and tan for |x| <= 2**13.
ULP = {
    "exp": 1.25,
    "log": 1.0,
    "sin": 2.25,
    "cos": 2.25,
    "tan": 4.0,
    "asin": 0.51,
    "acos": 0.51,
    "atan": 0.51,
    "sinh": 2.5,
    "cosh": 1.75,
    "tanh": 2.75,
    "erf": 0.51,
    "power": 0.51,
    "sqrt": 0.5,
}

F, _U, _I = np.float32, np.uint32, np.int32

MAGIC = F(12582912.0)  # 1.5 * 2**23
MAGIC_BITS = _I(0x4B400000)
LOG2_E = F(1.4426950408889634)
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)
HALF_PI_1, HALF_PI_2 = F(1.5703125), F(4.837512969970703e-4)
HALF_PI_3, HALF_PI_4 = F(7.549533620476723e-08), F(2.563344151594519e-12)
SQRT_HALF_BITS = _I(0x3F3504F3)
MANTISSA, BIAS = _I(23), _I(127)
U1, U2, U30 = _U(1), _U(2), _U(30)
SIGN = _U(1 << 31)
ZERO, HALF, ONE, TWO, INF, NAN = F(0.0), F(0.5), F(1.0), F(2.0), F(np.inf), F(np.nan)


def bits_to_float(bits):
    """The float32 with these 32 bits (of a wider unsigned integer: its lowest)."""
    return np.asarray(bits).astype(np.uint32).view(np.float32)[()]


def float_to_bits(x):
    """The 32 bits of a float32."""
    return np.asarray(x, dtype=np.float32).view(np.uint32)[()]


def to_signed(bits):
    """The same 32 bits as a signed integer."""
    return np.asarray(bits, dtype=np.uint32).view(np.int32)[()]


def to_unsigned(bits):
    """The same 32 bits as an unsigned integer."""
    return np.asarray(bits).astype(np.int32).view(np.uint32)[()]


BIT_CASTS = (
    (bits_to_float, "uint32", "float32"),
    (float_to_bits, "float32", "uint32"),
    (to_signed, "uint32", "int32"),
    (to_unsigned, "int32", "uint32"),
)


def word_to_float(word):
    """A 32-bit word (in any unsigned integer) as the nearest float32."""
    return np.asarray(word).astype(np.uint32).astype(np.float32)[()]


def with_sign_of(x, size):
    """`size` with the sign of x (of a zero too)."""
    return bits_to_float(float_to_bits(size) | (float_to_bits(x) & SIGN))


def log_positive(x):
    """ln x for finite normal x > 0."""
    bits = to_signed(float_to_bits(x))
    k = (bits - SQRT_HALF_BITS) >> MANTISSA
    f = bits_to_float(to_unsigned(bits - (k << MANTISSA))) - ONE
    exponent = bits_to_float(to_unsigned(k + MAGIC_BITS)) - MAGIC
    z = f * f
    p = F(-1.1514610310e-1) + f * F(7.0376836292e-2)
    p = F(-1.2420140846e-1) + f * (F(1.1676998740e-1) + f * p)
    p = F(-1.6668057665e-1) + f * (F(1.4249322787e-1) + f * p)
    p = F(-2.4999993993e-1) + f * (F(2.0000714765e-1) + f * p)
    p = F(3.3333331174e-1) + f * p
    return exponent * LN2_HIGH + (f + (f * z * p + (exponent * LN2_LOW - HALF * z)))


def log(x):
    """Natural logarithm: -inf at 0, nan below."""
    small = x < F(1.17549435e-38)
    scaled = x * where(small, F(16777216.0), ONE)
    value = log_positive(where((scaled > ZERO) & (scaled < INF), scaled, ONE))
    value = value - where(small, F(16.635532333438686), ZERO)
    return where(x > ZERO, where(x < INF, value, x), where(x == ZERO, -INF, NAN))


def _reduce_exp(x):
    """x = n ln 2 + r with |r| <= ln(2)/2; n comes as bits."""
    shifted = x * LOG2_E + MAGIC
    n = shifted - MAGIC
    return shifted, (x - n * LN2_HIGH) - n * LN2_LOW


def _expm1_polynomial(r):
    """e**r - 1 for |r| <= 0.35."""
    p = F(1.3981999507e-3) + r * F(1.9875691500e-4)
    p = F(4.1665795894e-2) + r * (F(8.3334519073e-3) + r * p)
    p = F(5.0000001201e-1) + r * (F(1.6666665459e-1) + r * p)
    return r + r * r * p


def _power_of_two(n):
    """2**n for -126 <= n <= 127."""
    return bits_to_float(to_unsigned((n + BIAS) << MANTISSA))


def _exp_times(x, n_more):
    """e**x * 2**n_more, for a small whole n_more."""
    clamped = where(x > F(90.0), F(90.0), where(x < F(-105.0), F(-105.0), x))
    shifted, r = _reduce_exp(where(x == x, clamped, ZERO))
    n = to_signed(float_to_bits(shifted)) - MAGIC_BITS + n_more
    half = n >> _I(1)
    value = (ONE + _expm1_polynomial(r)) * _power_of_two(half) * _power_of_two(n - half)
    return where(x == x, value, x)


def exp(x):
    """e**x; overflows to inf above 88.72, underflows gradually to 0."""
    return _exp_times(x, _I(0))


def _expm1(x):
    """e**x - 1 for 0 <= x <= 80."""
    shifted, r = _reduce_exp(x)
    scale = _power_of_two(to_signed(float_to_bits(shifted)) - MAGIC_BITS)
    return scale * _expm1_polynomial(r) + (scale - ONE)


def tanh(x):
    """Hyperbolic tangent, accurate near 0 too."""
    size = abs(x)
    rise = _expm1(where(size < F(10.0), TWO * size, F(20.0)))
    return where(x == x, with_sign_of(x, rise / (rise + TWO)), x)


def sinh(x):
    """Hyperbolic sine."""
    size = abs(x)
    rise = _expm1(where(size < F(10.0), size, ZERO))
    value = where(size < F(10.0), HALF * (rise + rise / (rise + ONE)), _exp_times(size, _I(-1)))
    return where(x == x, with_sign_of(x, value), x)


def cosh(x):
    """Hyperbolic cosine."""
    half = _exp_times(abs(x), _I(-1))
    return half + F(0.25) / half


def sincos_quarter(t):
    """Sine and cosine for |t| <= pi/4."""
    z = t * t
    p = F(-1.6666654611e-1) + z * (F(8.3321608736e-3) + z * F(-1.9515295891e-4))
    sine = t + t * (z * p)
    p = F(4.166664568298827e-2) + z * (F(-1.388731625493765e-3) + z * F(2.443315711809948e-5))
    cosine = (ONE - HALF * z) + z * z * p
    return sine, cosine


def _sincos(x):
    """Sine and cosine; the reduction by pi/2 in four parts is exact to the last bits for |x| <= 2**13."""
    shifted = x * F(0.6366197723675814) + MAGIC
    n = shifted - MAGIC
    t = (((x - n * HALF_PI_1) - n * HALF_PI_2) - n * HALF_PI_3) - n * HALF_PI_4
    sine, cosine = sincos_quarter(where(abs(x) < F(1e6), t, NAN))
    quadrant = float_to_bits(shifted)
    swap = (quadrant & U1) != 0
    first = where(swap, cosine, sine)
    second = where(swap, sine, cosine)
    first = bits_to_float(float_to_bits(first) ^ ((quadrant & U2) << U30))
    second = bits_to_float(float_to_bits(second) ^ (((quadrant + U1) & U2) << U30))
    return first, second


def sin(x):
    """Sine, for |x| <= 2**13 (nan above 1e6)."""
    return where(x == ZERO, x, _sincos(x)[0])


def cos(x):
    """Cosine, for |x| <= 2**13 (nan above 1e6)."""
    return _sincos(x)[1]


def tan(x):
    """Tangent, for |x| <= 2**13."""
    sine, cosine = _sincos(x)
    return where(x == ZERO, x, sine / cosine)


def sign(x):
    """-1, 0 or 1."""
    return where(x > ZERO, ONE, where(x < ZERO, -ONE, where(x == ZERO, ZERO, x)))
