"""The exact laws of schemes at a finite step: what `relaxsim.particles.transfer` and
`relaxsim.particles.wall_transfer` have, by its short name."""

from relaxsim.particles.transfer import (
    Basis,
    Transfer,
    exact_mean_at,
    gaussian,
    gibbs_means,
    slopes,
    stationary,
    uniforms,
)
from relaxsim.particles.wall_transfer import WallTransfer

__all__ = [
    "Basis",
    "Transfer",
    "WallTransfer",
    "exact_mean_at",
    "gaussian",
    "gibbs_means",
    "slopes",
    "stationary",
    "uniforms",
]
