"""One list of states: the tables that other words are told by are whole, and the glossary has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.ledger.states import DONE, HOLE_REASONS, STATES, UnitState, state_of_run

ROOT = Path(__file__).parents[3]


def test_every_state_of_a_missing_unit_has_a_label_of_the_metric() -> None:
    assert set(HOLE_REASONS.values()) == set(UnitState) - DONE


@pytest.mark.parametrize(
    ("units", "done", "blocked", "state"),
    [(0, 0, 0, "complete"), (3, 3, 0, "complete"), (3, 1, 2, "blocked"), (3, 0, 3, "blocked"), (3, 1, 1, "running")],
)
def test_the_state_of_a_run(units: int, done: int, blocked: int, state: str) -> None:
    assert state_of_run(units, done, blocked) == state


def test_the_glossary_has_the_table() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE))
    assert [state for state in rows if state in STATES] == list(STATES)
    for state in UnitState:
        labels = set(re.findall(r"`(\w+)`", rows[state]))
        assert labels == {label for label, of in HOLE_REASONS.items() if of is state}
