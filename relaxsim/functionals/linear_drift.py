"""The exact energy of a linear drift, with or without detailed balance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relaxsim.errors import InputError
from relaxsim.system.validate import Problems, positive_number

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearSplit:
    """The reconstruction of a linear drift, exact.

    Attributes
    ----------
    hessian : ndarray, shape (dim, dim)
        E = x . hessian x / 2.
    covariance : ndarray, shape (dim, dim)
        Of the law at rest, T hessian^{-1}.
    symmetric, antisymmetric : ndarray, shape (dim, dim)
        K = S + A with drift -K hessian x.
    curl_norm : float
        Frobenius norm of the curl of S^{-1} B x over sqrt(2); zero where there is detailed balance.
    entropy_production : float
    """

    hessian: FloatArray
    covariance: FloatArray
    symmetric: FloatArray
    antisymmetric: FloatArray
    curl_norm: float
    entropy_production: float


def linear_split(B: Any, S: Any, temperature: float) -> LinearSplit:
    """Energy and antisymmetric mobility of the drift -B x with the noise covariance 2 T S.

    Parameters
    ----------
    B : array_like, shape (dim, dim)
        Eigenvalues with positive real parts.
    S : array_like, shape (dim, dim)
        Symmetric positive definite.
    temperature : float

    Returns
    -------
    LinearSplit

    Raises
    ------
    InputError
        Shapes that do not fit, an unstable B (no law at rest), an S that is not positive definite.

    Notes
    -----
    B C + C B^T = 2 S gives E = x . C^{-1} x / 2, K = B C = S + A, A = (B C - C B^T)/2, and with v = -A C^{-1} x the
    entropy production tr[(A C^{-1})^T S^{-1} A C^{-1} C]. See Kwon, Ao and Thouless, PNAS 102 (2005) 13029.
    """
    from scipy.linalg import solve_continuous_lyapunov

    problems = Problems()
    T = positive_number(temperature, "temperature", problems)
    b, s = (np.atleast_2d(np.asarray(m, dtype=np.float64)) for m in (B, S))
    for name, m in (("B", b), ("S", s)):
        if m.shape != b.shape or m.ndim != 2 or m.shape[0] != m.shape[1] or not np.isfinite(m).all():
            problems.add(name, f"expected a finite square matrix of shape {b.shape}, got {m.tolist()}")
    problems.raise_if_any()
    if np.linalg.eigvals(b).real.min() <= 0:
        raise InputError(f"B: has the eigenvalues {np.linalg.eigvals(b)}, one of them does not decay: no law at rest")
    if not np.allclose(s, s.T) or np.linalg.eigvalsh(s)[0] <= 0:
        raise InputError(f"S: expected a symmetric positive definite matrix, got {s.tolist()}")
    C = solve_continuous_lyapunov(b, 2 * s)
    C = (C + C.T) / 2
    A = (b @ C - C @ b.T) / 2
    turn = A @ np.linalg.inv(C)
    force = np.linalg.solve(s, b)
    production = float(np.trace(turn.T @ np.linalg.solve(s, turn) @ C))
    return LinearSplit(np.linalg.inv(C), T * C, s, A, float(np.linalg.norm(force - force.T)) / math.sqrt(2), production)
