"""Densities: the Fokker-Planck equation as a Markov jump process on the cells of a grid."""

from relaxsim.density.fokker_planck import FokkerPlanck
from relaxsim.density.path import DensityPath

__all__ = ["DensityPath", "FokkerPlanck"]
