"""State, coverage and what needs the reader: in the status and in the list, from what stands in the ledger."""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from services.coordinator.control.reconciler import Reconciler, ReconcilerSettings
from services.coordinator.results import states
from tests.store.coordinator.conftest import PREFIX, Api

LONG_AGO = """symbol,quantity,entry_date,entry_price
AAPL,100,2019-06-03,43.3
"""


async def short(
    api: Api, phase: str, reasons: list[tuple[str | None, str]], *, to: date, coverage: float = 1.0
) -> None:
    """Completed units of the phase, up to the session, fell short."""
    await api.run(
        """
        UPDATE ledger.units SET quality = 'partial', coverage = :coverage, reasons = CAST(:reasons AS jsonb)
        WHERE phase = CAST(CAST(:phase AS text) AS ledger.phase) AND session <= :to
        """,
        phase=phase,
        to=to,
        coverage=coverage,
        reasons=json.dumps([{"figure": None, "symbol": symbol, "reason": reason} for symbol, reason in reasons]),
    )


async def seen(api: Api, identity: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The status and the line of the list, which agree."""
    status = (await api.client.get(f"{PREFIX}/portfolios/{identity}/status")).json()
    (line,) = (await api.client.get(f"{PREFIX}/portfolios")).json()["items"]
    assert line["state"] == status["state"]
    assert (line["coverage_min"], line["complete_to"]) == (status["coverage_min"], status["complete_to"])
    assert line["needs_you"] == len(status["needs_you"])
    return status, line


async def complete(api: Api, csv: str | None = None) -> str:
    identity = str((await (api.create() if csv is None else api.create(csv)))["id"])
    await api.complete(identity)
    return identity


async def test_a_book_without_shortfalls_is_complete(api: Api) -> None:
    status, line = await seen(api, await complete(api))
    assert (status["state"], status["processed"], status["coverage_min"]) == ("complete", 1.0, 1.0)
    assert (status["needs_you"], line["needs_you"], line["complete_to"]) == ([], 0, "2020-12-30")


async def test_a_portfolio_without_units_is_complete(api: Api) -> None:
    identity = str((await api.create("symbol,quantity,entry_date,entry_price\nAAPL,1,2020-12-21,128\n"))["id"])
    await api.run("DELETE FROM ledger.units")
    status, _ = await seen(api, identity)
    assert (status["state"], status["expected"], status["processed"]) == ("complete", 0, 1.0)
    assert (status["coverage_min"], status["complete_to"]) == (None, None)


async def test_a_holding_without_a_price_makes_the_book_partial_and_says_what_to_do(api: Api) -> None:
    identity = await complete(api)
    await short(api, "snapshots", [("TWTR", "unpriceable"), ("TWTR", "not_found")], to=date.max, coverage=0.036)
    status, line = await seen(api, identity)
    assert (status["state"], status["processed"], status["coverage_min"]) == ("partial", 1.0, 0.036)
    (need,) = status["needs_you"]
    assert (need["symbol"], need["reason"]) == ("TWTR", "not_found")
    assert need["remedy"].startswith(
        "Correct the symbol, or add a source that has it; for cash or a money market fund state"
    )
    assert line["needs_you"] == 1


@pytest.mark.parametrize(
    ("phase", "symbol", "reason"),
    [
        ("ingest", "OLD", "delisted"),
        ("snapshots", "OLD", "delisted"),
        ("factors", "NEW", "short_history"),
        ("risk", "NEW", "not_yet_listed"),
        ("risk", None, "no_proxy"),
        ("risk", None, "no_benchmark"),
    ],
)
async def test_what_never_colours_a_book(api: Api, phase: str, symbol: str | None, reason: str) -> None:
    identity = await complete(api)
    await short(api, phase, [(symbol, reason)], to=date.max, coverage=0.9)
    status, line = await seen(api, identity)
    assert (status["state"], status["needs_you"], line["needs_you"]) == ("complete", [], 0)
    assert status["partial"] > 0, "it is told beside the state"
    assert [of["reason"] for of in status["partials"][0]["reasons"]] == [reason]


async def test_only_the_last_252_sessions_count(api: Api) -> None:
    identity = await complete(api, LONG_AGO)
    start = states.window_start(api.context.clock)
    before = api.context.clock.calendar().back(start, 1)
    await short(api, "snapshots", [("X", "unpriceable")], to=before, coverage=0.1)
    status, _ = await seen(api, identity)
    assert (status["state"], status["coverage_min"], status["needs_you"]) == ("complete", 1.0, [])
    await short(api, "snapshots", [("X", "unpriceable")], to=start, coverage=0.1)
    status, _ = await seen(api, identity)
    assert (status["state"], status["coverage_min"]) == ("partial", 0.1)


async def test_what_is_missing_heals_and_what_is_blocked_needs_a_person(api: Api) -> None:
    identity = await complete(api)
    await short(api, "snapshots", [("X", "not_found")], to=date.max)
    await api.run("UPDATE ledger.units SET completed_revision = 0 WHERE phase = 'risk' AND session = '2020-12-29'")
    status, line = await seen(api, identity)
    assert (status["state"], line["complete_to"]) == ("healing", "2020-12-28")
    await api.run(
        "UPDATE ledger.units SET blocked_reason = 'ValueError: boom' WHERE phase = 'risk' AND session = '2020-12-29'"
    )
    status, line = await seen(api, identity)
    assert (status["state"], line["complete_to"], line["needs_you"]) == ("blocked", "2020-12-28", 2)
    assert [(need["symbol"], need["reason"]) for need in status["needs_you"]] == [(None, "blocked"), ("X", "not_found")]
    assert "leadline rerun" in status["needs_you"][0]["remedy"]
    assert status["holes"][0]["reason"] == "ValueError: boom"


async def test_a_price_that_is_held_back_needs_its_decision(api: Api) -> None:
    identity = str((await api.create())["id"])
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')")
    await api.run(
        """
        INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
        SELECT id, '2020-12-30', '2020-12-30', 'quarantined', false, 'yahoo', now(), now() FROM ingest.symbols
        """
    )
    status, line = await seen(api, identity)
    assert (status["state"], line["needs_you"]) == ("healing", 1)
    (need,) = status["needs_you"]
    assert (need["symbol"], need["reason"], need["provider"]) == ("AAPL", "quarantined", "yahoo")
    assert "leadline symbols release AAPL 2020-12-30" in need["remedy"]


async def test_a_history_that_is_left_out_for_a_jump_names_the_session_to_decide_about(api: Api) -> None:
    identity = await complete(api)
    await short(api, "snapshots", [("AAPL", "unpriceable"), ("AAPL", "quarantined")], to=date.max, coverage=0.0)
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')")
    await api.run(
        """
        INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
        SELECT id, '2018-08-01', '2020-12-30', 'quarantined', true, 'file', now() FROM ingest.symbols
        """
    )
    await api.run(
        """
        INSERT INTO ingest.quarantine (symbol_id, session, provider, return, sigma)
        SELECT id, '2020-08-31', 'file', -0.75, 0 FROM ingest.symbols
        """
    )
    status, _ = await seen(api, identity)
    (need,) = status["needs_you"]
    assert status["state"] == "partial"
    assert "Where a split of 2020-08-31 is listed" in need["remedy"]
    assert "`leadline symbols release AAPL 2020-08-31 --reason WORDS`" in need["remedy"]
    (told,) = [of for of in status["partials"][0]["reasons"] if of["reason"] == "quarantined"]
    assert told["remedy"] == need["remedy"]


async def test_every_portfolio_of_the_list_has_its_own_state(api: Api) -> None:
    first, second = await complete(api), await complete(api)
    await api.run(
        """
        UPDATE ledger.units SET quality = 'partial', coverage = 0.5,
               reasons = '[{"figure": null, "symbol": "X", "reason": "unpriceable"}]'
        WHERE phase = 'snapshots' AND portfolio_id = :id
        """,
        id=UUID(second),
    )
    items = {item["id"]: item for item in (await api.client.get(f"{PREFIX}/portfolios")).json()["items"]}
    assert (items[first]["state"], items[first]["coverage_min"]) == ("complete", 1.0)
    assert (items[second]["state"], items[second]["coverage_min"], items[second]["needs_you"]) == ("partial", 0.5, 1)


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_metrics_tell_what_fell_short_by_phase_and_reason_and_forget_what_is_mended(api: Api) -> None:
    identity = await complete(api)
    await short(
        api, "snapshots", [("X", "unpriceable"), ("Y", "unpriceable"), ("X", "not_found")], to=date.max, coverage=0.4
    )
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')")
    await api.run(
        """
        INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
        SELECT id, '2020-12-30', '2020-12-30', 'rate_limited', false, 'yahoo', now(), now() FROM ingest.symbols
        """
    )
    pace = ReconcilerSettings(grace=0.0, measure=0.0)
    reconciler = Reconciler(api.context.engine, api.context.clock, wake=lambda: None, pace=pace)
    await reconciler.run_once()
    assert gauge("leadline_units_partial", phase="snapshots", reason="unpriceable") == 7, "a unit counts once"
    assert gauge("leadline_units_partial", phase="snapshots", reason="not_found") == 7
    assert gauge("leadline_coverage_min") == 0.4
    assert gauge("leadline_prices_awaited", reason="rate_limited") == 1
    await api.complete(identity)
    await api.run("DELETE FROM ingest.gaps")
    await reconciler.run_once()
    assert gauge("leadline_units_partial", phase="snapshots", reason="unpriceable") is None
    assert gauge("leadline_prices_awaited", reason="rate_limited") is None
    assert gauge("leadline_coverage_min") == 1.0


async def test_who_refuses_and_how_old_the_curve_is_stand_in_status_and_list(api: Api) -> None:
    identity = await complete(api)
    status, _ = await seen(api, identity)
    assert (status["refusals"], status["curve"]) == ([], None)
    try:
        await api.run(
            "INSERT INTO ingest.chain (rank, provider, account, limits, seconds, calls_each, calls_fifty)"
            " VALUES (0, 'yahoo', 'a', '{60}', '{60}', 1, 0), (1, 'fmp', 'b', '{250}', '{86400}', 3, 0)"
        )
        await api.run(
            "INSERT INTO ingest.providers (provider, account, closed_by, closed_until, last_fault, last_fault_at) VALUES"
            " ('yahoo', 'a', 'rate_limited', now() + interval '1 hour', 'yahoo: 429', now()),"
            " ('fmp', 'b', 'auth', now() - interval '1 hour', 'fmp: refused yesterday', now()),"
            " ('massive', 'c', 'auth', now() + interval '1 hour', 'massive: no longer in the chain', now())"
        )
        await api.run(
            "INSERT INTO ingest.yield_years VALUES (2020, now(), now(), 'treasury: 503'), (2019, now(), NULL, NULL)"
        )
        await api.run(
            "INSERT INTO ingest.yields (date, tenors, yields, provider, change) VALUES ('2020-12-28', '{0.25}', '{0.001}', 'fred', 1)"
        )
        status, _ = await seen(api, identity)
        listed = (await api.client.get(f"{PREFIX}/portfolios")).json()["refusals"]
        for refusals in (status["refusals"], listed):
            (refusal,) = refusals
            assert (refusal["provider"], refusal["reason"], refusal["said"]) == ("yahoo", "rate_limited", "yahoo: 429")
            assert refusal["until"] > refusal["said_at"]
        curve = status["curve"]
        assert (curve["date"], curve["provider"], curve["fault"]) == ("2020-12-28", "fred", "treasury: 503")
    finally:
        for table in ("chain", "yields", "yield_years"):
            await api.run(f"DELETE FROM ingest.{table}")


async def test_a_list_that_was_asked_for_knows_what_is_committed_afterwards_and_nothing_before(api: Api) -> None:
    """A page is kept while nothing is committed: also what was running when it was read is something."""
    await complete(api)

    async def names() -> list[str]:
        return [line["name"] for line in (await api.client.get(f"{PREFIX}/portfolios")).json()["items"]]

    async with api.admin.connect() as conn:
        await conn.execute(text("UPDATE coordinator.portfolios SET name = 'Later'"))
        assert [await names(), await names()] == [["Test"], ["Test"]]
        await conn.commit()
    assert await names() == ["Later"]
    await api.run("UPDATE coordinator.portfolios SET name = 'Later still'")
    assert await names() == ["Later still"]
