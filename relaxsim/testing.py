"""Checks of your own parts: `check_scheme` measures what an integration scheme claims, without Monte Carlo."""

from __future__ import annotations

from relaxsim.particles.scheme_check import Check, SchemeReport, check_scheme

__all__ = ["Check", "SchemeReport", "check_scheme"]
