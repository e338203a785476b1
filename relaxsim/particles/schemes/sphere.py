"""The sphere step, for the diffusion machine with a quadratic mobility: second order, and it never leaves the box.

With K = c (x - lo)(hi - x) the noise part T d/dx (K d/dx) is D = c T times the Laplacian of the unit sphere acting on
the height u = (2 x - lo - hi)/(hi - lo). A random rotation of the right size has its moments to second order and keeps
the uniform law exactly; half steps of the drift -K dE/dx before and after, each by the explicit midpoint rule, run in
the hidden variable z, dx/dz = K, whose flow cannot leave the box.
"""

import numpy as np

from relaxsim.particles.schemes import Scheme
from relaxsim.system.elementary import cos, exp, log, sqrt


def step(model, x, t, h, noise):
    """Half a step of drift, a rotation with cos(phi) = 2 U**(D h) - 1 in a uniform direction, half a step of drift."""
    lo = [model.constants[3 * a] for a in range(len(x))]
    size = [model.constants[3 * a + 1] for a in range(len(x))]
    rate = [model.constants[3 * a + 2] for a in range(len(x))]  # c (hi - lo): d logit(s)/dt = -rate dE/dx
    s = [(x[a] - lo[a]) / size[a] for a in range(len(x))]
    g = model.gradient(x, t)
    f = [exp(-0.25 * h * rate[a] * g[a]) for a in range(len(x))]
    m = [s[a] * f[a] / (1.0 - s[a] + s[a] * f[a]) for a in range(len(x))]
    g2 = model.gradient([lo[a] + size[a] * m[a] for a in range(len(x))], t)
    f2 = [exp(-0.5 * h * rate[a] * g2[a]) for a in range(len(x))]
    s2 = [s[a] * f2[a] / (1.0 - s[a] + s[a] * f2[a]) for a in range(len(x))]
    c = [2.0 * exp(model.temperature * rate[a] / size[a] * h * log(noise[2 * a])) - 1.0 for a in range(len(x))]
    u = [2.0 * s2[a] - 1.0 for a in range(len(x))]
    v = [
        u[a] * c[a]
        + sqrt(abs(1.0 - u[a] * u[a])) * sqrt(abs(1.0 - c[a] * c[a])) * cos(3.141592653589793 * noise[2 * a + 1])
        for a in range(len(x))
    ]
    s3 = [0.5 * (1.0 + v[a]) for a in range(len(x))]
    x3 = [lo[a] + size[a] * s3[a] for a in range(len(x))]
    g3 = model.gradient(x3, t)
    f3 = [exp(-0.25 * h * rate[a] * g3[a]) for a in range(len(x))]
    m3 = [s3[a] * f3[a] / (1.0 - s3[a] + s3[a] * f3[a]) for a in range(len(x))]
    g4 = model.gradient([lo[a] + size[a] * m3[a] for a in range(len(x))], t)
    f4 = [exp(-0.5 * h * rate[a] * g4[a]) for a in range(len(x))]
    return [lo[a] + size[a] * (s3[a] * f4[a] / (1.0 - s3[a] + s3[a] * f4[a])) for a in range(len(x))]


def curvatures(system):
    """c of K_i = c_i (x_i - lo_i)(hi_i - x_i) for each axis, or None where K is not of that form."""
    domain, mobility = system.domain, system.mobility
    if not domain.bounded or any(domain.periodic) or mobility.structure == "tensor" or system.time_dependent:
        return None
    x = domain.sample_points()
    parabola = (x - domain.lower) * (domain.upper - x)
    c = np.diagonal(mobility(x), axis1=-2, axis2=-1) / parabola
    same = np.allclose(c, c[0], rtol=1e-12)
    return tuple(float(value) for value in c[0]) if same else None


def refuses(system):
    """The sphere needs a parabola in every coordinate; its half steps flow along the force, at one temperature."""
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part"
    if system.time_dependent:
        return "its energy, mobility or temperature depends on time"
    if curvatures(system) is None:
        return "its mobility is not c (x - lo)(hi - x) in every coordinate of a reflecting box"
    return None


def constants(system):
    """lo, hi - lo and c (hi - lo) for each axis."""
    size = system.domain.upper - system.domain.lower
    c = curvatures(system)
    return tuple(v for a in range(system.dim) for v in (float(system.domain.lower[a]), float(size[a]), c[a] * size[a]))


SCHEME = Scheme(
    id="sphere",
    step=step,
    weak_order={"gaussian": 2},
    invariant_order={"gaussian": 2},
    wall_order=2,
    mobility="c (x - lo)(hi - x)",
    evaluations="4 gradients, 1 rotation",
    reference="documentation, theory page, 'Which scheme'; Strang, SIAM J. Numer. Anal. 5 (1968) 506; step (S5)",
    draws="uniform",
    stays_inside=True,
    noise_per_axis=2,
    refuses=refuses,
    constants=constants,
    rank=6,
)
