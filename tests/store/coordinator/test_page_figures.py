"""Figures of ranges and of questions on the page: those of the interface to the last digit, and a dash with its reason."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.store.coordinator.conftest import CSV, PREFIX, Api, client, make_app
from tests.store.coordinator.test_analytics import World, get, stored

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
async def api(engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine) -> AsyncIterator[Api]:
    """Emptied once: these tests read."""
    async with client(engines, loops) as made:
        yield made


@pytest.fixture(scope="module")
async def world(api: Api) -> World:
    return await stored(api)


async def page(api: Api, world: World, part: str, query: Mapping[str, Any] | None = None, *, status: int = 200) -> str:
    answer = await api.client.get(f"/p/{world.portfolio}/{part}", params=dict(query or {}))
    assert answer.status_code == status, answer.text
    return html.unescape(answer.text)


def values(text: str) -> list[float]:
    """Every number of a page, to the last digit."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)">', text)]


def cells(text: str, caption: str) -> list[str]:
    """What stands in the rows of the table that has this caption."""
    [table] = [each for each in re.findall(r"<table.*?</table>", text, re.DOTALL) if caption in each]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in rows]


async def test_returns_are_those_of_the_interface_beside_the_markets_proxy(api: Api, world: World) -> None:
    found, text = await get(api, world, "performance", benchmark="SPY"), await page(api, world, "returns")
    shown = set(values(text))
    for name in ("total_return", "money_weighted_annual", "sharpe", "sortino", "calmar", "volatility", "max_drawdown"):
        assert found[name] in shown, name
        assert f"figure=performance.{name}&" in text, name
    assert {found["benchmark"]["tracking_error"], found["benchmark"]["up_capture"]} <= shown
    calendar = cells(text, "beneath each year those of SPY")
    assert [row.split()[0] for row in calendar[1:]] == ["2020", "2020", "2019", "2019"]
    assert {item["return"] for item in found["items"]} | {item["benchmark"] for item in found["years"]} <= shown
    falls = cells(text, "The deepest falls")
    assert len(falls) == 1 + len(found["drawdowns"])
    assert found["drawdowns"][0]["trough"] in falls[1]


async def test_a_short_range_has_dashes_with_their_reason(api: Api, world: World) -> None:
    text = await page(api, world, "returns", {"from": "2020-03-02", "to": "2020-03-31", "benchmark": ""})
    assert 'title="too few observations yet"' in text
    assert "figure=performance." not in text
    assert "Beside" not in text
    part = await get(api, world, "performance", **{"from": "2020-03-02", "to": "2020-03-31"})
    assert part["total_return"] in values(text)
    assert "Swap them" in await page(api, world, "returns", {"from": "2020-04-01", "to": "2020-03-02"}, status=400)
    assert "leadline import" in await page(api, world, "returns", {"benchmark": "NOPE"}, status=422)
    assert "has no snapshot" in await page(api, world, "attribution", {"to": "2001-01-02"}, status=404)


async def test_an_attribution_adds_up_on_the_page(api: Api, world: World) -> None:
    found, text = await get(api, world, "attribution"), await page(api, world, "attribution")
    shown = values(text)
    for part in ("items", "sectors", "factors"):
        for line in found[part]:
            assert line["contribution"] is None or line["contribution"] in shown, (part, line)
    # In the sentence and at the foot of each of the three tables.
    assert shown.count(found["total_return"]) >= 4
    assert [row.split()[0] for row in cells(text, "What each position earned")[1:-1]] == [
        item["symbol"] for item in sorted(found["items"], key=lambda item: -item["pnl"])
    ]
    [quality] = [row for row in cells(text, "What each factor earned") if row.startswith("Quality")]
    unknown = "– none of the factor's proxies has a year of prices"
    assert quality == f"Quality {unknown} {unknown} 0"
    assert "Concerns: factors value, factors growth, factors quality" in text
    day = await page(api, world, "attribution", {"from": "2020-12-30"})
    assert "figure=attribution.positions.AAPL.contribution" in day


async def test_what_if_stands_before_and_after_and_a_reader_may_ask(api: Api, world: World) -> None:
    tables = ("coordinator.positions", "ledger.units", "risk.results", "bus.outbox", "coordinator.runs")
    counts = [await api.rows(f"SELECT count(*) FROM {table}") for table in tables]
    asked = {"symbol": ["SPY", "aapl", ""], "quantity": ["-30", "−40", ""]}
    text = await page(api, world, "what-if", asked)
    answer = await api.client.post(
        f"{PREFIX}/portfolios/{world.portfolio}/what-if",
        json={"trades": [{"symbol": "SPY", "quantity": -30}, {"symbol": "AAPL", "quantity": -40}]},
    )
    found, shown = answer.json(), values(text)
    for side in ("before", "after"):
        of = found[side]
        assert {of["cash"], of["volatility"]["realized_252"], of["var"][0]["es"], of["concentration"]["hhi"]} <= set(
            shown
        )
        assert {line["beta"] for line in of["factors"] if line["beta"] is not None} <= set(shown)
    assert [row.split()[:2] for row in cells(text, "At the closes of")[1:]] == [["AAPL", "-40"], ["SPY", "-30"]]
    assert 'value="aapl"' in text
    assert [await api.rows(f"SELECT count(*) FROM {table}") for table in tables] == counts


async def test_a_line_that_is_no_trade_is_said_and_the_form_keeps_it(api: Api, world: World) -> None:
    for symbol, quantity, said in (
        ("SPY", "many", "SPY: 'many' is not a quantity"),
        ("SPY", "0", "a change of 0 is not a trade"),
        ("", "5", "The change 5 has no symbol"),
        ("NOPE", "5", "No price of NOPE is stored"),
    ):
        text = await page(api, world, "what-if", {"symbol": symbol, "quantity": quantity})
        assert said in text
        assert f'value="{quantity}"' in text
        assert "before the trades and after" not in text


async def test_a_stretch_is_replayed_by_factor_and_by_position(api: Api, world: World) -> None:
    await api.run("INSERT INTO risk.scenario_sets VALUES ('none', '[]') ON CONFLICT DO NOTHING")
    await api.run(
        """UPDATE risk.results SET scenario_set = 'none', model_factors = '{}', stress_reasons = '{}', stress_shocks = '{}',
               stress_capped = '{}', stress_direct = '{}', stress_propagated = '{}', uncovered_value = 0 WHERE portfolio_id = :id""",
        id=UUID(world.portfolio),
    )
    plain = await page(api, world, "stress")
    assert "?from=2020-02-19&to=2020-03-23" in plain
    # Of a time that is not over yet.
    assert "Rise of rates of 2022" not in plain
    stretch = {"from": "2020-02-19", "to": "2020-03-23"}
    found, text = await get(api, world, "stress/replay", **stretch), await page(api, world, "stress", stretch)
    shown = set(values(text))
    assert {found["factors"]["money"], found["positions"]["money"]} <= shown
    for item in found["items"]:
        assert {item["factor_money"], item["own_money"], item["own_return"]} <= shown
    assert "none of the factor's proxies has a year of prices" in text
    early = await page(api, world, "stress", stretch | {"session": "2020-03-02"})
    [own] = [row for row in cells(early, "What the stretch would do") if row.startswith("By the holdings")]
    assert own.count("–") == 3
    assert "The range ends after the session" in own
    for query, said in (
        ({"from": "2020-03-23", "to": "2020-02-19"}, "Swap them"),
        ({"from": "2020-03-21", "to": "2021-03-22"}, "after the last session that is due"),
        ({"from": "2020-03-21", "to": "2020-03-22"}, "there is no session"),
        ({"from": "2020-03-21"}, "give both days"),
    ):
        assert said in await page(api, world, "stress", query)


async def test_days_to_sell_stand_beside_what_is_held(api: Api, world: World) -> None:
    found, text = await get(api, world, "liquidity"), await page(api, world, "positions")
    items = {item["symbol"]: item for item in found["items"]}
    assert {items["AAPL"]["days"], items["AAPL"]["adv"], found["unknown_share"]} <= set(values(text))
    assert "figure=liquidity.positions.AAPL.days" in text
    rows = cells(text, "the slowest first")
    assert [row.split()[0] for row in rows[1:]] == ["AAPL", "MSFT"]
    assert "–" in rows[2]
    slower = await page(api, world, "positions", {"share": "10"})
    tenth = await get(api, world, "liquidity", share=0.1)
    assert next(item["days"] for item in tenth["items"] if item["symbol"] == "AAPL") in values(slower)
    # Explanations speak of the usual share.
    assert "figure=liquidity." not in slower
    assert "share" in await page(api, world, "positions", {"share": "0"}, status=422)


async def test_without_figures_the_parts_say_so(api: Api) -> None:
    of = (await api.create(CSV))["id"]
    for part in ("returns", "attribution", "what-if", "stress"):
        answer = await api.client.get(f"/p/{of}/{part}")
        assert answer.status_code == 200, part
        assert "No figures yet" in answer.text, part
    assert "Days to sell" not in (await api.client.get(f"/p/{of}/positions")).text


async def test_every_table_of_the_parts_has_a_caption(api: Api, world: World) -> None:
    for part, query in (
        ("returns", {}),
        ("attribution", {}),
        ("what-if", {"symbol": "SPY", "quantity": "1"}),
    ):
        tables = re.findall(r"<table.*?</table>", await page(api, world, part, query), re.DOTALL)
        assert tables, part
        assert all("<caption>" in table for table in tables), part


async def test_a_reader_asks_what_if(api: Api, world: World, engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    """On a server of its own, whose token is only its own: the others of this module stay open."""
    app = make_app(engines[0], [], token=TOKEN)
    transport = httpx2.ASGITransport(app=app)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    path = f"/p/{world.portfolio}/what-if"
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as locked:
        made = await locked.post(f"{PREFIX}/admin/tokens", json={"name": "r", "role": "reader"}, headers=bearer)
        own = {"Authorization": f"Bearer {made.json()['token']}"}
        answer = await locked.get(path, params={"symbol": "SPY", "quantity": "1"}, headers=own)
        assert answer.status_code == 200
        assert "Exposure before the trades and after" in answer.text
        assert (await locked.get(path)).status_code == 303
    await api.run("DELETE FROM coordinator.tokens")
