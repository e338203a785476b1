"""Elementary functions as branch-free polynomials, which the compiler turns into vector instructions.

The functions run on NumPy arrays as they stand. `overloads` makes kernels use them for the names of
`relaxsim.system.elementary`; there the C library's scalar functions would keep a loop from being vectorised. The error
function is in `vector_erf`, those for single precision are in `vector_math32`.

References
----------
fdlibm (Sun Microsystems, 1993, https://www.netlib.org/fdlibm) for the reductions and coefficients of log, sin, cos,
asin, acos, atan and pow; with selections in place of its branches.
"""

from __future__ import annotations

import numpy as np

from relaxsim.system.elementary import sqrt

# The largest error against the exact value, in units of the last place of the result, that a test allows. The
# arguments are all finite ones of the function's domain, but |x| <= 2**20 for sin, cos and tan. Results that are
# subnormal are right to 5e-324 times the same number. For erf as well.
ULP = {
    "exp": 1.25,
    "log": 1.0,
    "sin": 2.5,
    "cos": 2.5,
    "tan": 4.0,
    "asin": 1.0,
    "acos": 1.25,
    "atan": 1.0,
    "sinh": 2.75,
    "cosh": 1.75,
    "tanh": 2.75,
    "erf": 1.5,
    "power": 1.25,
    "sqrt": 0.5,
}

_U, _I = np.uint64, np.int64

MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer, found in the low bits
MAGIC_BITS = _I(0x4338000000000000)
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LN2 = 0.6931471805599453
HALF_PI_1, HALF_PI_2, HALF_PI_3 = 1.5707963267341256e00, 6.0771005063039659e-11, 2.0222662487959506e-21
PI, PI_LOW = 3.141592653589793, 1.2246467991473532e-16
SQRT_HALF_BITS = _I(0x3FE6A09E667F3BCD)
SQRT_3_HALVES_BITS = _I(0x3FEBB67AE8584CAA)
MANTISSA = _I(52)
BIAS = _I(1023)
U1, U2, U62 = _U(1), _U(2), _U(62)
SIGN = _U(1 << 63)
UPPER_HALF = _U(0xFFFFFFFF00000000)
SMALLEST_NORMAL = 2.2250738585072014e-308


def where(condition, a, b):
    """`a` where the condition holds, else `b`: a selection, never a branch."""
    return np.where(condition, a, b)


def wide_vectors():
    """In a kernel: let the compiler use 512-bit vectors. It prefers 256 bits on many processors that have both.

    A statement of its own, anywhere in the kernel. Elsewhere, and on other processors, it does nothing.
    """


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


# what is one instruction in a compiled function: each with the types that it takes and gives
BIT_CASTS = (
    (bits_to_float, "uint64", "float64"),
    (float_to_bits, "float64", "uint64"),
    (to_signed, "uint64", "int64"),
    (to_unsigned, "int64", "uint64"),
)


def with_sign_of(x, size):
    """`size` with the sign of x (of a zero too)."""
    return bits_to_float(float_to_bits(size) | (float_to_bits(x) & SIGN))


def _upper(x):
    """x with the lower half of its bits cleared, so that a product of two such numbers is exact."""
    return bits_to_float(float_to_bits(x) & UPPER_HALF)


def _log_reduced(x):
    """The exponent k and f of x = 2**k (1 + f), and s, p with ln(1 + f) = s (2 + p) for s = f/(2 + f)."""
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
    return exponent, f, s, z * p


def log_positive(x):
    """ln x for finite normal x > 0, within 2 units of the last place: for noise."""
    exponent, _, s, p = _log_reduced(x)
    return exponent * LN2_HIGH + (s * 2.0 + (s * p + exponent * LN2_LOW))


def log(x):
    """Natural logarithm: -inf at 0, nan below."""
    small = x < SMALLEST_NORMAL
    scaled = x * where(small, 18014398509481984.0, 1.0)  # subnormals times 2**54
    exponent, f, s, p = _log_reduced(where((scaled > 0.0) & (scaled < np.inf), scaled, 1.0))
    exponent = exponent - where(small, 54.0, 0.0)
    half_square = 0.5 * f * f
    value = exponent * LN2_HIGH - ((half_square - (s * (half_square + p) + exponent * LN2_LOW)) - f)
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


def _exp_times(x, n_more):
    """e**x * 2**n_more, for a small whole n_more."""
    clamped = where(x > 711.0, 711.0, where(x < -746.0, -746.0, x))
    shifted, r = _reduce_exp(where(x == x, clamped, 0.0))
    n = to_signed(float_to_bits(shifted)) - MAGIC_BITS + n_more
    half = n >> _I(1)  # two factors, each within range
    value = (1.0 + _expm1_polynomial(r)) * _power_of_two(half) * _power_of_two(n - half)
    return where(x == x, value, x)


def exp(x):
    """e**x; overflows to inf above 709.78, underflows gradually to 0."""
    return _exp_times(x, _I(0))


def _expm1(x):
    """e**x - 1 for 0 <= x <= 709."""
    shifted, r = _reduce_exp(x)
    scale = _power_of_two(to_signed(float_to_bits(shifted)) - MAGIC_BITS)
    return scale * _expm1_polynomial(r) + (scale - 1.0)


def tanh(x):
    """Hyperbolic tangent, accurate near 0 too."""
    size = abs(x)
    rise = _expm1(where(size < 22.0, 2.0 * size, 44.0))
    return where(x == x, with_sign_of(x, rise / (rise + 2.0)), x)


def sinh(x):
    """Hyperbolic sine."""
    size = abs(x)
    rise = _expm1(where(size < 22.0, size, 0.0))
    value = where(size < 22.0, 0.5 * (rise + rise / (rise + 1.0)), _exp_times(size, _I(-1)))
    return where(x == x, with_sign_of(x, value), x)


def cosh(x):
    """Hyperbolic cosine."""
    half = _exp_times(abs(x), _I(-1))
    return half + 0.25 / half


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
    return where(x == 0.0, x, _sincos(x)[0])


def cos(x):
    """Cosine, for |x| <= 2**20 (nan above 1e12)."""
    return _sincos(x)[1]


def tan(x):
    """Tangent, for |x| <= 2**20."""
    sine, cosine = _sincos(x)
    return where(x == 0.0, x, sine / cosine)


def _arc_quotient(z):
    """(asin(s) - s) / s for z = s**2 <= 1/4."""
    p = z * 3.47933107596021167570e-05 + 7.91534994289814532176e-04
    p = z * (z * p - 4.00555345006794114027e-02) + 2.01212532134862925881e-01
    p = z * (z * (z * p - 3.25565818622400915405e-01) + 1.66666666666666657415e-01)
    q = z * (z * 7.70381505559019352791e-02 - 6.88283971605453293030e-01) + 2.02094576023350569471e00
    return p / (z * (z * q - 2.40339491173441421878e00) + 1.0)


def _half_arc(x):
    """Half of acos(x) for 1/2 <= x <= 1, as a short number and a correction."""
    z = 0.5 * (1.0 - x)
    root = sqrt(z)
    high = _upper(root)
    return high, where(z > 0.0, (z - high * high) / (root + high), 0.0) + root * _arc_quotient(z)


def asin(x):
    """Inverse sine; nan outside [-1, 1]."""
    size = abs(x)
    high, low = _half_arc(size)
    outer = 0.25 * PI - ((2.0 * low - 0.5 * PI_LOW) - (0.25 * PI - 2.0 * high))
    inner = size + size * _arc_quotient(size * size)
    return with_sign_of(x, where(size < 0.5, inner, outer))


def acos(x):
    """Inverse cosine; nan outside [-1, 1]."""
    size = abs(x)
    high, low = _half_arc(size)
    outer = 2.0 * (high + low)
    outer = where(x < 0.0, PI - (outer - PI_LOW), outer)
    inner = 0.5 * PI - (x - (0.5 * PI_LOW - x * _arc_quotient(x * x)))
    return where(size < 0.5, inner, outer)


def atan(x):
    """Inverse tangent: reduced to |s| <= 7/16 by the angles atan(1/2), pi/4, atan(3/2), pi/2."""
    a = abs(x)
    b1, b2, b3, b4 = a >= 0.4375, a >= 0.6875, a >= 1.1875, a >= 2.4375
    above = where(b4, -1.0, where(b3, a - 1.5, where(b2, a - 1.0, where(b1, 2.0 * a - 1.0, a))))
    below = where(b4, a, where(b3, 1.0 + 1.5 * a, where(b2, a + 1.0, where(b1, 2.0 + a, 1.0))))
    high = where(b3, 9.82793723247329054082e-01, where(b2, 0.25 * PI, where(b1, 4.63647609000806093515e-01, 0.0)))
    low = where(b3, 1.39033110312309984516e-17, where(b2, 0.25 * PI_LOW, where(b1, 2.26987774529616870924e-17, 0.0)))
    high, low = where(b4, 0.5 * PI, high), where(b4, 0.5 * PI_LOW, low)
    s = above / below
    z = s * s
    p = 4.97687799461593236017e-02 + z * (-3.65315727442169155270e-02 + z * 1.62858201153657823623e-02)
    p = 6.66107313738753120669e-02 + z * (-5.83357013379057348645e-02 + z * p)
    p = 9.09088713343650656196e-02 + z * (-7.69187620504482999495e-02 + z * p)
    p = 1.42857142725034663711e-01 + z * (-1.11111104054623557880e-01 + z * p)
    p = z * (3.33333333333329318027e-01 + z * (-1.99999999998764832476e-01 + z * p))
    return where(x == x, with_sign_of(x, high - ((s * p - low) - s)), x)


def sign(x):
    """-1, 0 or 1."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, where(x == 0.0, 0.0, x)))


def _log2_parts(a):
    """log2(a) of a finite a > 0 as a number of half length and a correction, together good to 68 bits or so."""
    tiny = a < SMALLEST_NORMAL
    bits = to_signed(float_to_bits(a * where(tiny, 9007199254740992.0, 1.0)))
    k = (bits - SQRT_3_HALVES_BITS) >> MANTISSA
    m = bits_to_float(to_unsigned(bits - (k << MANTISSA)))  # between sqrt(3)/2 and sqrt(3)
    upper = m >= 1.224744871391589
    base = where(upper, 1.5, 1.0)
    difference, inverse = m - base, 1.0 / (m + base)
    s = difference * inverse
    s_high, sum_high = _upper(s), _upper(m + base)
    s_low = inverse * ((difference - s_high * sum_high) - s_high * (m - (sum_high - base)))
    z = s * s
    p = 2.72728123808534006489e-01 + z * (2.30660745775561754067e-01 + z * 2.06975017800338417784e-01)
    p = 5.99999999999994648725e-01 + z * (4.28571428578550184252e-01 + z * (3.33333329818377432918e-01 + z * p))
    p = z * z * p + s_low * (s_high + s)
    square = s_high * s_high
    t_high = _upper(3.0 + square + p)
    t_low = p - ((t_high - 3.0) - square)
    product, rest = s_high * t_high, s_low * t_high + t_low * s
    high = _upper(product + rest)
    low = rest - (high - product)
    product = 9.61796700954437255859e-01 * high  # 2/(3 ln 2) in two parts
    rest = (
        -7.02846165095275826516e-09 * high + low * 9.61796693925975554329e-01 + where(upper, 1.350039202129749e-08, 0.0)
    )
    offset = where(upper, 5.84962487220764160156e-01, 0.0)
    exponent = bits_to_float(to_unsigned(k + MAGIC_BITS)) - MAGIC - where(tiny, 53.0, 0.0)
    short = _upper(((product + rest) + offset) + exponent)
    return short, rest - (((short - exponent) - offset) - product)


def power(u, v):
    """u**v for real v, as C's pow: nan for u < 0 unless v is whole; inf for 0 to a negative power."""
    a = abs(u)
    short, more = _log2_parts(where((a > 0.0) & (a < np.inf), a, 1.0))
    b = where(v > 1e20, 1e20, where(v < -1e20, -1e20, v))
    b_high = _upper(b)
    low, high = (b - b_high) * short + b * more, b_high * short
    z = low + high
    low = where(abs(z) < 1100.0, low, 0.0)
    high = where(abs(z) < 1100.0, high, where(z > 0.0, 1100.0, -1100.0))
    shifted = (low + high) + MAGIC
    high = high - (shifted - MAGIC)
    t = _upper(low + high)
    product = t * 6.93147182464599609375e-01  # ln 2 in two parts
    rest = (low - (t - high)) * LN2 - t * 1.90465429995776804525e-09
    r = product + rest
    more = rest - (r - product)
    n = to_signed(float_to_bits(shifted)) - MAGIC_BITS
    half = n >> _I(1)
    value = (1.0 + (_expm1_polynomial(r) + (more + more * r))) * _power_of_two(half) * _power_of_two(n - half)
    value = where(a == 0.0, where(v > 0.0, 0.0, np.inf), where(a == np.inf, where(v > 0.0, np.inf, 0.0), value))
    whole, even = np.floor(v) == v, np.floor(0.5 * v) == 0.5 * v
    value = where(even, value, where(whole, with_sign_of(u, value), where((u < 0.0) & (a < np.inf), np.nan, value)))
    return where((v == 0.0) | (u == 1.0), 1.0, where((u == u) & (v == v), value, u + v))
