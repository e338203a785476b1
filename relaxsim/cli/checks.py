"""The checks of a run file, which make its exit code.

Each is a hypothesis test whose false-alarm rate ``alpha`` is stated (1e-6 unless the file says otherwise),
with ``tolerance``, in units of k_B T or nats, forgiven for the errors of dt, grid and step. An outcome that the
data cannot decide is UNKNOWN; it is said, and does not fail the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from relaxsim.functionals.chi_square import one_sample, pool

if TYPE_CHECKING:
    from relaxsim.functionals import Relaxation

Array = npt.NDArray[np.float64]

DEFAULT_ALPHA = 1e-6
_MIN_EXPECTED = 5.0  # particles that a bin must expect for the chi-square law to hold


@dataclass(frozen=True)
class Verdict:
    """One check: its name, whether it passed (None: unknown), and the numbers that decided."""

    name: str
    passed: bool | None
    reason: str

    def __str__(self) -> str:
        outcome = {True: "passed", False: "FAILED", None: "UNKNOWN"}[self.passed]
        return f"check {self.name}: {outcome} - {self.reason}"


def rate(setting: bool | float) -> float:
    """Turn a value of ``[check]`` into a false-alarm rate; 0 means that the check is off."""
    if isinstance(setting, bool):
        return DEFAULT_ALPHA if setting else 0.0
    return setting


def groups_for(check: dict[str, Any]) -> int:
    """Choose the number of particle groups in `track` that the monotone check needs at its alpha."""
    return 48 if 0 < rate(check["monotone"]) < 1e-4 else 24


def make(check: dict[str, Any], paths: dict[str, Any], records: dict[str, Relaxation]) -> list[Verdict]:
    """Make the checks that are asked for.

    Parameters
    ----------
    check : dict
        The table ``[check]``, complete.
    paths : dict
        "ensemble" and "density", or one of them.
    records : dict
        The relaxations of the same names, and "binned": the density on the ensemble's bins.
    """
    verdicts = []
    tolerance = check["tolerance"]
    if check["monotone"]:
        verdicts += [monotone(name, records[name], rate(check["monotone"])) for name in paths]
    if check["gibbs"] and "ensemble" in paths:
        last = np.asarray(paths["ensemble"].positions)[-1]
        verdicts.append(gibbs_of_ensemble(last, records["ensemble"], rate(check["gibbs"]), tolerance))
    if check["gibbs"] and "density" in paths:
        verdicts.append(gibbs_of_density(records["density"], tolerance))
    if check["agreement"]:
        verdicts.append(agreement(records["ensemble"], records["binned"], rate(check["agreement"]), tolerance))
    return verdicts


def monotone(name: str, record: Relaxation, alpha: float) -> Verdict:
    """Check that the free energy never rises. An answer that noise makes impossible is unknown."""
    result = record.check_monotone(alpha=min(alpha, 0.5))
    return Verdict(f"monotone ({name})", result.monotone, str(result))


def gibbs_of_ensemble(positions: Array, record: Relaxation, alpha: float, tolerance: float) -> Verdict:
    """Test whether the final law is within `tolerance` nats of the Gibbs law.

    Pearson's chi-square over bins that expect at least five particles. If KL(p || Gibbs) <= `tolerance`, then
    the statistic is at most noncentral chi-square with noncentrality 2 n tolerance (KL is half of the
    chi-square distance to leading order), whose quantile 1 - alpha is the threshold.
    """
    name = "gibbs (ensemble)"
    bins = record.bins
    if bins is None:
        return Verdict(name, None, "the ensemble could not be binned (more than three dimensions)")
    n = len(positions)
    counts = np.bincount(bins.index(positions), minlength=bins.n_bins).astype(float)
    observed, expected = pool(counts, n * np.asarray(bins.at(record.times[-1]).gibbs), _MIN_EXPECTED)
    if len(observed) < 2:
        return Verdict(name, None, f"{n} particles fill one bin only; simulate more")
    found = one_sample(observed, expected, alpha, tolerance)
    reason = (
        f"at t = {record.times[-1]:g} chi-square is {found.statistic:.1f} over {len(observed)} bins, "
        f"threshold {found.threshold:.1f} (KL <= {tolerance:g}, alpha = {alpha:g})"
    )
    return Verdict(name, found.passed, reason + ("" if found.passed else "; not relaxed yet, or dt too large"))


def gibbs_of_density(record: Relaxation, tolerance: float) -> Verdict:
    """Check that the final density is within `tolerance` nats of the Gibbs law."""
    last = float(record.kl[-1])
    passed = last <= tolerance
    hint = "" if passed else "; not relaxed yet: raise times.stop"
    return Verdict(
        "gibbs (density)",
        passed,
        f"KL = {last:.3g} at t = {record.times[-1]:g}, tolerance {tolerance:g}{hint}",
    )


def agreement(ensemble: Relaxation, density: Relaxation, alpha: float, tolerance: float) -> Verdict:
    """Compare F and KL of ensemble and density, on the same bins, at every stored time.

    Each of the 2 n_times differences may be `tolerance` (F: times T) plus z standard errors of the ensemble,
    with z the normal quantile of alpha shared equally among them (Bonferroni).
    """
    from scipy.special import ndtri

    threshold = float(-ndtri(alpha / (2 * 2 * len(ensemble.times))))
    worst, where = -1.0, ""
    units: dict[str, Any] = {"free_energy": ensemble.temperature, "kl": 1.0}
    for name, unit in units.items():
        excess = np.maximum(np.abs(getattr(ensemble, name) - getattr(density, name)) - tolerance * unit, 0.0)
        scores = _ratio(excess, getattr(ensemble, name + "_stderr"))
        index = int(np.argmax(scores))
        if scores[index] > worst:
            worst = float(scores[index])
            where = f"{'F' if name == 'free_energy' else 'KL'} at t = {ensemble.times[index]:g}"
    return Verdict(
        "agreement",
        worst <= threshold,
        f"largest difference {worst:.2f} standard errors beyond the tolerance ({where}), "
        f"threshold {threshold:.2f} (alpha = {alpha:g} over {2 * len(ensemble.times)} comparisons)",
    )


def _ratio(excess: Array, stderr: Array) -> Array:
    """Divide such that nothing over nothing is zero and whatever is not a number is infinitely far."""
    ratio = np.divide(excess, stderr, out=np.where(excess > 0, np.inf, 0.0), where=stderr > 0)
    return np.where(np.isnan(ratio), np.inf, ratio)
