"""How large a portfolio may become: refused by name, with the number and the setting, before anything is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.store.coordinator.conftest import PREFIX, WRITTEN, Api, make_app

LIMITS = {"max_lots": 3, "max_symbols": 2, "max_sessions": 6, "max_lot_sessions": 15}
SETTING = {
    "too_many_lots": "LEADLINE_MAX_LOTS",
    "too_many_symbols": "LEADLINE_MAX_SYMBOLS",
    "too_many_sessions": "LEADLINE_MAX_SESSIONS",
    "too_many_lot_sessions": "LEADLINE_MAX_LOT_SESSIONS",
}


@pytest.fixture
async def small(api: Api, engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncIterator[Api]:
    """The API with room for three lots, two symbols, six sessions, fifteen lots times sessions."""
    app = make_app(engines[0], api.woken, limits=LIMITS)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield Api(client, api.admin, app.state.context, api.woken)


def lot(symbol: str = "AAPL", day: str = "2020-12-28", **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "quantity": 1, "entry_date": day, "entry_price": 100} | more


# What is held, by what it has too much of: 12-28 is 3 sessions back, 12-21 7, 12-22 6.
TOO_MANY = {
    "too_many_lots": (4, [lot(quantity=n) for n in range(1, 5)]),
    "too_many_symbols": (3, [lot("AAPL"), lot("MSFT"), lot("IBM")]),
    "too_many_sessions": (7, [lot(day="2020-12-21")]),
    "too_many_lot_sessions": (18, [lot(quantity=n, day="2020-12-22") for n in range(1, 4)]),
}


def csv_of(lots: list[dict[str, Any]]) -> bytes:
    rows = ["symbol,quantity,entry_date,entry_price"]
    rows += [f"{each['symbol']},{each['quantity']},{each['entry_date']},{each['entry_price']}" for each in lots]
    return ("\n".join(rows) + "\n").encode()


async def stored(api: Api) -> list[list[Any]]:
    return [await api.rows(f"SELECT to_jsonb(t) AS row FROM {table} t ORDER BY to_jsonb(t)") for table in WRITTEN]


def refused(answer: httpx2.Response, code: str, number: int) -> None:
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["code"] == code
    [error] = problem["errors"]
    limit = LIMITS[SETTING[code].removeprefix("LEADLINE_").lower()]
    assert error["code"] == code
    assert error["value"] == str(number)
    for told in (f"{number:,}", f"at most {limit:,}", SETTING[code]):
        assert told in problem["detail"]
    assert "Nothing was saved" in problem["detail"]


async def send(api: Api, way: str, lots: list[dict[str, Any]], portfolio: str = "") -> httpx2.Response:
    header = {"name": "Large", "equity_balance": "100000"}
    if way == "json":
        return await api.client.post(f"{PREFIX}/portfolios", json=header | {"positions": lots})
    place = f"{PREFIX}/portfolios/{portfolio + '/' if portfolio else ''}import"
    form = ({} if portfolio else header) | ({"dry_run": "true"} if way == "preview" else {})
    return await api.client.post(place, data=form, files={"file": ("p.csv", csv_of(lots), "text/csv")})


@pytest.mark.parametrize("code", TOO_MANY)
@pytest.mark.parametrize("way", ["json", "csv", "preview"])
async def test_a_new_portfolio_over_a_limit_is_refused_and_leaves_nothing(small: Api, way: str, code: str) -> None:
    before = await stored(small)
    number, lots = TOO_MANY[code]
    refused(await send(small, way, lots), code, number)
    assert await stored(small) == before
    assert small.woken == []


@pytest.mark.parametrize("code", TOO_MANY)
@pytest.mark.parametrize("way", ["csv", "preview", "lot"])
async def test_what_is_added_counts_with_what_is_there(small: Api, way: str, code: str) -> None:
    number, lots = TOO_MANY[code]
    *first, last = [lot(), *lots] if code == "too_many_sessions" else lots
    portfolio = (await send(small, "json", first)).json()["id"]
    before = await stored(small)
    if way == "lot":
        answer = await small.client.post(f"{PREFIX}/portfolios/{portfolio}/positions", json=last)
    else:
        answer = await send(small, way, [last], portfolio)
    if code == "too_many_sessions":
        assert answer.json()["code"] == code
    else:
        refused(answer, code, number)
    assert await stored(small) == before


async def test_the_rows_a_file_repeats_do_not_count_twice(small: Api) -> None:
    lots = [lot(quantity=n) for n in range(1, 4)]
    portfolio = (await send(small, "json", lots)).json()["id"]
    answer = await send(small, "csv", lots, portfolio)
    assert answer.status_code == 200, answer.text
    assert answer.json()["unchanged"] == 3


TRADES = "date,action,symbol,quantity,price\n"
BOUGHT = TRADES + "".join(f"2020-12-28,buy,AAPL,{n},100\n" for n in (1, 2, 3))


async def test_lots_that_trades_replace_do_not_count_beside_those_that_replace_them(small: Api) -> None:
    """Sales close the three lots: what is stored afterwards is three lots, not six."""
    form = {"name": "Trades", "equity_balance": "100000"}
    made = await small.client.post(f"{PREFIX}/portfolios/import", data=form, files={"file": ("t.csv", BOUGHT.encode())})
    place = f"{PREFIX}/portfolios/{made.json()['id']}/import"
    sold = (TRADES + "2020-12-29,sell,AAPL,6,110\n").encode()
    answer = await small.client.post(place, files={"file": ("t.csv", sold)})
    assert answer.status_code == 200, answer.text
    assert len((await small.client.get(f"{PREFIX}/portfolios/{made.json()['id']}")).json()["positions"]) == 3
    more = (TRADES + "2020-12-30,buy,AAPL,1,100\n").encode()
    refused(await small.client.post(place, files={"file": ("t.csv", more)}), "too_many_lots", 4)


@pytest.mark.parametrize(
    ("body", "code"),
    [({"entry_date": "2020-12-21"}, "too_many_sessions"), ({"symbol": "IBM"}, "too_many_symbols")],
)
async def test_an_edit_may_not_make_it_larger_than_it_may_be(small: Api, body: dict[str, Any], code: str) -> None:
    lots = [lot("AAPL"), lot("AAPL", quantity=2), lot("MSFT")] if code == "too_many_symbols" else [lot()]
    portfolio = (await send(small, "json", lots)).json()["id"]
    held = (await small.client.get(f"{PREFIX}/portfolios/{portfolio}")).json()["positions"]
    before = await stored(small)
    place = f"{PREFIX}/portfolios/{portfolio}/positions/{held[0]['id']}"
    answer = await small.client.patch(place, json=body)
    refused(answer, code, 7 if code == "too_many_sessions" else 3)
    assert await stored(small) == before
    assert (await small.client.patch(place, json={"quantity": 5})).status_code == 200


async def test_one_that_is_over_a_limit_already_can_be_edited_and_made_smaller(api: Api, small: Api) -> None:
    """A limit that was lowered, or a session that fell due, locks nobody out."""
    made = await send(api, "json", [lot(quantity=n, day="2020-12-21") for n in range(1, 6)])
    portfolio = made.json()["id"]
    held = (await small.client.get(f"{PREFIX}/portfolios/{portfolio}")).json()["positions"]
    place = f"{PREFIX}/portfolios/{portfolio}/positions/{held[0]['id']}"
    assert (await small.client.patch(place, json={"quantity": 9, "entry_date": "2020-12-23"})).status_code == 200
    assert (await small.client.delete(place)).status_code == 200
    assert (await small.client.post(f"{PREFIX}/portfolios/{portfolio}/positions", json=lot())).status_code == 422


async def test_every_limit_that_is_passed_is_named_at_once(small: Api) -> None:
    lots = [lot(symbol, day="2020-12-21") for symbol in ("AAPL", "MSFT", "IBM", "KO")]
    problem = (await send(small, "json", lots)).json()
    assert [error["code"] for error in problem["errors"]] == list(TOO_MANY)
    assert problem["code"] == "too_many_lots"
