"""From answers to rows: conversion, returns, levels and absences put together."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from services.ingest.compute.requests import gap_requests, retry_requests
from services.ingest.compute.rows import build_rows
from services.ingest.model.market import (
    Action,
    Bars,
    ChainResult,
    History,
    NoDataReason,
    Profile,
    ProviderSeries,
    Request,
)
from services.ingest.model.stored import PriceGap, SymbolCoverage
from services.ingest.model.write_set import FetchRequest
from services.ingest.store.prices import STAGED
from shared.market.calendar import calendar

DAYS = calendar()
NOW = datetime(2020, 9, 2, tzinfo=UTC)
WEEK = DAYS.between(date(2020, 8, 27), date(2020, 9, 2))  # a Thursday to a Wednesday; AAPL split 4:1 on the Monday
CLOSES = [125.01, 124.8075, 129.04, 134.18, 131.4]


def ask(known: tuple[date, date] | None = None, symbol_id: int = 1, symbol: str = "AAPL") -> FetchRequest:
    checked = ((DAYS.ordinal(WEEK[0]), DAYS.ordinal(WEEK[-1])),)
    return FetchRequest(symbol_id, symbol, WEEK[0], WEEK[-1], checked, known)


def bars(
    days: list[date], *, close: list[float] | None = None, adj: list[float] | None = None, split_adjusted: bool = True
) -> Bars:
    nothing = np.full(len(days), np.nan)
    return Bars(
        sessions=np.array(days, dtype="datetime64[D]"),
        open=nothing,
        high=nothing,
        low=nothing,
        close=np.array(close) if close else nothing,
        adj_close=np.array(adj) if adj else nothing,
        volume=np.full(len(days), 1000.0),
        split_adjusted=split_adjusted,
    )


def answer(*parts: tuple[str, History], absent: NoDataReason | None = None) -> ChainResult:
    return ChainResult(Request("AAPL", WEEK[0], WEEK[-1]), [ProviderSeries(*part) for part in parts], absent=absent)


def rows_of(
    asks: list[FetchRequest], answers: list[ChainResult], levels: dict[int, tuple[date, float]] | None = None
) -> list[dict[str, Any]]:
    rows = build_rows(asks, answers, levels or {}, DAYS, chain="file", now=NOW, newest=WEEK[-1])
    return [dict(zip(STAGED, row, strict=True)) for row in rows.prices]


SPLIT = Action(date(2020, 8, 31), "split", 4.0)


def test_split_adjusted_closes_become_as_traded_and_returns_do_not_see_the_split() -> None:
    found = rows_of([ask()], [answer(("file", History("AAPL", bars(WEEK, close=CLOSES), (SPLIT,), lists_splits=True)))])
    assert [row["close"] for row in found] == [500.04, 499.23, 129.04, 134.18, 131.4]
    assert [row["volume"] for row in found] == [250.0, 250.0, 1000.0, 1000.0, 1000.0]
    expected = [None, *(after / before - 1 for before, after in pairwise(CLOSES))]
    assert [row["total_return"] for row in found] == expected
    assert {row["basis"] for row in found} == {"as_traded"}
    assert [row["return_basis"] for row in found] == [None] + ["actions"] * 4
    assert {row["open"] for row in found} == {None}


def test_without_a_list_of_splits_closes_stay_as_delivered_and_say_so() -> None:
    found = rows_of([ask()], [answer(("file", History("AAPL", bars(WEEK, close=CLOSES))))])
    assert [row["close"] for row in found] == CLOSES
    assert {row["basis"] for row in found} == {"file"}


def test_where_there_is_only_an_adjusted_close_it_is_the_price() -> None:
    found = rows_of([ask()], [answer(("file", History("AAPL", bars(WEEK, adj=CLOSES))))])
    assert [row["adj_close"] for row in found] == CLOSES
    assert {row["close"] for row in found} == {None}
    assert found[1]["return_basis"] == "adjusted"


def test_as_traded_closes_need_the_actions_for_a_return() -> None:
    traded = [500.04, 499.23, 129.04, 134.18, 131.4]
    dividend = Action(WEEK[3], "dividend", 0.5)
    delivered = bars(WEEK, close=traded, split_adjusted=False)
    found = rows_of([ask()], [answer(("v", History("AAPL", delivered, (SPLIT, dividend), lists_splits=True)))])
    assert [row["close"] for row in found] == traded
    assert found[2]["total_return"] == pytest.approx(4 * 129.04 / 499.23 - 1, abs=1e-15)
    assert found[3]["total_return"] == pytest.approx((134.18 + 0.5) / 129.04 - 1, abs=1e-15)
    assert {row["return_basis"] for row in found[1:]} == {"actions"}


def test_levels_are_brought_to_the_stored_one_and_returns_are_not_touched() -> None:
    asks = [ask((WEEK[0], WEEK[1]))]
    answers = [answer(("file", History("AAPL", bars(WEEK, adj=CLOSES))))]
    found = rows_of(asks, answers, {0: (WEEK[1], 2 * CLOSES[1])})
    assert [row["adj_close"] for row in found] == pytest.approx([2 * close for close in CLOSES], rel=1e-15)
    assert found[4]["total_return"] == CLOSES[4] / CLOSES[3] - 1
    assert [row["known"] for row in found] == [True, True, False, False, False]


def test_two_sources_join_at_the_session_both_have() -> None:
    one = History("AAPL", bars(WEEK[:3], adj=CLOSES[:3]), listed_from=WEEK[0])
    two = History("AAPL", bars(WEEK[2:], adj=[close / 10 for close in CLOSES[2:]]), listed_from=WEEK[0])
    found = rows_of([ask()], [answer(("one", one), ("two", two))])
    assert [row["session"] for row in found] == WEEK
    assert [row["provider"] for row in found] == ["one", "one", "one", "two", "two"]
    assert [row["adj_close"] for row in found] == pytest.approx(CLOSES, rel=1e-14)
    assert found[3]["total_return"] == pytest.approx(CLOSES[3] / CLOSES[2] - 1, rel=1e-12)


def test_a_later_source_gives_the_return_over_the_seam_before_the_first_bar() -> None:
    one = History("AAPL", bars(WEEK[2:], adj=CLOSES[2:]))
    two = History("AAPL", bars(WEEK[:3], adj=CLOSES[:3]))
    found = rows_of([ask()], [answer(("one", one), ("two", two))])
    assert [row["provider"] for row in found] == ["two", "two", "one", "one", "one"]
    assert found[2]["total_return"] == CLOSES[2] / CLOSES[1] - 1


def test_a_batch_of_other_symbols_moves_no_digit() -> None:
    def history(name: str, scale: float) -> History:
        return History(name, bars(WEEK, close=[scale * close for close in CLOSES]), (SPLIT,), lists_splits=True)

    alone = rows_of([ask(symbol_id=2)], [answer(("file", history("B", 1 / 3)))])
    asks = [ask(symbol_id=i) for i in (3, 2, 1)]
    together = rows_of(
        asks, [answer(("file", history(name, scale))) for name, scale in (("C", 7.7), ("B", 1 / 3), ("A", 0.9))]
    )
    assert [row for row in together if row["symbol_id"] == 2] == alone
    assert [row["symbol_id"] for row in together] == [1] * 5 + [2] * 5 + [3] * 5


def test_absences_actions_and_profiles() -> None:
    history = History(
        "AAPL",
        bars(WEEK[1:3], adj=CLOSES[1:3]),
        (Action(date(2020, 8, 29), "dividend", 0.25), Action(date(2020, 8, 31), "dividend", 0.5), SPLIT),
        lists_splits=True,
        profile=Profile("stock", "Apple Inc."),
        listed_from=WEEK[1],
        delisted_on=date(2020, 9, 2),
    )
    rows = build_rows([ask()], [answer(("file", history))], {}, DAYS, chain="file", now=NOW, newest=WEEK[-1])
    assert [(DAYS.session(gap.first), DAYS.session(gap.last), gap.reason) for gap in rows.gaps[1]] == [
        (WEEK[0], WEEK[0], "not_yet_listed"),
        (WEEK[3], WEEK[3], "no_trade"),
        (WEEK[4], WEEK[4], "delisted"),
    ]
    assert all(gap.terminal and gap.retry_at is None for gap in rows.gaps[1])
    assert [(row.ex_session, row.type, row.value) for row in rows.actions] == [
        (WEEK[2], "dividend", 0.75),
        (WEEK[2], "split", 4.0),
    ]
    assert rows.symbols == [(1, WEEK[0], WEEK[-1])]
    assert rows.described == [(1, "file", None, "stock", "Apple Inc.", None, None)]


def test_a_limit_without_an_end_is_tried_again_soon() -> None:
    rows = build_rows(
        [ask()], [answer(absent=NoDataReason.RATE_LIMITED)], {}, DAYS, chain="file", now=NOW, newest=WEEK[-1]
    )
    [gap] = rows.gaps[1]
    assert (gap.reason, gap.terminal) == ("rate_limited", False)
    assert gap.retry_at is not None
    assert gap.retry_at > NOW
    assert rows.prices == []


def known(first: date | None, last: date | None) -> SymbolCoverage:
    return SymbolCoverage(1, "AAPL", first, last)


def ordinals(first: date, last: date) -> tuple[int, int]:
    return DAYS.ordinal(first), DAYS.ordinal(last)


def test_nothing_is_asked_for_what_is_known() -> None:
    assert gap_requests(known(WEEK[0], WEEK[4]), WEEK[1], WEEK[3], [], DAYS) == []


def test_both_ends_are_asked_for_with_the_session_that_joins() -> None:
    before, after = gap_requests(known(WEEK[1], WEEK[3]), WEEK[0], WEEK[4], [], DAYS)
    assert (before.first, before.last, before.checked) == (WEEK[0], WEEK[1], (ordinals(WEEK[0], WEEK[0]),))
    assert (after.first, after.last, after.checked) == (WEEK[3], WEEK[4], (ordinals(WEEK[4], WEEK[4]),))


def test_the_session_that_joins_is_one_with_a_price() -> None:
    gap = PriceGap(*ordinals(WEEK[2], WEEK[3]), "no_trade", True, "file", NOW, None)
    [after] = gap_requests(known(WEEK[0], WEEK[3]), WEEK[0], WEEK[4], [gap], DAYS)
    assert (after.first, after.last) == (WEEK[1], WEEK[4])
    assert after.checked == (ordinals(WEEK[2], WEEK[4]),)


def test_a_symbol_without_any_price_is_asked_for_the_missing_session_only() -> None:
    gap = PriceGap(*ordinals(WEEK[0], WEEK[3]), "not_found", True, "file", NOW, None)
    [after] = gap_requests(known(WEEK[0], WEEK[3]), WEEK[0], WEEK[4], [gap], DAYS)
    assert (after.first, after.last, after.checked) == (WEEK[3], WEEK[4], (ordinals(WEEK[4], WEEK[4]),))


def test_asking_again_decides_the_absences_only() -> None:
    [ask_] = retry_requests(known(WEEK[0], WEEK[4]), [(WEEK[4], WEEK[4]), (WEEK[1], WEEK[1])], DAYS)
    assert (ask_.first, ask_.last) == (WEEK[0], WEEK[4])
    assert ask_.checked == (ordinals(WEEK[1], WEEK[1]), ordinals(WEEK[4], WEEK[4]))
