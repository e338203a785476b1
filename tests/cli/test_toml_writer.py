"""Writing TOML: whatever is written reads back the same."""

from __future__ import annotations

import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaxsim.cli.toml_writer import dumps

pytestmark = pytest.mark.nojit

# Surrogates are no UTF-8 text, so they cannot come out of a file.
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_text, _values, max_size=6), _text)
def test_what_is_written_reads_back(tables, comment):
    comment = "".join(c for c in comment if c.isprintable())
    assert tomllib.loads(dumps(tables, comment)) == tables


def test_a_number_keeps_its_kind_and_its_bits():
    read = tomllib.loads(dumps({"whole": 1, "real": 1.0, "tiny": 5e-324, "third": 1 / 3, "never": math.nan}))
    assert isinstance(read["whole"], int)
    assert isinstance(read["real"], float)
    assert (read["tiny"], read["third"]) == (5e-324, 1 / 3)
    assert math.isnan(read["never"])


def test_infinities():
    assert tomllib.loads(dumps({"bounds": [[-math.inf, math.inf]]})) == {"bounds": [[-math.inf, math.inf]]}


def test_tables_are_written_as_tables():
    assert dumps({"a": {"b": 1, "c": {"d": 2}}, "e": 3}, "first\nsecond") == (
        "# first\n# second\ne = 3\n\n[a]\nb = 1\n\n[a.c]\nd = 2\n"
    )


def test_what_toml_cannot_say_is_refused():
    with pytest.raises(TypeError, match="no word for None"):
        dumps({"a": None})
