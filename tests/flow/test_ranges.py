"""What is worked out when it is asked for agrees with what the phases stored of the same portfolio, on real prices."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.holdings import book, close
from tests.support.pipeline import Pipeline

PRIVATE = {
    "symbol": "HOUSE",
    "quantity": 1,
    "entry_date": "2020-09-01",
    "entry_price": 9000,
    "investment_class": "PRIVATE",
}


@pytest.fixture(scope="module")
async def portfolio(leadline: Pipeline) -> str:
    """Longs, a short, a lot that was closed, one without a market, and money that came in."""
    made = await leadline.create([*book(), PRIVATE], flows=[{"date": "2020-10-12", "amount": 5000.0, "note": None}])
    await leadline.complete(made)
    return made


async def get(leadline: Pipeline, portfolio: str, path: str, **query: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{portfolio}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_range_has_the_return_and_the_drawdown_that_were_stored(leadline: Pipeline, portfolio: str) -> None:
    found = await get(leadline, portfolio, "performance", benchmark="^GSPC")
    last = (await get(leadline, portfolio, "snapshots"))["items"][-1]
    risk = await get(leadline, portfolio, "risk")
    assert found["total_return"] == pytest.approx(last["cumulative_return"], rel=1e-12)
    assert (found["max_drawdown"], found["drawdowns"][0]["peak"], found["drawdowns"][0]["trough"]) == (
        pytest.approx(risk["drawdown"]["max"], rel=1e-12), risk["drawdown"]["peak"], risk["drawdown"]["trough"],
    )  # fmt: skip
    assert found["benchmark"]["n_obs"] == found["n_obs"] == 85
    assert found["stale"] is False
    reasons = {reason["figure"]: reason["reason"] for reason in found["reasons"]}
    assert reasons["benchmark.alpha"] == "price_index"
    assert reasons["annual_return"] == reasons["money_weighted_annual"] == "short_history"
    december = next(item for item in found["items"] if item["month"] == "2020-12")
    assert december["return"] == pytest.approx(last["mtd_return"], rel=1e-9)


async def test_its_parts_add_up_to_it(leadline: Pipeline, portfolio: str) -> None:
    found = await get(leadline, portfolio, "attribution")
    last = (await get(leadline, portfolio, "snapshots"))["items"][-1]
    lots = (await get(leadline, portfolio, "positions"))["items"]
    assert found["pnl"] == pytest.approx(last["cumulative_pnl"], abs=1e-4)
    for part in ("items", "sectors", "factors"):
        known = [line for line in found[part] if line["contribution"] is not None]
        assert sum(line["contribution"] for line in known) == pytest.approx(last["cumulative_return"], rel=1e-9), part
    assert {item["symbol"]: item["pnl"] for item in found["items"]} == pytest.approx(
        {lot["symbol"]: lot["cumulative_pnl"] for lot in lots}, abs=1e-4
    )
    lines = {line["factor"]: line for line in found["factors"]}
    assert lines["market"]["sessions"] + lines["untold"]["sessions"] == found["sessions"]
    assert lines["untold"]["sessions"] == 0
    assert lines["rates"]["pnl"] is None


async def test_before_any_trade_the_figures_are_those_that_were_stored(leadline: Pipeline, portfolio: str) -> None:
    answer = await leadline.api.post(
        f"/portfolios/{portfolio}/what-if",
        json={"trades": [{"symbol": "JPM", "quantity": 10}, {"symbol": "PG", "quantity": -80}]},
    )
    assert answer.status_code == 200, answer.text
    found, risk = answer.json(), await get(leadline, portfolio, "risk")
    exposures = {of["factor"]: of for of in (await get(leadline, portfolio, "factor-exposures"))["factors"]}
    before = found["before"]
    for name, value in before["volatility"].items():
        assert value == pytest.approx(risk["volatility"][name], rel=1e-9), name
    tails = {of["level"]: of for of in risk["var"] if of["method"] == "historical"}
    for tail in before["var"]:
        stored = tails[tail["level"]]
        assert (tail["var"], tail["es"], tail["n_obs"]) == (
            pytest.approx(stored["var"], rel=1e-9), pytest.approx(stored["es"], rel=1e-9), stored["n_obs"],
        )  # fmt: skip
    for factor in before["factors"]:
        stored_beta = exposures[factor["factor"]]["beta"]
        assert factor["beta"] == (None if stored_beta is None else pytest.approx(stored_beta, rel=1e-9)), factor
    for name in ("hhi", "effective", "top_3", "top_10"):
        assert before["concentration"][name] == pytest.approx(risk["concentration"][name], rel=1e-9), name
    sold = next(position for position in found["positions"] if position["symbol"] == "PG")
    assert (sold["quantity_after"], sold["weight_after"]) == (0.0, 0.0)
    assert found["after"]["cash"] - before["cash"] == pytest.approx(
        80 * close("PG", "2020-12-31") - 10 * close("JPM", "2020-12-31")
    )


async def test_the_spring_of_2020_with_what_is_held_in_december(leadline: Pipeline, portfolio: str) -> None:
    found = await get(leadline, portfolio, "stress/replay", **{"from": "2020-02-19", "to": "2020-03-23"})
    items = {item["symbol"]: item for item in found["items"]}
    jpm = items["JPM"]
    assert jpm["own_return"] == pytest.approx(-0.43, abs=0.03), "with its dividend"
    assert jpm["factor_return"] < -0.25
    assert (items["HOUSE"]["own_return"], items["HOUSE"]["reason"]) == (None, "private")
    assert found["positions"]["uncovered_value"] == pytest.approx(9000.0)
    assert next(of for of in found["proxies"] if of["factor"] == "market")["return"] == pytest.approx(-0.339, abs=0.001)


async def test_its_figures_are_explained(leadline: Pipeline, portfolio: str) -> None:
    names = [of["figure"] for of in (await get(leadline, portfolio, "explain"))["figures"]]
    own = [name for name in names if name.startswith(("performance.", "attribution."))]
    assert len(own) > 40
    shown = [
        "performance.sharpe", "performance.cdar_95", "performance.money_weighted_return", "attribution.pnl",
        "attribution.factors.market.pnl", "attribution.factors.untold.pnl", "attribution.positions.AAPL.sector",
        "attribution.positions.AAPL.contribution",
    ]  # fmt: skip
    assert set(shown) <= set(own)
    bulk = await get(leadline, portfolio, "explain/bulk", figures=",".join(shown))
    assert bulk["unknown"] == []
    for item in bulk["items"]:
        assert item["formula"], item["figure"]
        assert item["inputs"] or item["no_inputs"], item["figure"]
    sharpe = next(item for item in bulk["items"] if item["figure"] == "performance.sharpe")
    assert {(of["kind"], of["from"]) for of in sharpe["inputs"]} >= {("snapshot", "2020-09-01")}
    # The bundled data have no volumes, and say so.
    liquidity = await get(leadline, portfolio, "liquidity")
    assert {item["reason"] for item in liquidity["items"]} <= {"no_volume", "not_exchange_traded", None}
