"""Euler-Maruyama: one drift and one noise evaluation a step, for any mobility."""

from relaxsim.particles.schemes import Scheme
from relaxsim.system.elementary import sqrt


def step(model, x, t, h, noise):
    """x' = x + h F(x) + sqrt(2 T h) B(x) noise, with F = T div K - K grad E the Itô drift and B B^T = S, K = S + A."""
    drift = model.drift(x, t)
    kick = model.kick(x, t, noise)
    root = sqrt(h)
    return [x[a] + (h * drift[a] + root * kick[a]) for a in range(len(x))]


SCHEME = Scheme(
    id="euler-maruyama",
    step=step,
    weak_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    invariant_order={"gaussian": 1, "three-point": 1, "two-point": 1},
    wall_order=1,
    mobility="any",
    evaluations="1 drift, 1 noise",
    reference="Kloeden & Platen, Numerical Solution of SDEs (1992), eq. (10.2.4); step (S1)",
    lepingle=True,
    rank=1,
)
