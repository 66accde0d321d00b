"""Answers about many portfolios, sessions or values: exact figures, null where unknown, ranges that agree with the units."""

from __future__ import annotations

import re
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.coordinator.results import valued_lots
from tests.store.coordinator.conftest import CSV, PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results


async def get(api: Api, path: str, **query: Any) -> dict[str, Any]:
    answer = await api.client.get(f"{PREFIX}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_the_list_has_the_newest_figures_of_each_portfolio(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run(
        """UPDATE risk.results SET risk = '{"volatility": {"realized_252": 0.31, "forecast_21": {"value": 0.28}},
           "var": [{"method": "normal", "level": 0.95, "var": 0.1}, {"method": "historical", "level": 0.95, "var": 0.02}]}'"""
    )
    fresh = await api.create(name="Fresh")
    items = {item["id"]: item for item in (await get(api, "/portfolios"))["items"]}
    found = items[identity]
    assert (found["session"], found["nav"], found["daily_pnl"]) == ("2020-12-30", 100_010.25, 9.75)
    assert (found["risk_session"], found["volatility"], found["var_95"], found["forecast_21"]) == (
        "2020-12-29", 0.31, 0.02, 0.28,
    )  # fmt: skip
    assert found["complete_to"] == "2020-12-29"
    assert found["return_1y"] is None
    assert {items[fresh["id"]][key] for key in ("nav", "volatility", "var_95", "coverage", "complete_to")} == {None}


async def test_the_return_of_a_year_is_compounded_over_252_sessions(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run("UPDATE snapshots.snapshots SET cumulative_return = 0.32 WHERE session = '2020-12-30'")
    await api.run(
        """INSERT INTO snapshots.snapshots SELECT (jsonb_populate_record(s, jsonb_build_object(
               'session', date '2019-12-31', 'cumulative_return', 0.2))).* FROM snapshots.snapshots s
           WHERE session = '2020-12-30'"""
    )
    [found] = [item for item in (await get(api, "/portfolios"))["items"] if item["id"] == identity]
    # 2020-12-30 is the 252nd session after 2019-12-31.
    assert found["return_1y"] == pytest.approx(0.1)


async def test_a_series_has_each_figure_of_every_session(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run(
        'UPDATE ledger.units SET reasons = CAST(\'[{"figure": null, "symbol": "X", "reason": "stale"}]\' AS jsonb)'
    )
    figures = "snapshots.nav,risk.volatility.realized_21,risk.decomposition.contributions.AAPL.contribution,exposures.factors.value.beta"
    document = await get(api, f"/portfolios/{identity}/risk/series", figures=figures)
    assert list(document["figures"]) == figures.split(",")
    at = {session: index for index, session in enumerate(document["sessions"])}
    rows = {session: [values[index] for values in document["figures"].values()] for session, index in at.items()}
    assert rows["2020-12-29"] == [100_000.5, 0.2, 0.2, 0.5]
    assert rows["2020-12-30"] == [100_010.25, None, None, None]
    assert document["reasons"] == [
        {"figure": None, "symbol": "X", "reason": "stale", "from": document["sessions"][0], "to": "2020-12-30"}
    ]
    assert len(document["stale"]) == len(document["sessions"])
    part = await get(
        api,
        f"/portfolios/{identity}/risk/series",
        figures="snapshots.nav",
        **{"from": "2020-12-30", "to": "2020-12-30"},
    )
    assert part["figures"] == {"snapshots.nav": [100_010.25]}


async def test_every_figure_that_is_explained_can_be_had_as_a_series(api: Api) -> None:
    """With the value that the session itself is answered with."""
    identity = await complete_with_results(api)
    names = [
        entry["figure"]
        for entry in (await get(api, f"/portfolios/{identity}/explain", session="2020-12-29"))["figures"]
    ]
    assert len(names) > 60
    for low in range(0, len(names), 50):
        part = names[low : low + 50]
        series = await get(
            api, f"/portfolios/{identity}/risk/series",
            figures=",".join(part), **{"from": "2020-12-29", "to": "2020-12-29"},
        )  # fmt: skip
        bulk = await get(api, f"/portfolios/{identity}/explain/bulk", figures=",".join(part), session="2020-12-29")
        assert bulk["unknown"] == []
        assert {item["figure"]: item["value"] for item in bulk["items"]} == {
            name: values[0] for name, values in series["figures"].items()
        }


async def test_a_figure_that_there_is_not_is_named_with_one_that_is_close(api: Api) -> None:
    identity = await complete_with_results(api)
    for figures, status, said in (
        ("risk.volatility.realised_21", 404, "risk.volatility.realized_21"),
        ("snapshots.navv", 404, "snapshots.nav"),
        ("positions.x.price", 404, "positions."),
        ("greeks.delta", 422, "begins with one of"),
        (",", 422, "1 to 50"),
        (",".join(f"snapshots.f{number}" for number in range(51)), 422, "1 to 50"),
    ):
        answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/risk/series", params={"figures": figures})
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]


async def test_bulk_explanations_answer_what_there_is_beside_what_there_is_not(api: Api) -> None:
    identity = await complete_with_results(api)
    found = await get(api, f"/portfolios/{identity}/explain/bulk", figures="snapshots.nav,snapshots.navv,what.ever")
    assert [item["figure"] for item in found["items"]] == ["snapshots.nav"]
    assert [item["figure"] for item in found["unknown"]] == ["snapshots.navv", "what.ever"]
    assert "snapshots.nav" in found["unknown"][0]["message"]


async def test_completeness_is_ranges_of_what_the_units_say(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run("UPDATE ledger.units SET quality = 'partial' WHERE phase = 'snapshots' AND session <= '2020-12-23'")
    await api.run(
        "UPDATE ledger.units SET completed_revision = 0, blocked_reason = 'x' WHERE phase = 'factors' AND session = '2020-12-28'"
    )
    found = await get(api, "/completeness")
    [line] = found["portfolios"]
    assert (line["id"], found["pending"]) == (identity, 0)
    sessions = found["sessions"]
    assert (sessions[0], sessions[-1]) == ("2020-12-21", "2020-12-30")
    shown = [(phase, state, sessions[low], sessions[high]) for phase, state, low, high in line["runs"]]
    assert shown == [
        ("ingest", "complete", "2020-12-21", "2020-12-30"),
        ("factors", "complete", "2020-12-21", "2020-12-24"),
        ("factors", "blocked", "2020-12-28", "2020-12-28"),
        ("factors", "complete", "2020-12-29", "2020-12-30"),
        ("snapshots", "partial", "2020-12-21", "2020-12-23"),
        ("snapshots", "complete", "2020-12-24", "2020-12-30"),
        ("risk", "complete", "2020-12-21", "2020-12-29"),
        ("risk", "waiting", "2020-12-30", "2020-12-30"),
    ]
    assert found["totals"] == {
        "complete": 7 + 6 + 4 + 6,
        "partial": 3,
        "waiting": 1,
        "running": 0,
        "retrying": 0,
        "blocked": 1,
    }
    part = await get(api, "/completeness", phase="snapshots", **{"from": "2020-12-23", "to": "2020-12-24"})
    assert part["portfolios"][0]["runs"] == [["snapshots", "partial", 0, 0], ["snapshots", "complete", 1, 1]]
    unknown = await api.client.get(f"{PREFIX}/completeness", params={"portfolio_id": str(uuid4())})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_completeness_forgets_a_portfolio_that_is_deleted(api: Api) -> None:
    identity = (await api.create())["id"]
    assert len((await get(api, "/completeness"))["portfolios"]) == 1
    assert (await api.client.delete(f"{PREFIX}/portfolios/{identity}")).status_code == 204
    assert (await get(api, "/completeness"))["portfolios"] == []
    assert await api.rows("SELECT 1 FROM ledger.unit_runs WHERE portfolio_id = :id", id=UUID(identity)) == []


async def test_providers_say_what_is_left_of_their_quotas(api: Api) -> None:
    await api.run("DELETE FROM ingest.chain")
    await api.run("DELETE FROM ingest.providers")
    await api.run(
        """INSERT INTO ingest.chain VALUES (1, 'file', NULL, '{}', '{}', 0, 0), (2, 'massive', 'acc', '{5,100}', '{60,3600}', 1, 0)"""
    )
    await api.run(
        "INSERT INTO ingest.quota_uses (account, calls, at) VALUES ('acc', 2, now()), ('acc', 3, now() - interval '5 min')"
    )
    await api.run(
        """INSERT INTO ingest.providers (provider, account, failures, closed_until, closed_by)
           VALUES ('massive', 'acc', 1, now() + interval '1 hour', 'rate_limited')"""
    )
    try:
        file, massive = (await get(api, "/providers"))["items"]
    finally:
        for table in ("chain", "providers", "quota_uses"):
            await api.run(f"DELETE FROM ingest.{table}")
    assert (file["provider"], file["metered"], file["state"], file["windows"]) == ("file", False, "asked", [])
    assert massive["windows"] == [
        {"calls": 5, "seconds": 60.0, "used": 2},
        {"calls": 100, "seconds": 3600.0, "used": 5},
    ]
    assert (massive["state"], massive["closed_by"], massive["failures"]) == ("paused", "rate_limited", 1)


async def test_flows_are_listed_by_date(api: Api) -> None:
    identity = (await api.create())["id"]
    for day, amount in (("2020-12-22", 500.0), ("2020-12-28", -20.5)):
        body = {"date": day, "amount": amount}
        assert (await api.client.post(f"{PREFIX}/portfolios/{identity}/flows", json=body)).status_code == 201
    found = await get(api, f"/portfolios/{identity}/flows", **{"from": "2020-12-23"})
    assert [(flow["date"], flow["amount"]) for flow in found["items"]] == [("2020-12-28", -20.5)]
    assert (await api.client.get(f"{PREFIX}/portfolios/{uuid4()}/flows")).status_code == 404


async def test_positions_of_a_range_come_by_pages_of_sessions(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run("UPDATE snapshots.holdings SET session = '2020-12-29'")
    await api.run(
        "INSERT INTO snapshots.holdings SELECT (jsonb_populate_record(h, jsonb_build_object('session', date '2020-12-30'))).* "
        "FROM snapshots.holdings h"
    )
    first = await get(api, f"/portfolios/{identity}/positions/range", limit=1)
    assert [(item["session"], item["symbol"]) for item in first["items"]] == [
        ("2020-12-29", "AAPL"),
        ("2020-12-29", "MSFT"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        # Two lots a session: a page of 250 sessions has more than three.
        patch.setattr(valued_lots, "ROWS_AT_ONCE", 3)
        assert await get(api, f"/portfolios/{identity}/positions/range") == first
    rest = await get(api, f"/portfolios/{identity}/positions/range", cursor=first["next"])
    assert ([item["session"] for item in rest["items"]], rest["next"]) == (["2020-12-30"] * 2, None)
    alone = (await get(api, f"/portfolios/{identity}/positions", session="2020-12-30"))["items"]
    aside = ("session", "revision", "reasons")
    assert [{key: value for key, value in item.items() if key not in aside} for item in rest["items"]] == [
        {key: value for key, value in item.items() if key not in aside} for item in alone
    ]
    assert [[of["reason"] for of in item["reasons"]] for item in rest["items"]] == [[], ["unpriceable"]]


@pytest.fixture
async def jpm(api: Api) -> int:
    """Two sessions of JPM; the close of the first was corrected by a later change."""
    async with api.admin.begin() as conn:
        identity = await conn.scalar(text("INSERT INTO ingest.symbols (symbol) VALUES ('JPM') RETURNING id"))
        for session, close, change in (("2020-12-28", 79.1, 9000005), ("2020-12-29", 80.0, 9000005)):
            await conn.execute(
                text("""INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change, known_from)
                        VALUES (:id, :s, CAST(:c AS float8), 'file', 'file', now(), :change, '2020-12-29 23:00+00')"""),
                {"id": identity, "s": date.fromisoformat(session), "c": close, "change": change},
            )
    await api.run("UPDATE ingest.prices SET close = 80.684, change = 9000040 WHERE session = '2020-12-28'")
    assert isinstance(identity, int)
    return identity


async def test_a_prices_history_has_what_stands_and_what_it_replaced(api: Api, jpm: int) -> None:
    assert jpm
    found = await get(api, "/symbols/JPM/prices/history")
    assert [(item["session"], item["close"], item["known_until"] is None) for item in found["items"]] == [
        ("2020-12-28", 79.1, False), ("2020-12-28", 80.684, True), ("2020-12-29", 80.0, True),
    ]  # fmt: skip
    changed = await get(api, "/symbols/JPM/prices/history", changed=True)
    assert {item["session"] for item in changed["items"]} == {"2020-12-28"}
    page = await get(api, "/symbols/JPM/prices/history", limit=1)
    assert page["next"] == "2020-12-28"
    rest = await get(api, "/symbols/JPM/prices/history", cursor=page["next"])
    assert ([item["session"] for item in rest["items"]], rest["next"]) == (["2020-12-29"], None)
    shown = (await api.client.get("/symbols/JPM")).text
    assert "<s>79.10</s> → 80.684<" in shown


async def test_restatements_are_grouped_by_what_caused_them(api: Api, jpm: int) -> None:
    assert jpm
    identity = (await api.create(CSV.replace("AAPL", "JPM")))["id"]
    await api.run(
        """INSERT INTO snapshots.snapshots (portfolio_id, session, revision, model_version, nav, cash, long_value, short_value,
               gross_exposure, net_exposure, daily_pnl, cumulative_pnl, realized_pnl, unrealized_pnl, dividends, flow, cumulative_flow,
               positions, long_positions, short_positions, coverage, quality)
           SELECT :id, d, 9000010, '1', 100, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'complete'
           FROM unnest(ARRAY[date '2020-12-24', '2020-12-28', '2020-12-29', '2020-12-30']) d""",
        id=UUID(identity),
    )
    # A correction restates two sessions; later a rerun restates one, which no price explains.
    await api.run(
        "UPDATE snapshots.snapshots SET revision = 9000040, nav = 258.4, cash = 258.4 WHERE session IN ('2020-12-28', '2020-12-29')"
    )
    await api.run("UPDATE snapshots.snapshots SET revision = 9000050 WHERE session = '2020-12-24'")
    await api.run(
        """WITH r AS (INSERT INTO coordinator.runs (source, what, scope, scope_key) VALUES ('cli', 'all', '{}', 'k') RETURNING id)
           INSERT INTO coordinator.run_units SELECT id, :id, 'snapshots', '2020-12-24', '2020-12-24', 1, 9000050 FROM r""",
        id=UUID(identity),
    )
    await api.run("DELETE FROM snapshots.snapshots WHERE session = '2020-12-30'")
    groups = (await get(api, f"/portfolios/{identity}/restatements/causes"))["items"]
    assert [(group["revision"], group["from"], group["to"], group["sessions"]) for group in groups] == [
        (9000050, "2020-12-24", "2020-12-24", 1), (9000040, "2020-12-28", "2020-12-29", 2), (None, "2020-12-30", "2020-12-30", 1),
    ]  # fmt: skip
    rerun, corrected, withdrawn = groups
    assert [cause["kind"] for cause in rerun["causes"]] == ["run"]
    assert rerun["summary"].startswith("a rerun asked for")
    [cause] = corrected["causes"]
    assert cause["summary"].startswith("close of JPM on 2020-12-28: 79.10 → 80.68 (file, ")
    assert (cause["changes"][0]["old"], cause["changes"][0]["new"], corrected["nav_moved"]) == (79.1, 80.684, 158.4)
    assert withdrawn["causes"] == []
    # The page says the same, and leads to the symbol's prices.
    page = (await api.client.get(f"/p/{identity}/data")).text
    assert re.search(r'<a href="/symbols/JPM">close of JPM on 2020-12-28: 79.10 → 80.68 \(file, [^<]+</a>', page)
    assert "158.40" in page
    newest = await get(api, f"/portfolios/{identity}/restatements/causes", limit=1)
    assert newest["next"] == "9000050"
    after = await get(api, f"/portfolios/{identity}/restatements/causes", limit=1, cursor="9000050")
    assert after["items"][0]["revision"] == 9000040
    only = await get(api, f"/portfolios/{identity}/restatements/causes", **{"from": "2020-12-28", "to": "2020-12-29"})
    assert [group["revision"] for group in only["items"]] == [9000040]
    rows = (await get(api, f"/portfolios/{identity}/restatements", **{"from": "2020-12-29", "to": "2020-12-29"}))[
        "items"
    ]
    assert {row["session"] for row in rows} == {"2020-12-29"}


async def test_a_figure_that_there_is_none_of_is_refused_whatever_stands_beside_it(api: Api) -> None:
    """A section that risk does not have is none whose value is not known."""
    identity = await complete_with_results(api)
    path = f"{PREFIX}/portfolios/{identity}"
    for names in (
        "risk.nosuch",
        f"risk.{'x' * 300}",
        "risk.volatility.realized_21,risk.nosuch",
        "risk.coverage,risk.nosuch.0.95",
    ):
        answer = await api.client.get(f"{path}/risk/series", params={"figures": names})
        assert answer.status_code == 404, names
        assert "There is no figure 'risk." in answer.json()["detail"]
    known = await api.client.get(
        f"{path}/risk/series", params={"figures": "risk.benchmark_date, risk.volatility.realized_21"}
    )
    assert [values[-1] for values in known.json()["figures"].values()] == [None, 0.2]


async def test_figures_are_explained_once_each_and_some_at_a_time(api: Api) -> None:
    identity = await complete_with_results(api)
    path = f"{PREFIX}/portfolios/{identity}/explain/bulk"
    once = await api.client.get(path, params={"figures": ",".join(["snapshots.nav"] * 60)})
    assert [item["figure"] for item in once.json()["items"]] == ["snapshots.nav"]
    for names, count in ((" , ,", 0), (",".join(f"risk.{n}" for n in range(51)), 51)):
        refused = await api.client.get(path, params={"figures": names})
        assert (refused.status_code, refused.json()["detail"][: len(str(count))]) == (422, str(count))
