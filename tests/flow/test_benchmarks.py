"""A benchmark that is loaded after everything is complete: risk from its date on is computed anew, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client
from shared.market.calendar import calendar
from tests.flow.holdings import lot
from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

AS_OF = date(2020, 12, 31)
ENTRY = "2020-12-14"
OF = {"Technology": 0.3, "Energy": 0.1, "Consumer Defensive": 0.2, "Utilities": 0.4}
NAMED = {"Information Technology": 0.3, "Energy": 0.1, "Consumer Staples": 0.2, "Utilities": 0.4}


@pytest.fixture(scope="module")
async def alone(server: Server, broker: TestBroker) -> AsyncIterator[Pipeline]:
    """A Leadline of its own: a benchmark concerns every portfolio there is."""
    database = await databases.create(server)
    async with pipeline.running(database, broker, as_of=AS_OF) as running:
        yield running
    await databases.drop(database)


async def command(leadline: Pipeline, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(cli, "client", lambda: Client(leadline.services.url))
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, ["benchmark", *arguments])
    assert result.exit_code == 0, result.output
    return str(result.stdout)


async def revisions(leadline: Pipeline, portfolio: str) -> dict[tuple[str, str], int]:
    rows = await leadline.query(
        "SELECT CAST(phase AS text), CAST(session AS text), completed_revision FROM ledger.units WHERE portfolio_id = :id",
        id=portfolio,
    )
    return {(phase, session): revision for phase, session, revision in rows}


async def risk(leadline: Pipeline, portfolio: str, session: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{portfolio}/risk", params={"session": session})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def get(leadline: Pipeline, path: str, **params: str) -> dict[str, Any]:
    answer = await leadline.api.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def redone(before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    return {key for key, revision in after.items() if revision != before[key]}


def of_risk(first: str, last: str) -> set[tuple[str, str]]:
    days = calendar().between(date.fromisoformat(first), date.fromisoformat(last))
    return {("risk", str(day)) for day in days}


async def test_a_benchmark_restates_the_risk_of_its_sessions_and_only_that(
    alone: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    portfolio = await alone.create([lot("AAPL", 100, ENTRY), lot("KO", 150, ENTRY), lot("XOM", -200, ENTRY)])
    await alone.complete(portfolio)
    await alone.quiet()
    before, digest = await revisions(alone, portfolio), await alone.digest(portfolio)
    file = tmp_path / "sp500.csv"
    file.write_text(
        "date,sector,weight\n" + "".join(f"2020-12-20,{sector},{weight}\n" for sector, weight in OF.items())
    )

    said = await command(alone, monkeypatch, "import", str(file))
    assert "SP500 2020-12-20: 4 sectors, sum 1.0000; loaded" in said
    await alone.complete(portfolio)
    await alone.quiet()

    after = await revisions(alone, portfolio)
    assert redone(before, after) == of_risk("2020-12-21", "2020-12-31")
    now = await alone.digest(portfolio)
    assert {table for table in now if now[table] != digest[table]} == {"risk.results"}

    early = await risk(alone, portfolio, "2020-12-18")
    assert (early["benchmark"], early["benchmark_date"]) == (None, None)
    assert {row["active"] for row in early["sectors"]} == {None}
    late = await risk(alone, portfolio, "2020-12-31")
    assert (late["benchmark"], late["benchmark_date"]) == ("SP500", "2020-12-20")
    rows = {row["sector"]: row for row in late["sectors"]}
    assert {name: row["benchmark"] for name, row in rows.items() if row["benchmark"]} == NAMED
    assert all(row["active"] == row["net"] - row["benchmark"] for row in rows.values())
    assert rows["Utilities"]["net"] == 0.0, "only the benchmark has it"
    assert rows["Utilities"]["active"] == -0.4
    assert not any(reason["reason"] == "no_benchmark" for reason in late["reasons"])

    changed = (await get(alone, f"/portfolios/{portfolio}/restatements", session="2020-12-31", figure="risk"))["items"]
    figures = {item["figure"]: (item["old"], item["new"]) for item in changed}
    assert figures["risk.benchmark_date"] == (None, "2020-12-20")
    assert figures["risk.sectors.Utilities.active"] == (None, -0.4)
    assert {name.split(".")[1] for name in figures} <= {"benchmark", "benchmark_date", "sectors"}, (
        "no other figure moved"
    )
    assert {item["new_revision"] for item in changed} == {after["risk", "2020-12-31"]}

    loaded_at = (await get(alone, "/benchmarks"))["items"][0]["loaded_at"]
    why = await get(alone, f"/portfolios/{portfolio}/explain", figure="risk.sectors.Utilities.active")
    assert [step["name"] for step in why["steps"]] == ["risk.sectors.Utilities.net", "risk.sectors.Utilities.benchmark"]
    [table] = [item for item in why["inputs"] if item["kind"] == "benchmark"]
    assert (table["symbol"], table["from"], table["fetched_at"], table["provider"]) == (
        "SP500",
        "2020-12-20",
        loaded_at,
        "user",
    )

    # A later table takes over from its date on; replacing the first then moves only what still rests on it.
    later = tmp_path / "later.csv"
    later.write_text("code,date,sector,weight\nSP500,2020-12-29,Energy,1\n")
    await command(alone, monkeypatch, "import", str(later))
    await alone.complete(portfolio)
    assert redone(after, await revisions(alone, portfolio)) == of_risk("2020-12-29", "2020-12-31")
    before = await revisions(alone, portfolio)
    file.write_text("date,sector,weight\n2020-12-20,Energy,0.4\n2020-12-20,Utilities,0.6\n")
    assert "risk from 2020-12-21 to 2020-12-28" in await command(alone, monkeypatch, "import", str(file))
    await alone.complete(portfolio)
    assert redone(before, await revisions(alone, portfolio)) == of_risk("2020-12-21", "2020-12-28")
    assert (await risk(alone, portfolio, "2020-12-28"))["benchmark_date"] == "2020-12-20"
    assert (await risk(alone, portfolio, "2020-12-29"))["benchmark_date"] == "2020-12-29"
    replaced = await get(alone, f"/portfolios/{portfolio}/explain", figure="risk.benchmark_date", session="2020-12-28")
    assert replaced["inputs"][0]["fetched_at"] > loaded_at

    shown = await command(alone, monkeypatch, "list")
    assert "Portfolios are compared with SP500" in shown
    assert "2020-12-29" in shown
    assert "taken back" in await command(alone, monkeypatch, "remove", "SP500", "2020-12-29")
    await alone.complete(portfolio)
    assert (await risk(alone, portfolio, "2020-12-31"))["benchmark_date"] == "2020-12-20"
