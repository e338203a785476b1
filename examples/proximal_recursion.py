"""
Relaxation as steepest descent: the proximal recursion
======================================================

The Fokker-Planck equation is steepest descent of the free energy *F* in the Wasserstein distance *W* of laws (Jordan,
Kinderlehrer and Otto, 1998). So a relaxation can be made of steps each of which is a minimum,

    p' = argmin W(p, p')²/2h + F(p'),

with no generator at all. With an entropic term of strength ε the step is a fixed point of matrix products (Caluya and
Halder, 2020), here for a diffusion machine, whose distance is that of the metric 1/K.
"""

# sphinx_gallery_thumbnail_number = 1

import argparse
from pathlib import Path

import numpy as np

import relaxsim as rs
from relaxsim.functionals import wasserstein

parser = argparse.ArgumentParser(description="The proximal recursion beside the finite-volume solution.")
parser.add_argument("--quick", action="store_true", help="fewer cells and steps")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

cells = 120 if arguments.quick else 200
steps = [0.02, 0.01] if arguments.quick else [0.02, 0.01, 0.005]

# %%
# One relaxation, two ways
# ------------------------
#
# The entropic term acts like a temperature ε/2h: the plain recursion comes to rest in a law that is too wide, the
# corrected one does not.

machine = rs.diffusion_machine("4*(x - 1/3)**2", temperature=0.5, beta=2.0)
fp = rs.FokkerPlanck(machine, rs.Grid(machine.domain, cells))
law, times = rs.initial.normal([0.7], 0.12), np.linspace(0, 1.2, 31)

exact = fp.evolve(law, times)
h, epsilon = steps[0], 10 * steps[0] ** 2
plain = fp.proximal(law, times, step=h, epsilon=epsilon)
corrected = fp.proximal(law, times, step=h, epsilon=epsilon, correct_bias=True)
picture = rs.plotting.proximal(plain, exact, index=2)

# %%
# Every step descends: the free energy falls by at least what the transport cost, up to the entropic allowance. The
# iteration inside never contracts more slowly than h/(h + ε/T).

activation = rs.activation.lookup("soft_projection")
edges = fp.grid.edges[0]
moved = wasserstein((edges, plain.mass[0]), (edges, plain.mass[1]), ground=lambda x: activation.Y(x, 2.0))
print(f"the law moved by W = {moved:.4f} until t = {times[1]:g}")
print(f"transport + change of F, at most: {np.max(np.diff(plain.functional) + plain.transport):.4f}")
print(f"contraction measured {plain.contraction.max():.6f}, bound {plain.contraction_bound:.6f}")
assert np.all(plain.excess <= 1e-9)
assert plain.contraction.max() <= plain.contraction_bound

rest = [np.abs(path.mass[-1] - fp.gibbs).sum() for path in (plain, corrected)]
print(f"distance to the Gibbs law at the end: plain {rest[0]:.4f}, corrected {rest[1]:.4f}")
assert rest[1] < 0.5 * rest[0]

# %%
# As the step goes to zero
# ------------------------
#
# With ε in proportion to h², both tend to the solution of the Fokker-Planck equation with the first power of h.

studies = {}
for name, correct in (("plain", False), ("corrected", True)):
    errors = []
    for step in steps:
        path = fp.proximal(law, [0.0, 0.08], step=step, epsilon=10 * step**2, correct_bias=correct)
        errors.append(np.abs(path.mass[-1] - fp.evolve(law, [0.0, 0.08]).mass[-1]).sum())
    studies[name] = (steps, errors)
    order = np.log(errors[0] / errors[-1]) / np.log(steps[0] / steps[-1])
    print(f"{name}: errors {np.round(errors, 4)}, order {order:.2f}")
    assert 0.8 < order < 1.2
convergence = rs.plotting.proximal_convergence(studies)

# %%
# The law at the end, beside the Gibbs law:

end = rs.plotting.density(corrected)

# %%

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    picture.savefig(arguments.save / "proximal_recursion.png")
    convergence.savefig(arguments.save / "proximal_convergence.png")
    end.savefig(arguments.save / "proximal_end.png")
