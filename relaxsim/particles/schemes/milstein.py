"""Milstein: Euler-Maruyama with the term that makes single paths accurate, for K_i that depend on x_i alone.

An antisymmetric part is in the drift alone and may be any.
"""

from relaxsim.particles.schemes import Scheme
from relaxsim.system.elementary import sqrt


def step(model, x, t, h, noise):
    """x_i' = x_i + h F_i + sqrt(2 T h K_i) noise_i + T K_i' h (noise_i**2 - 1) / 2."""
    drift = model.drift(x, t)
    kick = model.kick(x, t, noise)
    slope = model.divergence(x, t)
    root = sqrt(h)
    half = 0.5 * model.temperature * h
    return [
        x[a] + (h * drift[a] + root * kick[a] + half * slope[a] * (noise[a] * noise[a] - 1.0)) for a in range(len(x))
    ]


def refuses(system):
    """Without the iterated integrals of several noises the term is right only where K_i depends on x_i alone."""
    return system.mobility.why_not_separate(system.dim)


SCHEME = Scheme(
    id="milstein",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1},
    invariant_order={"gaussian": 1, "three-point": 1},
    wall_order=1,
    mobility="K_i(x_i), any A",
    evaluations="1 drift, 1 noise, 1 div K",
    reference="Milstein, Theory Probab. Appl. 19 (1975) 557; Kloeden & Platen (1992), eq. (10.3.12); step (S2)",
    refuses=refuses,
    rank=2,
)
