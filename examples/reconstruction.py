"""
The energy behind trajectories that turn
========================================

Trajectories of a double well with a current are all we have. From their jumps come drift and diffusion, from these the
question whether there is an energy with detailed balance (there is not), and then the energy and the current.
"""

import argparse
from pathlib import Path

import numpy as np

import relaxsim as rs
from relaxsim.functionals.kramers_moyal import kramers_moyal
from relaxsim.functionals.potential import reconstruct

parser = argparse.ArgumentParser(description="Drift, diffusion, energy and current from trajectories.")
parser.add_argument("--quick", action="store_true", help="fewer trajectories")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

n_particles = 30_000 if arguments.quick else 100_000

# %%
# Trajectories
# ------------
#
# The mobility is :math:`K = 1 + A` with :math:`A^{12} = 1.5`. The lag between stored times is eight steps.

T, a, lag = 0.5, 1.5, 0.02
mobility = rs.Mobility.constant(1.0).with_antisymmetric([[0, a], [-a, 0]])
system = rs.System("x**4/4 - x**2/2 + y**2/2", mobility, temperature=T)
path = rs.simulate(
    system, rs.initial.gibbs(), n_particles=n_particles, dt=lag / 8, times=np.arange(13) * lag, scheme="milstein", rng=1
)

# %%
# Drift and diffusion
# -------------------
#
# A local polynomial in each cell; the errors are those of 24 groups of trajectories.

grid = rs.Grid(system.domain, 20, bounds=[(-2.4, 2.4)] * 2)
fields = kramers_moyal(path, grid, method="kernel")
drift_and_diffusion = rs.plotting.kramers_moyal(fields, system)
points = grid.points.reshape(*grid.shape, 2)
scores = ((fields.drift - system.drift(points)) / fields.drift_stderr)[fields.known]
print(f"drift: errors {np.nanmedian(fields.drift_stderr):.3f}, scores of {np.sqrt(np.mean(scores**2)):.2f}")
assert np.sqrt(np.mean(scores**2)) < 1.5

# %%
# Energy and current
# ------------------
#
# The force has a curl. So the energy is that of the law at rest, and the rest of the drift is a current.

found = reconstruct(fields, temperature=T)
print(found.curl)
assert found.reversible is False
energy = rs.plotting.reconstruction(found, system)
middle = (slice(5, 15), slice(5, 15))
turn, error = np.nanmean(found.antisymmetric[middle]), np.nanmax(found.antisymmetric_stderr[middle])
print(f"antisymmetric mobility: {turn:.3f} +- {error:.3f}, in truth {a}")
assert abs(turn - a) < 6 * error + np.nanmax(found.antisymmetric_bound[middle])

# %%
# The same without a current
# --------------------------
#
# With the symmetric part alone no curl is found, and the energy comes from a least-squares fit to the force.

plain = rs.System(system.energy, 1.0, temperature=T)
calm = rs.simulate(
    plain, rs.initial.gibbs(), n_particles=n_particles, dt=lag / 8, times=np.arange(13) * lag, scheme="milstein", rng=2
)
balanced = reconstruct(kramers_moyal(calm, grid, method="kernel"), temperature=T)
print(balanced.curl)
assert balanced.reversible is True
without_current = rs.plotting.reconstruction(balanced, plain)

# %%
# With ``--save DIR`` the script writes its pictures; it is silent about files otherwise.

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    drawn = {"fields": drift_and_diffusion, "energy": energy, "balanced": without_current}
    for name, picture in drawn.items():
        picture.savefig(arguments.save / f"reconstruction_{name}.png")
