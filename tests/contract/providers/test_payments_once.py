"""A payment that is listed again, a gain beside a dividend, an event of tomorrow; and of five kinds of payments return, volatility and P&L
as an oracle has them, which knows closes, payments and nothing else."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from services.ingest.compute.rows import build_rows
from services.ingest.model.market import ChainResult, ProviderSeries, Request
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.payments import Payments
from services.ingest.providers.yahoo.events import _gains_beside
from services.ingest.store.prices import STAGED
from services.snapshots.compute import from_units
from tests.contract.providers.conftest import NOW, Case, needs_yahooquery, running
from tests.contract.providers.test_answers import history
from tests.contract.providers.test_payments import (
    BEFORE,
    DAYS,
    LAST,
    PAID,
    SPAN,
    Chart,
    cash,
    facts_of,
    paid_by,
    path,
    payment,
    rows_of,
)
from tests.support.markets import _opening
from tests.support.vendors import Call, Reply, reply
from tests.support.worlds import Lot, Portfolio, Symbol, World, run

YAHOOS = [pytest.param("yahoo"), pytest.param("yahooquery", marks=needs_yahooquery)]
AFTER = SPAN[-39]
WHOLE: dict[str, object] = {"pay_date": "2020-08-13", "distribution_type": "recurring"}


@dataclass
class Listed(Chart):
    """A chart whose events are a list: kind, when (seconds), and what."""

    listed: tuple[tuple[str, int, dict[str, Any]], ...] = ()

    def answer(self, call: Call) -> Reply:
        given = super().answer(call)
        if "/v8/finance/chart/" not in call.path:
            return given
        body = json.loads(given.body)
        events: dict[str, dict[str, Any]] = {}
        for number, (kind, at, event) in enumerate(self.listed):
            events.setdefault(kind, {})[str(at + number)] = {"date": at, **event}
        body["chart"]["result"][0]["events"] = events
        return reply(body)


def at(day: date, hours: float = 0.0) -> int:
    return int(_opening(day) + hours * 3600)


def actions(name: str, closes: dict[date, float], *listed: tuple[str, int, dict[str, Any]]) -> list[tuple[date, float]]:
    with running(name) as case:
        case.server.answer = Listed(closes, listed=listed).answer
        found = history(case, "FUND", SPAN[0], LAST).actions
    return [(one.ex_date, one.value) for one in found]


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("kind", ["dividends", "capitalGains"])
@pytest.mark.parametrize(
    ("again", "hours"),
    [
        (0.8, 0.0),  # under another key
        (0.8, -5.5),  # stamped at another hour
        (0.7975, 2.0),  # rounded otherwise
        (0.8, 4 * 24.0),  # once more after a weekend and a holiday
    ],
)
def test_yahoo_pays_what_it_lists_twice_once(name: str, kind: str, again: float, hours: float) -> None:
    closes = path(48.0, {PAID: 0.8})
    found = actions(name, closes, (kind, at(PAID), {"amount": 0.8}), (kind, at(PAID, hours), {"amount": again}))
    assert [day for day, _ in found] == [PAID]
    assert found[0][1] == pytest.approx(0.8, rel=0.005)


@pytest.mark.parametrize("name", YAHOOS)
def test_two_payments_are_two(name: str) -> None:
    """A special dividend on the day of the usual one, and what a fund pays every week."""
    closes = path(48.0, {})
    special = [("dividends", at(PAID), {"amount": 0.8}), ("dividends", at(PAID, 1), {"amount": 2.0})]
    assert [value for _, value in actions(name, closes, *special)] == [0.8, 2.0]
    days = [SPAN[-5 * week - 1] for week in range(1, 7)]
    weekly = [("dividends", at(day), {"amount": 0.1}) for day in days]
    assert actions(name, closes, *weekly) == [(day, 0.1) for day in sorted(days)]
    daily = [("dividends", at(day), {"amount": 0.01}) for day in SPAN[-20:-1]]
    assert len(actions(name, closes, *daily)) == 19, "who pays as much every day pays every day"


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize(
    ("dividend", "gain", "fall", "paid"),
    [
        (9.4, 8.9, 9.4, 9.4),  # inside
        (9.4, 8.9, 18.3, 18.3),  # beside it: the close fell by both
        (3.0, 2.0, 5.0, 3.0),  # as a market that falls by 2.00 may leave it
        (3.0, 2.0, 3.0, 3.0),
        (1.7, 1.6, 1.7 + 2.1, 1.7),
        (3.0, 3.05, 3.0, 3.0),
        (3.0, 3.05, 6.05, 6.05),
        (8.9, 8.9004, 8.9, 8.9),  # the same to rounding, inside
        (0.2, 1.5, 1.7, 1.7),  # larger than the dividend, it cannot be in it
        (0.05, 0.04, 0.09, 0.05),  # too small to tell by: inside, as mostly
    ],
)
def test_a_gain_is_in_the_dividend_unless_it_is_too_large_or_the_fall_beyond_any_market(
    name: str, dividend: float, gain: float, fall: float, paid: float
) -> None:
    closes = path(71.0, {PAID: fall})
    found = actions(
        name, closes, ("dividends", at(PAID), {"amount": dividend}), ("capitalGains", at(PAID), {"amount": gain})
    )
    assert sum(value for _, value in found) == pytest.approx(paid, abs=1e-3)


def test_what_holds_a_gain_is_the_same_for_every_span_asked_for() -> None:
    """The market falls by 2.95 per cent on the day on which a dividend of 1.70 is paid that holds a gain of 1.60."""
    closes = [(day, 83.32) for day in SPAN[:10]] + [(day, 79.16) for day in SPAN[10:20]]
    day = SPAN[10]
    for low in (0, 5, 9, 10):
        for high in (11, 20):
            assert _gains_beside(closes[low:high], [(day, 1.7)], [(day, 1.6)]) == []


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_gain_dated_a_session_beside_its_dividend_is_in_it(shift: int) -> None:
    closes = path(71.0, {PAID: 9.4})
    day = SPAN[SPAN.index(PAID) + shift]
    listed = [("dividends", at(PAID), {"amount": 9.4}), ("capitalGains", at(day), {"amount": 8.9})]
    assert actions("yahoo", closes, *listed) == [(PAID, 9.4)]


def test_gains_that_no_dividend_is_large_enough_for_are_beside_it() -> None:
    listed = [
        ("dividends", at(PAID), {"amount": 6.0}),
        *(("capitalGains", at(PAID, hour), {"amount": gain}) for hour, gain in enumerate((5.0, 3.0))),
    ]
    assert sum(value for _, value in actions("yahoo", path(71.0, {PAID: 14.0}), *listed)) == 14.0
    assert sum(value for _, value in actions("yahoo", path(71.0, {PAID: 6.0}), *listed)) == 6.0


def test_a_second_payment_of_the_same_amount_is_one_where_the_close_fell_as_no_market_does() -> None:
    both = [("capitalGains", at(PAID), {"amount": 6.0}), ("capitalGains", at(PAID, 1), {"amount": 6.0})]
    assert actions("yahoo", path(71.0, {PAID: 12.0}), *both) == [(PAID, 6.0), (PAID, 6.0)]
    assert actions("yahoo", path(71.0, {PAID: 6.0}), *both) == [(PAID, 6.0)]
    later = SPAN[SPAN.index(PAID) + 2]
    for amount, kept in ((6.0, 2), (2.0, 1)):
        twice = [("dividends", at(PAID), {"amount": amount}), ("dividends", at(later), {"amount": amount})]
        fell = actions("yahoo", path(71.0, {PAID: amount, later: amount}), *twice)
        assert fell == [(PAID, amount), (later, amount)][:kept], "a fall of less may be the market's"
        assert actions("yahoo", path(71.0, {PAID: amount}), *twice) == [(PAID, amount)]


def test_a_payment_listed_on_a_closed_day_and_on_the_session_after_it_is_one() -> None:
    """Good Friday and the Monday after: the close falls once, on the session to which both belong."""
    closed, session = date(2020, 4, 10), date(2020, 4, 13)
    for amount in (1.5, 6.0):
        twice = [("dividends", at(closed), {"amount": amount}), ("dividends", at(session), {"amount": amount})]
        assert len(actions("yahoo", path(71.0, {session: amount}), *twice)) == 1


def test_a_gain_is_held_by_the_dividend_that_is_large_enough_for_it() -> None:
    early, day = SPAN[SPAN.index(PAID) - 1], PAID
    listed = [(early, 0.3), (day, 4.9)]
    closes = sorted(path(71.0, {early: 0.3, day: 4.9}).items())
    assert _gains_beside(closes, listed, [(early, 4.9)]) == []


@pytest.mark.parametrize("name", YAHOOS)
def test_what_is_only_announced_is_no_action_yet(name: str) -> None:
    closes = path(48.0, {PAID: 0.8})
    later = DAYS.next(DAYS.next(LAST))
    listed = (
        ("dividends", at(PAID), {"amount": 0.8}),
        ("dividends", at(later), {"amount": 0.8}),
        ("splits", at(later), {"numerator": 4, "denominator": 1, "splitRatio": "4:1"}),
        ("dividends", 10**15, {"amount": 0.5}),  # an instant of no year costs itself
        ("dividends", at(BEFORE), {"amount": None}),
    )
    assert actions(name, closes, *listed) == [(PAID, 0.8)], "and the payment is not brought to a basis that is none yet"


@pytest.mark.parametrize("name", YAHOOS)
def test_a_split_under_two_keys_is_one(name: str) -> None:
    split = {"numerator": 2, "denominator": 1, "splitRatio": "2:1"}
    assert actions(name, path(48.0, {}), ("splits", at(PAID), split), ("splits", at(PAID, 1), split)) == [(PAID, 2.0)]


@pytest.mark.parametrize(
    ("items", "paid"),
    [
        ([payment(), payment(dividend=0.8437)], [0.84]),
        ([payment(), payment(dividend=0.8400001, adjDividend=0.2100000001)], [0.84]),
        ([payment(), payment(paymentDate=None)], [0.84]),
        ([payment(), payment(dividend=None, adjDividend=0.2101)], [0.84]),
        ([payment(), payment(dividend=0.9)], [0.84, 0.9]),
    ],
)
def test_fmp_pays_what_is_nearly_the_same_once(fmp: Case, items: list[dict[str, object]], paid: list[float]) -> None:
    served = fmp.server.answer
    fmp.server.answer = lambda call: reply(items) if "/dividends" in call.path else served(call)
    assert sorted(paid_by(history(fmp, "AAPL").actions)) == pytest.approx(paid)


@pytest.mark.parametrize(
    ("items", "paid"),
    [
        ([cash(None), cash(None)], [0.84]),
        ([cash(None), cash(None, cash_amount=0.8437)], [0.84]),
        ([cash("E1", pay_date="2020-08-13"), cash("E2", pay_date="2020-08-13", cash_amount=0.8401)], [0.84]),
        ([cash("E1", pay_date="2020-08-13"), cash("E2", pay_date="2020-08-20")], [0.84, 0.84]),
        *(
            (rows, [0.84])
            for lacking in (
                {"currency": None},
                {"currency": "usd"},
                {"pay_date": None},
                {"distribution_type": None},
                {"pay_date": None, "distribution_type": None},
                {"distribution_type": None, "dividend_type": "CD"},
            )
            for whole, other in [(cash("E1", **WHOLE), cash("E2", **WHOLE | lacking))]
            for rows in ([whole, other], [other, whole])
        ),
        (
            [
                cash("E1", pay_date="2020-08-13", distribution_type="recurring"),
                cash("E2", pay_date="2020-08-13", distribution_type="special"),
            ],
            [0.84, 0.84],
        ),
    ],
)
def test_massive_pays_one_payment_of_two_rows_once(
    massive: Case, items: list[dict[str, object]], paid: list[float]
) -> None:
    served = massive.server.answer
    page = {"status": "OK", "request_id": "1", "results": items}
    massive.server.answer = lambda call: reply(page) if "/dividends" in call.path else served(call)
    assert sorted(paid_by(history(massive, "AAPL").actions)) == pytest.approx(paid)


def test_massive_splits_once_what_it_lists_under_two_ids(massive: Case) -> None:
    whole = history(massive, "AAPL")
    served = massive.server.answer

    def answer(call: Call) -> Reply:
        given = served(call)
        if not call.path.endswith("/splits"):
            return given
        body = json.loads(given.body)
        return reply(
            body | {"results": [*body["results"], *(one | {"id": f"again{one['id']}"} for one in body["results"])]}
        )

    massive.server.answer = answer
    assert history(massive, "AAPL").actions == whole.actions


def test_payments_are_told_apart_by_amount_and_mark() -> None:
    seen = Payments()
    assert seen.is_new(PAID, 1.0, ("a",))
    assert not seen.is_new(PAID, 1.009, ("a",))
    assert not seen.is_new(PAID, 1.0)
    assert seen.is_new(PAID, 1.0, ("b",))
    assert seen.is_new(PAID, 1.02, ("a",))
    assert seen.is_new(AFTER, 1.0, ("a",))
    assert seen.is_new(AFTER, 2.0, ("a", None, "x"))
    assert not seen.is_new(AFTER, 2.0, (None, "y", "x"))
    assert seen.is_new(AFTER, 2.0, (None, "y", "z"))


@dataclass(frozen=True)
class Kind:
    """fall: what the payment takes off the price. listed: what Yahoo says of it, in seconds. adjusts: what its adjusted closes are for.
    paid: what was really paid in dollars and is known. earned: with what the day's return is made, over the close before less `off`."""

    fall: float
    listed: tuple[tuple[str, int, dict[str, Any]], ...]
    adjusts: float
    paid: float
    earned: float = 0.0
    off: float = 0.0


KINDS = {
    "fund with capital gains": Kind(
        9.4,
        (("dividends", at(PAID), {"amount": 9.4}), ("capitalGains", at(PAID), {"amount": 8.9})),
        18.3,
        paid=9.4,
        earned=9.4,
    ),
    # What was paid in dollars nobody tells; the adjusted closes have it in the return, the ledger has nothing.
    "foreign dividend": Kind(
        0.61, (("dividends", at(PAID), {"amount": 17.5, "currency": "TWD"}),), 0.61, paid=0.0, off=0.61
    ),
    "doubled one": Kind(
        1.3,
        (("dividends", at(PAID), {"amount": 1.3}), ("dividends", at(PAID, -5.5), {"amount": 1.3})),
        2.6,
        paid=1.3,
        earned=1.3,
    ),
    # The shares that were handed out are a holding of their own, which the owner enters.
    "spin-off": Kind(18.0, (), 18.0, paid=0.0, off=18.0),
    "special dividend": Kind(12.0, (("dividends", at(PAID), {"amount": 12.0}),), 12.0, paid=12.0, earned=12.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", YAHOOS)
def test_return_volatility_and_profit_of_each_kind_are_an_oracles(name: str, kind: str) -> None:
    of = KINDS[kind]
    closes = path(71.0, {PAID: of.fall})
    with running(name) as case:
        case.server.answer = Listed(closes, adjusts={PAID: of.adjusts}, listed=of.listed).answer
        rows = rows_of(case)
        answer = history(case, "FUND", SPAN[0], LAST)
    truth = {
        day: (closes[day] + (of.earned if day == PAID else 0.0)) / (closes[before] - (of.off if day == PAID else 0.0))
        - 1
        for before, day in pairwise(SPAN)
    }
    for day in SPAN[1:]:
        assert rows[day]["total_return"] == pytest.approx(truth[day], abs=1e-9), day
    facts = facts_of(rows)
    for index, window in enumerate((21, 63, 252)):
        sample = [truth[day] for day in SPAN[-window:]]
        assert facts.volatility[0, 0, index] == pytest.approx(statistics.stdev(sample) * 252**0.5, rel=1e-7)

    # A hundred shares bought at the first close of the last sixty sessions: what the ledger earns day by day, in cents.
    held = SPAN[-60:]
    span = ((DAYS.ordinal(SPAN[0]), DAYS.ordinal(LAST)),)
    written = build_rows(
        [FetchRequest(1, "FUND", SPAN[0], LAST, span, None)],
        [ChainResult(Request("FUND", SPAN[0], LAST), [ProviderSeries(name, answer)])],
        {}, DAYS, chain=name, now=NOW, newest=LAST,
    )  # fmt: skip
    stored = {row[STAGED.index("session")]: row[STAGED.index("close")] for row in written.prices}
    dividends = {
        row.ex_session: row.value for row in written.actions if row.type == "dividend" and row.ex_session in held
    }
    symbol = Symbol("FUND", {day: stored[day] for day in held}, dividends=dividends)
    lot = Lot("FUND", Decimal(100), held[0], Decimal(str(closes[held[0]])), number=1)
    book = run(World(tuple(held), {"FUND": symbol}, (Portfolio(Decimal(20_000), (lot,), {}, 1),)))
    for place, (before, day) in enumerate(pairwise(held), start=1):
        profit = 100 * (
            Decimal(str(closes[day])) - Decimal(str(closes[before])) + Decimal(str(of.paid if day == PAID else 0))
        )
        assert from_units(book.snapshots.daily_pnl[place, 0]) == profit, day
