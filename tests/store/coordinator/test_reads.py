"""Status and results: exact keys, null for what is unknown, stale where behind, 404 where there is nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.coordinator.api import status
from services.coordinator.results.portfolios import SNAPSHOT_FIELDS
from shared.market.reasons import info
from tests.store.coordinator.conftest import PREFIX, Api
from tests.support.answers import ENVELOPE
from tests.support.waiting import until


async def complete_with_results(api: Api) -> str:
    """A portfolio whose last two sessions have stored results; NaN stands in every array that may hold one."""
    identity = str((await api.create())["id"])
    await api.complete(identity)
    for session, nav in (("2020-12-29", 100_000.5), ("2020-12-30", 100_010.25)):
        await api.run(
            """
            INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value,
                short_value, gross_exposure, net_exposure, daily_pnl, cumulative_pnl, realized_pnl, unrealized_pnl, dividends,
                flow, cumulative_flow, positions, long_positions, short_positions, coverage, quality)
            VALUES (:id, :session, 1, '1', CAST(:nav AS float8), CAST(:nav AS float8) - 13000,
                    13000, 0, 13000, 13000, 9.75, 10.25, 0, 10.25, 0, 0, 0, 2, 1,
                    0, 1, 'complete')
            """,
            id=UUID(identity), session=date.fromisoformat(session), nav=nav,
        )  # fmt: skip
    await api.run(
        """
        INSERT INTO snapshots.holdings
        SELECT portfolio_id, '2020-12-30', 1, array_agg(id ORDER BY symbol), array_agg(symbol ORDER BY symbol), '{100,0}',
               '{130,NaN}', ARRAY['2020-12-30'::date, NULL], '{close,close}', '{0,9}', '{130000000,0}', '{97500,0}',
               '{17700,-15650}', '{0,-15650}', '{0,0}', '{"",unpriceable}'
        FROM coordinator.positions GROUP BY portfolio_id
        """
    )
    await api.run(
        """
        INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, reasons, risk,
            symbols, weights, exposure_values, betas, beta_reasons, realized_252, forecast_21, har, series_reasons, excluded,
            contributions, contribution_shares, proxies, exposures, exposure_limited, exposure_reasons, model_factors, factor_shares)
        VALUES (:id, '2020-12-29', 1, '1', 'partial', 0.9, '[{"figure": "rates", "symbol": null, "reason": "no_proxy"}]',
                '{"volatility": {"realized_21": 0.2}, "benchmark_date": null, "decomposition": {"volatility": 0.25}}',
                '{AAPL,MSFT}', '{0.6,NaN}', '{60,NaN}', '{1.1,NaN,NaN,0.2,0.3,0.4,0.5,NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN}',
                '{NULL,unpriceable}', '{0.3,NaN}', '{0.4,0.2}', '{t,f}', '{NULL,unpriceable}', '{NULL,unpriceable}', '{0.2}', '{NaN}',
                '{^GSPC,VLUE,NULL,MTUM,QUAL,SIZE,USMV,NULL}', array_fill(0.5::float8, '{42}') || '{NaN,NaN,0.7}',
                array_fill(true, '{15}'), array_fill(NULL::text, '{14}') || '{low_coverage}', '{market}', '{0.9}')
        """,
        id=UUID(identity),
    )
    # Risk of the last session is not done: the newest completed one is the day before.
    await api.run("UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'risk' AND session = '2020-12-30'")
    return identity


async def test_what_was_computed_while_a_price_was_waited_for_is_still_healing(api: Api) -> None:
    """Every unit is complete, and some will be computed anew: nobody is told that it is all there."""
    identity = (await api.create())["id"]
    await api.complete(identity)

    async def states() -> tuple[str, str]:
        status = (await api.client.get(f"{PREFIX}/portfolios/{identity}/status")).json()
        [item] = (await api.client.get(f"{PREFIX}/portfolios")).json()["items"]
        return status["state"], item["state"]

    assert await states() == ("complete", "complete")
    await api.run("UPDATE ledger.units SET provisional = true WHERE phase = 'risk' AND session = '2020-12-30'")
    assert await states() == ("healing", "healing")


async def test_a_restatement_says_that_a_price_arrived_late(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run("UPDATE snapshots.snapshots SET provisional = true WHERE session = '2020-12-30'")
    await api.run("""
        UPDATE snapshots.snapshots SET provisional = false, revision = 2, drawdown = -0.5 WHERE session = '2020-12-30'
    """)
    await api.run("UPDATE snapshots.snapshots SET revision = 2, drawdown = -0.4 WHERE session = '2020-12-29'")
    items = (await api.client.get(f"{PREFIX}/portfolios/{identity}/restatements?figure=snapshots.drawdown")).json()[
        "items"
    ]
    causes = {(item["session"], item["figure"], item["cause"]) for item in items}
    assert causes == {
        ("2020-12-30", "snapshots.drawdown", "price arrived late"), ("2020-12-29", "snapshots.drawdown", None)
    }  # fmt: skip


async def test_status_counts_and_names_holes_and_partials(api: Api) -> None:
    identity = (await api.create())["id"]
    await api.complete(identity)
    await api.run(
        """
        UPDATE ledger.units SET completed_revision = 0
        WHERE (phase, session) IN (('risk', '2020-12-22'), ('risk', '2020-12-23'), ('risk', '2020-12-28'), ('factors', '2020-12-28'))
        """
    )
    await api.run(
        """
        UPDATE ledger.units SET quality = 'partial', coverage = 0.9 + extract(day FROM session) / 1000, reasons = CAST(:reasons AS jsonb)
        WHERE phase = 'snapshots' AND session BETWEEN '2020-12-22' AND '2020-12-28'
        """,
        reasons=json.dumps([{"figure": f, "symbol": "X", "reason": "unpriceable"} for f in ("nav", "pnl")]),
    )
    await api.run("UPDATE ledger.schedule SET runs = 3, last_error = 'division by zero' WHERE phase = 'risk'")
    await api.run(
        "UPDATE ledger.schedule SET lease_owner = 'me', lease_until = now() + interval '1 minute' WHERE phase = 'factors'"
    )
    status = (await api.client.get(f"{PREFIX}/portfolios/{identity}/status")).json()
    assert set(status) == {
        "id", "state", "processed", "coverage_min", "coverage_gate", "needs_you", "complete_to",
        "as_of", "first_session", "last_session", "expected", "completed", "partial", "phases", "holes",
        "holes_total", "partials", "partials_total", "price_basis", "refusals", "curve",
    }  # fmt: skip
    assert (status["state"], status["as_of"]) == ("healing", "2020-12-30")
    assert (status["first_session"], status["last_session"]) == ("2020-12-21", "2020-12-30")
    assert (status["expected"], status["completed"], status["partial"]) == (28, 24, 4)
    assert status["phases"]["risk"] == {"expected": 7, "completed": 4}
    assert status["processed"] == pytest.approx(24 / 28)
    assert (status["coverage_min"], status["coverage_gate"], status["complete_to"]) == (0.922, 0.8, "2020-12-21")
    assert [(need["symbol"], need["reason"]) for need in status["needs_you"]] == [("X", "unpriceable")]
    holes = [(h["from"], h["to"], h["phase"], h["state"], h["reason"], h["attempts"]) for h in status["holes"]]
    assert holes == [
        ("2020-12-22", "2020-12-23", "risk", "retrying", "division by zero", 3),
        ("2020-12-28", "2020-12-28", "factors", "running", None, 0),
        ("2020-12-28", "2020-12-28", "risk", "retrying", "division by zero", 3),
    ]
    assert all(
        set(hole) == {"from", "to", "phase", "state", "reason", "reasons", "symbols", "attempts", "next_at"}
        for hole in status["holes"]
    )
    assert status["holes_total"] == 3
    assert status["partials"] == [
        {
            "from": "2020-12-22", "to": "2020-12-28", "phase": "snapshots", "coverage": 0.922,
            "reasons": [
                {
                    "figure": None, "symbol": "X", "reason": "unpriceable", "severity": "nav", "acts": "you", "until": None,
                    "provider": None, "remedy": info("unpriceable").remedy,
                }
            ],
        }
    ]  # fmt: skip


async def test_an_ingest_hole_names_the_symbols_it_waits_for(api: Api) -> None:
    identity = (await api.create())["id"]
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL'), ('ZZZ'), ('SPY')")
    await api.run(
        """
        INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
        SELECT id, '2020-12-01', '2020-12-30', 'rate_limited', false, 'file,test,other', now(), '2100-01-02 19:50Z'
        FROM ingest.symbols
        """
    )
    await api.run(
        """
        INSERT INTO ingest.providers (provider, account, closed_until, closed_by) VALUES
            ('test', '1', now() + interval '1 hour', 'rate_limited'), ('other', '2', now() - interval '1 hour', 'rate_limited')
        """
    )
    # What the schedule wrote when it was put off hides nothing.
    await api.run("UPDATE ledger.schedule SET last_error = 'waiting for a provider' WHERE phase = 'ingest'")
    status = (await api.client.get(f"{PREFIX}/portfolios/{identity}/status")).json()
    ingest = next(hole for hole in status["holes"] if hole["phase"] == "ingest")
    assert (ingest["symbols"], ingest["state"]) == (["AAPL"], "waiting")
    assert ingest["reason"] == "rate_limited (test) until 2100-01-02 19:50 UTC: AAPL"
    assert [(of["symbol"], of["reason"], of["provider"], of["until"]) for of in ingest["reasons"]] == [
        (symbol, "rate_limited", "test", "2100-01-02T19:50:00Z") for symbol in ("AAPL",)
    ]
    assert status["needs_you"] == []
    assert next(hole for hole in status["holes"] if hole["phase"] == "risk")["symbols"] == []


async def test_no_more_than_200_holes_are_listed_and_all_are_counted(api: Api) -> None:
    answer = await api.create("symbol,quantity,entry_date,entry_price\nSPY,5,2018-01-02,268\n")
    await api.complete(answer["id"])
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'risk' AND extract(dow FROM session) = 3"
    )
    holes = (await api.rows("SELECT count(*) FROM ledger.units WHERE completed_revision = 0"))[0][0]
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'factors' AND extract(dow FROM session) = 3"
    )
    status = (await api.client.get(f"{PREFIX}/portfolios/{answer['id']}/status")).json()
    assert 100 < holes < 200
    assert (len(status["holes"]), status["holes_total"]) == (200, 2 * holes)


async def test_snapshots_come_oldest_first_with_every_field(api: Api) -> None:
    identity = await complete_with_results(api)
    answer = (await api.client.get(f"{PREFIX}/portfolios/{identity}/snapshots")).json()
    assert [item["session"] for item in answer["items"]] == ["2020-12-29", "2020-12-30"]
    assert set(answer["items"][0]) == {*SNAPSHOT_FIELDS, "reasons", "stale"}
    assert answer["items"][0]["nav"] == 100_000.5
    assert answer["items"][0]["daily_return"] is None
    last = (await api.client.get(f"{PREFIX}/portfolios/{identity}/snapshots", params={"from": "2020-12-30"})).json()
    assert [item["session"] for item in last["items"]] == ["2020-12-30"]


async def test_positions_have_weights_and_null_for_what_was_never_priced(api: Api) -> None:
    identity = await complete_with_results(api)
    answer = (await api.client.get(f"{PREFIX}/portfolios/{identity}/positions")).json()
    assert set(answer) == ENVELOPE | {"items"}
    assert (answer["session"], answer["stale"]) == ("2020-12-30", False)
    aapl, msft = answer["items"]
    assert set(aapl) == {
        "position_id", "symbol", "quantity", "entry_date", "entry_price", "price", "price_session", "price_basis",
        "market_value", "weight", "daily_pnl", "cumulative_pnl", "realized_pnl", "unrealized_pnl", "dividends", "quality", "reason",
        "reasons",
    }  # fmt: skip
    assert (aapl["market_value"], aapl["daily_pnl"], aapl["unrealized_pnl"]) == (13000.0, 9.75, 1.77)
    assert aapl["weight"] == pytest.approx(13000 / 100_010.25, rel=1e-12)
    assert (aapl["entry_date"], aapl["entry_price"]) == ("2020-12-21", 128.23)
    assert (msft["quantity"], msft["price"], msft["price_session"]) == (0.0, None, None)
    assert (msft["quality"], msft["reason"]) == ("partial", "unpriceable")


NO_TAIL = {"component": None, "marginal": None, "incremental": None}


async def test_the_newest_completed_session_is_answered_unless_one_is_named(api: Api) -> None:
    identity = await complete_with_results(api)
    url = f"{PREFIX}/portfolios/{identity}"
    newest = (await api.client.get(f"{url}/risk")).json()
    assert set(newest) == ENVELOPE | {
        "volatility", "benchmark", "benchmark_date", "decomposition", "positions", "scorecard",
    }  # fmt: skip
    assert newest["positions"] == [
        {
            "symbol": "AAPL",
            "realized_252": 0.3,
            "forecast_21": 0.4,
            "method": "combined",
            "es_975": NO_TAIL,
            "reason": None,
        },
        {
            "symbol": "MSFT",
            "realized_252": None,
            "forecast_21": 0.2,
            "method": "ewma",
            "es_975": NO_TAIL,
            "reason": "unpriceable",
        },
    ]
    assert newest["decomposition"] == {
        "volatility": 0.25, "excluded": [{"symbol": "MSFT", "reason": "unpriceable"}], "factors": [{"factor": "market", "share": 0.9}],
        "contributions": [{"symbol": "AAPL", "weight": 0.6, "contribution": 0.2, "share": None}],
    }  # fmt: skip
    assert (newest["session"], newest["stale"], newest["coverage"]) == ("2020-12-29", False, 0.9)
    assert newest["reasons"][0] == {
        "figure": "rates", "symbol": None, "reason": "no_proxy", "severity": "figure", "acts": "you", "until": None,
        "provider": None, "remedy": "Add prices of one of the factor's proxies",
    }  # fmt: skip
    assert {reason["figure"] for reason in newest["reasons"][1:]} == {
        "scorecard.har_qlike", "scorecard.ewma_qlike", "scorecard.mean_error", "scorecard.var_95",
    }  # fmt: skip
    exposures = (await api.client.get(f"{url}/factor-exposures")).json()
    assert set(exposures) == ENVELOPE | {"proxies", "factors", "positions"}
    assert exposures["factors"][0] == {
        "factor": "market", "label": "market", "set": "joint", "beta": 0.5, "money": 0.5, "covered_weight": 0.5, "stderr_hac": None,
        "t_hac": None, "quality": "limited", "reason": None,
    }  # fmt: skip
    assert exposures["factors"][-1] == {
        "factor": "spread_quality", "label": "spread quality", "set": "reported", "beta": None, "money": None, "covered_weight": 0.7,
        "stderr_hac": None, "t_hac": None, "quality": "none", "reason": "low_coverage",
    }  # fmt: skip
    assert exposures["positions"][0]["betas"]["momentum"] == 0.2
    assert exposures["positions"][1]["weight"] is exposures["positions"][1]["betas"]["market"] is None
    # Required again, not yet done: the old values, and said to be old.
    await api.run("UPDATE ledger.units SET required_revision = required_revision + 1 WHERE phase = 'risk'")
    assert (await api.client.get(f"{url}/risk", params={"session": "2020-12-29"})).json()["stale"] is True
    for path, session in (
        ("risk", "2020-12-30"),
        ("risk", "2020-12-26"),
        ("correlations", "2020-12-29"),
        ("stress", ""),
    ):
        params = {"session": session} if session else {}
        answer = await api.client.get(f"{url}/{path}", params=params)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_symbol_facts_have_names_and_no_nan(api: Api) -> None:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('BRK.B')")
    await api.run(
        """
        INSERT INTO factors.proxies VALUES ('2020-12-30', '1', 7, '{^GSPC,VLUE,NULL,MTUM,QUAL,SIZE,USMV,NULL}', '{}', '{}')
        """
    )
    await api.run(
        """
        INSERT INTO factors.exposures
        SELECT id, '2020-12-30', '1', 7, '{0.8,0.0001,0.5,0.05,0.06,13.3}', 0.81, 'NaN',
               '{NaN,NaN,NaN,-7.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}', '{0.8,0.1,NaN,0.2,5.3,0.4,0.5,NaN}', '{0.6,4.1,0.01}',
               '{252,0,0,252,252,252,252}', 'full', true, '{"ir_beta": "no_proxy", "spread_growth_value": "no_proxy", "rates": "no_proxy"}'
        FROM ingest.symbols
        """
    )
    await api.run(
        """
        INSERT INTO factors.metrics
        SELECT id, '2020-12-30', '1', 7, 228.4, 'close', '{0.01,NaN,0,0,0,0,0,0}', '{0.01,0,0,0,0,0,0,0}', '{0.2,0.3,NaN}',
               'limited', '{"price_return.1m": "no_base", "volatility.252": "short_history"}'
        FROM ingest.symbols
        """
    )
    facts = (await api.client.get(f"{PREFIX}/symbols/brk-b/factors")).json()
    assert set(facts) == {
        "symbol", "session", "model_version", "price_version", "proxies", "market_beta", "market_beta_shrunk", "ir_beta",
        "spreads", "joint", "provider_beta", "reasons",
    }  # fmt: skip
    assert facts["symbol"] == "BRK.B"
    assert facts["proxies"]["growth"] is None
    assert facts["market_beta"] == {
        "beta": 0.8, "alpha": 0.0001, "r2": 0.5, "stderr": 0.05, "stderr_hac": 0.06, "t_hac": 13.3, "n_obs": 252,
        "quality": "full", "flagged": False, "reason": None,
    }  # fmt: skip
    # Each beta is flagged for itself: momentum's spread and the joint beta of quality are beyond five, the market's is not.
    assert facts["market_beta_shrunk"] == {"beta": 0.81, "flagged": False}
    assert facts["ir_beta"] == {"beta": None, "flagged": False, "reason": "no_proxy"}
    assert {name: spread["flagged"] for name, spread in facts["spreads"].items()} == {
        "growth_value": False, "momentum": True, "size": False, "quality": False,
    }  # fmt: skip
    assert facts["joint"]["flagged"] == ["quality"]
    assert facts["spreads"]["growth_value"] == {
        "beta": None,
        "stderr_hac": None,
        "r2": None,
        "n_obs": 0,
        "flagged": False,
        "reason": "no_proxy",
    }
    assert facts["spreads"]["quality"] == {
        "beta": 0.7, "stderr_hac": 0.8, "r2": 0.9, "n_obs": 252, "flagged": False, "reason": None,
    }  # fmt: skip
    assert (facts["joint"]["betas"]["rates"], facts["joint"]["reasons"]) == (None, {"rates": "no_proxy"})
    metrics = (await api.client.get(f"{PREFIX}/symbols/BRK.B/metrics", params={"session": "2020-12-30"})).json()
    assert set(metrics) == {
        "symbol", "session", "price", "price_basis", "price_return", "total_return", "volatility", "fundamentals", "quality", "reasons",
    }  # fmt: skip
    assert (metrics["price_return"]["1m"], metrics["volatility"]) == (None, {"21": 0.2, "63": 0.3, "252": None})
    assert (await api.client.get(f"{PREFIX}/symbols/NOPE/metrics")).status_code == 404
    assert (
        await api.client.get(f"{PREFIX}/symbols/BRK.B/metrics", params={"session": "2020-12-29"})
    ).status_code == 404
    prices = (await api.client.get(f"{PREFIX}/symbols/BRK.B/prices")).json()
    assert prices == {"symbol": "BRK.B", "items": [], "actions": [], "gaps": []}


async def test_the_stream_tells_every_change_and_ends_with_the_portfolio(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = (await api.create())["id"]
    seen: list[tuple[str, Any]] = []
    # The test's client hands the answer over when it is whole, so what has been told so far is seen where it is looked up.
    look, done = status._document, 0

    async def looked(*of: Any) -> dict[str, Any] | None:
        nonlocal done
        found = await look(*of)
        done += 1
        return found

    async def told() -> None:
        """What is true now has been looked up once, and looked at again afterwards."""
        before = done
        await until(lambda: done >= before + 2)

    monkeypatch.setattr(status, "_document", looked)

    async def listen() -> None:
        async with api.client.stream("GET", f"{PREFIX}/portfolios/{identity}/status/stream") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            event = ""
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    event = line.partition(":")[2].strip()
                elif line.startswith("data:"):
                    seen.append((event, json.loads(line.partition(":")[2])))

    listening = asyncio.create_task(listen())
    await told()
    await api.complete(identity)
    await told()
    await api.client.delete(f"{PREFIX}/portfolios/{identity}")
    await asyncio.wait_for(listening, 40)
    assert [event for event, _ in seen] == ["status", "status", "gone"]
    assert [data["state"] for event, data in seen if event == "status"] == ["healing", "complete"]
    missing = await api.client.get(f"{PREFIX}/portfolios/{uuid4()}/status/stream")
    assert missing.status_code == 404


async def test_of_a_symbol_without_any_price_the_answer_about_its_facts_says_why(api: Api) -> None:
    """It has none: they are stored of what has a price in their window."""
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('ZZZZ')")
    await api.run("""
        INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
        SELECT id, '2018-01-02', '2020-12-30', 'not_found', true, 'file', now() FROM ingest.symbols WHERE symbol = 'ZZZZ'
    """)
    for table in ("factors", "metrics"):
        for query in ("", "?session=2020-12-29"):
            answer = await api.client.get(f"{PREFIX}/symbols/ZZZZ/{table}{query}")
            assert answer.status_code == 404
            problem = answer.json()
            assert problem["code"] == "no_price"
            assert "no price then or in the 260 sessions before (not_found)" in problem["detail"]
    await api.run("""
        INSERT INTO ingest.prices (symbol_id, session, adj_close, basis, provider, fetched_at, change)
        SELECT id, '2020-12-01', 7, 'as_traded', 'file', now(), 1 FROM ingest.symbols WHERE symbol = 'ZZZZ'
    """)
    answer = await api.client.get(f"{PREFIX}/symbols/ZZZZ/factors?session=2020-12-29")
    assert answer.json()["code"] == "not_found", "it has a price: its facts are not done"
