"""The systems that several tests share, so that each is compiled once."""

import json
from pathlib import Path

import numpy as np

import relaxsim as rs

DATA = Path(__file__).parent / "data"


def demo_system():
    """The two-dimensional double well with position-dependent mobility that `relaxsim demo` shows."""
    return rs.System(
        energy=rs.Energy("(x**2 - 1)**2 + y**2/2 + 0.3*x*y"),
        mobility=rs.Mobility.diagonal("1 + sin(x)**2/2", "1 + sin(y)**2/2"),
        temperature=0.5,
        domain=rs.Domain([(-3, 3), (-3, 3)], boundary="reflecting"),
    )


def channel_system():
    """A double well along a channel that closes on itself."""
    return rs.System(
        energy=rs.Energy("(x**2 - 1)**2 + cos(y)"),
        temperature=0.5,
        domain=rs.Domain([(-3, 3), (-np.pi, np.pi)], ["reflecting", "periodic"]),
    )


class OrnsteinUhlenbeck:
    """A case of tests/data/ou.json: E = x.Hx/2 with constant K, its exact law, and the law of Euler-Maruyama."""

    def __init__(self, case_id):
        (case,) = [case for case in json.loads((DATA / "ou.json").read_text())["cases"] if case["id"] == case_id]
        self.H, self.K = (np.atleast_2d(case[name]) for name in ("H", "K"))
        self.T = case["T"]
        self.mean0, self.cov0 = np.array(case["p0"]["mean"]), np.atleast_2d(case["p0"]["cov"])
        self.expected = case["expect"]
        self.dim = len(self.H)

    def system(self):
        h = self.H.tolist()
        energy = f"({h[0][0]})*x**2/2"
        if self.dim == 2:
            energy += f" + ({h[0][1]})*x*y + ({h[1][1]})*y**2/2"
        return rs.System(energy, self.K if self.dim > 1 else float(self.K[0, 0]), self.T)

    def initial(self):
        return rs.initial.normal(self.mean0, self.cov0)

    def exact(self, t):
        """Mean and covariance at time t (m = e^{-KHt} m0, C = T H^-1 + e^{-KHt} (C0 - T H^-1) e^{-KHt}^T)."""
        from scipy.linalg import expm

        decay, rest = expm(-self.K @ self.H * t), self.T * np.linalg.inv(self.H)
        return decay @ self.mean0, rest + decay @ (self.cov0 - rest) @ decay.T

    def euler_maruyama(self, dt, n_steps):
        """Exact mean and covariance of the scheme itself after n steps."""
        A = np.eye(self.dim) - dt * self.K @ self.H
        mean, cov = self.mean0, self.cov0
        for _ in range(n_steps):
            mean, cov = A @ mean, A @ cov @ A.T + 2 * self.T * dt * self.K
        return mean, cov
