"""
A double well with a position-dependent mobility
================================================

One system, run in both ways: as an ensemble of particles and as a density. The free energies of the two fall together
and end at the same value. At the end, one term of the equation is left out, to see what it is good for.
"""

# sphinx_gallery_thumbnail_number = 2

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import relaxsim as rs

parser = argparse.ArgumentParser(description="A double well with a position-dependent mobility, in both pictures.")
parser.add_argument("--quick", action="store_true", help="fewer particles, a larger step, a coarser grid")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

n_particles, dt, cells = (24_000, 5e-3, 48) if arguments.quick else (40_000, 2e-3, 96)

# %%
# The system
# ----------
#
# Two wells near :math:`(\pm 1, \mp 0.3)`, a barrier of about twice the temperature between them, and a mobility that
# is half as large again where :math:`\sin^2 = 1` as at the origin. The gradient of :math:`E` and the divergence of
# :math:`K` are derived from the text.

system = rs.System(
    energy=rs.Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y"),
    mobility=rs.Mobility.diagonal("1 + sin(x)**2/2", "1 + sin(y)**2/2"),
    temperature=0.5,
    domain=rs.Domain([(-3, 3), (-3, 3)], boundary="reflecting"),
)

# %%
# Both pictures
# -------------
#
# All probability starts around the bottom of the left well. ``times`` are the moments that are kept.

start = rs.initial.normal([-1, 0], 0.3)
times = np.array([0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10])

ensemble = rs.simulate(system, start, n_particles=n_particles, dt=dt, times=times, rng=1)
density = rs.FokkerPlanck(system, rs.Grid(system.domain, shape=(cells, cells))).evolve(start, times)

halfway = rs.plotting.density(density, ensemble, index=list(times).index(1.0))

# %%
# On the way, at :math:`t = 1`: part of the probability has crossed the barrier. The histogram of the particles and the
# density agree; the Gibbs law at the right is where both are going.
#
# One relaxation
# --------------
#
# ``track`` measures both laws with the same instruments, and on the same bins (``like=micro``): an ensemble is only
# known as counts on bins, so that is what a density has to be reduced to before the two can be compared.

micro = rs.track(ensemble)
macro = rs.track(density, like=micro)
relaxation = rs.plotting.relaxation(micro, macro)

# %%
# Within the first tenth of the time the law takes the shape of the left well, and most of the free energy is gone. What
# remains takes much longer, because probability has to cross the barrier.
#
# Do the two agree? Every difference is measured in standard errors of the ensemble; numbers within about 3 are what
# chance makes. The error of the step ``dt`` is not in the standard error, so 0.002 T is allowed for it.

print("    t    F density   F ensemble   difference / standard error")
for k, t in enumerate(times):
    score = (micro.free_energy[k] - macro.free_energy[k]) / micro.free_energy_stderr[k]
    print(f"{t:5.2f}  {macro.free_energy[k]:9.4f}   {micro.free_energy[k]:9.4f}   {score:+10.1f}")

off = np.abs(micro.free_energy - macro.free_energy)
assert np.all(off < 6 * micro.free_energy_stderr + 2e-3 * system.temperature)

# %%
# Free energy never rises. For the density that is exact, up to rounding. For the ensemble it is a statistical test with
# a stated rate of false alarms, which says how large a rise it would have found.

for record in (rs.track(density), micro):
    print(f"{record.label}: {record.check_monotone()}")
    record.check_monotone().raise_if_failed()

# %%
# What T div K is for
# -------------------
#
# Where the mobility varies, particles follow
#
# .. math:: dx = [T\,\mathrm{div}\,K - K\,\nabla E]\,dt + \sqrt{2T}\,dW, \qquad dW \sim \mathcal N(0, K\,dt),
#
# in the sense of Itô. It is easy to forget the first term; for a constant :math:`K` it is zero. What happens without
# it? In one dimension, or with each :math:`K_i` depending on its own :math:`x_i` as here, the particles then follow the
# right equation of *another* energy, :math:`E + T \ln K_1 + T \ln K_2`, which is how relaxsim can be made to run it:

wrong = system.replace(
    energy=rs.Energy(
        "(x**2 - 1)**2 + y**2/2 + 0.3*x*y + T*log(1 + sin(x)**2/2) + T*log(1 + sin(y)**2/2)",
        params={"T": system.temperature},
    )
)
somewhere = np.array([[-1.0, 0.0], [0.5, -0.4], [1.2, 0.9]])
without_divergence = system.drift(somewhere) - system.temperature * system.divergence(somewhere)
np.testing.assert_allclose(wrong.drift(somewhere), without_divergence)

stray = rs.simulate(wrong, start, n_particles=n_particles, dt=dt, times=times[[0, -1]], rng=2, store="final")

# %%
# Both ensembles have nearly come to rest, but not at the same law: without the divergence, the particles stay too long
# where the mobility is small, which here is the top of the barrier.


def on_the_barrier(x):
    """Whether a particle is near the top of the barrier."""
    return abs(x[0]) < 0.5


inside = np.abs(density.grid.centers[0]) < 0.5  # the edges of cells fall on -0.5 and 0.5
expected = density.mass[-1].sum(axis=1)[inside].sum()
for name, path in (("with T div K", ensemble), ("without", stray)):
    share, stderr = path.mean(on_the_barrier)
    score = (share[-1] - expected) / stderr[-1]
    print(
        f"{name:>13}: {share[-1]:.4f} of the particles with |x| < 1/2, the density says {expected:.4f}: {score:+.1f} se"
    )
    assert abs(score) < 6 if path is ensemble else score > 10

# %%
# A picture of the two, summed over :math:`y`:

marginals = Figure(figsize=(8, 4.2), dpi=140, layout="constrained")
axes = marginals.add_subplot()
edges = np.linspace(-2, 2, 41)
for path, colour, label in ((ensemble, "#D55E00", "with T div K"), (stray, "#009E73", "without T div K")):
    heights = np.histogram(path.positions[-1, :, 0], edges)[0] / (path.n_particles * np.diff(edges))
    axes.stairs(heights, edges, color=colour, linewidth=2, label=f"ensemble {label}")
widths = np.diff(density.grid.edges[0])
centres = density.grid.centers[0]
axes.plot(centres, density.mass[-1].sum(axis=1) / widths, color="#0072B2", linewidth=2, label="density")
axes.set(xlim=(-2, 2), ylim=(0, None), xlabel="$x$", ylabel="probability density of $x$", title="$t = 10$")
axes.legend(frameon=False, loc="upper right", fontsize="small")

# %%
# With ``--save DIR`` the script writes its pictures; it is silent about files otherwise.

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    for name, picture in (("density", halfway), ("relaxation", relaxation), ("marginals", marginals)):
        picture.savefig(arguments.save / f"double_well_{name}.png")
