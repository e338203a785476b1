"""
First passages and other things measured on the way
===================================================

How long does a particle take to climb out of a well? The answer needs every step of every path, and none of them
afterwards. So it is measured inside the run, as are the law of the particles, its free energy and its correlations, and
no position is stored.
"""

# sphinx_gallery_thumbnail_number = 1

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import relaxsim as rs

parser = argparse.ArgumentParser(description="First passages and other things measured on the way.")
parser.add_argument("--quick", action="store_true", help="fewer particles")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

n_particles = 5_000 if arguments.quick else 30_000
RED, BLUE = "#D55E00", "#0072B2"

# %%
# The exact mean
# --------------
#
# In one dimension the mean time from :math:`x_0` to the top :math:`b` of the barrier is an integral,
#
# .. math:: \tau = \int_{x_0}^b dy\, \frac{e^{E(y)/T}}{T K} \int_{-\infty}^y dz\, e^{-E(z)/T} ,
#
# (Pontryagin, Andronov and Vitt 1933), here on a fine mesh.

T, x0, top = 0.5, -1.0, 0.0
mesh = np.linspace(-4.0, top, 200_001)
height = (mesh**2 - 1) ** 2 / T
below = np.cumsum(np.exp(-height)) * (mesh[1] - mesh[0])
exact = np.trapezoid(np.where(mesh >= x0, np.exp(height) * below / T, 0.0), mesh)
print(f"exact mean first passage time: {exact:.4f}")

# %%
# Every step is looked at
# -----------------------
#
# ``rs.FirstPassage`` takes the region as text. A path that crosses within a step and comes back is not seen, so the
# times are too long by an amount of order :math:`\sqrt{dt}`: as if the boundary stood back by
# :math:`0.5826 \sqrt{2 T K\, dt}` (Broadie, Glasserman and Kou 1997).

system = rs.System("(x**2 - 1)**2", temperature=T)
start = rs.initial.point([x0])


def passage(dt, region, rng):
    """First passages of a run with step dt."""
    observables = {"climb": rs.FirstPassage(region)}
    path = rs.simulate(
        system,
        start,
        n_particles=n_particles,
        dt=dt,
        times=[0, 100],
        scheme="euler-maruyama",
        rng=rng,
        store="none",
        observables=observables,
    )
    return path.observables["climb"]


steps = np.array([0.02, 0.01, 0.005, 0.0025])
climbs = [passage(dt, f"x > {top}", rng) for rng, dt in enumerate(steps)]
for dt, climb in zip(steps, climbs, strict=True):
    print(f"dt = {dt:6.4f}: {climb.value:.4f} +- {climb.stderr:.4f}")
assert all(climb.passed == 1 for climb in climbs)

# %%
# The remedy is to move the boundary forward by as much. What is left is of order dt.

closer = passage(steps[0], f"x > {top - 0.5826 * np.sqrt(2 * T * steps[0]):.6f}", rng=9)
print(f"boundary moved, dt = {steps[0]}: {closer.value:.4f} +- {closer.stderr:.4f}")
assert abs(closer.value - exact) < 6 * closer.stderr + 0.03 * exact
assert climbs[0].value - exact > 0.1 * exact

shift = Figure(figsize=(6, 3.6), dpi=140, layout="constrained")
axes = shift.subplots()
values, errors = (np.array([getattr(climb, name) for climb in climbs]) for name in ("value", "stderr"))
axes.errorbar(np.sqrt(steps), values, 2 * errors, fmt="o", color=RED, label="as seen at the steps")
axes.errorbar(np.sqrt(steps[0]), closer.value, 2 * closer.stderr, fmt="s", color=BLUE, label="boundary moved")
axes.axhline(exact, color="black", linewidth=1, label="exact")
axes.set(xlabel=r"$\sqrt{dt}$", ylabel="mean first passage time", xlim=(0, None))
axes.legend(frameon=False)

# %%
# All times, not only their mean
# ------------------------------
#
# A barrier of twice the temperature is forgotten between attempts: the times are nearly exponential.

finest = climbs[-1]
t = np.linspace(0, 5 * finest.value, 200)
survival = Figure(figsize=(6, 3.6), dpi=140, layout="constrained")
axes = survival.subplots()
axes.semilogy(t, finest.survival(t), color=RED, label="particles still in the well")
axes.semilogy(t, np.exp(-t / finest.value), color=BLUE, linestyle="dashed", label="exponential of the same mean")
axes.set(xlabel="$t$", ylabel="fraction")
axes.legend(frameon=False)
assert np.abs(finest.survival(t) - np.exp(-t / finest.value)).max() < 0.1

# %%
# The law and its free energy, without positions
# ----------------------------------------------
#
# A histogram counts the particles of 24 groups apart, which is what ``rs.track`` needs for standard errors. The
# autocorrelation is accumulated over the second half of the run.

grid = rs.Grid(system.domain, 64, bounds=[(-2.5, 2.5)])
observables = {
    "law": rs.Histogram(grid),
    "position": rs.Mean("x"),
    "memory": rs.Autocorrelation("x", [0.0, 1.0, 2.0, 4.0], after=15.0),
}
path = rs.simulate(
    system,
    start,
    n_particles=n_particles,
    dt=0.01,
    times=np.linspace(0, 30, 31),
    rng=5,
    store="none",
    observables=observables,
)
record = rs.track(path)
relaxation = rs.plotting.relaxation(record)
found = path.observables
assert record.check_monotone().monotone is not False
np.testing.assert_allclose(found["law"].value.sum(axis=1), 1)
assert abs(found["position"].value[-1]) < 6 * found["position"].stderr[-1] + 0.02
print("correlation of x after 0, 1, 2, 4:", np.round(found["memory"].correlation, 3))
assert np.all(np.diff(found["memory"].correlation) < 0)

# %%
# With ``--save DIR`` the script writes its pictures; it is silent about files otherwise.

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    for name, picture in (("steps", shift), ("survival", survival), ("relaxation", relaxation)):
        picture.savefig(arguments.save / f"first_passage_{name}.png")
