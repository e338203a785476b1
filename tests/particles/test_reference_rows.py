"""Every row of the reference is compared: rows of mutants here, and of steps that the package has not but can run.

Strang's step and the noise of W2Ito1 in PVD-2 are written as a user would, from the formulas; they have the laws that
the reference has of them. So the operator is right for steps that it was not made for.
"""

from dataclasses import replace

import numpy as np
import pytest

from particles import test_scheme_orders, test_schemes
from particles.test_scheme_orders import HLM, changed
from particles.test_schemes import ONE, REFERENCE, VARYING
from particles.transfer import Transfer
from relaxsim.particles.schemes import registry
from relaxsim.system.elementary import sqrt

pytestmark = pytest.mark.nojit


def kicked(model, x, t, z):
    """g(x) z in one dimension."""
    return model.kick([x], t, [z])[0]


def runge_kutta(model, x, t, h):
    """The flow of dx/dt = F over a time h, of fourth order."""
    (k1,) = model.drift([x], t)
    (k2,) = model.drift([x + 0.5 * h * k1], t)
    (k3,) = model.drift([x + 0.5 * h * k2], t)
    (k4,) = model.drift([x + h * k3], t)
    return x + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6


def strang(model, x, t, h, noise):
    """Half a flow, the increment MT2 of dX = g(X) dW, half a flow."""
    y, (z,) = runge_kutta(model, x[0], t, 0.5 * h), noise
    area, aside = kicked(model, y, t, 0.5 * h * (z * z - 1)), kicked(model, y, t, sqrt(0.5 * h))
    apart = kicked(model, y + area, t, 1.0) - kicked(model, y - area, t, 1.0)
    both = kicked(model, y + aside, t, z) + kicked(model, y - aside, t, z)
    return [runge_kutta(model, y + 0.5 * apart + 0.5 * sqrt(h) * both, t, 0.5 * h)]


def pvd2_w2(model, x, t, h, noise, carried):
    """PVD-2 with the noise of W2Ito1: k_+- = g(p +- sqrt(h) g(p) c/2), p = x + h F(last y)/4."""
    (z, c), root = noise, sqrt(h)
    (force,) = model.drift([x[0] + 0.5 * root * kicked(model, x[0], t, z)], t)
    p = x[0] + 0.25 * h * carried[0]
    g, aside = kicked(model, p, t, 1.0), 0.5 * root * kicked(model, p, t, c)
    up, down = kicked(model, p + aside, t, 1.0), kicked(model, p - aside, t, 1.0)
    return [x[0] + h * force + root * ((up + down - g) * z + (g - down) * c * (z * z - 1)), force]


def row_of(name):
    """A scheme that the reference has and the package has not."""
    if name == "STRANG_MT2":
        return replace(registry()["euler-maruyama"], id="strang", step=strang)
    if name == "PVD2_W2":
        return replace(registry()["pvd2"], id="pvd2-w2", step=pvd2_w2, signs=lambda dim: 1)
    return changed(HLM, "0.5 * spurious[a]", "0.0 * spurious[a]")


OWN = ("STRANG_MT2", "PVD2_W2", "NAIVE_LM(wrong)")


@pytest.mark.parametrize("name", OWN)
def test_stationary_means_at_finite_steps_are_the_reference(name):
    """Averaged noise with Itô's drift is the last: no step cures its bias."""
    expected = REFERENCE["methods"][name]
    transfer = Transfer(row_of(name), VARYING, n=None if name == "STRANG_MT2" else 37)
    got = [transfer.stationary_means(h, ONE) for h in expected["h"]]
    np.testing.assert_allclose(got, expected["stationary_mean_of_observables"], rtol=0, atol=1e-9)


def test_no_row_is_left_out():
    elsewhere = {*test_schemes.ROWS, *test_scheme_orders.ROWS, "HEUN_ITO_DRIFT(wrong)"}
    assert set(REFERENCE["methods"]) == elsewhere | set(OWN)
    ran = {scheme for scheme, _ in test_schemes.ROWS.values()} | {row[0] for row in test_scheme_orders.ROWS.values()}
    # W2Ito1 has no row but its formulas and slopes, MALA's law is Gibbs, the sphere step runs on another system
    assert set(registry()) == ran | {"w2ito1", "mala", "sphere"}
