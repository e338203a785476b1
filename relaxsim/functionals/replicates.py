"""The delete-a-group jackknife: a standard error of anything that is made of particles.

Group r holds the particles i with i mod R = r, at all times. What is computed without group r, for every r, is a
replicate; replicates of the inputs of a calculation give replicates of its results (Efron and Tibshirani, *An
Introduction to the Bootstrap*, 1993, chapter 11).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

DEFAULT_GROUPS = 24


def jackknife_stderr(replicates: FloatArray) -> FloatArray:
    """Standard error from leave-one-group-out replicates along the first axis; nan for fewer than two."""
    groups = len(replicates)
    if groups < 2:
        return np.full(replicates.shape[1:], np.nan)
    away = replicates - replicates.mean(axis=0)
    return np.asarray(np.sqrt((groups - 1) / groups * np.sum(away**2, axis=0)))


def student_threshold(groups: int, alpha: float, comparisons: int = 1) -> float:
    """Two-sided threshold in jackknife standard errors for so many comparisons at once (Bonferroni)."""
    from scipy.special import stdtrit

    if groups < 2:
        return math.inf
    return -float(stdtrit(groups - 1, alpha / (2 * max(1, comparisons))))
