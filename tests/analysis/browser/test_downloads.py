"""Rows as CSV: text is kept as it is, unless a spreadsheet would run it."""

import csv
import io
from dataclasses import dataclass

import pytest

from analysis.browser.downloads import written
from analysis.browser.rendering import signed


@dataclass(frozen=True)
class Row:
    text: str | None
    number: float | None
    tokens: list[str]


def test_a_text_that_a_spreadsheet_would_run_has_an_apostrophe():
    rows = [Row("=cmd|' /c calc'!A1", -0.5, ["=1"]), Row("calm = still", float("nan"), [])]
    found = list(csv.DictReader(io.StringIO(b"".join(written([rows], Row, "csv")).decode())))
    assert [row["text"] for row in found] == ["'=cmd|' /c calc'!A1", "calm = still"]
    assert [row["number"] for row in found] == ["-0.5", ""]
    assert found[0]["tokens"] == '["=1"]'


@pytest.mark.parametrize(
    ("value", "shown"), [(0.844, "+0.84"), (-0.844, "\u22120.84"), (-0.001, "0.00"), (None, "–"), (float("nan"), "–")]
)
def test_a_signed_number_has_a_minus_sign_and_no_minus_zero(value, shown):
    assert signed(value) == shown
