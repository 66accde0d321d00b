"""Benchmarks over the API: what is refused and why, and that a change requires the risk of its own sessions and nothing else."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from services.coordinator.control import releases
from services.risk.store import inputs
from shared.clock import Clock
from shared.market.calendar import calendar
from shared.market.sectors import GICS
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results

SESSIONS = calendar().between(date(2020, 12, 21), AS_OF)
HALVES = {"Technology": 0.5, "Energy": 0.5}
PATH = f"{PREFIX}/benchmarks"


async def put(api: Api, day: str, weights: dict[str, Any], code: str = "SP500", **params: str) -> httpx2.Response:
    return await api.client.put(f"{PATH}/{code}/{day}", json={"weights": weights}, params=params)


async def choose(api: Api, code: str = "SP500") -> None:
    await releases.apply(api.context.engine, Clock(AS_OF), code="code", model="1", benchmark=code)


async def complete(api: Api) -> str:
    portfolio = str((await api.create(price_basis="as_traded"))["id"])
    await api.complete(portfolio)
    await choose(api)
    return portfolio


def risk(first: str, last: str = "2020-12-30") -> set[tuple[str, date]]:
    return {("risk", day) for day in calendar().between(date.fromisoformat(first), date.fromisoformat(last))}


async def test_loading_requires_the_risk_from_its_date_on_and_nothing_else(api: Api) -> None:
    one, other = await complete(api), await complete(api)
    answer = await put(api, "2020-12-24", HALVES)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["code"], body["date"], body["changed"]) == ("SP500", "2020-12-24", True)
    assert body["weights"] == {"Energy": 0.5, "Information Technology": 0.5}
    assert body["restated"] == {"from": "2020-12-24", "to": "2020-12-30", "units": 8}
    for portfolio in (one, other):
        assert await api.missing(portfolio) == risk("2020-12-24")
    run = (await api.client.get(f"{PREFIX}/admin/runs/{body['run_id']}")).json()
    assert (run["units"], run["state"], run["source"], run["scope"]["benchmark"]) == (8, "running", "settings", "SP500")
    woken = await api.rows("SELECT type FROM bus.outbox ORDER BY id DESC LIMIT 1")
    assert "PhaseRequested" in woken[0][0], "the risk service is told at once"


async def test_a_table_counts_until_the_next_one_of_its_code(api: Api) -> None:
    portfolio = await complete(api)
    await put(api, "2020-12-29", HALVES)
    await put(api, "2020-12-23", HALVES, code="OTHER")
    await api.complete(portfolio)
    answer = await put(api, "2020-12-12", HALVES)
    assert answer.json()["restated"]["units"] == 5
    assert await api.missing(portfolio) == risk("2020-12-21", "2020-12-28")


async def test_what_nobody_is_compared_with_and_what_says_the_same_require_nothing(api: Api) -> None:
    portfolio = await complete(api)
    other = (await put(api, "2020-12-24", HALVES, code="other")).json()
    assert (other["code"], other["changed"], other["restated"], other["run_id"]) == ("OTHER", True, None, None)
    await put(api, "2020-12-24", HALVES)
    await api.complete(portfolio)
    again = (await put(api, "2020-12-24", {"Energy": "0.5", "Information Technology": 0.5})).json()
    assert (again["changed"], again["restated"]) == (False, None)
    assert await api.missing(portfolio) == set()
    assert len(await api.rows("SELECT 1 FROM coordinator.benchmarks")) == 2


async def test_replacing_and_taking_back_keep_the_rows_and_require_again(api: Api) -> None:
    portfolio = await complete(api)
    await put(api, "2020-12-24", HALVES)
    await api.complete(portfolio)
    replaced = await put(api, "2020-12-24", {"Energy": 0.4, "Utilities": 0.6})
    assert replaced.json()["restated"]["units"] == 4
    assert await api.missing(portfolio) == risk("2020-12-24")
    await api.complete(portfolio)
    gone = await api.client.delete(f"{PATH}/sp500/2020-12-24")
    assert (gone.status_code, gone.json()["restated"]["units"]) == (200, 4)
    assert await api.missing(portfolio) == risk("2020-12-24")
    rows = await api.rows("SELECT change, replaced_at IS NULL FROM coordinator.benchmarks ORDER BY change")
    assert len(rows) == 2
    assert not any(stands for _, stands in rows)
    missing = await api.client.delete(f"{PATH}/SP500/2020-12-24")
    assert missing.status_code == 404
    assert "There is no table of benchmark SP500 dated 2020-12-24" in missing.json()["detail"]


async def test_the_change_and_what_it_requires_are_one_transaction(api: Api) -> None:
    """Were the raise to fail, the table is not there either: risk never reads one that no unit was raised for."""
    portfolio = await complete(api)
    await api.run("ALTER TABLE coordinator.runs ADD CONSTRAINT none CHECK (false) NOT VALID")
    try:
        assert (await put(api, "2020-12-24", HALVES)).status_code == 500
    finally:
        await api.run("ALTER TABLE coordinator.runs DROP CONSTRAINT none")
    assert await api.rows("SELECT 1 FROM coordinator.benchmarks") == []
    assert await api.missing(portfolio) == set()


async def test_another_choice_requires_what_either_has_a_table_for_and_the_same_one_nothing(api: Api) -> None:
    portfolio = await complete(api)
    await put(api, "2020-12-29", HALVES)
    await put(api, "2020-12-23", HALVES, code="OTHER")
    await api.complete(portfolio)
    await choose(api)
    assert await api.missing(portfolio) == set()
    await choose(api, "OTHER")
    assert await api.missing(portfolio) == risk("2020-12-23")
    assert (await api.client.get(PATH)).json()["compared_with"] == "OTHER"
    await api.complete(portfolio)
    await choose(api, "NOBODYS")
    assert await api.missing(portfolio) == risk("2020-12-23"), "what was compared no longer is"


async def test_what_is_listed(api: Api) -> None:
    await choose(api)
    await put(api, "2020-06-30", HALVES)
    await put(api, "2020-12-24", {"Energy": 0.502, "Financial Services": 0.503})
    await put(api, "2020-12-24", HALVES, code="ACWI")
    body = (await api.client.get(PATH)).json()
    assert body["compared_with"] == "SP500"
    assert [(i["code"], i["date"]) for i in body["items"]] == [
        ("ACWI", "2020-12-24"), ("SP500", "2020-12-24"), ("SP500", "2020-06-30"),
    ]  # fmt: skip
    newest = body["items"][1]
    assert newest["weights"] == {"Energy": pytest.approx(0.502 / 1.005), "Financials": pytest.approx(0.503 / 1.005)}
    assert (newest["stated_sum"], sum(newest["weights"].values())) == (1.005, pytest.approx(1.0, abs=1e-15))
    assert newest["loaded_at"].endswith("Z")
    only = (await api.client.get(PATH, params={"code": "acwi"})).json()["items"]
    assert [i["code"] for i in only] == ["ACWI"]


@pytest.mark.parametrize(
    ("weights", "code", "column", "said"),
    [
        ({"Energy": 0.5, "Shipping": 0.5}, "ERR_BENCH_003", "sector", ["'Shipping'", "Utilities", "cash"]),
        ({"Energy": 0.5, "ETF": 0.5}, "ERR_BENCH_003", "sector", ["'ETF'"]),
        ({"Energy": 0.5, "Unclassified": 0.5}, "ERR_BENCH_003", "sector", ["'Unclassified'"]),
        ({"Technology": 0.5, "Information Technology": 0.5}, "ERR_BENCH_004", "sector", ["Technology", "both", "once"]),
        ({"Energy": None, "Utilities": 1.0}, "ERR_BENCH_005", "weight", ["'Energy'", "not there"]),
        ({"Energy": "a lot", "Utilities": 1.0}, "ERR_BENCH_005", "weight", ["'Energy'", "'a lot'", "0.27"]),
        ({"Energy": "nan"}, "ERR_BENCH_005", "weight", ["'nan'"]),
        ({"Energy": -0.1, "Utilities": 1.1}, "ERR_BENCH_006", "weight", ["'Energy'", "-0.1", "below 0"]),
        ({"Energy": 27, "Utilities": 73}, "ERR_BENCH_007", "weights", ["sum to 100", "0.27 is 27 %"]),
        ({"Energy": 0.5, "Utilities": 0.4899}, "ERR_BENCH_007", "weights", ["0.9899", "missing"]),
        ({"Energy": 0.5, "Utilities": 0.5101}, "ERR_BENCH_007", "weights", ["1.0101"]),
        ({}, "ERR_BENCH_002", "weights", ["no weights"]),
    ],
)
async def test_what_is_wrong_is_named_with_the_remedy(
    api: Api, weights: dict[str, Any], code: str, column: str, said: list[str]
) -> None:
    answer = await put(api, "2020-12-24", weights)
    body = answer.json()
    assert answer.status_code == 422
    assert "nothing was saved" in body["detail"]
    [error] = body["errors"]
    assert (error["code"], error["column"]) == (code, column)
    for part in said:
        assert part in error["message"]
    assert await api.rows("SELECT 1 FROM coordinator.benchmarks") == []


@pytest.mark.parametrize("weights", [{"Energy": 0.5, "Utilities": 0.49}, {"Energy": 0.5, "Utilities": 0.51}])
async def test_a_sum_within_a_hundredth_is_rescaled(api: Api, weights: dict[str, float]) -> None:
    body = (await put(api, "2020-12-24", weights)).json()
    assert sum(body["weights"].values()) == pytest.approx(1.0, abs=1e-15)
    assert body["weights"]["Energy"] == pytest.approx(0.5 / sum(weights.values()), rel=1e-15)


async def test_several_faults_come_together_and_a_dry_run_saves_nothing(api: Api) -> None:
    body = (await put(api, "2020-12-31", {"Shipping": 1, "Energy": -1})).json()
    assert {error["code"] for error in body["errors"]} == {"ERR_BENCH_001", "ERR_BENCH_003", "ERR_BENCH_006"}
    assert "2020-12-31 is in the future; today is 2020-12-30" in body["errors"][0]["message"]
    checked = await put(api, "2020-12-30", HALVES, dry_run="true")
    assert (checked.status_code, checked.json()["changed"]) == (200, False)
    assert await api.rows("SELECT 1 FROM coordinator.benchmarks") == []


@pytest.mark.parametrize("path", ["SP500/2020-13-01", "SP500/20201224", "SP500/yesterday", "S%20P/2020-12-24"])
async def test_a_path_that_means_nothing_is_refused(api: Api, path: str) -> None:
    answer = await api.client.put(f"{PATH}/{path}", json={"weights": HALVES})
    assert answer.status_code == 422
    assert answer.json()["code"]


async def test_all_eleven_sectors_and_vendors_names_of_them(api: Api) -> None:
    vendor = {name: 1 / 11 for name in GICS if name not in ("Information Technology", "Consumer Staples")}
    body = (await put(api, "2020-12-24", vendor | {"Technology": 1 / 11, "Consumer Defensive": 1 / 11})).json()
    assert list(body["weights"]) == sorted(GICS)


async def test_risk_reads_the_chosen_tables_of_its_sessions_as_its_own_role(api: Api) -> None:
    """The newest one by the first session, those after it up to the last, nothing replaced, nothing of another code."""
    await choose(api)
    for day in ("2020-03-31", "2020-06-30", "2020-12-24", "2020-12-29"):
        await put(api, day, {"Energy": 0.5, "Utilities": 0.5})
    await put(api, "2020-12-24", {"Energy": 0.25, "Utilities": 0.75})
    await put(api, "2020-12-28", HALVES, code="OTHER")
    async with api.admin.connect() as conn:
        await conn.execute(text("SET ROLE leadline_risk"))

        async def read(first: date, last: date) -> list[tuple[str, list[float]]]:
            rows = await inputs.benchmarks(conn, first, last)
            assert {row.code for row in rows} <= {"SP500"}
            return [(str(row.date), row.weights) for row in rows]

        assert await read(SESSIONS[0], SESSIONS[-2]) == [
            ("2020-06-30", [0.5, 0.5]), ("2020-12-24", [0.25, 0.75]), ("2020-12-29", [0.5, 0.5]),
        ]  # fmt: skip
        assert [day for day, _ in await read(date(2020, 12, 24), date(2020, 12, 28))] == ["2020-12-24"]
        assert await read(date(2020, 3, 2), date(2020, 3, 30)) == []
        assert [day for day, _ in await read(date(2020, 3, 2), date(2020, 3, 31))] == ["2020-03-31"]
        await conn.rollback()


async def test_a_result_that_is_not_recomputed_yet_is_explained_by_the_table_it_was_made_with(api: Api) -> None:
    identity = await complete_with_results(api)
    first = (await put(api, "2020-06-30", HALVES)).json()
    [(change,)] = await api.rows("SELECT change FROM coordinator.benchmarks")
    await api.run(
        """UPDATE risk.results SET revision = :change,
                  risk = risk || '{"benchmark": "SP500", "benchmark_date": "2020-06-30"}'""",
        change=change,
    )

    async def inputs_of(figure: str) -> list[dict[str, Any]]:
        answer = await api.client.get(f"{PREFIX}/portfolios/{identity}/explain", params={"figure": figure})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["inputs"])

    for weights in (None, {"Energy": 1.0}):
        if weights is not None:
            assert (await put(api, "2020-06-30", weights)).json()["loaded_at"] > first["loaded_at"]
        [table] = await inputs_of("risk.benchmark_date")
        assert (table["symbol"], table["from"], table["fetched_at"]) == ("SP500", "2020-06-30", first["loaded_at"])
        assert table["revision"] == change
