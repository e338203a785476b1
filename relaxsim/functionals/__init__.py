"""What is measured of a relaxing law: free energy, energy, entropy, relative entropy, with their errors."""

from relaxsim.functionals.bins import Bins
from relaxsim.functionals.free_energy import Relaxation, track
from relaxsim.functionals.monotone import MonotoneResult

__all__ = ["Bins", "MonotoneResult", "Relaxation", "track"]
