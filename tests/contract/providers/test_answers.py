"""What every vendor must answer alike: the same prices and actions, whatever its own adjustment and spelling."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import numpy as np
import pytest

from services.ingest.model.market import History, NoData, NoDataReason, ProviderErrorKind, Request
from services.ingest.providers.network import Described
from tests.contract.providers.conftest import FIRST, LAST, Case
from tests.support.vendors import Reply, document

SPLIT, DIVIDEND = date(2020, 8, 31), date(2020, 8, 7)
# As traded, by day.
TRADED = {
    datetime.fromtimestamp(row["t"] / 1000, UTC).date(): row["c"]
    for row in document("massive", "aggregates")["results"]
}


def ask(case: Case, symbol: str, first: date = FIRST, last: date = LAST) -> History | NoData:
    (answer,) = case.vendor.fetch([Request(symbol, first, last)])
    return answer


def history(case: Case, symbol: str, first: date = FIRST, last: date = LAST) -> History:
    answer = ask(case, symbol, first, last)
    assert isinstance(answer, History), answer
    return answer


def as_traded(answer: History) -> dict[date, float]:
    """Day by day, with every split after the day: the slow way."""
    out = {}
    for day, close in zip(answer.bars.sessions.tolist(), answer.bars.close.tolist(), strict=True):
        later = [a.value for a in answer.actions if a.type == "split" and a.ex_date > day]
        out[day] = close * math.prod(later) if answer.bars.split_adjusted else close
    return out


def test_prices_as_traded_are_the_same_from_every_vendor(case: Case) -> None:
    assert as_traded(history(case, "AAPL")) == pytest.approx(TRADED, abs=1e-4)


def test_a_split_and_a_dividend_come_as_paid_on_the_shares_of_their_day(case: Case) -> None:
    answer = history(case, "AAPL")
    within = {(a.ex_date, a.type): a.value for a in answer.actions if a.ex_date >= FIRST}
    assert answer.lists_splits
    assert within == {(DIVIDEND, "dividend"): pytest.approx(0.82), (SPLIT, "split"): 4.0}


def test_a_range_before_a_split_still_knows_of_it(case: Case) -> None:
    answer = history(case, "AAPL", FIRST, date(2020, 8, 14))
    assert answer.bars.sessions[-1].item() == date(2020, 8, 14)
    assert as_traded(answer) == pytest.approx({d: c for d, c in TRADED.items() if d <= date(2020, 8, 14)}, abs=1e-4)


def test_nothing_outside_the_range_is_served(case: Case) -> None:
    answer = history(case, "AAPL", date(2020, 8, 12), date(2020, 8, 13))
    assert answer.bars.sessions.tolist() == [date(2020, 8, 12), date(2020, 8, 13)]


def test_columns_are_aligned_and_complete(case: Case) -> None:
    found = history(case, "AAPL").bars
    for column in (found.open, found.high, found.low, found.close, found.volume):
        assert column.shape == found.sessions.shape
        assert np.isfinite(column).all()
    assert (found.high >= found.low).all()
    assert np.isfinite(found.adj_close).all() == (case.name in {"yahoo", "yahooquery"})


def test_class_shares_are_spelled_as_the_vendor_does_and_answered_as_we_do(case: Case) -> None:
    assert history(case, "BRK.B").symbol == "BRK.B"
    spelling = "BRK.B" if case.name == "massive" else "BRK-B"
    call = case.server.asked(case.data)[0]
    assert spelling in call.path or call.query.get("symbol") == spelling


def test_a_symbol_that_is_listed_and_not_traded_is_known_and_empty(case: Case) -> None:
    assert len(history(case, "LAZY").bars.sessions) == 0


def test_an_unknown_symbol_is_not_found_and_that_is_no_fault(case: Case) -> None:
    answer = ask(case, "NOPE")
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault, answer.retry_at) == (NoDataReason.NOT_FOUND, None, None)


@pytest.mark.parametrize(
    "symbol", ["", "../admin", "A?apikey=1", "A B C", "CASH_USD", "EQ5D6A2D8F", "X" * 40, "Ä", "A\nB"]
)
def test_what_no_vendor_could_know_is_never_asked(case: Case, symbol: str) -> None:
    answer = ask(case, symbol)
    assert isinstance(answer, NoData)
    assert (answer.reason, answer.fault) == (NoDataReason.NOT_FOUND, ProviderErrorKind.BAD_SYMBOL)
    assert case.server.calls == []


def test_an_index_is_encoded_in_the_url(case: Case) -> None:
    ask(case, "^GSPC")
    call = case.server.asked(case.data)[0]
    assert "^GSPC" in call.path or call.query["symbol"] == "^GSPC"


def test_one_answer_a_request_in_order(case: Case) -> None:
    symbols = ["AAPL", "NOPE", "", "LAZY", "BRK.B", "AAPL"]
    answers = list(case.vendor.fetch([Request(symbol, FIRST, LAST) for symbol in symbols]))
    assert [answer.symbol for answer in answers] == symbols
    assert [isinstance(answer, History) for answer in answers] == [True, False, False, True, True, True]


def test_profiles(case: Case) -> None:
    known, unknown = case.vendor.profiles(["AAPL", "NOPE"])
    assert isinstance(known, Described)
    assert (known.profile.name, known.profile.asset_type, known.profile.currency) == ("Apple Inc.", "stock", "USD")
    assert known.profile.as_of == date(2020, 9, 2), "nine in the evening of New York, another day in UTC"
    if case.name == "massive":  # by SIC, without sector and beta
        assert (known.profile.sector, known.profile.industry, known.profile.beta) == (
            None,
            "ELECTRONIC COMPUTERS",
            None,
        )
    else:
        assert (known.profile.sector, known.profile.industry) == ("Technology", "Consumer Electronics")
        assert (known.profile.beta, known.profile.beta_as_of) == (1.28, date(2020, 9, 2))
    assert isinstance(unknown, NoData)
    assert unknown.reason is NoDataReason.NOT_FOUND


def test_search(case: Case) -> None:
    found = case.vendor.search("berkshire & co/../x")
    assert found.failed is None
    assert found.listings[0].symbol == ("A" if case.name == "massive" else "BRK.B")
    assert found.listings[0].name


def test_the_estimate_is_what_a_fetch_costs(case: Case) -> None:
    requests = [Request(symbol, FIRST, LAST) for symbol in ("AAPL", "BRK.B")]
    list(case.vendor.fetch(requests))
    assert abs(len(case.server.calls) - case.vendor.calls(requests)) <= 1
    assert case.vendor.health().calls == len(case.server.calls)


def test_the_key_is_in_no_url(case: Case) -> None:
    list(case.vendor.fetch([Request("AAPL", FIRST, LAST)]))
    assert all("good" not in call.query.values() for call in case.server.calls)


def test_an_answer_that_is_not_json_is_not_an_empty_one(case: Case) -> None:
    case.server.fail(Reply(b"null"), case.data)
    answer = ask(case, "AAPL")
    assert isinstance(answer, NoData)
    assert answer.fault is ProviderErrorKind.SCHEMA_CHANGED
