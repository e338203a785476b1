"""Time rescaling: Leimkuhler-Matthews in a random clock that makes the noise constant, for K = k(x) M.

In the time tau with dt = dtau / k the mobility is the constant M and the Gibbs law is that of E - T ln k, which is the
one wanted times k. Means weighted by 1/k are of second order; a step does not take a fixed time. The initial law counts
with weights 1; a run that starts at the Gibbs law leaves it for k times it first, so weighted means are those of the
law at rest only after the run has mixed (`after` of observables).
"""

import numpy as np

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.walls import why_oblique, why_vanishing
from relaxsim.system.elementary import sqrt


def output(model, x, t, h, noise):
    """y = x + sqrt(2 T h) R noise / 2, with the noise of the coming step and R R^T = M."""
    root = 0.5 * sqrt(2.0 * model.temperature * h)
    return [
        x[a] + root * sum(model.constants[a * (a + 1) // 2 + b] * noise[b] for b in range(a + 1)) for a in range(len(x))
    ]


def step(model, x, t, h, noise):
    """x' = x + h F(y)/k(y) + sqrt(2 T h) R noise, y = x + sqrt(2 T h) R noise / 2, F/k = -M grad (E - T ln k)."""
    root = sqrt(2.0 * model.temperature * h)
    kick = [root * sum(model.constants[a * (a + 1) // 2 + b] * noise[b] for b in range(a + 1)) for a in range(len(x))]
    y = [x[a] + 0.5 * kick[a] for a in range(len(x))]
    p, sign = model.inside(y), model.mirror_sign(y)
    drift, k = model.drift(p, t), model.diagonal(p, t)
    return [x[a] + (h / k[0] * sign[a] * drift[a] + kick[a]) for a in range(len(x))]


def weights(model, x, t):
    """1/k at a position."""
    return 1.0 / model.diagonal(x, t)[0]


def shape(system):
    """M = K / K_00 where that is the same everywhere, or None; k is K_00 then."""
    K = system.mobility(system.domain.sample_points())
    M = K / K[:, :1, :1]
    return M[0] if np.allclose(M, M[0], rtol=1e-12, atol=1e-12) else None


def refuses(system):
    """The clock exists for K = k(x) M; mirrors must keep M, and at walls the weights 1/k must be finite."""
    if system.time_dependent:
        return "it changes with time"
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part"
    if shape(system) is None:
        return "its mobility is not k(x) times a constant matrix"
    return why_oblique(system) or why_vanishing(system)


def constants(system):
    """R, row by row to the diagonal."""
    R = np.linalg.cholesky(shape(system))
    return tuple(float(R[a, b]) for a in range(system.dim) for b in range(a + 1))


SCHEME = Scheme(
    id="time-rescaling",
    step=step,
    weak_order={"gaussian": 0, "three-point": 0},
    invariant_order={"gaussian": 2, "three-point": 2},
    wall_order=1.5,
    mobility="k(x) M",
    evaluations="1 drift, 1 noise",
    reference=(
        "Phillips, Leimkuhler & Matthews (2023), arXiv:2307.02913; Leimkuhler & Matthews (2013), arXiv:1203.5428; "
        "step (S8)"
    ),
    output=output,
    weights=weights,
    dynamics="stationary",
    refuses=refuses,
    constants=constants,
)
