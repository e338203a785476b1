"""What can be measured inside a run, without storing the paths."""

from relaxsim.particles.observables.autocorrelation import Autocorrelation
from relaxsim.particles.observables.averages import Mean, Moments
from relaxsim.particles.observables.base import Observable
from relaxsim.particles.observables.first_passage import FirstPassage
from relaxsim.particles.observables.histogram import Histogram

__all__ = ["Autocorrelation", "FirstPassage", "Histogram", "Mean", "Moments", "Observable"]
