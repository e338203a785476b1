"""Each statement of the theory as an experiment with its tolerance, and with mutants that it must reject."""

from relaxsim.theorems.check import Measurement, Mutant, Setting, Statement
from relaxsim.theorems.registry import statements
from relaxsim.theorems.verify import MutantVerdict, Verdict, verify

__all__ = ["Measurement", "Mutant", "MutantVerdict", "Setting", "Statement", "Verdict", "statements", "verify"]
