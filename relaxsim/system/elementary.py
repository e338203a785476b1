"""The elementary functions of the expression grammar, for use in energies and mobilities written as functions.

Called with numbers or NumPy arrays they are NumPy's; inside a compiled kernel the same names stand for branch-free
polynomials that vectorise (`relaxsim.particles.vector_math`); called while a function is traced they are recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "acos", "asin", "atan", "cos", "cosh", "erf", "exp", "log", "power", "sign", "sin", "sinh", "sqrt", "tan", "tanh",
]  # fmt: skip


def exp(x: Any) -> Any:
    """e to the power x."""
    return np.exp(x)


def log(x: Any) -> Any:
    """Natural logarithm."""
    return np.log(x)


def sqrt(x: Any) -> Any:
    """Square root."""
    return np.sqrt(x)


def power(u: Any, v: Any) -> Any:
    """u to the real power v; nan for u < 0 unless v is whole. What ``**`` is for other than small whole powers."""
    return np.power(u, v)


def sin(x: Any) -> Any:
    """Sine."""
    return np.sin(x)


def cos(x: Any) -> Any:
    """Cosine."""
    return np.cos(x)


def tan(x: Any) -> Any:
    """Tangent."""
    return np.tan(x)


def asin(x: Any) -> Any:
    """Inverse sine."""
    return np.arcsin(x)


def acos(x: Any) -> Any:
    """Inverse cosine."""
    return np.arccos(x)


def atan(x: Any) -> Any:
    """Inverse tangent."""
    return np.arctan(x)


def sinh(x: Any) -> Any:
    """Hyperbolic sine."""
    return np.sinh(x)


def cosh(x: Any) -> Any:
    """Hyperbolic cosine."""
    return np.cosh(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return np.tanh(x)


def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    return np.sign(x)


def erf(x: Any) -> Any:
    """The error function 2/sqrt(pi) times the integral of exp(-s**2) from 0 to x."""
    if hasattr(x, "elementary"):
        return x.elementary("erf")
    from scipy.special import erf as erf_of_array

    return erf_of_array(x)
