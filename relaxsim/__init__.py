"""relaxsim: relaxation to the Gibbs law, as an ensemble of particles and as a density.

One `System` (energy, mobility, temperature, domain) is run by `simulate` (Langevin dynamics) and by `FokkerPlanck` (its
density), and measured by the same instruments: `track`, `plotting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relaxsim import functionals, plotting, testing, theorems
    from relaxsim.density import DensityPath, FokkerPlanck
    from relaxsim.errors import (
        CheckFailedError,
        CheckpointWarning,
        ConfigError,
        ConvergenceError,
        DivergedError,
        DomainError,
        ExpressionError,
        GPUUnavailableError,
        IncompatibleSchemeError,
        InputError,
        MissingDependencyError,
        MobilityError,
        ShapeError,
        StabilityWarning,
        StorageError,
    )
    from relaxsim.functionals import (
        Estimate,
        MonotoneResult,
        Relaxation,
        entropy_production,
        kl_between,
        kl_to_gibbs,
        log_partition,
        track,
    )
    from relaxsim.functionals.dissipation import dissipation
    from relaxsim.functionals.entropy import entropy
    from relaxsim.functionals.free_energies import free_energy
    from relaxsim.particles.observables import Autocorrelation, FirstPassage, Histogram, Mean, Moments, Observable
    from relaxsim.particles.path import EnsemblePath
    from relaxsim.particles.resume import resume
    from relaxsim.particles.simulate import simulate, warmup
    from relaxsim.particles.suggest import SuggestedStep, suggest_dt
    from relaxsim.reading import load
    from relaxsim.system import activation as activation
    from relaxsim.system import elementary as elementary
    from relaxsim.system import initial as initial
    from relaxsim.system.diffusion_machine import diffusion_machine
    from relaxsim.system.domain import Domain
    from relaxsim.system.energy import Energy
    from relaxsim.system.grid import Grid
    from relaxsim.system.mobility import Mobility
    from relaxsim.system.system import System
    from relaxsim.system.temperature import Temperature

# public name -> where it lives; loaded on first use, so that `import relaxsim` stays fast
_PUBLIC = {
    "Autocorrelation": "relaxsim.particles.observables",
    "CheckFailedError": "relaxsim.errors",
    "CheckpointWarning": "relaxsim.errors",
    "ConfigError": "relaxsim.errors",
    "ConvergenceError": "relaxsim.errors",
    "DensityPath": "relaxsim.density",
    "DivergedError": "relaxsim.errors",
    "Domain": "relaxsim.system.domain",
    "DomainError": "relaxsim.errors",
    "Energy": "relaxsim.system.energy",
    "EnsemblePath": "relaxsim.particles.path",
    "Estimate": "relaxsim.functionals",
    "ExpressionError": "relaxsim.errors",
    "FirstPassage": "relaxsim.particles.observables",
    "FokkerPlanck": "relaxsim.density",
    "GPUUnavailableError": "relaxsim.errors",
    "Grid": "relaxsim.system.grid",
    "Histogram": "relaxsim.particles.observables",
    "IncompatibleSchemeError": "relaxsim.errors",
    "InputError": "relaxsim.errors",
    "Mean": "relaxsim.particles.observables",
    "MissingDependencyError": "relaxsim.errors",
    "Mobility": "relaxsim.system.mobility",
    "MobilityError": "relaxsim.errors",
    "Moments": "relaxsim.particles.observables",
    "MonotoneResult": "relaxsim.functionals",
    "Observable": "relaxsim.particles.observables",
    "Relaxation": "relaxsim.functionals",
    "ShapeError": "relaxsim.errors",
    "StabilityWarning": "relaxsim.errors",
    "StorageError": "relaxsim.errors",
    "SuggestedStep": "relaxsim.particles.suggest",
    "System": "relaxsim.system.system",
    "Temperature": "relaxsim.system.temperature",
    "diffusion_machine": "relaxsim.system.diffusion_machine",
    "dissipation": "relaxsim.functionals",
    "entropy": "relaxsim.functionals",
    "entropy_production": "relaxsim.functionals",
    "free_energy": "relaxsim.functionals",
    "kl_between": "relaxsim.functionals",
    "kl_to_gibbs": "relaxsim.functionals",
    "load": "relaxsim.reading",
    "log_partition": "relaxsim.functionals",
    "resume": "relaxsim.particles.resume",
    "simulate": "relaxsim.particles.simulate",
    "suggest_dt": "relaxsim.particles.suggest",
    "track": "relaxsim.functionals",
    "warmup": "relaxsim.particles.simulate",
}
_MODULES = {
    "activation": "relaxsim.system.activation",
    "elementary": "relaxsim.system.elementary",
    "functionals": "relaxsim.functionals",
    "initial": "relaxsim.system.initial",
    "plotting": "relaxsim.plotting",
    "testing": "relaxsim.testing",
    "theorems": "relaxsim.theorems",
}

__all__ = [
    "Autocorrelation",
    "CheckFailedError",
    "CheckpointWarning",
    "ConfigError",
    "ConvergenceError",
    "DensityPath",
    "DivergedError",
    "Domain",
    "DomainError",
    "Energy",
    "EnsemblePath",
    "Estimate",
    "ExpressionError",
    "FirstPassage",
    "FokkerPlanck",
    "GPUUnavailableError",
    "Grid",
    "Histogram",
    "IncompatibleSchemeError",
    "InputError",
    "Mean",
    "MissingDependencyError",
    "Mobility",
    "MobilityError",
    "Moments",
    "MonotoneResult",
    "Observable",
    "Relaxation",
    "ShapeError",
    "StabilityWarning",
    "StorageError",
    "SuggestedStep",
    "System",
    "Temperature",
    "__version__",
    "activation",
    "diffusion_machine",
    "dissipation",
    "elementary",
    "entropy",
    "entropy_production",
    "free_energy",
    "functionals",
    "initial",
    "kl_between",
    "kl_to_gibbs",
    "load",
    "log_partition",
    "plotting",
    "resume",
    "simulate",
    "suggest_dt",
    "testing",
    "theorems",
    "track",
    "warmup",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("relaxsim")
    elif name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'relaxsim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
