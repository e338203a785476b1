"""[system.mobility] with an antisymmetric part: read, built, written and read again."""

import numpy as np
import pytest

import relaxsim as rs
from relaxsim.cli import build, config, toml_writer

TEXT = """
[system]
energy = "x**2/2 + a*y**2/2"
temperature = {temperature}
{mobility}
params = {{ a = 1.0, b = 0.7 }}
[times]
stop = 1.0
count = 2
[initial]
kind = "normal"
mean = [0.0, 0.0]
scale = 1.0
[particles]
n = 10
dt = 0.1
"""


def resolved(mobility, temperature=0.5):
    return config.resolve(config.parse(TEXT.format(mobility=f"mobility = {mobility}", temperature=temperature)))


@pytest.mark.parametrize(
    ("mobility", "expected"),
    [
        ('{antisymmetric = [["0", "b*x"], ["-b*x", "0"]]}', [[1.0, 0.07], [-0.07, 1.0]]),
        ('{symmetric = ["1 + b*x", 2], antisymmetric = [[0, 1.5], [-1.5, 0]]}', [[1.07, 1.5], [-1.5, 2.0]]),
        (
            '{symmetric = [["b", "0.1"], ["0.1", "1"]], antisymmetric = [["0", "b"], ["-b", "0"]]}',
            [[0.7, 0.8], [-0.6, 1]],
        ),
    ],
)
def test_the_table_is_built_and_survives_being_written(mobility, expected):
    domain = "\n[domain]\nbounds = [[0.0, 1.0], [0.0, 1.0]]\n"
    text = TEXT.format(mobility=f"mobility = {mobility}", temperature=0.5) + domain
    if '"b' not in mobility and '"1 + b' not in mobility:
        text = text.replace(", b = 0.7", "")
    first = config.resolve(config.parse(text))
    again = config.resolve(config.parse(toml_writer.dumps(first)))
    assert again == first
    for each in (first, again):
        system = build.make_system(each)
        assert not system.mobility.reversible
        np.testing.assert_allclose(system.mobility([0.1, 0.2]), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("mobility", "words"),
    [
        ('{antisymetric = [["0", "b"], ["-b", "0"]]}', "did you mean 'antisymmetric'"),
        ('{symmetric = "1 + b*x**2"}', "antisymmetric is missing"),
        ('{symmetric = true, antisymmetric = [["0", "b"], ["-b", "0"]]}', "symmetric is true"),
        ('{antisymmetric = [["0", "b"], ["b", "0"]]}', "system.mobility: A must be antisymmetric"),
    ],
)
def test_mistakes_in_the_table_are_named(mobility, words):
    with pytest.raises(rs.ConfigError, match=words):
        build.make_system(resolved(mobility))
