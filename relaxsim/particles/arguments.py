"""Arguments of a run that need more than a look: the seed, the steps at which times are reached, the options."""

from __future__ import annotations

from typing import Any

import numpy as np

from relaxsim.system.validate import FloatArray, Problems, positive_integer, usable_cores


def seed_from(rng: Any, problems: Problems) -> int:
    """The Philox key of what the user passed as rng."""
    if rng is None:
        import secrets

        return secrets.randbits(64)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**64, dtype=np.uint64))
    if isinstance(rng, (int, np.integer)) and not isinstance(rng, bool) and 0 <= int(rng) < 2**64:
        return int(rng)
    problems.add("rng", f"expected an integer with 0 <= rng < 2**64, a numpy.random.Generator or None, got {rng!r}")
    return 0


def thread_count(threads: Any, problems: Problems) -> int:
    """The number of threads, by default that of the cores this process may run on."""
    if threads is not None:
        return positive_integer(threads, "threads", problems)
    return usable_cores()


def whole_steps(times: FloatArray, dt: float, problems: Problems) -> list[int]:
    """The step number of each time, which must be whole: a trajectory does not depend on which times are stored."""
    ratio = (times - times[0]) / dt
    steps = np.rint(ratio)
    off = np.abs(ratio - steps) > 1e-9 * np.maximum(1.0, steps)
    if off.any():
        k = int(np.argmax(off))
        fit = _nearest_dt(times, dt)
        d = 12 if float(f"{ratio[k]:.6g}").is_integer() else 6  # a dt of single precision is off in the eighth
        hint = f"dt = {fit:.12g} fits all times" if fit else "store times that are multiples of dt after the first"
        problems.add(
            "dt",
            f"times[{k}] = {times[k]:g} lies {ratio[k]:.{d}g} steps of {dt:.{d}g} after times[0], not a whole "
            f"number; {hint}",
        )
    elif steps[-1] >= 2**53:
        problems.add("dt", f"{steps[-1]:.3g} steps are too many; use a larger dt")
    return [int(step) for step in steps]


def _nearest_dt(times: FloatArray, dt: float) -> float | None:
    """A dt of which all times are multiples, as near to the given one as can be found."""
    gaps = np.diff(times)
    for parts in range(1, 65):  # the common measure of the gaps is a whole fraction of the smallest
        unit = gaps.min() / parts
        if np.all(np.abs(gaps / unit - np.rint(gaps / unit)) < 1e-9 * gaps / unit):
            return float(unit / max(1, round(unit / dt)))
    return None


def check_options(walls: Any, dtype: Any, problems: Problems, device: Any = "cpu") -> None:
    """The kind of walls, the precision and the device."""
    if device not in ("cpu", "cuda"):
        problems.add("device", f"expected 'cpu' or 'cuda', got {device!r}")
    if walls not in ("mirror", "lepingle"):
        problems.add("walls", f"expected 'mirror' or 'lepingle', got {walls!r}")
    if dtype not in ("float64", "float32"):
        problems.add("dtype", f"expected 'float64' or 'float32', got {dtype!r}")
