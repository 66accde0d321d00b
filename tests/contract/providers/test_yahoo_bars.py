"""Bars as Yahoo really delivers them: holes in their columns, splits of any ratio, funds whose value comes in the evening."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.ingest.model.market import History, NoDataReason, Request
from tests.contract.providers.conftest import FIRST, LAST, Case, needs_yahooquery, running
from tests.contract.providers.test_answers import history
from tests.support import vendors
from tests.support.vendors import document, reply

YAHOOS = ["yahoo", pytest.param("yahooquery", marks=needs_yahooquery)]
MIDDLE = 10


def served(case: Case, change: Callable[[dict[str, Any]], None], symbol: str = "AAPL") -> History:
    """AAPL's history, its chart changed; under another symbol if one is given."""
    body = document("yahoo", "chart")
    change(body["chart"]["result"][0])
    case.server.answer = lambda call: reply(body) if "/chart/" in call.path else vendors.yahoo(call)
    (answer,) = case.vendor.fetch([Request(symbol, FIRST, LAST)])
    assert isinstance(answer, History), answer
    return answer


def columns(result: dict[str, Any]) -> dict[str, list[Any]]:
    """The columns of bars by name."""
    found: dict[str, list[Any]] = result["indicators"]["quote"][0]
    return found | {"adjclose": result["indicators"]["adjclose"][0]["adjclose"]}


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("close", [None, 0.0], ids=["null", "zero"])
def test_a_bar_without_a_price_is_none_of_its_session_alone(name: str, close: float | None) -> None:
    def empty(result: dict[str, Any]) -> None:
        for column in columns(result).values():
            column[MIDDLE] = close

    with running(name) as case:
        whole = served(case, lambda _: None).bars
        found = served(case, empty).bars
    priced = [day for day, value in zip(found.sessions.tolist(), found.close, strict=True) if not math.isnan(value)]
    assert priced == [day for index, day in enumerate(whole.sessions.tolist()) if index != MIDDLE]


@pytest.mark.parametrize("name", YAHOOS)
def test_a_bar_without_an_instant_costs_itself(name: str) -> None:
    def untimed(result: dict[str, Any]) -> None:
        result["timestamp"][MIDDLE] = None

    with running(name) as case:
        whole = served(case, lambda _: None).bars.sessions.tolist()
        found = served(case, untimed).bars.sessions.tolist()
    assert found == [*whole[:MIDDLE], *whole[MIDDLE + 1 :]]


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize("level", [None, -0.7, 0.0], ids=["null", "negative", "zero"])
def test_an_adjusted_close_that_can_not_be_takes_no_close_with_it(name: str, level: float | None) -> None:
    def odd(result: dict[str, Any]) -> None:
        columns(result)["adjclose"][MIDDLE] = level

    with running(name) as case:
        whole = served(case, lambda _: None).bars
        found = served(case, odd).bars
    assert found.sessions.tolist() == whole.sessions.tolist()
    assert found.close.tolist() == whole.close.tolist()
    assert math.isnan(found.adj_close[MIDDLE])
    assert not any(math.isnan(value) for index, value in enumerate(found.adj_close) if index != MIDDLE)


@pytest.mark.parametrize("name", YAHOOS)
@pytest.mark.parametrize(("new", "old"), [(3.0, 2.0), (1.0, 10.0), (1021.0, 1000.0)])
def test_splits_of_any_ratio_are_new_shares_per_old(name: str, new: float, old: float) -> None:
    def split(result: dict[str, Any]) -> None:
        (only,) = result["events"]["splits"].values()
        only |= {"numerator": new, "denominator": old, "splitRatio": f"{new:g}:{old:g}"}

    with running(name) as case:
        found = served(case, split)
    (listed,) = (action for action in found.actions if action.type == "split")
    assert listed.ex_date == date(2020, 8, 31)
    assert listed.value == pytest.approx(new / old)
    assert found.bars.split_adjusted


@pytest.mark.parametrize("name", YAHOOS)
def test_a_fund_is_priced_on_the_day_its_value_is_of(name: str) -> None:
    """Its value is stamped at eight in the evening of New York, without a volume; what is not out yet has no bar."""

    def fund(result: dict[str, Any]) -> None:
        result["meta"] |= {"instrumentType": "MUTUALFUND", "exchangeName": "NAS"}
        evenings = [
            datetime.fromtimestamp(stamp, UTC).replace(hour=0, minute=8).timestamp() + 86_400
            for stamp in result["timestamp"]
        ]
        result["timestamp"] = [int(evening) for evening in evenings]
        columns(result)["volume"][:] = [0] * len(evenings)
        for column in columns(result).values():
            column.pop()
        result["timestamp"].pop()

    with running(name) as case:
        whole = served(case, lambda _: None).bars
        found = served(case, fund).bars
    assert found.sessions.tolist() == whole.sessions.tolist()[:-1]
    assert found.close.tolist() == whole.close.tolist()[:-1]


@pytest.mark.parametrize(
    ("hour", "asked"),
    [
        # In UTC, four hours ahead of New York. LAST is 2020-09-02.
        ("2020-09-02 20:31", "2020-09-03 00:15"),
        ("2020-09-03 00:20", "2020-09-03 01:20"),
        ("2020-09-03 04:00", "2020-09-03 04:30"),
        ("2020-09-03 04:31", None),
    ],
)
@pytest.mark.parametrize("name", YAHOOS)
def test_a_funds_value_that_is_not_out_yet_is_late_until_after_midnight(
    name: str, hour: str, asked: str | None
) -> None:
    def without_the_last(result: dict[str, Any]) -> None:
        for column in columns(result).values():
            column.pop()
        result["timestamp"].pop()

    def fund(kind: str | None, symbol: str = "AAPL") -> Callable[[dict[str, Any]], None]:
        def change(result: dict[str, Any]) -> None:
            without_the_last(result)
            result["meta"] |= {"instrumentType": kind, "symbol": symbol}

        return change

    with running(name, now=instant(hour)) as case:
        late = served(case, fund("MUTUALFUND")).unserved
        assert served(case, fund("MONEYMARKET")).unserved == late
        assert served(case, fund(None, "VADRX"), "VADRX").unserved == late, "a share class whose kind is not told"
        share = served(case, without_the_last).unserved
    assert share == (), "a share's bar is out when its session is due"
    expected = [] if asked is None else [(LAST, LAST, NoDataReason.LATE, instant(asked))]
    assert [(one.first, one.last, one.reason, one.retry_at) for one in late] == expected


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", YAHOOS)
def test_a_young_listing_answers_a_longer_question_from_its_first_bar_on(name: str) -> None:
    def young(result: dict[str, Any]) -> None:
        for column in columns(result).values():
            del column[:5]
        del result["timestamp"][:5]
        result["meta"]["firstTradeDate"] = result["timestamp"][0]
        del result["events"]["dividends"]

    with running(name) as case:
        whole = served(case, lambda _: None).bars
        found = served(case, young)
    first = whole.sessions[5].item()
    assert (found.bars.sessions[0].item(), found.listed_from) == (first, first)


@pytest.mark.parametrize("name", ["yahoo", pytest.param("yahooquery", marks=needs_yahooquery)])
def test_a_range_without_data_is_of_a_symbol_that_is_known(name: str) -> None:
    said = {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1596585600, endDate = 1599091199"}
    with running(name) as case:
        case.server.fail(reply({"chart": {"result": None, "error": said}}, 400), case.data)
        found = history(case, "AAPL")
    assert (len(found.bars.sessions), found.actions) == (0, ())
