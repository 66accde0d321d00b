"""Quarterly statements, market cap and P/E from every vendor under the same names, and revenue too large for 32 bits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

import pytest

from services.ingest.model.market import NoData, NoDataReason
from services.ingest.providers.network import ITEMS, Described, Fundamentals, Statement, StatementKind, pe_ratio
from tests.contract.providers.conftest import Case, needs_yahooquery, running
from tests.support.vendors import Call, Reply

QUARTERS = [date(2019, 9, 28), date(2019, 12, 28), date(2020, 3, 28), date(2020, 6, 27)]


def fundamentals(case: Case, symbol: str = "AAPL") -> Fundamentals:
    (answer,) = case.vendor.fundamentals([symbol])
    assert isinstance(answer, Fundamentals), answer
    return answer


def of(figures: Fundamentals, kind: StatementKind) -> dict[date, Statement]:
    return {statement.period_end: statement for statement in figures.statements if statement.kind is kind}


def test_four_quarters_under_our_names(case: Case) -> None:
    figures = fundamentals(case)
    income = of(figures, StatementKind.INCOME)
    assert set(QUARTERS) <= set(income)
    newest = income[QUARTERS[-1]]
    assert (newest.values["revenue"], newest.values["net_income"], newest.values["eps_diluted"]) == (
        59685e6,
        11253e6,
        2.58,
    )
    assert newest.currency == "USD"
    assert of(figures, StatementKind.BALANCE)[QUARTERS[-1]].values["total_assets"] == 317344e6
    assert of(figures, StatementKind.CASH_FLOW)[QUARTERS[-1]].values["operating_cash_flow"] == 16271e6
    for statement in figures.statements:
        assert set(statement.values) == set(ITEMS[statement.kind])


def test_market_cap_and_price_earnings(case: Case) -> None:
    figures = fundamentals(case)
    assert figures.market_cap == 2247235270000
    expected = 131.4 / (2.58 + 2.55 + 4.99 + 3.03) if case.name == "fmp" else 39.94
    assert figures.pe_ratio == (
        None if case.name == "yahooquery" and figures.pe_ratio is None else pytest.approx(expected)
    )
    assert figures.as_of == date(2020, 9, 2)


def test_announcements_where_the_vendor_has_them(case: Case) -> None:
    figures = fundamentals(case)
    expected = {
        "massive": (date(2020, 7, 31), None),  # of a filing: the vendor has no announcements
        "fmp": (date(2020, 7, 30), date(2020, 10, 29)),
        "yahoo": (date(2020, 7, 30), date(2020, 10, 29)),
        "yahooquery": (None, None),
    }
    assert (figures.last_earnings, figures.next_earnings) == expected[case.name]


def test_revenue_of_1e15_is_exact(case: Case) -> None:
    """Bug 42: fundamentals overflowed. 1e15 and a cent are still doubles."""
    served = case.server.answer

    def huge(call: Call) -> Reply:
        answer = served(call)
        return Reply(
            answer.body.replace(b"59685000000", b"1000000000000000.01"),
            answer.status,
            answer.headers,
            answer.content_type,
        )

    case.server.answer = huge
    income = of(fundamentals(case), StatementKind.INCOME)[QUARTERS[-1]]
    assert income.values["revenue"] == 1_000_000_000_000_000.01


def test_a_number_beyond_any_double_is_a_schema_fault_or_no_value(case: Case) -> None:
    served = case.server.answer

    def absurd(call: Call) -> Reply:
        answer = served(call)
        return Reply(answer.body.replace(b"59685000000", b"1e999"), answer.status, answer.headers, answer.content_type)

    case.server.answer = absurd
    income = of(fundamentals(case), StatementKind.INCOME)[QUARTERS[-1]]
    assert income.values["revenue"] is None


CURRENCIES = {
    "fmp": ('"reportedCurrency": "USD"', '"reportedCurrency": "{}"'),
    "yahoo": ('"financialCurrency": "USD"', '"financialCurrency": "{}"'),
    "yahooquery": ('"currencyCode": "USD"', '"currencyCode": "{}"'),
}


@pytest.mark.parametrize("currency", ["CNY", "EUR"])
@pytest.mark.parametrize("name", ["fmp", "yahoo", pytest.param("yahooquery", marks=needs_yahooquery)])
def test_statements_in_another_currency_say_so_and_the_quote_stays_in_dollars(name: str, currency: str) -> None:
    """A company abroad that is listed here: its books are in yuan, its price is not. Massive's statements tell no currency."""
    old, new = CURRENCIES[name]
    with running(name) as case:
        served = case.server.answer

        def abroad(call: Call) -> Reply:
            answer = served(call)
            if answer.content_type != "application/json" or answer.body[:1] not in (b"{", b"["):
                return answer
            text = json.dumps(json.loads(answer.body)).replace(old, new.format(currency))
            return Reply(text.encode(), answer.status, answer.headers, answer.content_type)

        case.server.answer = abroad
        figures = fundamentals(case)
        (described,) = case.vendor.profiles(["AAPL"])
    assert figures.statements
    assert {statement.currency for statement in figures.statements} == {currency}
    assert of(figures, StatementKind.INCOME)[QUARTERS[-1]].values["revenue"] == 59685e6, (
        "in its own money, not converted"
    )
    assert figures.market_cap == 2247235270000
    assert name != "fmp" or figures.pe_ratio is None, "a price in dollars over earnings in yuan is no ratio"
    assert isinstance(described, Described)
    assert described.profile.currency == "USD"


def test_an_unknown_symbol_has_none(case: Case) -> None:
    (answer,) = case.vendor.fundamentals(["NOPE"])
    assert isinstance(answer, NoData)
    assert answer.reason is NoDataReason.NOT_FOUND


def test_everything_can_leave_as_json(case: Case) -> None:
    for statement in fundamentals(case).statements:
        json.dumps(dict(statement.values), allow_nan=False)


def _quarters(earnings: Sequence[float | None], days: Sequence[date] = QUARTERS) -> list[Statement]:
    return [Statement(StatementKind.INCOME, day, {"eps_diluted": eps}) for day, eps in zip(days, earnings, strict=True)]


@pytest.mark.parametrize(
    ("price", "statements", "expected"),
    [
        (100.0, _quarters([1.0, 2.0, 3.0, 4.0]), 10.0),
        (100.0, _quarters([1.0, -2.0, -3.0, 4.0]), None),  # nothing earned
        (100.0, _quarters([1.0, None, 3.0, 4.0]), None),
        (100.0, _quarters([1.0, 2.0, 3.0], QUARTERS[:3]), None),
        (100.0, _quarters([1.0, 2.0, 3.0, 4.0], [date(2018, 9, 28), *QUARTERS[1:]]), None),  # a quarter is missing
        (None, _quarters([1.0, 2.0, 3.0, 4.0]), None),
    ],
)
def test_price_earnings_needs_four_quarters_in_a_row_and_a_profit(
    price: float | None, statements: list[Statement], expected: float | None
) -> None:
    assert pe_ratio(price, statements) == expected
