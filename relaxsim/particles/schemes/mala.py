"""MALA: Euler-Maruyama steps that Metropolis' rule accepts or refuses, so that the Gibbs law is exact for every dt."""

import math

from relaxsim.particles.schemes import Scheme
from relaxsim.particles.vector_math import where
from relaxsim.system.elementary import exp, sqrt


def begin(model, x, t):
    """No step has been accepted yet."""
    return [0.0 * x[0]]


def step(model, x, t, h, noise, carried):
    """y = x + h F(x) + sqrt(h) g(x) noise, taken with probability min(1, q(y) p(y, x) / (q(x) p(x, y))), else x.

    q = exp(-E/T) and p(x, y) = exp(-|noise|**2/2)/det g(x) up to a constant, for p(y, x) with the noise that would lead
    back. What lies outside the box is refused, which makes the law exact at walls and corners too.
    """
    root = sqrt(h)
    drift, kick = model.drift(x, t), model.kick(x, t, noise)
    y = [x[a] + (h * drift[a] + root * kick[a]) for a in range(len(x))]
    stays = model.contains(y)[0]
    p = model.inside([where(stays, y[a], x[a]) for a in range(len(x))])
    drift2 = model.drift(p, t)
    back = model.whiten(p, t, [(x[a] - y[a] - h * drift2[a]) / root for a in range(len(x))])
    less = model.energy(x, t)[0] - model.energy(p, t)[0]
    spread = 0.5 * sum(noise[a] * noise[a] - back[a] * back[a] for a in range(len(x)))
    odds = exp(less / model.temperature + spread) * model.volume(x, t)[0] / model.volume(p, t)[0]
    taken = stays & (noise[len(x)] <= odds)
    return [*[where(taken, y[a], x[a]) for a in range(len(x))], carried[0] + where(taken, 1.0, 0.0)]


def refuses(system):
    """There must be one Gibbs law, and detailed balance."""
    if system.time_dependent:
        return "it changes with time"
    if not system.mobility.reversible:
        return "its mobility has an antisymmetric part, whose current the Metropolis rule would destroy"
    return None


SCHEME = Scheme(
    id="mala",
    step=step,
    weak_order={"gaussian": 0},
    invariant_order={"gaussian": math.inf},
    wall_order=math.inf,
    mobility="any symmetric",
    evaluations="2 drifts, 2 noises, 2 energies",
    reference=(
        "Roberts & Tweedie, Bernoulli 2 (1996) 341; K(x): Xifara et al., Stat. Probab. Lett. 91 (2014) 14; step (S12)"
    ),
    uniforms=1,
    stays_inside=True,
    carried={"accepted": "particle"},
    begin=begin,
    dynamics="stationary",
    refuses=refuses,
)
