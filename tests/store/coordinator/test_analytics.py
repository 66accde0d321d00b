"""Figures of ranges and of questions, from what is stored: as an independent hand has them, and nothing stored by asking."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from time import perf_counter
from typing import Any
from uuid import UUID

import empyrical
import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.compute.joint_fit import joint_betas
from services.coordinator.results import sector_names
from services.coordinator.results.performance import FIGURES
from services.snapshots.compute import xirr
from shared.arrays import FloatMatrix, FloatVector
from shared.market.calendar import calendar
from shared.market.layouts import EXPOSURES
from shared.market.option_greeks import greeks, terms
from shared.market.registry import FACTOR_NAMES, MODEL_VERSION
from shared.market.symbols import Occ, parse_occ
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api, client

BEGAN = date(2019, 10, 1)
DAYS = calendar().between(BEGAN, AS_OF)
EARLIER = calendar().between(calendar().back(AS_OF, 559), AS_OF)
SYMBOLS = ("AAPL", "MSFT", "SPY", "MTUM", "QQQ")
HELD = {"AAPL": 100, "MSFT": -50}
EQUITY, FLOW, FLOW_AT = 100_000.0, 5_000.0, 100
CSV = f"symbol,quantity,entry_date,entry_price\nAAPL,100,{BEGAN},100\nMSFT,-50,{BEGAN},200\n"


@dataclass
class World:
    """What was stored, for the other hand."""

    portfolio: str
    price: dict[str, FloatVector]
    """On EARLIER."""
    nav: FloatVector
    """On DAYS."""
    pnl: FloatMatrix
    returns: FloatVector

    def daily(self, symbol: str) -> FloatVector:
        """Total returns on EARLIER; the first is NaN."""
        of = self.price[symbol]
        return np.concatenate([[math.nan], of[1:] / of[:-1] - 1.0])


def prices() -> dict[str, FloatVector]:
    chance = np.random.default_rng(11)
    market = chance.normal(0.0004, 0.011, len(EARLIER))
    found = {}
    for symbol, level, beta in zip(
        SYMBOLS, (100.0, 200.0, 300.0, 120.0, 250.0), (1.2, 1.0, 1.0, 1.1, 1.1), strict=True
    ):
        own = beta * market + (0.0 if symbol == "SPY" else chance.normal(0.0, 0.008, len(EARLIER)))
        found[symbol] = np.round(level * np.cumprod(1.0 + own), 2)
    return found


@pytest.fixture(scope="module")
async def api(engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine) -> AsyncIterator[Api]:
    """Emptied once: these tests read, and what one of them takes away it takes from a portfolio of its own."""
    async with client(engines, loops) as made:
        yield made


@pytest.fixture(scope="module")
async def world(api: Api) -> World:
    return await stored(api)


async def stored(api: Api) -> World:
    """A long and a short over 317 sessions with money coming in, and the prices of five symbols over 560, if they are not there."""
    identity = str((await api.create(CSV, equity_balance=str(EQUITY), price_basis="as_traded"))["id"])
    await api.complete(identity)
    price = prices()
    begin = len(EARLIER) - len(DAYS)
    pnl = np.zeros((len(DAYS), 2))
    for column, (symbol, quantity) in enumerate(HELD.items()):
        pnl[1:, column] = quantity * np.diff(price[symbol][begin:])
    pnl = np.round(pnl, 4)
    flow = np.zeros(len(DAYS))
    flow[FLOW_AT] = FLOW
    nav = np.round(EQUITY + np.cumsum(pnl.sum(axis=1) + flow), 4)
    base = np.concatenate([[EQUITY], nav[:-1]]) + flow
    world = World(identity, price, nav, pnl, pnl.sum(axis=1) / base)
    async with api.admin.begin() as conn:
        await conn.execute(
            text("INSERT INTO ingest.symbols (symbol) SELECT unnest(CAST(:s AS text[])) ON CONFLICT DO NOTHING"),
            {"s": list(SYMBOLS)},
        )
        there = await conn.scalar(text("SELECT EXISTS (SELECT FROM ingest.prices)"))
        for symbol in () if there else SYMBOLS:
            await conn.execute(
                text("""
                    INSERT INTO ingest.prices (symbol_id, session, close, adj_close, volume, total_return, return_basis, basis, provider,
                                               fetched_at, change)
                    SELECT s.id, v.session, v.close, v.close, v.volume, nullif(v.moved, 'NaN'), 'adjusted', 'as_traded', 'file', now(), 1
                    FROM ingest.symbols s, unnest(CAST(:days AS date[]), CAST(:close AS float8[]), CAST(:moved AS float8[]),
                                                  CAST(:volume AS float8[])) AS v (session, close, moved, volume)
                    WHERE s.symbol = :symbol
                """),
                {"symbol": symbol, "days": EARLIER, "close": price[symbol].tolist(), "moved": world.daily(symbol).tolist(),
                 "volume": [0.0 if symbol == "MSFT" else 5000.0] * len(EARLIER)},
            )  # fmt: skip
        await conn.execute(text(_SNAPSHOTS), _snapshots(world, flow, identity))
        await conn.execute(text(_HOLDINGS), _holdings(world, identity))
        if not there:
            await conn.execute(text(_PROXIES), {"days": DAYS, "model": MODEL_VERSION})
        await conn.execute(text(_RISK), _risk(world, identity))
    return world


_SNAPSHOTS = """
    INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
        gross_exposure, net_exposure, daily_pnl, daily_return, cumulative_pnl, realized_pnl, unrealized_pnl, dividends, flow,
        cumulative_flow, positions, long_positions, short_positions, coverage, quality)
    SELECT :id, v.session, 1, '1', v.nav, v.nav - v.long - v.short, v.long, v.short, v.long - v.short, v.long + v.short, v.pnl, v.r,
           0, 0, 0, 0, v.flow, 0, 2, 1, 1, 1, 'complete'
    FROM unnest(CAST(:days AS date[]), CAST(:nav AS numeric[]), CAST(:long AS numeric[]), CAST(:short AS numeric[]),
                CAST(:pnl AS numeric[]), CAST(:r AS float8[]), CAST(:flow AS numeric[])) AS v (session, nav, long, short, pnl, r, flow)
"""
_HOLDINGS = """
    INSERT INTO snapshots.holdings
    SELECT :id, v.session, 1, p.ids, '{AAPL,MSFT}', '{100,-50}', ARRAY[v.a, v.m], ARRAY[v.session, v.session], '{close,close}', '{0,0}',
           ARRAY[v.va, v.vm], ARRAY[v.pa, v.pm], '{0,0}', '{0,0}', '{0,0}', ARRAY['', '']
    FROM unnest(CAST(:days AS date[]), CAST(:a AS float8[]), CAST(:m AS float8[]), CAST(:va AS bigint[]), CAST(:vm AS bigint[]),
                CAST(:pa AS bigint[]), CAST(:pm AS bigint[])) AS v (session, a, m, va, vm, pa, pm),
         (SELECT array_agg(id ORDER BY symbol) AS ids FROM coordinator.positions WHERE portfolio_id = :id) p
"""
_PROXIES = """
    INSERT INTO factors.proxies (session, model_version, price_version, proxies, slopes, sigmas)
    SELECT unnest(CAST(:days AS date[])), :model, 1, '{SPY,NULL,NULL,MTUM,NULL,NULL,NULL,NULL}', '{1,NaN,NaN,1.1,NaN,NaN,NaN,NaN}',
           '{NaN,NaN,NaN,0.008,NaN,NaN,NaN,NaN}'
"""
_RISK = """
    INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk, symbols, weights, exposure_values,
        betas, proxies, exposures)
    SELECT :id, v.session, 1, :model, 'complete', 1, '{}', '{AAPL,MSFT}', '{1,-1}', ARRAY[v.a, v.m],
           '{1.2,NaN,NaN,0.5,NaN,NaN,NaN,NaN,1.0,NaN,NaN,-0.2,NaN,NaN,NaN,NaN}',
           '{SPY,NULL,NULL,MTUM,NULL,NULL,NULL,NULL}', CAST(v.e AS float8[])
    FROM unnest(CAST(:days AS date[]), CAST(:a AS float8[]), CAST(:m AS float8[]), CAST(:e AS text[])) AS v (session, a, m, e)
"""


def _own(world: World) -> dict[str, FloatVector]:
    begin = len(EARLIER) - len(DAYS)
    return {symbol: np.round(quantity * world.price[symbol][begin:], 4) for symbol, quantity in HELD.items()}


def _snapshots(world: World, flow: FloatVector, identity: str) -> dict[str, Any]:
    own = _own(world)
    return {
        "id": UUID(identity), "days": DAYS, "nav": world.nav.tolist(), "long": own["AAPL"].tolist(), "short": own["MSFT"].tolist(),
        "pnl": world.pnl.sum(axis=1).round(4).tolist(), "r": world.returns.tolist(), "flow": flow.tolist(),
    }  # fmt: skip


def _holdings(world: World, identity: str) -> dict[str, Any]:
    begin = len(EARLIER) - len(DAYS)
    own = _own(world)
    units = {name: np.rint(10_000 * own[name]).astype(int).tolist() for name in own}
    pnl = np.rint(10_000 * world.pnl).astype(int)
    return {
        "id": UUID(identity), "days": DAYS, "a": world.price["AAPL"][begin:].tolist(), "m": world.price["MSFT"][begin:].tolist(),
        "va": units["AAPL"], "vm": units["MSFT"], "pa": pnl[:, 0].tolist(), "pm": pnl[:, 1].tolist(),
    }  # fmt: skip


def exposures(world: World) -> dict[str, FloatVector]:
    """In money, by factor."""
    own = _own(world)
    return {"market": 1.2 * own["AAPL"] + 1.0 * own["MSFT"], "momentum": 0.5 * own["AAPL"] - 0.2 * own["MSFT"]}


def _risk(world: World, identity: str) -> dict[str, Any]:
    money, own = exposures(world), _own(world)
    arrays = []
    for at in range(len(DAYS)):
        parts = [f"{1},{float(money[name][at])!r},1" if name in money else "NaN,NaN,0" for name in EXPOSURES]
        arrays.append("{" + ",".join(parts) + "}")
    return {
        "id": UUID(identity), "days": DAYS, "a": own["AAPL"].tolist(), "m": own["MSFT"].tolist(), "e": arrays, "model": MODEL_VERSION,
    }  # fmt: skip


async def get(api: Api, world: World, path: str, **query: Any) -> dict[str, Any]:
    answer = await api.client.get(f"{PREFIX}/portfolios/{world.portfolio}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_performance_is_of_the_stored_snapshots(api: Api, world: World) -> None:
    found = await get(api, world, "performance", benchmark="spy")
    r = world.returns
    assert (found["from"], found["to"], found["sessions"], found["n_obs"]) == (
        str(BEGAN),
        str(AS_OF),
        len(DAYS),
        len(DAYS),
    )
    assert found["total_return"] == pytest.approx(empyrical.cum_returns_final(r))
    assert found["sharpe"] == pytest.approx(empyrical.sharpe_ratio(r))
    assert found["max_drawdown"] == pytest.approx(empyrical.max_drawdown(r))
    assert {(reason["figure"], reason["reason"]) for reason in found["reasons"]} == {("risk_free", "no_risk_free")}
    dated = [(0, EQUITY), ((DAYS[FLOW_AT] - BEGAN).days, FLOW)]
    annual = xirr(dated, (AS_OF - BEGAN).days, world.nav[-1])
    assert found["money_weighted_annual"] == pytest.approx(annual, rel=1e-12)
    assert found["money_weighted_return"] == pytest.approx((1 + annual) ** ((AS_OF - BEGAN).days / 365) - 1)
    market = world.daily("SPY")[-len(DAYS) :]
    assert found["benchmark"]["symbol"] == "SPY"
    assert found["benchmark"]["tracking_error"] == pytest.approx(empyrical.annual_volatility(r - market))
    assert len(found["items"]) == 15
    assert np.prod([1 + item["return"] for item in found["items"]]) - 1 == pytest.approx(found["total_return"])
    assert found["stale"] is False
    part = await get(api, world, "performance", **{"from": "2020-03-02", "to": "2020-03-31"})
    inside = np.array([date(2020, 3, 2) <= day <= date(2020, 3, 31) for day in DAYS])
    assert part["total_return"] == pytest.approx(np.prod(1 + r[inside]) - 1)
    assert part["sharpe"] is None
    assert "short_history" in {reason["reason"] for reason in part["reasons"]}


async def test_money_is_said_where_it_is_asked_for_and_in_no_other_figure(api: Api, world: World) -> None:
    plain = await get(api, world, "performance")
    assert plain["carry"] is None
    found = await get(api, world, "performance", interest="true", margin_spread=0.02, borrow_rate=0.01)
    own = _own(world)
    cash = np.concatenate([[EQUITY], (world.nav - own["AAPL"] - own["MSFT"])[:-1]])
    short = np.concatenate([[0.0], own["MSFT"][:-1]])
    balance = cash + short
    margin, borrow = np.minimum(balance, 0.0) * 0.02 / 252, short * 0.01 / 252
    # No curve is stored: the bill is 0, and the answer says so.
    assert (found["carry"]["interest"], "no_risk_free" in {r["reason"] for r in found["reasons"]}) == (0.0, True)
    assert found["carry"]["margin"] == pytest.approx(margin.sum(), abs=1e-6)
    assert found["carry"]["borrow"] == pytest.approx(borrow.sum())
    flow = np.zeros(len(DAYS))
    flow[FLOW_AT] = FLOW
    capital = np.concatenate([[EQUITY], world.nav[:-1]]) + flow
    assert found["carry"]["total_return"] == pytest.approx(np.prod(1 + world.returns + (margin + borrow) / capital) - 1)
    assert {k: v for k, v in found.items() if k != "carry"} == {k: v for k, v in plain.items() if k != "carry"}


async def test_nothing_is_borrowed_for_a_written_option(api: Api) -> None:
    """What is short and no option costs; the premium of one that is written is the writer's cash."""
    own = await stored(api)
    terms = {"interest": "true", "margin_spread": 0.02, "borrow_rate": 0.01}
    borrowed = (await get(api, own, "performance", **terms))["carry"]
    await api.run(
        "UPDATE coordinator.positions SET investment_class = 'OPTIONS' WHERE symbol = 'MSFT' AND portfolio_id = :id",
        id=UUID(own.portfolio),
    )
    written = (await get(api, own, "performance", **terms))["carry"]
    assert borrowed["borrow"] < 0.0
    assert written["borrow"] == 0.0
    cash = np.concatenate([[EQUITY], (own.nav - _own(own)["AAPL"] - _own(own)["MSFT"])[:-1]])
    assert written["margin"] == pytest.approx(np.minimum(cash, 0.0).sum() * 0.02 / 252, abs=1e-9)


async def test_performance_as_a_table_a_series_and_an_explanation(api: Api, world: World) -> None:
    sheet = await api.client.get(f"{PREFIX}/portfolios/{world.portfolio}/performance", headers={"Accept": "text/csv"})
    lines = sheet.text.splitlines()
    assert lines[0] == "month,sessions,return,benchmark"
    assert len(lines) == 16
    names = [f"performance.{name}" for name in FIGURES]
    before = perf_counter()
    series = await get(api, world, "risk/series", figures=",".join(names), **{"from": "2020-12-29"})
    assert perf_counter() - before < 2.0
    single = await get(api, world, "performance", to="2020-12-29")
    assert {name: values[0] for name, values in series["figures"].items()} == {
        f"performance.{name}": single[name] for name in FIGURES
    }
    why = await get(api, world, "explain", figure="performance.sharpe", session="2020-12-29")
    assert why["value"] == single["sharpe"]
    assert "standard deviation" in why["formula"]
    day = "2019-11-01"
    early = await get(api, world, "risk/series", figures="performance.sharpe", **{"from": day, "to": day})
    said = {"figure": "performance.sharpe", "symbol": None, "reason": "short_history", "from": day, "to": day}
    of_ratios = [reason for reason in early["reasons"] if str(reason["figure"]).startswith("performance.")]
    assert (early["figures"], of_ratios) == ({"performance.sharpe": [None]}, [said]), "of what is asked for alone"
    young = await get(api, world, "explain", figure="performance.sharpe", session=day)
    assert young["value"] is None
    assert ("performance.sharpe", "short_history") in {(of["figure"], of["reason"]) for of in young["reasons"]}
    refused = await api.client.get(
        f"{PREFIX}/portfolios/{world.portfolio}/risk/series", params={"figures": "performance.sharp"}
    )
    assert (refused.status_code, "performance.sharpe" in refused.text) == (404, True)


async def test_what_is_not_stored_is_refused_and_not_fetched(api: Api, world: World) -> None:
    for method, path, asked in (
        ("GET", "performance", {"params": {"benchmark": "NOPE"}}),
        ("POST", "what-if", {"json": {"trades": [{"symbol": "NOPE", "quantity": 1}]}}),
    ):
        answer = await api.client.request(method, f"{PREFIX}/portfolios/{world.portfolio}/{path}", **asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "not_fetched")
        assert "leadline import" in answer.json()["detail"]
        assert answer.json()["errors"][0]["value"] == "NOPE"
    assert await api.rows("SELECT 1 FROM coordinator.lookups") == []


async def test_a_missing_snapshot_breaks_the_chain_and_says_so(api: Api) -> None:
    world = await stored(api)
    own = UUID(world.portfolio)
    await api.run("DELETE FROM snapshots.snapshots WHERE session = '2020-06-01' AND portfolio_id = :id", id=own)
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0 WHERE session = '2020-06-01' AND phase = 'snapshots' AND portfolio_id = :id",
        id=own,
    )
    found = await get(api, world, "performance")
    assert found["total_return"] is None
    assert found["volatility"] is not None
    assert found["stale"] is True
    assert next(item for item in found["items"] if item["month"] == "2020-06")["return"] is None
    assert {r["reason"] for r in found["reasons"] if r["figure"] == "total_return"} == {"broken_chain"}
    parts = await get(api, world, "attribution")
    assert parts["total_return"] is None
    assert {item["contribution"] for item in parts["items"]} == {None}


async def test_an_attribution_adds_up_and_its_factors_are_a_plain_loop(api: Api, world: World) -> None:
    found = await get(api, world, "attribution")
    assert found["pnl"] == pytest.approx(world.pnl.sum())
    for part in ("items", "sectors", "factors"):
        known = [line for line in found[part] if line["contribution"] is not None]
        assert sum(line["contribution"] for line in known) == pytest.approx(found["total_return"], abs=1e-12), part
        assert sum(line["pnl"] for line in known) == pytest.approx(found["pnl"], abs=1e-3), part
    assert [item["pnl"] for item in found["items"]] == pytest.approx(world.pnl.sum(axis=0).tolist())
    lines = {line["factor"]: line for line in found["factors"]}
    money = exposures(world)
    spy, mtum = world.daily("SPY")[-len(DAYS) :], world.daily("MTUM")[-len(DAYS) :]
    market = sum(money["market"][t - 1] * spy[t] for t in range(1, len(DAYS)))
    momentum = sum(money["momentum"][t - 1] * (mtum[t] - 1.1 * spy[t]) for t in range(1, len(DAYS)))
    assert (lines["market"]["pnl"], lines["momentum"]["pnl"]) == pytest.approx((market, momentum), abs=1e-3)
    assert (lines["quality"]["pnl"], lines["untold"]["sessions"]) == (None, 0)
    assert {"factors.quality", "brinson"} <= {reason["figure"] for reason in found["reasons"]}
    day = await get(api, world, "attribution", **{"from": "2020-12-30", "to": "2020-12-30"})
    assert day["items"][0]["contribution"] == pytest.approx(world.pnl[-1, 0] / world.nav[-2])
    series = await get(
        api, world, "risk/series", figures="attribution.factors.market.pnl,attribution.positions.AAPL.contribution"
    )
    assert series["figures"]["attribution.factors.market.pnl"][-1] == pytest.approx(
        money["market"][-2] * spy[-1], abs=1e-3
    )
    why = await get(api, world, "explain", figure="attribution.factors.market.pnl")
    assert why["value"] == series["figures"]["attribution.factors.market.pnl"][-1]


async def test_an_attribution_without_exposures_is_untold(api: Api) -> None:
    world = await stored(api)
    await api.run(
        "DELETE FROM risk.results WHERE session = '2020-12-29' AND portfolio_id = :id", id=UUID(world.portfolio)
    )
    day = await get(api, world, "attribution", **{"from": "2020-12-30", "to": "2020-12-30"})
    lines = {line["factor"]: line for line in day["factors"]}
    assert lines["untold"]["pnl"] == pytest.approx(day["pnl"])
    assert lines["market"]["pnl"] is None


async def test_the_sector_stated_of_the_lots_that_are_held_counts_the_first_by_name(api: Api) -> None:
    """As risk has it: not that of a later lot before its entry, nor of one that has left while another is held."""
    lots = "XOM,1,2019-10-01,60,2020-06-03,47,Energy\nXOM,1,2020-06-01,45,2020-06-05,50,Utilities\n"
    header = "symbol,quantity,entry_date,entry_price,exit_date,exit_price,sector"
    made = await api.create(f"{header}\n{lots}", price_basis="as_traded")
    days = {
        date(2020, 5, 29): "Energy",
        date(2020, 6, 1): "Energy",
        date(2020, 6, 3): "Utilities",
        date(2020, 6, 8): "Energy",
    }
    async with api.admin.connect() as conn:
        for session, sector in days.items():
            assert await sector_names.find_sectors(conn, UUID(str(made["id"])), ["XOM"], session) == {"XOM": sector}, (
                session
            )


async def test_sectors_are_compared_with_the_chosen_benchmark(api: Api, world: World) -> None:
    """Two funds stand for two sectors; both holdings are technology."""
    await api.run(
        "INSERT INTO ingest.symbol_profiles (symbol_id, as_of, provider, sector, fetched_at) "
        "SELECT id, '2019-01-01', 'file', 'Technology', now() FROM ingest.symbols WHERE symbol IN ('AAPL', 'MSFT')"
    )
    for fund, of in (("XLK", "QQQ"), ("XLF", "SPY")):
        await api.run("INSERT INTO ingest.symbols (symbol) VALUES (:fund)", fund=fund)
        await api.run(
            """INSERT INTO ingest.prices (symbol_id, session, close, total_return, return_basis, basis, provider, fetched_at, change)
               SELECT f.id, p.session, p.close, p.total_return, 'adjusted', 'as_traded', 'file', now(), 1
               FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id AND s.symbol = :of, ingest.symbols f
               WHERE f.symbol = :fund""",
            fund=fund, of=of,
        )  # fmt: skip
    await api.run("INSERT INTO coordinator.versions (name, version) VALUES ('sector_benchmark', 'MINE')")
    answer = await api.client.put(
        f"{PREFIX}/benchmarks/MINE/2019-01-02", json={"weights": {"Information Technology": 0.6, "Financials": 0.4}}
    )
    assert answer.status_code == 200, answer.text
    found = (await get(api, world, "attribution", **{"from": "2020-06-01", "to": "2020-08-31"}))["brinson"]
    inside = np.array([date(2020, 6, 1) <= day <= date(2020, 8, 31) for day in DAYS])
    other = 0.6 * world.daily("QQQ")[-len(DAYS) :] + 0.4 * world.daily("SPY")[-len(DAYS) :]
    assert found["return"] == pytest.approx(np.prod(1 + other[inside]) - 1)
    assert found["active_return"] == pytest.approx(np.prod(1 + world.returns[inside]) - 1 - found["return"])
    effects = [line[name] for line in found["sectors"] for name in ("allocation", "selection")]
    assert sum(effects) == pytest.approx(found["active_return"])
    assert [line["sector"] for line in found["sectors"]] == ["Financials", "Information Technology", "cash"]


async def test_liquidity_counts_shares_of_the_session(api: Api, world: World) -> None:
    found = await get(api, world, "liquidity", session="2020-12-30", share=0.1)
    items = {item["symbol"]: item for item in found["items"]}
    assert (items["AAPL"]["adv"], items["AAPL"]["days"]) == (5000.0, pytest.approx(0.2))
    assert (items["MSFT"]["days"], items["MSFT"]["reason"]) == (None, "no_volume")
    assert [part["share"] for part in found["within"]] == pytest.approx([1 - found["unknown_share"]] * 3)
    await api.run(
        """INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
           SELECT id, :day, 'split', 4, :day, 'file', now(), 1 FROM ingest.symbols WHERE symbol = 'AAPL'""",
        day=DAYS[-21],
    )
    after = await get(api, world, "liquidity", session="2020-12-30", share=0.1)
    assert next(i for i in after["items"] if i["symbol"] == "AAPL")["adv"] == pytest.approx(5000 * (42 * 4 + 21) / 63)
    # Of every session, with the splits that were known by then.
    names = ["liquidity.positions.AAPL.adv", "liquidity.within.5", "liquidity.positions.MSFT.days"]
    over_time = (await get(api, world, "risk/series", figures=",".join(names)))["figures"]
    assert (over_time[names[0]][-1], over_time[names[0]][-22]) == (pytest.approx(5000 * (42 * 4 + 21) / 63), 5000.0)
    usual = await get(api, world, "liquidity")
    assert over_time[names[1]][-1] == next(part["share"] for part in usual["within"] if part["sessions"] == 5)
    assert set(over_time[names[2]]) == {None}
    why = (await get(api, world, "explain", figure=names[2]))["reasons"]
    assert ("liquidity.days", "MSFT", "no_volume") in {(of["figure"], of["symbol"], of["reason"]) for of in why}
    why = await get(api, world, "explain", figure="liquidity.positions.AAPL.days")
    assert why["value"] == next(i["days"] for i in usual["items"] if i["symbol"] == "AAPL")
    assert {item["kind"] for item in why["inputs"]} >= {"price", "action"}


async def test_a_replay_is_of_the_holdings_where_it_is_past_and_of_the_factors_always(api: Api, world: World) -> None:
    asked = {"from": "2020-02-19", "to": "2020-03-23"}
    found = await get(api, world, "stress/replay", session="2020-12-30", **asked)
    a, b = EARLIER.index(date(2020, 2, 19)), EARLIER.index(date(2020, 3, 23))
    moved = {symbol: world.price[symbol][b] / world.price[symbol][a] - 1 for symbol in SYMBOLS}
    value = {symbol: HELD[symbol] * world.price[symbol][-1] for symbol in HELD}
    items = {item["symbol"]: item for item in found["items"]}
    assert found["sessions"] == b - a
    assert items["AAPL"]["own_return"] == pytest.approx(moved["AAPL"])
    assert found["positions"]["money"] == pytest.approx(sum(value[s] * moved[s] for s in HELD))
    by_market = 1.2 * moved["SPY"] + 0.5 * (moved["MTUM"] - 1.1 * moved["SPY"])
    assert items["AAPL"]["factor_return"] == pytest.approx(by_market)
    assert sum(x for x in found["factors"]["by_factor"].values() if x is not None) == pytest.approx(
        found["factors"]["money"]
    )
    assert "replay.factors.quality" in {reason["figure"] for reason in found["reasons"]}
    early = await get(api, world, "stress/replay", session="2020-03-02", **asked)
    assert early["positions"] is None
    assert "window_not_past" in {reason["reason"] for reason in early["reasons"]}
    assert early["factors"] is not None
    for query, status in (
        ({"from": "2020-03-21", "to": "2020-03-22"}, 400),
        ({"from": "2020-03-21", "to": "2021-03-22"}, 404),
        ({"from": "2020-03-23", "to": "2020-02-19"}, 400),
    ):
        answer = await api.client.get(f"{PREFIX}/portfolios/{world.portfolio}/stress/replay", params=query)
        assert answer.status_code == status, answer.text


async def test_a_fund_is_looked_through_with_the_newest_list_of_the_session(api: Api, world: World) -> None:
    """The short is a fund of two names here, of which one is held itself."""
    path = f"{PREFIX}/funds/msft/holdings"
    body = {"holdings": [{"symbol": "AAPL", "weight": 0.5}, {"symbol": "XOM", "weight": "0.3", "sector": "Energy"}]}
    refused = await api.client.put(f"{path}/2020-06-30", json={"holdings": [{"symbol": "A", "weight": 7}]})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "ERR_FUND_006")
    assert (await api.client.put(f"{path}/2020-06-30?dry_run=true", json=body)).json()["changed"] is False
    assert (await api.client.get(f"{PREFIX}/funds")).json() == {"items": []}
    for changed in (True, False):
        put = await api.client.put(f"{path}/2020-06-30", json=body)
        assert (put.status_code, put.json()["changed"], put.json()["told"]) == (200, changed, pytest.approx(0.8))
    later = {"holdings": [{"symbol": "KO", "weight": 1}]}
    assert (await api.client.put(f"{path}/2020-12-30", json=later)).status_code == 200
    found = await get(api, world, "look-through", session="2020-12-29")
    at = EARLIER.index(date(2020, 12, 29))
    value = {symbol: HELD[symbol] * world.price[symbol][at] for symbol in HELD}
    nav = world.nav[at - len(EARLIER)]
    [fund] = found["funds"]
    assert (fund["symbol"], fund["as_of"], fund["holdings"], fund["told"]) == (
        "MSFT",
        "2020-06-30",
        2,
        pytest.approx(0.8),
    )
    assert found["looked_through"] == pytest.approx(0.8)
    items = {item["symbol"]: item for item in found["items"]}
    assert items["AAPL"]["money"] == pytest.approx(value["AAPL"] + 0.5 * value["MSFT"])
    assert items["XOM"]["weight"] == pytest.approx(0.3 * value["MSFT"] / nav)
    assert sum(item["money"] for item in found["items"]) == pytest.approx(sum(value.values()))
    sectors = {of["sector"]: of for of in found["sectors"]}
    assert sectors["Energy"]["net"] == sectors["Energy"]["short"] == pytest.approx(0.3 * value["MSFT"] / nav)
    assert sectors["ETF"]["direct"] == pytest.approx(0.2 * value["MSFT"] / nav)
    gross = np.array([value["AAPL"] - 0.5 * value["MSFT"], -0.3 * value["MSFT"], -0.2 * value["MSFT"]])
    assert found["concentration"]["hhi"] == pytest.approx(10_000 * ((gross / gross.sum()) ** 2).sum())
    newest = await get(api, world, "look-through", most=1)
    assert (newest["funds"][0]["as_of"], len(newest["items"]), newest["names"]) == ("2020-12-30", 1, 2)
    before = await get(api, world, "look-through", session="2020-06-29")
    assert before["funds"] == []
    names = ["look_through.items.AAPL.money", "look_through.looked_through", "look_through.sectors.Energy.net"]
    over_time = await get(
        api, world, "risk/series", figures=",".join(names), **{"from": "2020-06-29", "to": "2020-12-29"}
    )
    figures, days = over_time["figures"], over_time["sessions"]
    assert (days[0], days[-1]) == ("2020-06-29", "2020-12-29")
    assert [figures[name][-1] for name in names] == [
        items["AAPL"]["money"], found["looked_through"], sectors["Energy"]["net"],
    ]  # fmt: skip
    listed = days.index("2020-06-30")
    assert figures[names[1]] == [None] * listed + [pytest.approx(0.8)] * (len(days) - listed)
    why = await get(api, world, "explain", figure="look_through.concentration.hhi", session="2020-12-29")
    assert why["value"] == found["concentration"]["hhi"]
    assert {"fund_list", "snapshot", "price"} <= {item["kind"] for item in why["inputs"]}
    assert [i["from"] for i in why["inputs"] if i["kind"] == "fund_list"] == ["2020-06-30"]
    told = await get(api, world, "explain", figure="look_through.funds.MSFT.told", session="2020-12-29")
    assert told["value"] == pytest.approx(0.8)
    for day in ("2020-06-30", "2020-12-30"):
        assert (await api.client.delete(f"{path}/{day}")).status_code == 200
    assert (await api.client.delete(f"{path}/2020-06-30")).status_code == 404
    assert (await api.client.get(f"{PREFIX}/funds", params={"symbol": "MSFT"})).json() == {"items": []}


async def test_betas_to_funds_of_sectors_are_of_the_books_own_series(api: Api, world: World) -> None:
    await api.run(
        """WITH fund AS (INSERT INTO ingest.symbols (symbol) VALUES ('XLV') ON CONFLICT DO NOTHING RETURNING id)
           INSERT INTO ingest.prices (symbol_id, session, close, total_return, return_basis, basis, provider, fetched_at, change)
           SELECT fund.id, p.session, p.close, p.total_return, 'adjusted', 'as_traded', 'file', now(), 1
           FROM fund, ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id WHERE s.symbol = 'QQQ'"""
    )
    found = await get(api, world, "sector-exposures")
    items = {item["sector"]: item for item in found["items"]}
    weight = {symbol: HELD[symbol] * world.price[symbol][-1] / world.nav[-1] for symbol in HELD}
    book = sum(weight[symbol] * world.daily(symbol)[-252:] for symbol in HELD)
    market, fund = world.daily("SPY")[-252:], world.daily("QQQ")[-252:]
    beta = np.linalg.lstsq(np.column_stack([np.ones(252), market, fund]), book, rcond=None)[0][2]
    assert (items["Health Care"]["fund"], items["Health Care"]["n_obs"]) == ("XLV", 252)
    assert items["Health Care"]["beta"] == pytest.approx(beta)
    assert items["Health Care"]["money"] == pytest.approx(beta * world.nav[-1])
    assert (items["Utilities"]["beta"], items["Utilities"]["reason"]) == (None, "no_sector_fund")
    names = [
        "sector_exposures.Health Care.beta",
        "sector_exposures.Utilities.reason",
        "sector_exposures.covered_weight",
    ]
    whole = await get(api, world, "risk/series", figures=",".join(names), **{"from": "2020-12-01"})
    over_time, told = whole["figures"], {(of["figure"], of["reason"]) for of in whole["reasons"]}
    assert ("sector_exposures.Utilities", "no_sector_fund") in told
    assert "sector_exposures.Energy" not in {figure for figure, _ in told}, "of what is asked for alone"
    utilities = await get(api, world, "explain", figure="sector_exposures.Utilities.beta")
    assert {("sector_exposures.Utilities", "no_sector_fund")} <= {
        (of["figure"], of["reason"]) for of in utilities["reasons"]
    }
    assert [over_time[name][-1] for name in names] == [
        items["Health Care"]["beta"],
        "no_sector_fund",
        found["covered_weight"],
    ]
    early = await get(api, world, "sector-exposures", session="2020-12-01")
    close = await api.client.get(
        f"{PREFIX}/portfolios/{world.portfolio}/risk/series", params={"figures": "sector_exposures.Healthcare.beta"}
    )
    assert (close.status_code, "sector_exposures.Health Care.beta" in close.text) == (404, True)
    assert over_time[names[0]][0] == {item["sector"]: item for item in early["items"]}["Health Care"]["beta"]
    why = await get(api, world, "explain", figure=names[0])
    assert why["value"] == items["Health Care"]["beta"]
    assert {"AAPL", "MSFT", "XLV"} <= {item["symbol"] for item in why["inputs"] if item["kind"] == "price"}
    asked = {"from": "2020-02-19", "to": "2020-03-23", "session": "2020-12-30"}
    funds = {of["fund"]: of["return"] for of in (await get(api, world, "stress/replay", **asked))["sector_funds"]}
    a, b = EARLIER.index(date(2020, 2, 19)), EARLIER.index(date(2020, 3, 23))
    assert funds["XLV"] == pytest.approx(world.price["QQQ"][b] / world.price["QQQ"][a] - 1)
    assert funds["XLU"] is None


async def test_what_if_says_before_and_after_and_stores_nothing(api: Api, world: World) -> None:
    tables = (
        "coordinator.positions",
        "ledger.units",
        "snapshots.holdings",
        "risk.results",
        "bus.outbox",
        "coordinator.runs",
    )
    counts = [await api.rows(f"SELECT count(*) FROM {table}") for table in tables]
    path = f"{PREFIX}/portfolios/{world.portfolio}/what-if"
    answer = await api.client.post(
        path, json={"trades": [{"symbol": "SPY", "quantity": -30}, {"symbol": "aapl", "quantity": -40}]}
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [await api.rows(f"SELECT count(*) FROM {table}") for table in tables] == counts
    before, after = found["before"], found["after"]
    value = {symbol: HELD[symbol] * world.price[symbol][-1] for symbol in HELD}
    spy = -30 * world.price["SPY"][-1]
    nav = world.nav[-1]
    beta = {factor["factor"]: factor["beta"] for factor in after["factors"]}
    assert beta["market"] == pytest.approx((1.2 * 0.6 * value["AAPL"] + value["MSFT"] + spy) / nav)
    assert (beta["quality"], after["nav"]) == (None, before["nav"])
    assert after["cash"] - before["cash"] == pytest.approx(0.4 * value["AAPL"] - spy)
    for side, held in ((before, {"AAPL": 1.0, "MSFT": 1.0}), (after, {"AAPL": 0.6, "MSFT": 1.0})):
        path_of_returns = sum(held[s] * value[s] / nav * world.daily(s)[-504:] for s in held)
        if side is after:
            path_of_returns = path_of_returns + spy / nav * world.daily("SPY")[-504:]
        assert side["volatility"]["realized_252"] == pytest.approx(empyrical.annual_volatility(path_of_returns[-252:]))
        [tail] = [tail for tail in side["var"] if tail["level"] == 0.95]
        assert (tail["var"], tail["n_obs"]) == (pytest.approx(-np.quantile(path_of_returns, 0.05)), 504)
    hedge = before["hedge"]
    assert hedge == {
        "symbol": "SPY",
        "money": pytest.approx(-(1.2 * value["AAPL"] + value["MSFT"])),
        "quantity": pytest.approx(-(1.2 * value["AAPL"] + value["MSFT"]) / world.price["SPY"][-1]),
    }
    hedged = await api.client.post(path, json={"trades": [{"symbol": "SPY", "quantity": hedge["quantity"]}]})
    of_market = {factor["factor"]: factor["beta"] for factor in hedged.json()["after"]["factors"]}["market"]
    assert of_market == pytest.approx(0.0, abs=1e-12), "the trade that is named does what is said of it"
    assert hedged.json()["after"]["hedge"]["money"] == pytest.approx(0.0, abs=1e-6)
    nobody = (await api.client.post(path, json={"trades": [{"symbol": "QQQ", "quantity": 10}]})).json()
    assert {reason["symbol"] for reason in nobody["reasons"]} == {None}, "its betas are fitted on what is stored"
    factors = np.full((len(FACTOR_NAMES), 252), math.nan)
    for name, fund in (("market", "SPY"), ("momentum", "MTUM")):
        factors[FACTOR_NAMES.index(name)] = world.daily(fund)[-252:]
    fitted = joint_betas(world.daily("QQQ")[-252:], factors)[0]
    moved = 1.2 * value["AAPL"] + value["MSFT"] + fitted * 10 * world.price["QQQ"][-1]
    assert {of["factor"]: of["beta"] for of in nobody["after"]["factors"]}["market"] == pytest.approx(moved / nav)
    assert len(FACTOR_NAMES) == len(nobody["after"]["factors"])
    bodies: list[dict[str, Any]] = [
        {"trades": []},
        {"trades": [{"symbol": "SPY", "quantity": 0}]},
        {"trades": [{"symbol": "SPY", "quantity": "x"}]},
        {"trades": [{"symbol": "SPY", "quantity": 1}], "session": "2020-12-26"},
    ]
    for body in bodies:
        refused = await api.client.post(path, json=body)
        assert refused.status_code == (404 if "session" in body else 422), refused.text


async def test_an_option_bought_new_is_asked_about_at_what_its_closes_imply(api: Api, world: World) -> None:
    """A put on what is held takes market risk away; of one without its underlying's close nothing is said after the trade."""
    put, unknown = "AAPL210618P00100000", "ZZZZ210618P00010000"
    spot = float(world.price["AAPL"][-1])
    [price] = terms(contract_of(put), AS_OF, 1.0, spot, 0.4).returns(np.array([0.0001])) + 1.0
    for symbol, close in ((put, float(price)), (unknown, 1.0)):
        await api.run("INSERT INTO ingest.symbols (symbol) VALUES (:s) ON CONFLICT DO NOTHING", s=symbol)
        await api.run(
            """INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
               SELECT id, :day, :close, 'as_traded', 'file', now(), 1 FROM ingest.symbols WHERE symbol = :s""",
            s=symbol, day=AS_OF, close=close,
        )  # fmt: skip
    path = f"{PREFIX}/portfolios/{world.portfolio}/what-if"
    found = (await api.client.post(path, json={"trades": [{"symbol": put, "quantity": 2}]})).json()
    of = greeks(contract_of(put), AS_OF, float(price), spot)
    assert of is not None
    betas = [
        {line["factor"]: line["beta"] for line in found[side]["factors"]}["market"] for side in ("before", "after")
    ]
    assert betas[1] - betas[0] == pytest.approx(200 * of.delta * spot * 1.2 / world.nav[-1])
    assert found["trades"][0]["money"] == pytest.approx(-200 * price)
    levels = [{line["level"]: line["var"] for line in found[side]["var"]} for side in ("before", "after")]
    assert levels[1][0.95] < levels[0][0.95]
    assert {reason["symbol"] for reason in found["reasons"]} == {None}
    nothing = (await api.client.post(path, json={"trades": [{"symbol": unknown, "quantity": 1}]})).json()
    assert set(nothing["after"]["volatility"].values()) == {None}
    assert nothing["before"] == found["before"]
    assert (unknown, "no_delta") in {(reason["symbol"], reason["reason"]) for reason in nothing["reasons"]}


def contract_of(symbol: str) -> Occ:
    found = parse_occ(symbol)
    assert found is not None
    return found
