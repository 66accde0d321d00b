"""A session whose risk was thinned out: what is answered, that nobody computes it by itself, and that it comes back to the last bit."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx2
import pytest
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from leadline import overview
from leadline.http import Client
from leadline.tables import overview as tables
from services.coordinator.control.thinning import thin_results
from shared.clock import Clock
from shared.db.engine import create_engine
from tests.flow.conftest import AS_OF
from tests.flow.holdings import book, lot
from tests.support import secured_run
from tests.support.answers import ENVELOPE
from tests.support.pipeline import Pipeline

OPTION = {"symbol": "AAPL210618C00100000", "quantity": 1, "entry_date": "2020-09-01", "entry_price": 30}
NEWEST = 20
GONE, FIRST, MONTH_END = date(2020, 10, 15), date(2020, 9, 1), date(2020, 10, 30)
SERIES = (
    "risk.var.historical.0.95,risk.positions.AAPL.realized_252,correlations.mean_abs,stress.covid_2020.propagated.money,"
    "exposures.factors.market.beta,exposures.positions.AAPL.weight,sector_exposures.covered_weight,snapshots.nav"
)
Rows = dict[date, str]


@dataclass(frozen=True)
class Before:
    """What was there before anything was thinned out."""

    portfolio: str
    rows: Rows
    answers: dict[str, Any]


async def get(leadline: Pipeline, of: str, path: str, **query: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{of}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def rows(leadline: Pipeline, portfolio: str) -> Rows:
    """Every stored digit of each session's risk, but when and at which revision it was computed."""
    found = await leadline.query(
        """SELECT session, CAST(to_jsonb(r) - '{revision,computed_at,thinned_revision}'::text[] AS text), CAST(r.risk AS text)
           FROM risk.results r WHERE portfolio_id = :id""",
        id=portfolio,
    )
    return {session: row for session, row, _ in found}


async def thinned(leadline: Pipeline, portfolio: str) -> set[date]:
    found = await leadline.query(
        "SELECT session FROM risk.results WHERE portfolio_id = :id AND thinned_revision = revision", id=portfolio
    )
    return {session for (session,) in found}


async def age(leadline: Pipeline, portfolio: str) -> None:
    """A week goes by."""
    await leadline.execute(
        "UPDATE risk.results SET computed_at = computed_at - interval '8 days' WHERE portfolio_id = :id", id=portfolio
    )


async def rerun(leadline: Pipeline, portfolio: str, first: date, last: date) -> None:
    query = {
        "portfolio_id": portfolio,
        "start_date": str(first),
        "end_date": str(last),
        "phase": "risk",
        "force_rerun": "true",
    }
    answer = await leadline.api.post("/admin/batch/run", params=query)
    assert answer.status_code == 202, answer.text
    await leadline.complete(portfolio)


@pytest.fixture(scope="module")
async def loops(leadline: Pipeline) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(leadline.database.url("coordinator"), application="test-loops", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture(scope="module")
async def before(leadline: Pipeline, loops: AsyncEngine) -> Before:
    """A portfolio with an option and a lot that is closed, restated once with the same digits, then thinned out."""
    portfolio = await leadline.create([*book(), lot("GE", 10, "2020-09-01", "2020-10-20"), OPTION])
    await leadline.complete(portfolio)
    await rerun(leadline, portfolio, date(2020, 10, 1), date(2020, 10, 31))
    answers = {
        "attribution": await get(leadline, portfolio, "attribution"),
        "scorecard": await get(leadline, portfolio, "scorecard", session=str(GONE)),
        "newest": await get(leadline, portfolio, "risk"),
        "month_end": await get(leadline, portfolio, "stress", session=str(MONTH_END)),
        "exposures": await get(leadline, portfolio, "factor-exposures", session=str(GONE)),
        "series": await get(leadline, portfolio, "risk/series", figures=SERIES),
        "restatements": await get(leadline, portfolio, "restatements", session=str(GONE)),
        "status": await leadline.status(portfolio),
    }
    found = Before(portfolio, await rows(leadline, portfolio), answers)
    await age(leadline, portfolio)
    assert await thin_results(loops, Clock(AS_OF), NEWEST) > 50
    gone = await thinned(leadline, portfolio)
    assert GONE in gone
    assert not {FIRST, MONTH_END, AS_OF} & gone
    return found


def codes(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(each["figure"], each["reason"]) for each in document["reasons"] if each["reason"] == "thinned_out"]


async def test_each_answer_says_so_and_what_heals_it(leadline: Pipeline, before: Before) -> None:
    for path in ("risk", "correlations", "stress"):
        found = await get(leadline, before.portfolio, path, session=str(GONE))
        assert codes(found) == [(path, "thinned_out")]
        assert found["reasons"][-1]["acts"] == "you"
        assert "leadline rerun" in found["reasons"][-1]["remedy"]
        said = {key for key, value in found.items() if value is not None}
        assert said == ENVELOPE | ({"scorecard"} if path == "risk" else set()), "null, and no empty list"
    exposures = await get(leadline, before.portfolio, "factor-exposures", session=str(GONE))
    assert codes(exposures) == [("exposures.positions", "thinned_out")]
    assert exposures["positions"] is None
    assert (exposures["factors"], exposures["proxies"]) == (
        before.answers["exposures"]["factors"], before.answers["exposures"]["proxies"],
    )  # fmt: skip


async def test_questions_about_its_holdings_are_refused_with_the_remedy(leadline: Pipeline, before: Before) -> None:
    base, on = f"/portfolios/{before.portfolio}", {"session": str(GONE)}
    refused = [
        await leadline.api.get(f"{base}/sector-exposures", params=on),
        await leadline.api.get(f"{base}/stress/replay", params={**on, "from": "2020-09-08", "to": "2020-09-15"}),
        await leadline.api.post(
            f"{base}/what-if", json={"trades": [{"symbol": "JPM", "quantity": 1}], "session": str(GONE)}
        ),
        *[
            await leadline.api.get(f"{base}/explain", params={**on, "figure": figure})
            for figure in (
                "risk.var.historical.0.95",
                "exposures.positions.AAPL.weight",
                "stress.covid_2020.propagated.money",
            )
        ],
    ]
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (404, "thinned_out"), answer.text
        assert "leadline rerun" in answer.json()["detail"]
    explained = await get(leadline, before.portfolio, "explain", figure="exposures.factors.market.beta", **on)
    assert explained["value"] is not None
    listed = [each["figure"] for each in (await get(leadline, before.portfolio, "explain", **on))["figures"]]
    assert "risk.coverage" in listed
    gone = ("stress.", "correlations.", "risk.var", "risk.positions", "exposures.positions")
    assert [name for name in listed if name.startswith(gone)] == ["correlations.coverage", "stress.coverage"]


async def test_ranges_have_null_there_and_the_same_everywhere_else(leadline: Pipeline, before: Before) -> None:
    found = await get(leadline, before.portfolio, "risk/series", figures=SERIES)
    whole, gone = before.answers["series"], await thinned(leadline, before.portfolio)
    at = [date.fromisoformat(session) in gone for session in found["sessions"]]
    for name, values in found["figures"].items():
        stays = name.startswith(("exposures.factors.", "snapshots."))
        expected = [None if out and not stays else value for out, value in zip(at, whole["figures"][name], strict=True)]
        assert values == expected, name
        assert any(value is not None for value in values), name
    reasons = {each["figure"]: each for each in found["reasons"] if each["reason"] == "thinned_out"}
    assert set(reasons) == {"risk", "correlations", "stress", "exposures.positions", "sector_exposures"}
    assert (reasons["risk"]["from"], reasons["risk"]["to"]) == (str(min(gone)), str(max(gone)))
    alone = await get(leadline, before.portfolio, "risk/series", figures=SERIES, **{"from": str(GONE), "to": str(GONE)})
    assert alone["figures"]["risk.var.historical.0.95"] == [None], (
        "no name is refused for want of a session that has it"
    )
    table = await leadline.api.get(
        f"/portfolios/{before.portfolio}/risk/series",
        params={"figures": "risk.var.historical.0.95", "from": str(GONE), "to": str(GONE)},
        headers={"Accept": "text/csv"},
    )
    assert table.text.splitlines() == ["session,risk.var.historical.0.95", f"{GONE},"]


async def test_what_is_made_of_many_sessions_has_not_moved(leadline: Pipeline, before: Before) -> None:
    was, of = before.answers, before.portfolio
    assert await get(leadline, of, "attribution") == was["attribution"]
    assert await get(leadline, of, "scorecard", session=str(GONE)) | {"computed_at": ""} == was["scorecard"] | {
        "computed_at": ""
    }
    for name, path, query in (("newest", "risk", {}), ("month_end", "stress", {"session": str(MONTH_END)})):
        assert await get(leadline, of, path, **query) | {"computed_at": ""} == was[name] | {"computed_at": ""}
    # Replaced once by the same digits: nothing changed then, and nothing is said to have changed now.
    assert was["restatements"]["items"] == []
    assert (await get(leadline, of, "restatements", session=str(GONE)))["items"] == []


async def test_nothing_is_missing_and_nobody_computes_it_by_itself(leadline: Pipeline, before: Before) -> None:
    gone = await thinned(leadline, before.portfolio)
    status = await leadline.status(before.portfolio)
    assert {key: status[key] for key in ("state", "completed", "expected", "partial", "needs_you")} == {
        key: before.answers["status"][key] for key in ("state", "completed", "expected", "partial", "needs_you")
    }
    await leadline.api.post("/admin/reconcile")
    await leadline.quiet()
    assert await thinned(leadline, before.portfolio) == gone
    audit = (await leadline.api.get("/admin/audit", params={"portfolio_id": before.portfolio})).json()
    assert audit["drift"] == []


async def test_pages_and_tables_say_so(leadline: Pipeline, before: Before) -> None:
    said = "older than those of which all risk is kept"
    root = leadline.services.url
    async with httpx2.AsyncClient(
        base_url=root, timeout=60, headers=secured_run.BEARER if secured_run.asked() else {}
    ) as page:
        for path in ("/risk", "/stress", "/correlations", "/factors"):
            answer = await page.get(f"/p/{before.portfolio}{path}", params={"session": str(GONE)})
            assert answer.status_code == 200, answer.text
            assert said in answer.text, path
            assert "No figures yet" not in answer.text
        for path in (f"/p/{before.portfolio}", f"/report/{before.portfolio}"):
            answer = await page.get(path, params={"session": str(GONE)})
            assert answer.status_code == 200, answer.text
        assert "was thinned out" in answer.text

    def printed(full: bool) -> str:
        with Client(root) as api:
            document = overview.gather(api, before.portfolio, str(GONE), full=full)
        console = Console(file=io.StringIO(), width=200)
        tables.print_overview(console, document, full=full)
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    for full in (False, True):
        page_ = await asyncio.to_thread(printed, full)
        assert "Risk of this session was thinned out. Work it out again" in page_
        assert "None" not in page_


async def test_it_comes_back_to_the_last_bit_and_stays_for_a_week(
    leadline: Pipeline, before: Before, loops: AsyncEngine
) -> None:
    first, last = date(2020, 10, 5), date(2020, 11, 20)
    gone = await thinned(leadline, before.portfolio)
    back = {session for session in gone if first <= session <= last}
    assert len(back) > 30
    history = (
        "SELECT count(*) FROM risk.results_history WHERE portfolio_id = :id AND session = ANY (CAST(:days AS date[]))"
    )
    [(kept,)] = await leadline.query(history, id=before.portfolio, days=sorted(back))
    await rerun(leadline, before.portfolio, first, last)
    found = await rows(leadline, before.portfolio)
    assert {session: found[session] for session in back} == {session: before.rows[session] for session in back}
    assert await thinned(leadline, before.portfolio) == gone - back
    assert await leadline.query(history, id=before.portfolio, days=sorted(back)) == [(kept,)]
    await thin_results(loops, Clock(AS_OF), NEWEST)
    assert await thinned(leadline, before.portfolio) == gone - back, "whoever asked for it has a week"
    await age(leadline, before.portfolio)
    await thin_results(loops, Clock(AS_OF), NEWEST)
    assert await thinned(leadline, before.portfolio) == gone
