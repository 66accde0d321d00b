"""Where every figure comes from, and what was said before: on real prices, through five services."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from shared.market import registry
from tests.flow.holdings import book, lot
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.kafka


async def explained(leadline: Pipeline, portfolio: str, figure: str, **params: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{portfolio}/explain", params={"figure": figure, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def read(leadline: Pipeline, portfolio: str, path: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{portfolio}/{path}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_every_figure_of_every_answer_has_a_formula(leadline: Pipeline) -> None:
    portfolio = await leadline.create(book(), flows=[{"date": "2020-10-12", "amount": 5000.0, "note": None}])
    await leadline.complete(portfolio)

    listed = (await read(leadline, portfolio, "explain"))["figures"]

    assert len(listed) > 400
    assert [item["figure"] for item in listed if item["formula"] is None] == []
    names = [item["figure"] for item in listed]
    assert len(set(names)) == len(names), "a name is one figure"
    # Of each formula one figure, in full.
    chosen = {item["formula"]: item["figure"] for item in listed}
    for formula, figure in chosen.items():
        document = await explained(leadline, portfolio, figure)
        assert (document["figure"], document["formula"]) == (figure, formula)
        assert set(document) >= {
            "value",
            "parameters",
            "steps",
            "inputs",
            "revision",
            "model_version",
            "computed_at",
            "quality",
        }
        assert document["session"] == "2020-12-31"
        for source in document["inputs"]:
            assert set(source) == {
                "kind",
                "symbol",
                "from",
                "to",
                "provider",
                "fetched_at",
                "price_version",
                "revision",
            }
            assert source["provider"], source
            assert source["fetched_at"].endswith("Z")
            without = ("lot", "flow", "equity", "snapshot", "result", "scenario", "profile", "benchmark")
            assert (source["price_version"] is None) == (source["kind"] in without), source


async def test_values_are_those_of_the_answers(leadline: Pipeline, portfolio: str) -> None:
    risk = await read(leadline, portfolio, "risk")
    exposures = await read(leadline, portfolio, "factor-exposures")
    positions = (await read(leadline, portfolio, "positions"))["items"]
    stress = await read(leadline, portfolio, "stress")
    correlations = await read(leadline, portfolio, "correlations")
    snapshot = (await read(leadline, portfolio, "snapshots"))["items"][-1]
    normal = next(v for v in risk["var"] if (v["method"], v["level"]) == ("normal", 0.99))
    scenario = next(s for s in stress["scenarios"] if s["direct"])
    apple = next(p for p in positions if p["symbol"] == "AAPL")
    expected = {
        "snapshots.nav": snapshot["nav"],
        "snapshots.ytd_return": snapshot["ytd_return"],
        f"positions.{apple['position_id']}.market_value": apple["market_value"],
        "exposures.factors.market.beta": next(f["beta"] for f in exposures["factors"] if f["factor"] == "market"),
        "exposures.positions.MSFT.betas.momentum": next(
            p["betas"]["momentum"] for p in exposures["positions"] if p["symbol"] == "MSFT"
        ),
        "risk.volatility.forecast_21.value": risk["volatility"]["forecast_21"]["value"],
        "risk.var.historical.0.95": next(
            v["var"] for v in risk["var"] if (v["method"], v["level"]) == ("historical", 0.95)
        ),
        "risk.var.normal.0.99.es": normal["es"],
        "risk.decomposition.contributions.JPM.share": next(
            c["share"] for c in risk["decomposition"]["contributions"] if c["symbol"] == "JPM"
        ),
        "correlations.matrix.AAPL.MSFT": correlations["matrix"][correlations["labels"].index("AAPL")][
            correlations["labels"].index("MSFT")
        ],
        f"stress.{scenario['id']}.direct.money": scenario["direct"]["money"],
    }
    for figure, value in expected.items():
        assert value is not None, figure
        assert (await explained(leadline, portfolio, figure))["value"] == value, figure


async def test_inputs_parameters_and_steps_are_the_figures_own(leadline: Pipeline, portfolio: str) -> None:

    var = await explained(leadline, portfolio, "risk.var.historical.0.95")
    assert var["parameters"]["window"] == registry.LOOKBACK
    assert [step["name"] for step in var["steps"]] == ["risk.var.historical.0.95.n_obs"]
    priced = {item["symbol"]: item for item in var["inputs"] if item["kind"] == "price"}
    assert set(priced) == {position["symbol"] for position in book()} - {"KO"}, "KO was sold in November"
    assert {item["provider"] for item in priced.values()} == {"file"}
    assert {item["to"] for item in priced.values()} == {"2020-12-31"}
    [(change,)] = await leadline.query(
        "SELECT max(p.change) FROM ingest.prices p JOIN ingest.symbols s ON s.id = p.symbol_id"
        " WHERE s.symbol = 'AAPL' AND p.session BETWEEN :first AND '2020-12-31'",
        first=date.fromisoformat(priced["AAPL"]["from"]),
    )
    assert priced["AAPL"]["price_version"] == change

    own = await explained(leadline, portfolio, "risk.positions.JPM.realized_252")
    assert {(item["kind"], item["symbol"]) for item in own["inputs"]} == {("price", "JPM")}
    assert await explained(leadline, portfolio, "snapshots.nav") == await explained(
        leadline, portfolio, " snapshots.nav ", session="2020-12-31"
    )
    earlier = await explained(leadline, portfolio, "snapshots.nav", session="2020-10-01")
    assert earlier["session"] == "2020-10-01"
    assert {item["kind"] for item in earlier["inputs"]} >= {"lot", "price", "equity", "snapshot"}
    assert {step["name"] for step in earlier["steps"]} >= {"snapshots.cash", "snapshots.daily_pnl"}


async def test_unknown_figures_are_told_with_what_is_close(leadline: Pipeline) -> None:
    portfolio = await leadline.create([lot("AAPL", 100, "2020-12-01")])
    await leadline.complete(portfolio)
    path = f"/portfolios/{portfolio}/explain"
    close = await leadline.api.get(path, params={"figure": "risk.var.historic.0.95"})
    assert (close.status_code, "risk.var.historical.0.95" in close.json()["detail"]) == (404, True)
    assert (await leadline.api.get(path, params={"figure": "nonsense"})).status_code == 404
    assert (
        await leadline.api.get(path, params={"figure": "snapshots.nav", "session": "2020-11-30"})
    ).status_code == 404


async def test_what_an_edit_changed_is_listed_old_and_new(leadline: Pipeline) -> None:
    """I12: a change on a day invalidates that day and all later ones; what was said stays readable. Nobody else's is touched."""
    edited, untouched = await leadline.create(book()), await leadline.create(book())
    await leadline.complete(edited, untouched)
    before = (await read(leadline, edited, "snapshots"))["items"]
    flow = {"date": "2020-12-29", "amount": 1234.5}
    assert (await leadline.api.post(f"/portfolios/{edited}/flows", json=flow)).status_code == 201
    await leadline.complete(edited)
    after = (await read(leadline, edited, "snapshots"))["items"]

    everything = await read(leadline, edited, "restatements?limit=100")
    assert everything["next"] is None
    navs = {item["session"]: item for item in everything["items"] if item["figure"] == "snapshots.nav"}
    assert set(navs) == {"2020-12-29", "2020-12-30", "2020-12-31"}
    for old, new in zip(before, after, strict=True):
        if old["session"] in navs:
            item = navs[old["session"]]
            assert (item["old"], item["new"]) == (old["nav"], new["nav"])
            assert (item["old_revision"], item["new_revision"]) == (old["revision"], new["revision"])
            assert item["replaced_at"] >= old["computed_at"]
        else:
            assert (old["nav"], old["revision"]) == (new["nav"], new["revision"])
    assert {item["phase"] for item in everything["items"]} == {"snapshots", "risk"}
    assert all(item["old"] != item["new"] for item in everything["items"])
    assert (await read(leadline, untouched, "restatements"))["items"] == []

    paged, cursor = [], ""
    for _ in range(20):
        page = await read(leadline, edited, f"restatements?limit=1{cursor}")
        paged += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next'].replace('+', '%2B')}"
    assert paged == everything["items"]
    one = await read(leadline, edited, "restatements?session=2020-12-30&figure=snapshots.flow&limit=100")
    assert {item["session"] for item in one["items"]} <= {"2020-12-30"}
    assert (await leadline.api.get(f"/portfolios/{edited}/restatements?cursor=x")).status_code == 422


async def test_a_deleted_position_leaves_its_old_figures_readable(leadline: Pipeline) -> None:
    portfolio = await leadline.create([lot("AAPL", 100, "2020-12-01"), lot("MSFT", 50, "2020-12-28")])
    await leadline.complete(portfolio)
    gone = next(p for p in (await read(leadline, portfolio, "positions"))["items"] if p["symbol"] == "MSFT")
    answer = await leadline.api.delete(f"/portfolios/{portfolio}/positions/{gone['position_id']}")
    assert answer.status_code == 200, answer.text
    await leadline.complete(portfolio)
    items = (await read(leadline, portfolio, "restatements?limit=100"))["items"]
    values = [item for item in items if item["figure"] == f"positions.{gone['position_id']}.market_value"]
    assert {item["session"] for item in values} == {"2020-12-28", "2020-12-29", "2020-12-30", "2020-12-31"}
    assert all(item["old"] > 0 and item["new"] is None for item in values)
    assert {item["session"] for item in items} == {"2020-12-28", "2020-12-29", "2020-12-30", "2020-12-31"}


async def test_sessions_before_the_earliest_lot_that_was_deleted_are_withdrawn_and_stay_readable(
    leadline: Pipeline,
) -> None:
    portfolio = await leadline.create([lot("AAPL", 100, "2020-12-28"), lot("MSFT", 50, "2020-12-30")])
    await leadline.complete(portfolio)
    gone = next(p for p in (await read(leadline, portfolio, "positions"))["items"] if p["symbol"] == "AAPL")
    answer = await leadline.api.delete(f"/portfolios/{portfolio}/positions/{gone['position_id']}")
    assert answer.json()["first_session"] == "2020-12-30"
    await leadline.complete(portfolio)
    for table in ("snapshots.snapshots", "snapshots.holdings", "risk.results"):
        left = await leadline.query(f"SELECT session FROM {table} WHERE portfolio_id = '{portfolio}' ORDER BY session")
        assert [str(row[0]) for row in left] == ["2020-12-30", "2020-12-31"], table
    for session in ("2020-12-28", "2020-12-29"):
        items = (await read(leadline, portfolio, f"restatements?session={session}&limit=100"))["items"]
        assert {item["phase"] for item in items} == {"snapshots", "risk"}
        assert all(item["new"] is None for item in items)
        assert next(item for item in items if item["figure"] == "snapshots.nav")["old"] > 0
