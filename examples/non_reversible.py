"""
A current that keeps the Gibbs law and reaches it sooner
========================================================

An antisymmetric part of the mobility drives a current around the bottom of the energy. It changes neither the
stationary law nor the noise. But the particles no longer have to diffuse along the valley: they are carried along it,
and forget where they came from several times sooner.
"""

# sphinx_gallery_thumbnail_number = 2

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import relaxsim as rs

parser = argparse.ArgumentParser(description="The same Gibbs law, reached sooner with a current.")
parser.add_argument("--quick", action="store_true", help="fewer particles, a larger step")
parser.add_argument("--save", type=Path, metavar="DIR", help="write the pictures to this folder")
arguments = parser.parse_args()

n_particles, dt = (10_000, 5e-3) if arguments.quick else (50_000, 2e-3)
RED, BLUE = "#D55E00", "#0072B2"

# %%
# The system
# ----------
#
# A curved valley, :math:`E = x^2/8 + 2\,(y - x^2/4)^2`. It is narrow across, and so shallow along that the particles
# need long to diffuse from one arm to the other. Its Gibbs law is known: :math:`x` and :math:`y - x^2/4` are
# independent and normal, with the variances :math:`4T` and :math:`T/4`.
#
# The mobility is :math:`K = S + A` with :math:`S = 1` and
#
# .. math:: A = \begin{pmatrix} 0 & a \\ -a & 0 \end{pmatrix} .
#
# At rest the current is :math:`J = T\,(\partial_y, -\partial_x)\,(a q)` where :math:`q` is the Gibbs density. For a
# constant :math:`a` it follows the contours of :math:`q`, so it takes nothing away from :math:`q` anywhere.
# Reversible dynamics have :math:`a = 0`. Both run in the same compiled code, because :math:`a` is a parameter.

T, a = 0.5, 3.0


def valley(a):
    """The system with the antisymmetric part a."""
    mobility = rs.Mobility.constant(1.0).with_antisymmetric([["0", "a"], ["-a", "0"]], params={"a": a})
    return rs.System("x**2/8 + 2*(y - x**2/4)**2", mobility, temperature=T)


systems = {"reversible": valley(0.0), "with a current": valley(a)}
colours = {"reversible": RED, "with a current": BLUE}


def run(system, start, times, seed):
    """Simulate with the scheme that takes any mobility."""
    return rs.simulate(system, start, n_particles=n_particles, dt=dt, times=times, scheme="euler-maruyama", rng=seed)


def compare(what, value, expected, allowed):
    """Print how much of what is allowed the worst of several values uses, and insist that none uses more."""
    used = np.max(np.abs(np.asarray(value) - expected) / allowed)
    print(f"{what:<42} {used:6.1%} of what is allowed")
    assert used < 1, f"{what}: {value} is not {expected}"


# %%
# From one arm to both
# --------------------
#
# All particles start in the left arm.

times = np.array([0, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40])
start = rs.initial.normal([-2.5, 1.5], 0.3)
paths = {name: run(system, start, times, seed=1) for name, system in systems.items()}
half_way = {name: path.positions[times == 1][0, :, 0].mean() for name, path in paths.items()}
for name, mean in half_way.items():
    print(f"mean of x at t = 1, {name:<15} {mean:6.2f}")
assert half_way["with a current"] > half_way["reversible"] + 1

# %%
# At the end both have the same law, the one that was predicted. Six standard errors are allowed, and for the bias of
# the step 8 dt of the value: Euler-Maruyama overshoots a little where the particles are carried around fast.

for name, path in paths.items():
    x, y = path.positions[-1].T
    for what, values, exact in (("of x", x**2, 4 * T), ("across", (y - x**2 / 4) ** 2, T / 4)):
        allowed = 6 * values.std() / np.sqrt(n_particles) + 8 * dt * exact
        compare(f"variance {what}, {name}", values.mean(), exact, allowed)
    compare(f"mean of x, {name}", x.mean(), 0.0, 6 * x.std() / np.sqrt(n_particles) + 8 * dt)

# %%
# The free energy falls in both, and to the same value; the distance KL from the Gibbs law shows how much sooner the
# current gets there.

records = [replace(rs.track(path), label=name) for name, path in paths.items()]
relaxation = rs.plotting.relaxation(*records)
assert records[1].kl[times == 2] < records[0].kl[times == 2] / 50

# %%
# At rest
# -------
#
# The autocorrelation of :math:`x` tells how fast a particle that is already at rest forgets its arm. Its integral, the
# correlation time, is how long one has to wait for a new independent sample. If the valley were straight, with
# :math:`E = (h_1 x^2 + h_2 y^2)/2`, the current would divide it by :math:`1 + a^2 = 10`, whatever its stiffness. Here
# the gain is about as large.

lags = np.arange(0, 30.01, 0.1)
correlation, correlation_time = {}, {}
for name, system in systems.items():
    x = run(system, rs.initial.gibbs(), lags, seed=2).positions[..., 0]
    per_particle = x[0] * np.trapezoid(x, lags, axis=0) / (4 * T)
    correlation[name] = np.mean(x[0] * x, axis=1) / (4 * T)
    correlation_time[name] = per_particle.mean(), per_particle.std() / np.sqrt(n_particles)
    print("correlation time, {}: {:.2f} +- {:.2f}".format(name, *correlation_time[name]))
(slow, slow_error), (fast, fast_error) = correlation_time.values()
assert slow - 6 * slow_error > 4 * (fast + 6 * fast_error)

# %%
# **The current.** What a particle sweeps over as seen from the origin, :math:`\int x\,dy - y\,dx`, is on average
# :math:`2Ta` per unit of time, and zero without a current. From stored positions it is the sum of
# :math:`x_k y_{k+1} - y_k x_{k+1}`.

for name, system in systems.items():
    path = run(system, rs.initial.gibbs(), np.arange(round(0.5 / dt) + 1) * dt, seed=3)
    x, y = np.moveaxis(path.positions, -1, 0)
    swept = np.sum(x[:-1] * y[1:] - y[:-1] * x[1:], axis=0) / path.times[-1]
    exact = 0.0 if name == "reversible" else 2 * T * a
    compare(f"swept area, {name}", swept.mean(), exact, 6 * swept.std() / np.sqrt(n_particles) + 8 * dt * exact)

# %%
# In one picture: the two autocorrelations, and the current as arrows over the Gibbs density. The arrows go to the
# right along the outer side of the valley and back along the inner side; longer means more.

at_rest = Figure(figsize=(10, 4), dpi=140, layout="constrained")
memory_axes, current_axes = at_rest.subplots(1, 2)
for name, values in correlation.items():
    label = f"{name}: correlation time {correlation_time[name][0]:.2g}"
    memory_axes.plot(lags, values, color=colours[name], label=label)
memory_axes.axhline(0, color="black", linewidth=0.8)
memory_axes.set(xlabel="lag $t$", ylabel="autocorrelation of $x$", xlim=(0, 20))
memory_axes.legend(frameon=False)


def gibbs_density(x, y):
    """The density exp(-E/T)/Z."""
    points = np.stack(np.broadcast_arrays(x, y), axis=-1)
    return np.exp(-systems["reversible"].energy(points) / T) / (2 * np.pi * T)


fine_x, fine_y = np.linspace(-4, 4, 161), np.linspace(-1.2, 4.2, 161)
current_axes.contourf(fine_x, fine_y, gibbs_density(fine_x, fine_y[:, None]), levels=8, cmap="Oranges")
arrow_x, arrow_y = np.meshgrid(np.linspace(-3.8, 3.8, 21), np.linspace(-1, 4, 19))
density = gibbs_density(arrow_x, arrow_y)
gradient = systems["reversible"].gradient(np.stack([arrow_x, arrow_y], axis=-1))
current = a * density * np.stack([-gradient[..., 1], gradient[..., 0]])  # T d_b(A^ab q), with T dq = -q dE
strong = np.hypot(*current) > 0.03 * np.hypot(*current).max()
current_axes.quiver(arrow_x[strong], arrow_y[strong], *current[:, strong], color=BLUE, pivot="mid", scale=7)
current_axes.set(xlabel="$x$", ylabel="$y$", title="current over the Gibbs density")

# %%
# One particle of each kind, from the same point and with the same noise, for ten units of time. The reversible one
# wanders; the other is carried from arm to arm.

step = 0.02
tracks = Figure(figsize=(10, 4), dpi=140, layout="constrained")
for axes, (name, system) in zip(tracks.subplots(1, 2, sharex=True, sharey=True), systems.items(), strict=True):
    path = rs.simulate(
        system,
        rs.initial.point([-2.0, 1.0]),
        n_particles=1,
        dt=dt,
        times=np.arange(501) * step,
        scheme="euler-maruyama",
        rng=4,
    )
    axes.contourf(fine_x, fine_y, gibbs_density(fine_x, fine_y[:, None]), levels=8, cmap="Greys")
    axes.plot(*path.positions[:, 0].T, color=colours[name], linewidth=0.8)
    axes.set(title=name, xlabel="$x$", ylabel="$y$")
    axes.label_outer()

# %%
# With ``--save DIR`` the script writes its pictures; it is silent about files otherwise.

if arguments.save:
    arguments.save.mkdir(parents=True, exist_ok=True)
    for name, picture in (("relaxation", relaxation), ("current", at_rest), ("tracks", tracks)):
        picture.savefig(arguments.save / f"non_reversible_{name}.png")
