"""Payments as vendors really list them: a fund's gain twice in its adjusted closes, in another currency, listed twice, or not at all.

Each answer goes through the adapter and the rows that ingest writes of it; what comes out is compared with figures made from the
closes and the payments alone.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import pytest

from services.factors.compute.metrics import REMARKS, Prices, metrics
from services.ingest.compute.rows import build_rows
from services.ingest.model.market import ChainResult, ProviderSeries, Request
from services.ingest.model.write_set import FetchRequest
from services.ingest.store.prices import STAGED
from shared.market.calendar import calendar
from tests.contract.providers.conftest import Case, needs_yahooquery, running
from tests.contract.providers.test_answers import history
from tests.support.markets import _opening
from tests.support.vendors import Call, Reply, document, reply

DAYS = calendar()
LAST = date(2020, 9, 2)
SPAN = DAYS.between(DAYS.back(LAST, 280), LAST)
PAID = SPAN[-40]
BEFORE = SPAN[-41]
YAHOOS = [pytest.param("yahoo"), pytest.param("yahooquery", marks=needs_yahooquery)]


def path(start: float, drops: dict[date, float]) -> dict[date, float]:
    """Closes in cents that wander by a tenth of a per cent or two, less what leaves the price on its day."""
    steps = np.random.default_rng(len(SPAN)).normal(0.0003, 0.006, len(SPAN))
    closes, price = {}, start
    for day, step in zip(SPAN, steps, strict=True):
        price = price * (1 + float(step)) - drops.get(day, 0.0)
        closes[day] = round(price, 2)
    return closes


@dataclass
class Chart:
    """What Yahoo answers about one symbol: closes, and events by kind, day and value. `adjusts` is what its adjusted closes are for."""

    closes: dict[date, float]
    events: dict[str, dict[date, dict[str, Any]]] = field(default_factory=dict)
    adjusts: dict[date, float] = field(default_factory=dict)

    def answer(self, call: Call) -> Reply:
        if "/v8/finance/chart/" not in call.path:
            return reply({})
        body = document("yahoo", "chart")
        result = body["chart"]["result"][0]
        result["meta"] |= {"symbol": call.path.rsplit("/", 1)[1], "firstTradeDate": _opening(min(self.closes))}
        result["timestamp"] = [_opening(day) for day in self.closes]
        values = list(self.closes.values())
        result["indicators"] = {
            "quote": [{**dict.fromkeys(("open", "high", "low", "close"), values), "volume": [1000] * len(values)}],
            "adjclose": [{"adjclose": self.adjusted()}],
        }
        result["events"] = {
            kind: {str(_opening(day)): {"date": _opening(day), **event} for day, event in found.items()}
            for kind, found in self.events.items()
        }
        return reply(body)

    def adjusted(self) -> list[float]:
        found, factor, after = [], 1.0, date.max
        for day, close in reversed(self.closes.items()):
            factor *= 1.0 - self.adjusts.get(after, 0.0) / close
            found.append(close * factor)
            after = day
        return found[::-1]


def rows_of(case: Case, symbol: str = "FUND") -> dict[date, dict[str, Any]]:
    answer = history(case, symbol, SPAN[0], LAST)
    checked = ((DAYS.ordinal(SPAN[0]), DAYS.ordinal(LAST)),)
    rows = build_rows(
        [FetchRequest(1, symbol, SPAN[0], LAST, checked, None)],
        [ChainResult(Request(symbol, SPAN[0], LAST), [ProviderSeries(case.name, answer)])],
        {}, DAYS, chain=case.name, now=datetime(2020, 9, 3, tzinfo=UTC), newest=LAST,
    )  # fmt: skip
    found = [dict(zip(STAGED, row, strict=True)) for row in rows.prices]
    return {row["session"]: row for row in found}


def paid_by(rows: Any) -> list[float]:
    return [action.value for action in rows if action.type == "dividend"]


@pytest.mark.parametrize("name", YAHOOS)
def test_a_gain_that_yahoo_adjusts_for_twice_is_earned_once(name: str) -> None:
    """Yahoo's dividend of 9.40 holds the gain of 8.90, which it lists, and takes off the adjusted closes, once more."""
    closes = path(71.0, {PAID: 9.40})
    events = {"dividends": {PAID: {"amount": 9.40}}, "capitalGains": {PAID: {"amount": 8.90}}}
    chart = Chart(closes, events, {PAID: 9.40 + 8.90})
    with running(name, now=datetime(2020, 9, 3, 1, tzinfo=UTC)) as case:
        case.server.answer = chart.answer
        assert paid_by(history(case, "FUND", SPAN[0], LAST).actions) == [9.40]
        rows = rows_of(case)

    truth = {day: (closes[day] + (9.40 if day == PAID else 0.0)) / closes[before] - 1 for before, day in pairwise(SPAN)}
    assert rows[PAID]["total_return"] == pytest.approx(truth[PAID], abs=1e-12)
    assert (rows[PAID]["return_basis"], rows[PAID]["return_remark"]) == ("actions", "adj_close_disagrees")
    for day in SPAN[1:]:
        assert rows[day]["total_return"] == pytest.approx(truth[day], abs=1e-9), day
    assert {row["return_basis"] for day, row in rows.items() if day not in {SPAN[0], PAID}} == {"adjusted"}
    assert [day for day, row in rows.items() if row["return_remark"]] == [PAID]

    facts = facts_of(rows)
    for index, window in enumerate((21, 63, 252)):
        sample = [truth[day] for day in SPAN[-window:]]
        assert facts.volatility[0, 0, index] == pytest.approx(statistics.stdev(sample) * 252**0.5, rel=1e-8)
    year = [truth[day] for day in SPAN if date(2019, 9, 2) < day]
    assert facts.total_return[0, 0, 4] == pytest.approx(prod(1 + value for value in year) - 1, rel=1e-8)
    assert facts.reasons(0, 0)["total_return.12m"] == "adj_close_disagrees"
    assert "total_return.1m" not in facts.reasons(0, 0)


def facts_of(rows: dict[date, dict[str, Any]]) -> Any:
    def column(name: str) -> Any:
        return np.array([[np.nan if rows[day][name] is None else rows[day][name]] for day in SPAN], np.float64)

    remark = np.array([[0 if not (said := rows[day]["return_remark"]) else REMARKS.index(said) + 1] for day in SPAN])
    nowhere = np.zeros(remark.shape, np.bool_)
    prices = Prices(
        column("close"), column("adj_close"), column("total_return"), np.ones(remark.shape), nowhere, nowhere, remark
    )
    return metrics(prices, np.array(SPAN, "datetime64[D]"), np.array([len(SPAN) - 1]))


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("kind", ["dividends", "capitalGains"])
@pytest.mark.parametrize("adjusts", [0.0, 0.61])
def test_a_payment_in_another_currency_is_no_dollar_and_the_adjusted_ratio_stands(
    name: str, kind: str, adjusts: float, caplog: pytest.LogCaptureFixture
) -> None:
    """17.5 of Taiwan's dollars are 0.61 of ours. Yahoo may have adjusted for that or for nothing; we know neither."""
    closes = path(48.0, {PAID: 0.61})
    chart = Chart(closes, {kind: {PAID: {"amount": 17.5, "currency": "TWD"}}}, {PAID: adjusts})
    with running(name, now=datetime(2020, 9, 3, 1, tzinfo=UTC)) as case:
        case.server.answer = chart.answer
        found = history(case, "FUND", SPAN[0], LAST)
        rows = rows_of(case)
    assert found.actions == ()
    assert [(gone.ex_date, gone.value, gone.currency) for gone in found.left_out] == [(PAID, 17.5, "TWD")]
    assert "TWD" in caplog.text
    truth = (closes[PAID]) / (closes[BEFORE] - adjusts) - 1
    assert rows[PAID]["total_return"] == pytest.approx(truth, abs=1e-12)
    assert (rows[PAID]["return_basis"], rows[PAID]["return_remark"]) == ("adjusted", "dividend_in_foreign_currency")
    assert facts_of(rows).reasons(0, 0)["total_return.3m"] == "dividend_in_foreign_currency"


@pytest.mark.parametrize("name", YAHOOS)
def test_a_payment_that_is_told_to_be_in_our_currency_is_paid(name: str) -> None:
    closes = path(48.0, {PAID: 0.61})
    chart = Chart(closes, {"dividends": {PAID: {"amount": 0.61, "currency": "USD"}}}, {PAID: 0.61})
    with running(name, now=datetime(2020, 9, 3, 1, tzinfo=UTC)) as case:
        case.server.answer = chart.answer
        assert paid_by(history(case, "FUND", SPAN[0], LAST).actions) == [0.61]
        assert rows_of(case)[PAID]["return_remark"] is None


@pytest.mark.parametrize(
    ("listed", "basis", "remark"), [(True, "actions", None), (False, "adjusted", "dividend_not_listed")]
)
def test_a_special_dividend_is_earned_once_whether_it_is_listed_or_not(
    yahoo: Case, listed: bool, basis: str, remark: str | None
) -> None:
    """12.00 of 60: by its own adjustment 12/60 of the price before."""
    closes = path(60.0, {PAID: 12.0})
    yahoo.server.answer = Chart(closes, {"dividends": {PAID: {"amount": 12.0}}} if listed else {}, {PAID: 12.0}).answer
    row = rows_of(yahoo)[PAID]
    truth = (closes[PAID] + 12.0) / closes[BEFORE] - 1 if listed else closes[PAID] / (closes[BEFORE] - 12.0) - 1
    assert row["total_return"] == pytest.approx(truth, abs=1e-12)
    assert (row["return_basis"], row["return_remark"]) == (basis, remark)


def test_a_spin_off_without_a_listed_action_is_no_loss(yahoo: Case) -> None:
    closes = path(90.0, {PAID: 22.5})
    yahoo.server.answer = Chart(closes, {}, {PAID: 22.5}).answer
    row = rows_of(yahoo)[PAID]
    assert row["total_return"] == pytest.approx(closes[PAID] / (closes[BEFORE] - 22.5) - 1, abs=1e-12)
    assert (row["return_basis"], row["return_remark"]) == ("adjusted", "dividend_not_listed")


def test_an_adjusted_close_that_falls_short_without_an_action_deserves_no_remark(yahoo: Case) -> None:
    """Only a dividend that is not listed lifts it; anything else is the vendor's noise, and its ratio stands."""
    closes = path(90.0, {})
    yahoo.server.answer = Chart(closes, {}, {PAID: -1.0}).answer
    row = rows_of(yahoo)[PAID]
    assert row["total_return"] == pytest.approx(closes[PAID] / (closes[BEFORE] + 1.0) - 1, abs=1e-12)
    assert row["return_remark"] is None


def payment(**values: object) -> dict[str, object]:
    common = {
        "symbol": "AAPL",
        "recordDate": "2020-08-10",
        "declarationDate": "2020-07-30",
        "yield": 0.7,
        "frequency": "Quarterly",
    }
    return {
        **common,
        "date": "2020-08-07",
        "paymentDate": "2020-08-13",
        "dividend": 0.84,
        "adjDividend": 0.21,
        **values,
    }


@pytest.mark.parametrize(
    ("items", "paid"),
    [
        ([payment(), payment()], [0.84]),
        ([payment(dividend=None), payment(dividend=None)], [0.84]),
        ([payment(), payment(adjDividend=None)], [0.84]),
        ([payment(), payment(paymentDate="2020-08-20")], [0.84, 0.84]),
        ([payment(), payment(dividend=2.0, adjDividend=0.5)], [0.84, 2.0]),
    ],
)
def test_fmp_pays_what_it_lists_twice_once(fmp: Case, items: list[dict[str, object]], paid: list[float]) -> None:
    served = fmp.server.answer
    fmp.server.answer = lambda call: reply(items) if "/dividends" in call.path else served(call)
    assert sorted(paid_by(history(fmp, "AAPL").actions)) == pytest.approx(paid)


def cash(id_: str | None, **values: object) -> dict[str, object]:
    common = {"ticker": "AAPL", "ex_dividend_date": "2020-08-07", "cash_amount": 0.84, "currency": "USD", **values}
    return common if id_ is None else {"id": id_, **common}


@pytest.mark.parametrize(
    ("items", "paid"),
    [
        ([cash("E1"), cash("E1")], [0.84]),
        ([cash("E1"), cash("E2")], [0.84, 0.84]),
        ([cash(None), cash(None, cash_amount=2.0)], [0.84, 2.0]),
    ],
)
def test_massive_pays_an_id_once(massive: Case, items: list[dict[str, object]], paid: list[float]) -> None:
    served = massive.server.answer
    page = {"status": "OK", "request_id": "1", "results": items}
    massive.server.answer = lambda call: reply(page) if "/dividends" in call.path else served(call)
    assert sorted(paid_by(history(massive, "AAPL").actions)) == pytest.approx(paid)


def test_massive_tells_what_it_left_out(massive: Case) -> None:
    served = massive.server.answer
    page = {"status": "OK", "request_id": "1", "results": [cash("E1", currency="TWD", cash_amount=21.5)]}
    massive.server.answer = lambda call: reply(page) if "/dividends" in call.path else served(call)
    found = history(massive, "AAPL")
    assert paid_by(found.actions) == []
    assert [(gone.ex_date, gone.value, gone.currency) for gone in found.left_out] == [(date(2020, 8, 7), 21.5, "TWD")]
