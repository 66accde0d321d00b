"""How complete a portfolio is, in a word; what colours it, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from services.coordinator.compute.states import Completeness, Need, Shortfall, needs_you
from services.coordinator.results.reasons import Wait, document, documents, sentence
from shared.market import reasons
from shared.market.reasons import ReasonCode

NOTHING = Completeness(missing=False, blocked=False, provisional=False, coverage=1.0, needs=())
NEED = (Need("X", "not_found"),)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (NOTHING, "complete"),
        (NOTHING._replace(coverage=None), "complete"),
        (NOTHING._replace(needs=NEED, coverage=0.4), "partial"),
        (NOTHING._replace(provisional=True), "healing"),
        (NOTHING._replace(missing=True), "healing"),
        (NOTHING._replace(missing=True, needs=NEED), "healing"),
        (NOTHING._replace(missing=True, blocked=True, needs=NEED, provisional=True), "blocked"),
    ],
)
def test_blocked_comes_before_healing_before_partial_before_complete(found: Completeness, word: str) -> None:
    assert found.state == word


@pytest.mark.parametrize("phase", ["ingest", "factors", "snapshots", "risk"])
@pytest.mark.parametrize(
    "reason",
    [
        "delisted",  # a name of last year
        "short_history",  # a young holding's missing beta
        "not_yet_listed",
        "no_base",
        "no_proxy",  # a factor nobody asked for
        "no_benchmark",
        "no_duration",
        "stale_duration",
        "price_index",
        "no_provider",
        "no_trade",
        "stale",
        "private",
        "adjusted_only",
        "no_series",
        "low_coverage",
        "rate_limited",
        "provider_down",
        "late",
    ],
)
def test_what_fills_up_is_waited_for_or_is_one_figure_never_colours(reason: str, phase: str) -> None:
    assert needs_you([Shortfall(phase, "X", reason)]) == ()


@pytest.mark.parametrize(
    "reason", ["not_found", "ambiguous", "foreign_currency", "plan_limit", "unpriceable", "no_dividends", "quarantined"]
)
def test_a_holding_without_a_good_price_needs_its_owner(reason: str) -> None:
    assert needs_you([Shortfall("snapshots", "X", reason)]) == (Need("X", reason),)


def test_each_symbol_is_told_by_its_cause_and_once() -> None:
    found = [
        Shortfall("ingest", "X", "not_found"),
        Shortfall("snapshots", "X", "unpriceable"),
        Shortfall("snapshots", "X", "not_found"),
        Shortfall("risk", "X", "unpriceable"),
        Shortfall("snapshots", "GAP", "unpriceable"),
        Shortfall("snapshots", "GAP", "no_trade"),
    ]
    assert needs_you(found) == (Need("GAP", "unpriceable"), Need("X", "not_found"))


def test_a_price_that_is_waited_for_needs_nobody() -> None:
    assert needs_you([Shortfall("snapshots", "X", "unpriceable"), Shortfall("snapshots", "X", "rate_limited")]) == ()


def test_what_has_no_symbol_is_about_the_portfolio() -> None:
    assert needs_you([Shortfall("risk", None, "nav_not_positive")]) == (Need(None, "nav_not_positive"),)


def test_a_reason_weighs_no_more_than_what_can_fall_short_where_it_stands() -> None:
    assert reasons.severity("not_found") == "nav"
    assert document("not_found", phase="risk", symbol="X")["severity"] == "risk"
    assert document("not_found", phase="snapshots", symbol="X")["severity"] == "nav"
    assert document("no_proxy", phase="snapshots")["severity"] == "figure"


WAIT = Wait(
    "AAPL", "rate_limited", date(2020, 12, 1), date(2020, 12, 30), "massive", datetime(2020, 12, 30, 19, 50, tzinfo=UTC)
)


def test_a_reason_names_the_provider_the_end_of_the_wait_and_the_remedy() -> None:
    (found,) = documents([{"figure": None, "symbol": "AAPL", "reason": "rate_limited"}], [WAIT], phase="ingest")
    assert found == {
        "figure": None,
        "symbol": "AAPL",
        "reason": "rate_limited",
        "severity": "nav",
        "acts": "wait",
        "until": "2020-12-30T19:50:00Z",
        "provider": "massive",
        "remedy": "Wait: it is asked again by itself when the quota renews",
    }


def test_a_remedy_names_the_symbol_and_the_session_it_is_about() -> None:
    held = Wait("AAPL", "quarantined", date(2020, 12, 30), date(2020, 12, 30), "yahoo", None)
    remedy = document("quarantined", phase="ingest", symbol="AAPL", wait=held)["remedy"]
    assert "leadline symbols release AAPL 2020-12-30" in remedy


def test_a_hole_is_told_in_a_line() -> None:
    now = datetime(2020, 12, 30, 18, 0, tzinfo=UTC)
    two = [WAIT, replace(WAIT, symbol="MSFT"), replace(WAIT, symbol="ZZZ", reason="ambiguous", provider="yahoo")]
    assert sentence(two, now) == "rate_limited (massive) until 19:50 UTC: AAPL, MSFT; ambiguous (yahoo): ZZZ"
    assert (
        sentence([WAIT], datetime(2020, 12, 29, tzinfo=UTC))
        == "rate_limited (massive) until 2020-12-30 19:50 UTC: AAPL"
    )
    assert sentence([replace(WAIT, symbol=f"S{n}") for n in range(7)], now) == (
        "rate_limited (massive) until 19:50 UTC: S0, S1, S2, S3, S4 and 2 more"
    )
    assert sentence([], now) is None


def test_blocked_work_says_what_to_do() -> None:
    assert "leadline rerun" in document(ReasonCode.BLOCKED, phase="snapshots")["remedy"]
