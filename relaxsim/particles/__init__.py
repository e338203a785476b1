"""The ensemble: particles that follow the Langevin equation of a system."""

from relaxsim.particles.path import EnsemblePath
from relaxsim.particles.simulate import simulate, warmup

__all__ = ["EnsemblePath", "simulate", "warmup"]
