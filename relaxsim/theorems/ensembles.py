r"""What particles show: F falls along an ensemble, its law is that of the density, its jumps give back drift and noise.

*Relaxation*, Theorems 6 and 8, Lemma 20 as an estimator. All runs share one compiled kernel: one energy and mobility in
the plane, told apart by parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

import relaxsim as rs
from relaxsim.functionals import track
from relaxsim.functionals.kramers_moyal import kramers_moyal
from relaxsim.functionals.replicates import jackknife_stderr
from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.refinement import component, refined

WELL = "(x**2 - 1)**2/2 + y**2/2 + 0.3*x*y"
SCALAR = "1 + 3*exp(-x**2 - y**2)"  # k(x) of K = k (I + a J), J the rotation by a right angle
T = 0.5
BOX = [(-2.6, 2.6), (-3.6, 3.6)]  # leaves out 2e-6 of the Gibbs mass
START = rs.initial.normal([-1.0, 0.5], 0.3)
FASTEST = 10.0  # E'' k near the wells: what a step is compared with
DT = 0.01


def system() -> rs.System:
    """The right one; `c` adds c ln k to the energy, for mutants."""
    rows = [["0", f"a*({SCALAR})"], [f"-a*({SCALAR})", "0"]]
    mobility = rs.Mobility.diagonal(SCALAR).with_antisymmetric(rows, params={"a": 0.5})
    return rs.System(rs.Energy(f"{WELL} + c*log({SCALAR})", params={"c": 0.0}), mobility, T)


def _run_as(wrong: str | None) -> rs.System:
    """The right system, or one with the wrong drift or noise: at temperature T' with c ln k the drift of K = k M is
    (T' - c) div K - K grad E."""
    if wrong == "no div K":
        return system().with_params(c=T)
    if wrong == "no A":
        return system().with_params(a=0.0)
    if wrong == "cold noise":
        return system().with_params(c=-T / 2).replace(temperature=T / 2)
    return system()


def h_theorem(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    """F of an ensemble does not rise between stored times, ends at -T ln Z, and stays there from the Gibbs law.

    F is measured on fixed bins that each expect five particles, with the mean and the standard error of 24 groups (23
    degrees of freedom). The tolerance at the end is what the density says is left of the relaxation, and what a scheme
    of weak order 2 adds: it moves the law by about (rate dt)^2, and F by the square of that.
    """
    n = 400_000 if setting.full else 48_000
    times = np.array([0.0, 0.1, 0.3, 1.0, 5.0])
    right, run = system(), _run_as(wrong)
    still = _left(times[-1]) + T * (FASTEST * DT) ** 4
    rest, record = -T * _log_partition(), None
    gibbs = rs.initial.density(f"exp(-({WELL})/{T})", bounds=BOX)
    for name, start, stored in (("from afar", START, times), ("from Gibbs", gibbs, times[[0, -1]])):
        path = rs.simulate(run, start, n_particles=n, dt=DT, times=stored, scheme="platen", rng=setting.seed)
        seen = SimpleNamespace(times=path.times, positions=path.positions, system=right)
        record = track(seen, like=record)
        groups = np.asarray(record.groups)
        if name == "from afar":
            for k, rise in enumerate(np.diff(groups, axis=1).T):
                label = f"F({times[k + 1]:g}) - F({times[k]:g}) {name}"
                yield _mean(label, rise, 0.0, relation="<=")
        yield _mean(f"F at t = {times[-1]:g} {name}", groups[:, -1], rest, tolerance=still)


def same_law(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    """Means of x, y, x^2, xy and k over the particles against those of the density, on the way.

    The density's means are of second order in the width of the cells: the difference of two grids is part of the
    tolerance. The other part is the bias of a scheme of weak order 2, at most (rate dt)^2 times the observable's
    change, which is below one; dt is half of the one used elsewhere.
    """
    n, dt = (400_000 if setting.full else 40_000), DT / 2
    times = (0.0, 0.3, 1.0)
    path = rs.simulate(_run_as(wrong), START, n_particles=n, dt=dt, times=times, scheme="platen", rng=setting.seed + 1)
    for k, t in enumerate(times[1:], start=1):
        values = np.stack(_observables(path.positions[k]))
        means, errors = values.mean(axis=1), values.std(axis=1) / np.sqrt(n)
        for j, name in enumerate(("x", "y", "x^2", "x y", "k")):
            exact = refined(name, component(_means, k, j), 0.0, 144 if setting.full else 96)
            allowed = exact.tolerance + (FASTEST * dt) ** 2
            yield Measurement(
                f"<{name}> at t = {t:g}", float(means[j]), exact.measured, allowed, stderr=float(errors[j])
            )


def jumps(setting: Setting, *, wrong: str | None = None) -> Iterator[Measurement]:
    """Conditional moments of jumps give T div S, T div A - A grad E and T S with the coefficients 1, 1, 1.

    On the way from a start near the origin, in 36 cells: the drift less -S grad E is fitted by a T div S + b (T div A -
    A grad E), and the diffusion by c T S, all by least squares; errors are the jackknife's over 24 groups of particles.
    The first order in the lag is removed, which leaves (rate lag)^2, a percent. In a cell of width h a local linear fit
    is off by h^2/24 times the second derivative, which relative to the field is 4 at most: 0.7 percent.
    """
    n, lag = (160_000 if setting.full else 60_000), DT
    times = np.arange(101) * lag
    start = rs.initial.normal([-0.5, 0.2], 0.3)
    path = rs.simulate(_run_as(wrong), start, n_particles=n, dt=lag, times=times, scheme="platen", rng=setting.seed + 2)
    grid = rs.Grid(path.system.domain, 6, bounds=[(-1.1, 0.1), (-0.4, 0.8)])
    found = kramers_moyal(path, grid, degree=1)
    allowed = (FASTEST * lag) ** 2 + 4 * float(grid.spacing[0]) ** 2 / 24
    right, x = system(), grid.points
    S, A, gradient = right.mobility.symmetric(x), right.mobility.antisymmetric(x), right.gradient(x)
    turning = T * right.mobility.antisymmetric_divergence_field(x)
    parts = (T * right.divergence(x) - turning, turning - np.einsum("nab,nb->na", A, gradient))
    known = -np.einsum("nab,nb->na", S, gradient)
    drift = np.concatenate([found.drift[None], found.drift_replicates]).reshape(-1, known.size) - known.ravel()
    noise = np.concatenate([found.diffusion[None], found.diffusion_replicates]).reshape(-1, S.size)
    for names, columns, values in ((("T div S", "current at rest"), parts, drift), (("T S",), (T * S,), noise)):
        design = np.stack([column.ravel() for column in columns], axis=1)
        fits = np.linalg.lstsq(design, values.T, rcond=None)[0]
        errors = jackknife_stderr(fits.T[1:])
        for name, fit, error in zip(names, fits[:, 0], errors, strict=True):
            yield Measurement(f"coefficient of {name}", float(fit), 1.0, allowed, float(error), dof=len(values) - 2)


# ------------------------------------------------------------------------------------------- the density


@cache
def _density(cells: int, last: float) -> tuple[rs.FokkerPlanck, rs.DensityPath]:
    right = system()
    fp = rs.FokkerPlanck(right, rs.Grid(right.domain, cells, bounds=BOX))
    return fp, fp.evolve(START, (0.0, 0.3, 1.0, last))


def _left(t: float) -> float:
    """F at a time less F at rest, of the density."""
    _, path = _density(48, t)
    return T * float(path.kl[-1])


@cache
def _log_partition() -> float:
    from relaxsim.functionals import log_partition

    return float(log_partition(rs.System(WELL, 1.0, T)).value)


def _observables(x: Any) -> tuple[Any, ...]:
    a, b = x[..., 0], x[..., 1]
    return a, b, a**2, a * b, 1.0 + 3.0 * np.exp(-(a**2) - b**2)


@cache
def _means(cells: int) -> Any:
    """Means of the observables at t = 0, 0.3, 1 on a grid."""
    fp, path = _density(cells, 1.1)
    values = np.stack(_observables(fp.grid.points))
    return path.mass.reshape(len(path.times), -1) @ values.T


def _mean(name: str, groups: Any, expected: float, tolerance: float = 0.0, relation: Any = "=") -> Measurement:
    """The mean of groups with its standard error."""
    stderr = float(groups.std(ddof=1) / np.sqrt(groups.size))
    return Measurement(name, float(groups.mean()), expected, tolerance, stderr, relation, dof=groups.size - 1)


STATEMENTS: tuple[Statement, ...] = (
    Statement(
        id="relaxation.6.ensemble",
        title="H-theorem for ensembles",
        source="Relaxation, Theorem 6, with the particles of Theorem 8",
        latex=r"F_E[p(\cdot, t')] \le F_E[p(\cdot, t)] \text{ for } t' > t, \quad F_E \to -T\ln Z",
        claim="F of an ensemble with K(x) + A(x) does not rise, ends at -T ln Z and stays there",
        experiment=h_theorem,
        mutants=(
            Mutant("T div K dropped from the drift (Itô)", partial(h_theorem, wrong="no div K")),
            Mutant("noise at half the temperature", partial(h_theorem, wrong="cold noise")),
        ),
    ),
    Statement(
        id="relaxation.8.ensemble",
        title="The particles' law is the density",
        source="Relaxation, Theorem 8 (Stochastic Dynamics)",
        latex=r"\langle\varphi\rangle_{\text{particles}}(t) = \int \varphi\,p(x,t)\,dx",
        claim="means over simulated particles are those of the density, on the way",
        experiment=same_law,
        mutants=(
            Mutant("T div K dropped from the drift (Itô)", partial(same_law, wrong="no div K")),
            Mutant("noise at half the temperature", partial(same_law, wrong="cold noise")),
            Mutant("A left out", partial(same_law, wrong="no A")),
        ),
    ),
    Statement(
        id="relaxation.20.jumps",
        title="Drift and noise from the moments of jumps",
        source="Relaxation, Lemma 20 and Theorem 8",
        latex=r"\langle\Delta x^a\rangle = (T\,\partial_b K^{ab} - K^{ab}\partial_b E)\,\Delta t + o(\Delta t),\quad"
        r"\langle\Delta x^a\Delta x^b\rangle = 2T S^{ab}\,\Delta t + o(\Delta t)",
        claim="the conditional moments of particles' jumps hold T div S, the current at rest and 2 T S, each once",
        experiment=jumps,
        mutants=(
            Mutant("T div K dropped from the drift (Itô)", partial(jumps, wrong="no div K")),
            Mutant("noise at half the temperature", partial(jumps, wrong="cold noise")),
            Mutant("A left out", partial(jumps, wrong="no A")),
        ),
    ),
)
