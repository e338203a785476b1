"""What is measured of a relaxing law: free energy, entropy, relative entropy, dissipation, with their errors."""

from relaxsim.functionals.bins import Bins
from relaxsim.functionals.dissipation import Dissipation, dissipation
from relaxsim.functionals.distance import EntropicTransport, entropic_wasserstein, wasserstein, wasserstein_divergence
from relaxsim.functionals.entropy import entropy, kl_between, kl_to_gibbs
from relaxsim.functionals.estimate import Estimate
from relaxsim.functionals.fisher import density_fisher_information, fisher_information
from relaxsim.functionals.free_energies import FreeEnergy, free_energy
from relaxsim.functionals.histogram import count_entropy
from relaxsim.functionals.monotone import MonotoneResult, check_monotone
from relaxsim.functionals.partition import log_partition
from relaxsim.functionals.production import EntropyProduction, circulation_cost, entropy_production
from relaxsim.functionals.relaxation import Relaxation
from relaxsim.functionals.tracking import track

__all__ = [
    "Bins",
    "Dissipation",
    "EntropicTransport",
    "EntropyProduction",
    "Estimate",
    "FreeEnergy",
    "MonotoneResult",
    "Relaxation",
    "check_monotone",
    "circulation_cost",
    "count_entropy",
    "density_fisher_information",
    "dissipation",
    "entropic_wasserstein",
    "entropy",
    "entropy_production",
    "fisher_information",
    "free_energy",
    "kl_between",
    "kl_to_gibbs",
    "log_partition",
    "track",
    "wasserstein",
    "wasserstein_divergence",
]
