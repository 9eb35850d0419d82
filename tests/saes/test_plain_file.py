"""Plain data is the same after it was written; what a number is does not depend on who reads."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saes.plain_file import plain, read_plain, write_plain

TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=6) | st.sampled_from(
    ["1e3", "1e-3", "-.5E+7", "1.5", "12", "off", "null", "~", "2020-01-01", "1_000", "0x1f", "a: b", "\U0001f600"]
)
VALUES = TEXTS | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans() | st.none()


@given(data=st.dictionaries(TEXTS, VALUES | st.lists(VALUES, max_size=3), max_size=4))
@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_data_to_file_and_back(data, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / f"data.{ending}"
    write_plain(path, data)
    again = read_plain(path)
    assert again == data
    assert [type(value) for value in again.values()] == [type(value) for value in data.values()]


@pytest.mark.parametrize(("written", "meant"), [("1e-3", 1e-3), ("2E6", 2e6), (".5e+1", 5.0), ("'1e3'", "1e3")])
def test_a_number_without_a_dot_is_one(written, meant):
    assert plain(f"a: {written}", "here") == {"a": meant}
    if isinstance(meant, float):
        assert json.loads(written.replace(".5", "0.5")) == meant


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        ("a.yaml", b"a: [", "a.yaml is not YAML: while parsing"),
        ("a.yaml", b"a: 2024-13-45", "a.yaml is not YAML: month must be in"),
        ("a.yaml", b"\xff\xfe\x00", "a.yaml is no text"),
        ("a.json", b"a: 3", "a.json is not JSON"),
        ("a.yaml", b"[" * 5000, "a.yaml is not YAML"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, held, said):
    (tmp_path / name).write_bytes(held)
    with pytest.raises(ValueError, match=said) as caught:
        read_plain(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no spec"):
        read_plain(tmp_path / "none.yaml")
