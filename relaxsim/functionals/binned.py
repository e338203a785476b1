"""KL of binned points to the Gibbs law: estimate with its bias correction, standard error, jackknife."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relaxsim.functionals.bins import Bins
from relaxsim.system.relative_entropy import kl_divergence

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

FINE_GROUPS = 48  # of particles, for tests at small false-alarm rates
MIN_GROUP = 200  # particles a group, below which the groups' free energies are too far from normal


def binned_kl(counts: IntArray, log_gibbs: FloatArray) -> FloatArray:
    """KL of binned points to the Gibbs law, with the Miller-Madow correction.

    Parameters
    ----------
    counts : ndarray of int, shape (..., n_bins)
        Points in each bin.
    log_gibbs : ndarray, shape (n_bins,)
        Logarithms of the Gibbs masses.

    Returns
    -------
    ndarray, shape (...)
        Can be slightly negative at rest, where the correction exceeds what it corrects.
    """
    total = counts.sum(axis=-1, keepdims=True)
    return np.asarray(kl_divergence(counts / total, log_gibbs) - miller_madow(counts))


def miller_madow(counts: IntArray) -> FloatArray:
    """(m - 1)/2n with m the bins occupied at that time.

    Not all bins: one that expects no point of this law adds no bias, and early laws leave most bins empty.
    """
    return np.asarray((np.count_nonzero(counts, axis=-1) - 1) / (2.0 * counts.sum(axis=-1)))


@dataclass
class Measured:
    """What was measured of an ensemble at each time, arrays (n_times,) but for `group_kl`, (groups, n_times).

    `fine_kl` is the same for `FINE_GROUPS` groups, where `group_kl` has fewer and they are large enough.
    """

    bins: Bins
    n_particles: int
    log_partition: FloatArray
    energy: FloatArray
    energy_stderr: FloatArray
    kl: FloatArray
    kl_bias: FloatArray
    kl_stderr: FloatArray
    entropy_stderr: FloatArray
    group_kl: FloatArray
    fine_kl: FloatArray | None

    @classmethod
    def empty(cls, bins: Bins, n_particles: int, n_times: int, groups: int) -> Measured:
        """Room for so many times."""
        log_z, one, two, three, four, five, six = np.empty((7, n_times))
        group_kl = np.empty((min(groups, n_particles), n_times))
        fine = groups < FINE_GROUPS and n_particles >= FINE_GROUPS * MIN_GROUP
        fine_kl = np.empty((FINE_GROUPS, n_times)) if fine else None
        return cls(bins, n_particles, log_z, one, two, three, four, five, six, group_kl, fine_kl)


def delta_method(
    counts: IntArray, index: IntArray, reduced: FloatArray, bins: Bins, times: IntArray | None = None
) -> tuple[float, float]:
    """Standard errors of KL and of S = <E/T> - KL + ln Z, `reduced` holding E/T of each particle.

    `times` says how many particles each entry of `index` and `reduced` stands for, by default one.

    To first order both are means over the particles of a function of the particle, ln(p/q) and E/T - ln(p/q).
    The noise of ln p in the bins adds (m - 1)/n to the variance found for these, which is taken off: at rest
    it is all there is. The second-order term is that of a chi-square variable with m - 1 degrees of freedom,
    and all there should be at rest. An empty bin beside an occupied one may expect a point or so, which neither
    term sees: the effect of one point in that of them where it would count most is added.
    """
    n = index.size if times is None else int(times.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.where(counts > 0, np.log(counts / n) - bins.log_gibbs, 0.0)[index]
        influence = np.stack([log_ratio, reduced - log_ratio])
    freedom = np.count_nonzero(counts) - 1
    first = np.maximum(stderr_of_mean(influence, times) ** 2 - freedom / n**2, 0.0)
    one, other = bins.borders.T
    beside = np.concatenate(
        [one[(counts[one] == 0) & (counts[other] > 0)], other[(counts[other] == 0) & (counts[one] > 0)]]
    )
    log_expected = math.log(n) + bins.log_gibbs[beside]
    unseen = np.max(np.abs(log_expected[np.isfinite(log_expected)]), initial=0.0) / n
    kl_stderr, entropy_stderr = np.sqrt(first + freedom / (2.0 * n**2) + unseen**2)
    return float(kl_stderr), float(entropy_stderr)


def pseudo_values(counts: IntArray, index: IntArray, groups: int, bins: Bins) -> FloatArray:
    """Jackknife pseudo-values of KL, leaving out particles i with i mod R = r, shape (R,)."""
    label = np.arange(index.size) % groups
    own = np.bincount(label * bins.n_bins + index, minlength=groups * bins.n_bins)
    return group_values(counts, own.reshape(groups, bins.n_bins), bins)


def group_values(counts: IntArray, own: IntArray, bins: Bins) -> FloatArray:
    """The same from the counts (R, n_bins) of each group."""
    groups = len(own)
    rest = binned_kl(counts - own, bins.log_gibbs)
    with np.errstate(invalid="ignore"):  # infinite minus infinite where E is infinite: no value
        return np.asarray(groups * binned_kl(counts, bins.log_gibbs) - (groups - 1) * rest)


def stderr_of_mean(samples: FloatArray, times: IntArray | None = None) -> FloatArray:
    """Standard error of the mean over the last axis, each sample occurring so many times; nan for one sample."""
    n = samples.shape[-1] if times is None else int(times.sum())
    if n < 2:
        return np.full(samples.shape[:-1], np.nan)
    with np.errstate(invalid="ignore"):
        if times is not None:
            away = samples - (samples @ times)[..., None] / n
            return np.asarray(np.sqrt((away**2 @ times) / (n - 1.0) / n))
        return np.asarray(samples.std(axis=-1, ddof=1) / math.sqrt(n))
