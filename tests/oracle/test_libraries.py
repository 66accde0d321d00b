"""Figures against what quantstats, skfolio, pyfolio and riskfolio said of the same returns (`python -m tests.oracle.libraries`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.libraries import ours
from tests.oracle.libraries.__main__ import PAGE, RECORDED
from tests.oracle.libraries.rows import ROWS, Row, apart, expected


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(RECORDED).read_text(encoding="utf-8"))
    assert document["inputs"] == ours.digest(), "other returns than were recorded: run python -m tests.oracle.libraries"
    return document


@pytest.fixture(scope="module")
def own() -> dict[str, ours.Figure]:
    return ours.figures()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_figure_is_the_librarys_or_differs_by_its_definition_alone(
    row: Row, recorded: dict[str, Any], own: dict[str, ours.Figure]
) -> None:
    assert apart(expected(row, own), recorded["figures"][row.key]) <= row.tolerance
    if row.theirs is not None:
        assert row.why
        assert apart(own[row.figure], recorded["figures"][row.key]) > row.tolerance, "no other definition after all"


def test_the_page_has_what_was_recorded_and_compares_every_figure(
    recorded: dict[str, Any], own: dict[str, ours.Figure]
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {row.key for row in ROWS} == set(recorded["figures"])
    assert set(own) == {row.figure for row in ROWS}
    for row in ROWS:
        assert f"| `{row.figure}` | {row.library}: `{row.call}` |" in page
    for name, number in recorded["versions"].items():
        assert f"{name} {number}" in " ".join(page.split())
