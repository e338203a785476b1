"""
Rates, committors and passages from a density
=============================================

A particle in one of two wells waits long before it crosses to the other. A simulation waits with it; a density does
not. Its generator is a sparse matrix, and the rates of relaxation, the probability to reach one well before the other
and the mean time to get there are an eigenvalue problem and two linear systems.
"""

# sphinx_gallery_thumbnail_number = 2

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import relaxsim as rs

parser = argparse.ArgumentParser(description="Rates, committors and passages from a density.")
parser.add_argument("--quick", action="store_true", help="coarser grids, fewer temperatures")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

cells = 80 if arguments.quick else 160
temperatures = [0.4, 0.2, 0.1, 0.05] if arguments.quick else [0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.035]
RED, BLUE = "#D55E00", "#0072B2"

# %%
# Two wells with a curved way between them
# ----------------------------------------
#
# The mobility is a tensor that does not vary: it is easier to move along one diagonal. The grid need not know; the
# cells exchange probability along whole vectors that suit the tensor.

energy = rs.Energy("(x**2 - 1)**2 + 2*(y - 0.6*x**2 + 0.4)**2")
mobility = [[1.0, 0.5], [0.5, 0.6]]
domain = rs.Domain([(-2, 2), (-1.6, 2.4)])
system = rs.System(energy, mobility, 0.25, domain)
fp = rs.FokkerPlanck(system, rs.Grid(domain, cells))

# %%
# One slow rate
# -------------
#
# The first rate is that of the law at rest, zero. The second is the passage between the wells, far below the others;
# its function is nearly constant in each well.

found = fp.spectrum(4)
print("relaxation rates:", np.round(found.rates, 4))
modes = rs.plotting.spectrum(found)
assert found.rates[0] == 0
assert found.rates[2] > 5 * found.gap

# %%
# Which well first
# ----------------
#
# The committor :math:`q(x)` is the probability to reach the right well before the left one. A region is said in words.
# Where :math:`q = 1/2` both are as likely. That is not the line :math:`x = 0`: the energy is symmetric, the mobility is
# not.

left, right = "(x + 1)**2 + (y - 0.2)**2 < 0.04", "(x - 1)**2 + (y - 0.2)**2 < 0.04"
q = fp.committor(left, right)
x, y = fp.grid.centers
committor = Figure(figsize=(6.4, 4.6), dpi=140, layout="constrained")
axes = committor.subplots()
field = axes.pcolormesh(*fp.grid.edges, q.T, cmap="RdBu_r", vmin=0, vmax=1, rasterized=True)
axes.contour(x, y, q.T, levels=[0.1, 0.25, 0.5, 0.75, 0.9], colors="black", linewidths=[0.6, 0.6, 1.8, 0.6, 0.6])
axes.contour(x, y, system.energy(fp.grid.points).reshape(q.shape).T, levels=np.arange(0.25, 3, 0.5), colors="grey")
axes.set(xlabel="$x$", ylabel="$y$")
committor.colorbar(field, label="probability to reach the right well first")
assert abs(np.corrcoef(q.ravel(), found.functions[1].ravel())[0, 1]) > 0.95
assert q.min() == 0
assert q.max() == 1

# %%
# How long it takes
# -----------------
#
# The mean first passage time from the left well to the right one, and the rate at which the whole law relaxes, at lower
# and lower temperatures. Between two equal wells the law relaxes by passages both ways, so the gap is twice the rate of
# one: their product tends to two. Both follow the height of the barrier, :math:`\Delta E = 1`, in the end: the law of
# Arrhenius.

times, gaps = [], []
for T in temperatures:
    colder = rs.FokkerPlanck(system.replace(temperature=T), rs.Grid(domain, cells))
    start = int(np.argmin(np.sum((colder.grid.points - [-1.0, 0.2]) ** 2, axis=1)))
    times.append(colder.mean_first_passage_time(right).ravel()[start])
    gaps.append(colder.spectrum(2).gap)
    print(f"T = {T:5.3f}: mean passage {times[-1]:12.5g}, gap {gaps[-1]:10.4g}, product {times[-1] * gaps[-1]:.3f}")
times, gaps, inverse = np.array(times), np.array(gaps), 1 / np.array(temperatures)
assert abs(times[-1] * gaps[-1] - 2) < 0.05
slope = np.log(times[-1] / times[-2]) / (inverse[-1] - inverse[-2])
assert abs(slope - 1) < 0.1

arrhenius = Figure(figsize=(6, 3.8), dpi=140, layout="constrained")
axes = arrhenius.subplots()
axes.semilogy(inverse, times, "o-", color=RED, label="mean first passage time")
axes.semilogy(inverse, 2 / gaps, "s--", color=BLUE, label="two over the spectral gap")
axes.semilogy(inverse, times[-1] * np.exp(inverse - inverse[-1]), color="grey", linewidth=1, label=r"$e^{\Delta E/T}$")
axes.set(xlabel="$1/T$", ylabel="time")
axes.legend(frameon=False)

# %%
# With ``--save DIR`` the script writes its pictures; it is silent about files otherwise.

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    for name, picture in (("modes", modes), ("committor", committor), ("arrhenius", arrhenius)):
        picture.savefig(arguments.save / f"rare_passages_{name}.png")
