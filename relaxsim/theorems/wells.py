"""The double well that several statements share: an energy, a mobility k(x) R with any antisymmetric part, a start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import relaxsim as rs

ENERGY = "(x**2 - 1)**2/2 + y**2/2 + 0.3*x*y"
TEMPERATURE = 0.5
START = rs.initial.normal([-1.0, 0.5], 0.3)
LEAST = 0.6  # smallest eigenvalue of S over the mobilities below


@dataclass(frozen=True)
class Scaled:
    """K = k(x) (R + a J), J the rotation by a right angle: div K is that of k times a constant."""

    text: str
    off_diagonal: float

    def full(self, turning: float = 0.0) -> rs.Mobility:
        """S = k R, with the antisymmetric part k a J."""
        rows = [[self.text, f"{self.off_diagonal}*({self.text})"], [f"{self.off_diagonal}*({self.text})", self.text]]
        mobility = rs.Mobility.tensor(rows)
        if not turning:
            return mobility
        return mobility.with_antisymmetric([["0", f"{turning}*({self.text})"], [f"-{turning}*({self.text})", "0"]])


SCALAR = Scaled("1 + x**2/4", 0.4)


def mobility_of_density() -> rs.Mobility:
    """K{p} = 1 + p with A{p} = p J/2."""
    return rs.Mobility.of_density(lambda x, p: 1.0 + p, antisymmetric=lambda x, p: ((0.0, p / 2), (-p / 2, 0.0)), dim=2)


def plane(mobility: Any, temperature: float = TEMPERATURE) -> rs.System:
    """The double well in its box."""
    return rs.System(ENERGY, mobility, temperature, rs.Domain([(-2.5, 2.5), (-2.5, 2.5)]))
