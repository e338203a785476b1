"""The error function as branch-free polynomials, as those of `vector_math`, which states its error.

References
----------
fdlibm (Sun Microsystems, 1993, https://www.netlib.org/fdlibm) for the coefficients below 0.84.
"""

from __future__ import annotations

from relaxsim.particles.vector_math import exp, where, with_sign_of


def _erf_near(x):
    """erf(x) for |x| < 0.84375."""
    z = x * x
    p = -5.77027029648944159157e-03 + z * -2.37630166566501626084e-05
    p = -3.25042107247001499370e-01 + z * (-2.84817495755985104766e-02 + z * p)
    p = 1.28379167095512558561e-01 + z * p
    q = 1.32494738004321644526e-04 + z * -3.96022827877536812320e-06
    q = 6.50222499887672944485e-02 + z * (5.08130628187576562776e-03 + z * q)
    q = 1.0 + z * (3.97917223959155352819e-01 + z * q)
    return x + x * (p / q)


def _erf_far(a):
    """erf(a) for a >= 0.84375: 1 - exp(-a**2) times a polynomial in (a - 3)/(a + 3).

    The polynomial was fitted to exp(a**2) erfc(a) with the weight exp(-a**2) up to 6, where erfc is below 2e-17.
    """
    a = where(a < 6.0, a, 6.0)
    t = (a - 3.0) / (a + 3.0)
    p = -1.907987013793541e-06 + t * -5.248427290365129e-06
    p = 5.613403469174872e-05 + t * (7.843030925979337e-05 + t * p)
    p = 7.095127580767588e-04 + t * (-5.917180227138975e-04 + t * p)
    p = -2.4392443668836816e-02 + t * (4.269527755498343e-03 + t * p)
    p = -1.5011593639967502e-01 + t * (7.166584164632789e-02 + t * p)
    p = -3.2623356004386056e-01 + t * (2.4560380170067797e-01 + t * p)
    p = 1.790011511813779e-01 + t * p
    return 1.0 - exp(-a * a) * p


def erf(x):
    """The error function."""
    size = abs(x)
    value = where(size < 0.84375, _erf_near(where(size < 1.0, size, 0.0)), _erf_far(size))
    return where(x == x, with_sign_of(x, value), x)
