"""Densities: the Fokker-Planck equation as a Markov jump process on the cells of a grid."""

from relaxsim.density.fokker_planck import FokkerPlanck
from relaxsim.density.path import DensityPath
from relaxsim.density.proximal_path import ProximalPath
from relaxsim.density.proximal_samples import SampledProximal, proximal_samples
from relaxsim.density.proximal_step import ProximalStep, proximal_step
from relaxsim.density.spectrum import Spectrum
from relaxsim.density.stationary import Density

__all__ = [
    "Density",
    "DensityPath",
    "FokkerPlanck",
    "ProximalPath",
    "ProximalStep",
    "SampledProximal",
    "Spectrum",
    "proximal_samples",
    "proximal_step",
]
