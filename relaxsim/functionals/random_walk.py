"""Random walks that become a diffusion: many small jumps of any law, and how fast their sum becomes normal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError, ShapeError
from relaxsim.system.validate import Problems, as_float_array, positive_number

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

ESSEEN = 0.4748  # Shevtsova, Dokl. Math. 82 (2010) 862: sup |F_n - Phi| <= 0.4748 rho / sigma^3 sqrt(n), below 0.4748
_BLOCK = 4_000_000
_CUT = 1e-10  # of the characteristic function, where an inversion stops
_ROUNDING = 1e-12  # of a distance that is zero
_FARTHEST = 500.0  # and where it stops anyway: single jumps have characteristic functions that hardly decay
_POINTS = np.linspace(-6.0, 6.0, 1201)


@dataclass(frozen=True)
class JumpLaw:
    """The law of one coordinate of a jump, of mean zero and variance one.

    Attributes
    ----------
    name : str
    draw : callable
        ``draw(rng, shape)``.
    characteristic : callable
        E[exp(i s X)] of an array s.
    third_absolute : float
        E[|X|^3].
    skewness, excess : float
        E[X^3] and E[X^4] - 3.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], FloatArray]
    characteristic: Callable[[FloatArray], ComplexArray]
    third_absolute: float
    skewness: float
    excess: float


def _sinc(s: FloatArray) -> ComplexArray:
    return np.sinc(math.sqrt(3) * s / np.pi).astype(np.complex128)


JUMPS: dict[str, JumpLaw] = {
    law.name: law
    for law in (
        JumpLaw(
            "exponential",
            lambda rng, shape: rng.standard_exponential(shape) - 1.0,
            lambda s: np.exp(-1j * s) / (1 - 1j * s),
            12 / math.e - 2,
            2.0,
            6.0,
        ),
        JumpLaw(
            "uniform",
            lambda rng, shape: np.asarray(rng.uniform(-math.sqrt(3), math.sqrt(3), shape)),
            _sinc,
            3 * math.sqrt(3) / 4,
            0.0,
            -1.2,
        ),
        JumpLaw(
            "laplace",
            lambda rng, shape: rng.laplace(0.0, math.sqrt(0.5), shape),
            lambda s: (1 / (1 + s**2 / 2)).astype(np.complex128),
            6 * math.sqrt(0.5) ** 3,
            0.0,
            3.0,
        ),
        JumpLaw(
            "two-point",
            lambda rng, shape: np.asarray(2.0 * rng.integers(0, 2, shape) - 1.0, dtype=np.float64),
            lambda s: np.cos(s).astype(np.complex128),
            1.0,
            0.0,
            -2.0,
        ),
        JumpLaw(
            "normal",
            lambda rng, shape: rng.standard_normal(shape),
            lambda s: np.exp(-(s**2) / 2).astype(np.complex128),
            math.sqrt(8 / math.pi),
            0.0,
            0.0,
        ),
    )
}


def random_walk(
    covariance: Any, rate: float, duration: float, n_walkers: int, *, jumps: str | JumpLaw = "exponential", rng: Any = 0
) -> FloatArray:
    r"""Displacements of walkers that make `rate` jumps per unit of time.

    Parameters
    ----------
    covariance : float or array_like, shape (dim, dim)
        Sigma, what stays fixed in the limit: each jump has the covariance Sigma/rate.
    rate : float
        Jumps per time; `rate` times `duration` is rounded to a whole number of jumps, at least one.
    duration : float
    n_walkers : int
    jumps : str or JumpLaw, default "exponential"
        A name of `JUMPS` (exponential, uniform, laplace, two-point, normal) or a law of mean 0 and variance 1; the
        coordinates are independent before the covariance's Cholesky factor mixes them.
    rng : int or numpy Generator

    Returns
    -------
    ndarray, shape (n_walkers, dim)

    Raises
    ------
    InputError, ShapeError
        An unknown law, a covariance that is not symmetric positive definite, numbers that are not positive.

    Notes
    -----
    The sum of n = rate * duration jumps of mean zero and covariance s tends in law to N(0, Sigma * duration) as the
    rate grows with rate * s = Sigma fixed (Donsker; Billingsley, *Convergence of Probability Measures*, 2nd ed.,
    section 8).
    """
    problems = Problems()
    speed, time = (positive_number(v, name, problems) for v, name in ((rate, "rate"), (duration, "duration")))
    if isinstance(n_walkers, bool) or not isinstance(n_walkers, (int, np.integer)) or n_walkers < 1:
        problems.add("n_walkers", f"expected an integer >= 1, got {n_walkers!r}")
    problems.raise_if_any()
    law, factor = lookup(jumps), _factor(covariance)
    dim, n = len(factor), max(1, round(speed * time))
    generator = np.random.default_rng(rng)
    total = np.zeros((n_walkers, dim))
    step = max(1, _BLOCK // (n_walkers * dim))
    for done in range(0, n, step):
        total += law.draw(generator, (min(step, n - done), n_walkers, dim)).sum(axis=0)
    return np.asarray(total @ factor.T * math.sqrt(time / n))


def normal_distance(n: int, jumps: str | JumpLaw = "exponential", *, direction: Any = None) -> float:
    r"""sup abs(F_n - Phi) of the normalised sum of n jumps, without sampling.

    Parameters
    ----------
    n : int
    jumps : str or JumpLaw
    direction : array_like, shape (dim,), optional
        Of jumps with independent coordinates: the distance is that of the projection.

    Returns
    -------
    float

    Notes
    -----
    F_n - Phi is found from the characteristic functions, :math:`F_n(x) - \Phi(x) = -\frac1\pi\int_0^\infty
    \mathrm{Im}[e^{-isx}(\varphi_n(s) - e^{-s^2/2})]\frac{ds}s` (Gil-Pelaez, Biometrika 38 (1951) 481), by the midpoint
    rule, to four digits for up to three jumps and to seven beyond. Two-point jumps are on a lattice, whose
    characteristic function does not decay; they are summed exactly.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"n: expected an integer >= 1, got {n!r}")
    law = lookup(jumps)
    weights = np.ones(1) if direction is None else as_float_array(direction, "direction")
    if weights.ndim != 1 or not np.any(weights):
        raise ShapeError(f"direction: expected a vector that is not zero, got the shape {weights.shape}")
    weights = weights / np.linalg.norm(weights)
    if law.name == "two-point" and weights.size == 1:
        return _lattice(n)
    top = 20.0
    while np.abs(_sum(law, weights, n, np.linspace(top / 2, top, 16))).max() > _CUT and top < _FARTHEST:
        top *= 1.5
    count = int(top * 16)
    s = (np.arange(count) + 0.5) * top / count
    difference = (_sum(law, weights, n, s) - np.exp(-(s**2) / 2)) / s
    kept = np.abs(difference) > 1e-17
    s, difference = s[kept], difference[kept]
    x = _POINTS
    found = np.zeros(x.size)
    for block in np.array_split(np.arange(s.size), max(1, s.size // 4000)):
        found -= np.imag(np.exp(-1j * np.outer(x, s[block])) @ difference[block]) * (top / count) / np.pi
    return float(np.abs(found).max())


@dataclass(frozen=True, eq=False)
class BerryEsseen:
    """How fast sums of jumps become normal.

    Attributes
    ----------
    n : ndarray of int
        Numbers of jumps.
    distance : ndarray
        sup abs(F_n - Phi).
    exponent : float
        Minus the slope of ln distance against ln n over the last half.
    bound : ndarray
        What Berry and Esseen's theorem allows.
    leading : ndarray
        The first term of Edgeworth's expansion: \\|skewness\\|/6 sqrt(2 pi n), for symmetric laws with a density that
        of order 1/n, on the lattice of two-point jumps 1/sqrt(2 pi n).
    """

    n: NDArray[np.int64]
    distance: FloatArray
    exponent: float
    bound: FloatArray
    leading: FloatArray


def berry_esseen(jumps: str | JumpLaw = "exponential", n: Sequence[int] = (4, 8, 16, 32, 64, 128)) -> BerryEsseen:
    """The distance of sums of jumps from the normal law for several numbers of jumps, and its rate.

    Parameters
    ----------
    jumps : str or JumpLaw
        The rate is n^-1/2 for a skewed law or one on a lattice, and 1/n for a symmetric one with a density.
    n : sequence of int, increasing

    Returns
    -------
    BerryEsseen

    References
    ----------
    Feller, *An Introduction to Probability Theory and Its Applications*, vol. 2, 2nd ed., sections XVI.4 and XVI.5.
    """
    law = lookup(jumps)
    numbers = np.array(n, dtype=np.int64)
    if numbers.ndim != 1 or numbers.size < 2 or np.any(np.diff(numbers) <= 0) or numbers[0] < 1:
        raise InputError(f"n: expected two or more increasing numbers of jumps, got {list(n)}")
    distance = np.array([normal_distance(int(k), law) for k in numbers])
    half = numbers.size // 2
    seen = distance[half:] > _ROUNDING
    exponent = math.nan
    if seen.sum() > 1:
        exponent = -float(np.polyfit(np.log(numbers[half:][seen]), np.log(distance[half:][seen]), 1)[0])
    x = _POINTS
    normal = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    first = np.abs(law.skewness * (x**2 - 1) * normal / 6).max() / np.sqrt(numbers)
    second = np.abs(law.excess * (x**3 - 3 * x) * normal / 24).max() / numbers
    bound = ESSEEN * law.third_absolute / np.sqrt(numbers)
    leading = first if law.skewness else second
    if law.name == "two-point":
        leading = 1 / np.sqrt(2 * math.pi * numbers)  # half a step of the lattice
    return BerryEsseen(numbers, distance, exponent, bound, leading)


def lookup(jumps: str | JumpLaw) -> JumpLaw:
    """A law by its name."""
    if isinstance(jumps, JumpLaw):
        return jumps
    if jumps not in JUMPS:
        raise InputError(f"jumps: expected one of {', '.join(JUMPS)}, or a JumpLaw, got {jumps!r}")
    return JUMPS[jumps]


def _factor(covariance: Any) -> FloatArray:
    matrix = as_float_array(covariance, "covariance")
    matrix = matrix.reshape(1, 1) if matrix.ndim == 0 else matrix
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"covariance: expected a number or a square matrix, got the shape {matrix.shape}")
    if not (np.isfinite(matrix).all() and np.allclose(matrix, matrix.T)) or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise InputError(f"covariance: expected a symmetric positive definite matrix, got {matrix.tolist()}")
    return np.asarray(np.linalg.cholesky(matrix))


def _sum(law: JumpLaw, weights: FloatArray, n: int, s: FloatArray) -> ComplexArray:
    """Characteristic function of the normalised sum of n projected jumps."""
    one = np.prod([law.characteristic(w * s / math.sqrt(n)) for w in weights], axis=0)
    return np.asarray(one**n)


def _lattice(n: int) -> float:
    """The same for n fair signs, from the binomial law at both sides of its steps."""
    from scipy.special import gammaln, ndtr

    k = np.arange(n + 1)
    mass = np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * math.log(2))
    above = np.cumsum(mass)
    normal = ndtr((2 * k - n) / math.sqrt(n))
    return float(max(np.abs(above - normal).max(), np.abs(above - mass - normal).max()))
