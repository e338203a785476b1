"""What is measured of a relaxing law: free energy, energy, entropy, relative entropy, with their errors."""

from relaxsim.functionals.bins import Bins
from relaxsim.functionals.distance import EntropicTransport, entropic_wasserstein, wasserstein, wasserstein_divergence
from relaxsim.functionals.free_energy import Relaxation, track
from relaxsim.functionals.monotone import MonotoneResult

__all__ = [
    "Bins",
    "EntropicTransport",
    "MonotoneResult",
    "Relaxation",
    "entropic_wasserstein",
    "track",
    "wasserstein",
    "wasserstein_divergence",
]
