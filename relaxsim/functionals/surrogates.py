"""The bias an entropy estimator has on normal points, which it also has, nearly, on points that look normal."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.estimate import Parts
from relaxsim.functionals.samples import Space, Whitened

FloatArray = NDArray[np.float64]

NAME = "normal surrogates"


def mean_error(estimate: Callable[[Whitened, Space], float], n: int, dim: int, repeats: int) -> tuple[float, float]:
    """Mean error of an estimator of entropy on n standard normal points, and its standard error.

    Against -mean ln p of the same points, which takes most of the noise off. The points are whitened as those of the
    user are, so that the error depends on n and dim only, not on the covariance.
    """
    rng = np.random.default_rng([n, dim])
    errors = []
    for _ in range(repeats):
        x = rng.standard_normal((n, dim))
        space = Space.of(None, x)
        white = Whitened.of(x, space)
        exact = 0.5 * (dim * math.log(2 * math.pi) + np.mean(np.sum(x**2, axis=1)))
        errors.append(estimate(white, space) + white.log_volume - exact)
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / math.sqrt(repeats))


def corrected(found: Parts, error: float, error_stderr: float) -> Parts:
    """An estimate without the error it has on normal points.

    Half of the correction is the bound: a law may differ from a normal one by what the check does not see.
    """
    return Parts(
        found.value - error,
        found.left_out - error,
        0.5 * abs(error) + error_stderr,
        f"{found.method}, {NAME}",
        error_stderr,
    )
