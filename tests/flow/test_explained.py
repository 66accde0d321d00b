"""Every number that the API tells of a portfolio or a symbol can be asked for, and says where it comes from.

The names are made here, from the bodies alone: what `explain` lists is not asked, since what it forgot it would not list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.market import registry
from tests.flow.holdings import lot
from tests.support.pipeline import Pipeline

pytestmark = pytest.mark.kafka

SCENARIOS = Path(__file__).parents[2] / "services" / "risk" / "scenarios.yaml"
BODIES = {
    "snapshots": "snapshots",
    "positions": "positions",
    "exposures": "factor-exposures",
    "risk": "risk",
    "correlations": "correlations",
    "stress": "stress",
    "scorecard": "scorecard",
}
# What tells one item of a list from another, by the list's place in its body; `=` names the figure that an item is about.
ITEMS: dict[str, tuple[tuple[str, ...], str]] = {
    "positions.items": (("position_id",), ""),
    "exposures.factors": (("factor",), ""),
    "exposures.positions": (("symbol",), ""),
    "risk.positions": (("symbol",), ""),
    "risk.decomposition.contributions": (("symbol",), ""),
    "risk.decomposition.factors": (("factor",), "share"),
    "risk.var": (("method", "level"), "var"),
    "risk.var_10d": (("method", "level"), "var"),
    "risk.covered_only.var": (("method", "level"), "var"),
    "risk.sectors": (("sector",), ""),
    "stress.scenarios": (("id",), ""),
    "scorecard.forecasts": (("method",), ""),
    "scorecard.var": (("method", "level"), ""),
}
# Their own names say nothing: `positions.<id>.price`, `stress.<id>.direct.money`.
UNNAMED = ("positions.items", "stress.scenarios")
# Not figures but where figures come from; an explanation repeats them itself.
PROVENANCE = frozenset({"revision", "price_version"})


def numbers(answer: str, body: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of a body by the name under which each is asked for."""
    found = list(_numbers((answer,), answer, body))
    assert len({name for name, _ in found}) == len(found), "a name is one figure"
    return dict(found)


def _numbers(name: tuple[str, ...], place: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int | float):
        yield ".".join(name), value
    elif isinstance(value, list):
        keys, about = ITEMS[place] if value and isinstance(value[0], dict) and place in ITEMS else ((), "")
        for item in value if keys else ():
            own = (*(name[:-1] if place in UNNAMED else name), *(str(item[key]) for key in keys))
            if about and item[about] is not None:
                yield ".".join(own), item[about]
            rest = {key: inner for key, inner in item.items() if key not in keys and key != about}
            yield from _numbers(own, f"{place}.*", rest)
        assert keys or not any(_numbers(name, place, dict(enumerate(value)))), f"numbers without a name at {place}"
    else:
        for key, inner in value.items():
            if key in PROVENANCE or key == "reasons":
                continue
            if key in ("matrix", "n_obs") and isinstance(inner, list):
                for row, one in zip(inner, value["labels"], strict=True):
                    for cell, other in zip(row, value["labels"], strict=True):
                        yield from _numbers((*name, key, one, other), f"{place}.{key}.*.*", cell)
            else:
                yield from _numbers((*name, str(key)), f"{place}.{key}", inner)


async def explained(leadline: Pipeline, path: str, expected: Mapping[str, float], **params: str) -> dict[str, Any]:
    """The explanations of all figures, after what must be true of each has been seen to be."""
    at_once, found, wrong = asyncio.Semaphore(4), {}, []

    async def check(figure: str, value: float) -> None:
        async with at_once:
            answer = await leadline.api.get(f"{path}/explain", params={"figure": figure, **params})
        if answer.status_code != 200:
            wrong.append(f"{figure}: {answer.status_code}")
            return
        document = found[figure] = answer.json()
        dated = [item for item in document["inputs"] if item["provider"] and (item["fetched_at"] or "").endswith("Z")]
        if (document["figure"], document["value"]) != (figure, value):
            wrong.append(f"{figure}: {document['value']} is told, {value} stands in the body")
        if not document["formula"]:
            wrong.append(f"{figure}: no formula")
        if len(dated) != len(document["inputs"]):
            wrong.append(f"{figure}: an input without provider or time")
        if bool(document["inputs"]) == bool(document["no_inputs"]):
            wrong.append(f"{figure}: {len(dated)} inputs, and {document['no_inputs']!r} why there are none")

    await asyncio.gather(*(check(figure, value) for figure, value in expected.items()))
    assert wrong == [], f"{len(wrong)} of {len(expected)}"
    return found


async def body(leadline: Pipeline, path: str) -> dict[str, Any]:
    answer = await leadline.api.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
async def portfolio(leadline: Pipeline) -> str:
    """Longs, a short, a lot that is closed, one without a market, and money that comes in."""
    positions = [
        lot("AAPL", 100, "2020-11-02"),
        lot("XOM", -200, "2020-11-02"),
        lot("KO", 150, "2020-11-02", "2020-11-16"),
        {
            "symbol": "EQ_BARN",
            "quantity": 10,
            "entry_date": "2020-11-02",
            "entry_price": 500.0,
            "investment_class": "PRIVATE",
        },
    ]
    made = await leadline.create(positions, flows=[{"date": "2020-12-02", "amount": 5000.0, "note": None}])
    await leadline.complete(made)
    return made


@pytest.mark.parametrize("answer", BODIES)
async def test_every_number_of_a_portfolios_body_is_explained(leadline: Pipeline, portfolio: str, answer: str) -> None:
    document = await body(leadline, f"/portfolios/{portfolio}/{BODIES[answer]}")
    if answer == "snapshots":
        document = document["items"][-1]
    if answer == "stress":
        # All scenarios have the figures of one; every sixth stands for those beside it.
        document["scenarios"] = document["scenarios"][::6]
    expected = numbers(answer, document)
    assert f"{answer}.coverage" in expected
    least = {
        "snapshots": 20,
        "positions": 25,
        "exposures": 50,
        "risk": 60,
        "correlations": 40,
        "stress": 40,
        "scorecard": 10,
    }
    assert len(expected) > least[answer]
    found = await explained(leadline, f"/portfolios/{portfolio}", expected)
    assert {document["session"] for document in found.values()} == {"2020-12-31"}


async def test_every_number_of_a_symbols_bodies_is_explained(leadline: Pipeline, portfolio: str) -> None:
    assert portfolio
    for answer, least in (("factors", 25), ("metrics", 10)):
        expected = numbers(answer, await body(leadline, f"/symbols/AAPL/{answer}"))
        assert len(expected) > least
        found = await explained(leadline, "/symbols/AAPL", expected)
        for figure, document in found.items():
            assert (document["price_version"] > 0, document["stale"]) == (True, False), figure
            assert document["model_version"] == registry.MODEL_VERSION
            assert document["session"] == "2020-12-31", figure
    prices = (await body(leadline, "/symbols/AAPL/prices?from=2020-08-31&to=2020-08-31"))["items"][0]
    expected = {f"prices.{name}": value for name, value in prices.items() if isinstance(value, float)}
    assert {"prices.adj_close", "prices.total_return"} <= set(expected)
    await explained(leadline, "/symbols/AAPL", expected, session="2020-08-31")


async def one(leadline: Pipeline, portfolio: str, figure: str, **params: str) -> dict[str, Any]:
    answer = await leadline.api.get(f"/portfolios/{portfolio}/explain", params={"figure": figure, **params})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def of(document: Mapping[str, Any], kind: str) -> dict[str, tuple[str, str]]:
    """First and last session of each symbol's inputs of a kind."""
    return {item["symbol"]: (item["from"], item["to"]) for item in document["inputs"] if item["kind"] == kind}


async def test_what_is_made_of_a_history_names_all_of_it(leadline: Pipeline, portfolio: str) -> None:
    whole = {
        "AAPL": ("2020-11-02", "2020-12-31"),
        "XOM": ("2020-11-02", "2020-12-31"),
        "KO": ("2020-11-02", "2020-11-13"),
    }
    for name in ("nav", "cumulative_pnl", "ytd_return", "cumulative_return", "drawdown", "xirr"):
        document = await one(leadline, portfolio, f"snapshots.{name}")
        assert of(document, "price") == whole, (name, "KO was sold on the 16th, at a price of its own")
        assert of(document, "snapshot") == {None: ("2020-11-02", "2020-12-30")}, (
            name,
            "the row itself is no input of it",
        )
        assert {item["kind"] for item in document["inputs"]} >= {"lot", "equity", "flow"}, name
        assert {item["symbol"] for item in document["inputs"] if item["kind"] == "lot"} == {*whole, "EQ_BARN"}, name
    month = await one(leadline, portfolio, "snapshots.mtd_return")
    assert of(month, "price") == dict.fromkeys(("AAPL", "XOM"), ("2020-11-30", "2020-12-31"))
    assert of(month, "snapshot") == {None: ("2020-11-30", "2020-12-30")}
    cash = await one(leadline, portfolio, "snapshots.cash")
    assert {item["kind"] for item in cash["inputs"]} == {"lot", "flow", "snapshot", "equity"}, (
        "no close is in it, and nothing was paid or split"
    )
    flows = await one(leadline, portfolio, "snapshots.cumulative_flow")
    assert {item["kind"] for item in flows["inputs"]} == {"flow", "snapshot"}
    today = await one(leadline, portfolio, "snapshots.flow")
    assert (today["inputs"], today["no_inputs"]) == ([], "There was no flow in or out.")
    assert [
        item["from"] for item in (await one(leadline, portfolio, "snapshots.flow", session="2020-12-02"))["inputs"]
    ] == ["2020-12-02"]
    first = await one(leadline, portfolio, "snapshots.nav", session="2020-11-02")
    assert "snapshot" not in {item["kind"] for item in first["inputs"]}
    assert "equity" in {item["kind"] for item in first["inputs"]}
    var = await one(leadline, portfolio, "risk.var.historical.0.95")
    assert set(of(var, "price")) == {"AAPL", "XOM"}, "risk is of what is held"
    assert of(var, "snapshot") == {None: ("2020-12-31", "2020-12-31")}


async def test_a_lot_that_was_edited_is_as_old_as_the_edit(leadline: Pipeline) -> None:
    portfolio = await leadline.create([lot("AAPL", 100, "2020-12-28"), lot("XOM", 10, "2020-12-28")])
    await leadline.complete(portfolio)
    [(created,)] = await leadline.query(
        f"SELECT max(created_at) FROM coordinator.positions WHERE portfolio_id = '{portfolio}'"
    )
    before = (await one(leadline, portfolio, "snapshots.nav"))["inputs"]
    apple = next(
        item
        for item in (await body(leadline, f"/portfolios/{portfolio}/positions"))["items"]
        if item["symbol"] == "AAPL"
    )
    edit = await leadline.api.patch(f"/portfolios/{portfolio}/positions/{apple['position_id']}", json={"quantity": 120})
    assert edit.status_code == 200, edit.text
    after = (await one(leadline, portfolio, "snapshots.nav"))["inputs"]
    times = [
        {item["symbol"]: datetime.fromisoformat(item["fetched_at"]) for item in told if item["kind"] == "lot"}
        for told in (before, after)
    ]
    assert times[0]["AAPL"] == created < times[1]["AAPL"]
    assert times[0]["XOM"] == times[1]["XOM"] == created


async def test_an_option_rests_on_its_underlying_too(leadline: Pipeline) -> None:
    option = {"symbol": "MSFT210618C00220000", "quantity": 1, "entry_date": "2020-12-28", "entry_price": 20.0}
    portfolio = await leadline.create([lot("AAPL", 100, "2020-12-28"), option])
    await leadline.complete(portfolio)
    for figure in ("exposure_value", "greeks", "betas.market"):
        document = await one(leadline, portfolio, f"exposures.positions.{option['symbol']}.{figure}")
        assert set(of(document, "price")) == {"MSFT"}, (figure, "nobody sells prices of the contract here")
    assert document["parameters"]["penalty"] == registry.JOINT_PENALTY
    assert "AAPL" in of(await one(leadline, portfolio, "risk.beta.aggregated"), "price")


async def test_a_move_of_yields_is_explained_by_its_duration(leadline: Pipeline, portfolio: str) -> None:
    """There is no proxy of rates in the bundled prices, so these are withheld; what they would go through is known all the same."""
    written = yaml.safe_load(SCENARIOS.read_text())
    newest = max(
        (of for of in written["rates"]["durations"] if of["as_of"] <= date(2020, 12, 31)), key=lambda of: of["as_of"]
    )
    moved = {of["id"]: of["shocks"]["rates_bp"] for of in written["scenarios"] if "rates_bp" in of.get("shocks", ())}
    assert moved
    for scenario, points in moved.items():
        given = {
            "rates_bp": points,
            "duration": newest["duration"],
            "convexity": newest["convexity"],
            "duration_as_of": newest["as_of"].isoformat(),
        }
        document = await one(leadline, portfolio, f"stress.{scenario}.shocks.rates")
        assert document["parameters"] == given
        assert "-D dy + C dy^2 / 2" in document["formula"]
        assert [(item["kind"], item["symbol"]) for item in document["inputs"]] == [("scenario", scenario)]
        propagated = await one(leadline, portfolio, f"stress.{scenario}.propagated")
        assert propagated["parameters"].items() > given.items()
        assert propagated["parameters"]["half_life"] == registry.STRESS_HALF_LIFE


async def test_texts_and_lists_have_names_too(leadline: Pipeline, portfolio: str) -> None:
    pairs = await body(leadline, f"/portfolios/{portfolio}/correlations")
    clusters = await one(leadline, portfolio, "correlations.clusters")
    assert clusters["value"] == pairs["clusters"] != []
    assert clusters["parameters"]["cut"] == registry.CLUSTER_CUT
    assert pairs["excluded"] == [{"symbol": "EQ_BARN", "reason": "private"}]
    for answer in ("correlations", "risk.decomposition"):
        assert (await one(leadline, portfolio, f"{answer}.excluded.EQ_BARN"))["value"] == "private"
    scenario = (await body(leadline, f"/portfolios/{portfolio}/stress"))["scenarios"][0]
    assert (await one(leadline, portfolio, f"stress.{scenario['id']}.capped"))["value"] == scenario["capped"]
    factors = await one(leadline, portfolio, "correlations.factors.matrix.market.value")
    assert "raw returns" in factors["formula"]
