"""What the tests of kernels for a graphics card share: systems of every kind, and all that schemes can do with them."""

import numpy as np

import relaxsim as rs
from relaxsim.particles.schemes import NOISES, registry

TURNED = rs.Domain([(0, 2 * np.pi), (0, 1)], boundary=["periodic", "reflecting"])

SYSTEMS = {
    "line": rs.System("x**4/4 - x**2/2", "1 + 0.3*sin(x)", 0.5),
    "constant": rs.System("x**2 + x*y + y**2", [1.0, 2.0], 0.5),
    "interval": rs.System("2*x", "1 + x/2", 0.8, rs.Domain([(0, 1)])),
    "machine": rs.diffusion_machine("x*y + y", temperature=0.3),
    "turned": rs.System("cos(x) + y", ["1 + 0.3*sin(x)", "1.2 + y/4"], 0.6, TURNED),
    "oblique": rs.System("cos(x) + 2*y", [[1.0, 0.6], [0.6, "1 + y/2"]], 1.0, TURNED),
    "full": rs.System("x**2 + x*y + y**2", [["1 + x**2/4", "0.3*sin(y)"], ["0.3*sin(y)", "1"]], 0.5),
    "curl": rs.System("x**2 + y**2", rs.Mobility.constant(1.0).with_antisymmetric([[0.0, 0.5], [-0.5, 0.0]]), 0.5),
    "moving": rs.System("x**2 + y**2*(1 + t) + z**2", "1 + exp(-x**2)", "0.5 + t/10"),
}

# scheme, name of a system, noise: all that go together
CASES = [
    (name, key, noise)
    for name, row in registry().items()
    for key, system in SYSTEMS.items()
    for noise in NOISES
    if row.why_not(system, noise) is None
]


def cuda_kernel(*arguments, **named):
    """A `CudaKernel`, imported only where it is asked for."""
    from relaxsim.particles.cuda_kernel import CudaKernel

    return CudaKernel(*arguments, **named)


def starting_positions(system, n):
    """Positions (n, dim) in the domain, or between -1 and 1."""
    low, high = np.maximum(system.domain.lower, -1.0), np.minimum(system.domain.upper, 1.0)
    return low + (high - low) * np.random.default_rng(5).random((n, system.dim))
