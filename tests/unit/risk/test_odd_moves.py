"""Moves that look like an error of the source: named, and nothing else; by what was known on each session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.risk.compute.inputs import Panel
from services.risk.compute.report import build_reports
from shared.market.registry import LOOKBACK
from tests.unit.risk import cases
from tests.unit.risk.cases import Lot, Unit

SESSIONS = 6
HELD = (Lot("S0", 500.0), Lot("S1", 500.0))


def moved(returns: dict[int, float]) -> Panel:
    """S0 with these returns at columns counted from the first session on."""
    of = cases.panel(["S0", "S1"], SESSIONS)
    table = of.returns.copy()
    for at, value in returns.items():
        table[of.symbols.index("S0"), LOOKBACK - 1 + at] = value
    return replace(of, returns=table)


def remarks(of: Panel, sessions: int = SESSIONS) -> list[list[str]]:
    book = cases.book(of, [Unit(1000.0, HELD, session=s) for s in range(sessions)])
    reports = build_reports(of, book, cases.SCENARIOS)
    assert {report.quality for report in reports} == {"complete"}, "a remark takes nothing from the quality"
    return [[r["reason"] for r in report.reasons if r["symbol"] == "S0"] for report in reports]


def test_a_price_a_hundred_times_too_high_for_a_session_is_remarked_from_the_next_on() -> None:
    assert remarks(moved({2: 98.9, 3: 1.01 / 99.9 - 1.0})) == [[], [], ["split_not_listed"], *[["price_spike"]] * 3]


@pytest.mark.parametrize("move", [-0.742, 3.1, -0.49, -0.899])
def test_a_move_of_a_splits_size_without_a_split_is_remarked_as_long_as_it_is_in_the_window(move: float) -> None:
    assert remarks(moved({1: move})) == [[], *[["split_not_listed"]] * 5]


@pytest.mark.parametrize("move", [0.35, -0.35, 1.45, -0.595])
def test_a_bad_day_alone_is_none(move: float) -> None:
    assert remarks(moved({1: move})) == [[]] * SESSIONS


def test_it_leaves_with_its_window() -> None:
    of = moved({1 - LOOKBACK + 3: -0.75})
    assert remarks(of) == [["split_not_listed"]] * 3 + [[]] * 3, "the first of a window is left out"


def test_where_a_batch_is_cut_changes_nothing() -> None:
    of = moved({-LOOKBACK + 4: 1.2, -LOOKBACK + 5: -0.54, 2: -0.75, 3: 2.95})
    whole = remarks(of)
    assert [remarks(cases.one_session(of, s), 1)[0] for s in range(SESSIONS)] == whole
    assert whole[-1] == ["price_spike"]


def test_a_missing_return_is_no_move() -> None:
    of = moved({1: np.nan})
    reports = build_reports(of, cases.book(of, [Unit(1000.0, HELD, session=3)]), cases.SCENARIOS)
    found = {reason["reason"] for reason in reports[0].reasons}
    assert found.isdisjoint({"price_spike", "split_not_listed"})
