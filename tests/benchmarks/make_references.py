"""Where relaxsim/bench/references.npz comes from: ``python tests/benchmarks/make_references.py OUT.npz`` (minutes).

Densities of the double well E = (x^2 - 1)^2 + y^2/2 + 0.3 x y at T = 1/2 on (-3, 3)^2 with reflecting walls, from a
normal law of mean (-1, 0) and standard deviation 0.3, by a method that shares nothing with relaxsim: a Galerkin scheme
with orthonormal Legendre polynomials of degree up to NX and NY in the two coordinates, all integrals by Gauss-Legendre
quadrature, and Radau IIA-5 by partial fractions in time. Kept are the coefficients, float64, at t = 1 and t = 50 for
K = diag(1 + sin(x)^2/2, 1 + sin(y)^2/2) ("diagonal") and at t = 1 for the tensor with eigenvalues 1 and 1/50 along
axes turned by 0.6 x + 0.5 sin(y) ("tensor"). Series of degrees (72, 50) and (72, 60) differ from these by 4e-6 and 1e-5
in L1; the last coefficients of these are a tenth to a twentieth of theirs.
"""

import sys

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import lu_factor, lu_solve

HALF, T = 3.0, 0.5
DEGREES = {"diagonal": (84, 60), "tensor": (84, 72)}
STEPS = {"diagonal": (200, 150), "tensor": (200, 0)}


def basis(degree, x):
    """Orthonormal Legendre polynomials on (-HALF, HALF) and their derivatives at HALF * x, columns by degree."""
    scale = np.sqrt((2 * np.arange(degree + 1) + 1) / (2 * HALF))
    values = legendre.legvander(x, degree)
    slopes = np.stack([legendre.legval(x, legendre.legder(row)) for row in np.eye(degree + 1)], axis=1)
    return values * scale, slopes * scale / HALF


def mobility(kind, x, y):
    if kind == "diagonal":
        return 1 + np.sin(x) ** 2 / 2, 0 * x, 1 + np.sin(y) ** 2 / 2
    c, s = np.cos(0.6 * x + 0.5 * np.sin(y)), np.sin(0.6 * x + 0.5 * np.sin(y))
    return c * c + s * s / 50, c * s * (1 - 1 / 50), s * s + c * c / 50


def operator_and_start(kind):
    """The matrix of dp/dt = div(K (p grad E + T grad p)) in weak form, and the coefficients of the start."""
    nx, ny = DEGREES[kind]
    (gx, wx), (gy, wy) = legendre.leggauss(nx + 24), legendre.leggauss(ny + 24)
    (px, dx), (py, dy) = basis(nx, gx), basis(ny, gy)
    x, y = np.meshgrid(HALF * gx, HALF * gy, indexing="ij")
    weight = np.outer(wx, wy) * HALF**2
    kxx, kxy, kyy = mobility(kind, x, y)
    ex, ey = 4 * x * (x * x - 1) + 0.3 * y, y + 0.3 * x
    n = (nx + 1) * (ny + 1)

    def integral(values, test_x, test_y, trial_x, trial_y):
        inner = np.einsum("qi,qk,qr->ikr", test_x, trial_x, values, optimize=True)
        outer = np.einsum("rj,rl->rjl", test_y, trial_y).reshape(len(gy), -1)
        full = (inner.reshape(-1, len(gy)) @ outer).reshape(nx + 1, nx + 1, ny + 1, ny + 1)
        return full.transpose(0, 2, 1, 3).reshape(n, n)

    matrix = integral(weight * (kxx * ex + kxy * ey), dx, py, px, py)
    matrix += integral(weight * (kxy * ex + kyy * ey), px, dy, px, py)
    matrix += T * integral(weight * kxx, dx, py, dx, py) + T * integral(weight * kyy, px, dy, px, dy)
    if kind == "tensor":
        matrix += T * (integral(weight * kxy, dx, py, px, dy) + integral(weight * kxy, px, dy, dx, py))
    start = np.exp(-((x + 1) ** 2 + y**2) / (2 * 0.09)) / (2 * np.pi * 0.09)
    return -matrix, (px.T @ (weight * start) @ py).ravel()


def march(matrix, u, t, steps):
    """Radau IIA-5: R(z) = P(z)/Q(z), Q with one real and a pair of complex roots, as a sum of resolvents."""
    numerator, denominator = np.poly1d([1 / 20, 2 / 5, 1]), np.poly1d([-1 / 60, 3 / 20, -3 / 5, 1])
    slope, scaled = denominator.deriv(), matrix * (t / steps)
    parts = []
    for root in denominator.roots:
        if root.imag >= -1e-12:
            real = abs(root.imag) < 1e-12
            shift = root.real if real else root
            residue = -numerator(shift) / slope(shift)  # of 1 / (shift - z)
            parts.append((lu_factor(shift * np.eye(len(u)) - scaled, overwrite_a=True), residue, real))
    for _ in range(steps):
        total = np.zeros(len(u))
        for factor, residue, real in parts:
            solved = residue * lu_solve(factor, u)
            total += solved.real if real else 2 * solved.real
        u = total
    return u


def main(out):
    kept = {}
    for kind, (nx, ny) in DEGREES.items():
        matrix, u = operator_and_start(kind)
        time = 0.0
        for until, steps in zip((1.0, 50.0), STEPS[kind], strict=True):
            if steps:
                u = march(matrix, u, until - time, steps)
                time = until
                kept[f"{kind}_t{until:g}"] = u.reshape(nx + 1, ny + 1)
                print(
                    kind,
                    until,
                    "mass",
                    u[0] * 2 * HALF,
                    "last",
                    np.abs(u.reshape(nx + 1, ny + 1)[-1]).max(),
                    flush=True,
                )
    np.savez_compressed(out, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
