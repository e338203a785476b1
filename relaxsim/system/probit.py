"""phi(Phi^-1(x)), the standard normal density at its own quantile, as text of the expression grammar.

The grammar has no inverse of the normal distribution function. Wichura's rational approximations of it need nothing but
arithmetic, a logarithm and a square root, and only the square of the quantile enters, so one text without branches
serves NumPy, the symbolic derivative and the compiled kernels alike.

References
----------
Wichura, Algorithm AS 241, Appl. Statist. 37 (1988) 477. The outermost of its three regions, x or 1 - x below 1.4e-11,
is left out: the second one still has an error of 1e-9 at 1e-20, where the mobility itself is 1e-19.
"""

from __future__ import annotations

from collections.abc import Sequence

# numerators and denominators, constant term first: |x - 1/2| <= 0.425, and the tails
_CENTRE = (
    (3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
     45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727),
    (1.0, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077,
     21213.794301586595867, 39307.895800092710610, 28729.085735721942674, 5226.4952788528545610),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550,
     0.148103976427480074590, 0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_SPLIT = 0.425
_CLAMP = 0.43  # beyond the split, so that the derivative is right on it; further out the denominator has a zero


def normal_density_at_quantile() -> str:
    """phi(Phi^-1(x)) for 0 <= x <= 1 as a text in `x`, to 1e-13 of itself where x and 1 - x exceed 1.4e-11."""
    q = f"((abs(x - {0.5 - _CLAMP!r}) - abs(x - {0.5 + _CLAMP!r}))/2)"
    centre = f"({q}*{_ratio(_CENTRE, f'({_SPLIT**2!r} - {q}**2)')})**2"
    # sqrt(-ln min(x, 1 - x)) without cancellation; 1e-30 keeps it finite at the ends, in float32 too
    r = "sqrt(log(0.5 + abs(x - 0.5)) - log(x*(1 - x) + 1e-30))"
    tail = f"{_ratio(_TAIL, f'({r} - 1.6)')}**2"
    outside = f"((1 + sign(abs(x - 0.5) - {_SPLIT!r}))/2)"
    return f"0.3989422804014327*exp(-((1 - {outside})*{centre} + {outside}*{tail})/2)"


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], u: str) -> str:
    top, bottom = (_polynomial(values, u) for values in coefficients)
    return f"({top}/{bottom})"


def _polynomial(coefficients: Sequence[float], u: str) -> str:
    """Horner's form."""
    text = repr(coefficients[-1])
    for value in reversed(coefficients[:-1]):
        text = f"({text}*{u} + {value!r})"
    return text
