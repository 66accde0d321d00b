"""The states of real books on the bundled prices: complete where nothing is to be done, partial where a holding has no price."""

from __future__ import annotations

from tests.flow.holdings import lot
from tests.support.pipeline import Pipeline

UNKNOWN = {"symbol": "TWTR", "quantity": 5000, "entry_date": "2020-12-14", "entry_price": 50.0}


async def test_a_book_of_priced_holdings_is_complete_without_a_remark(leadline: Pipeline) -> None:
    """AMZN is stated to pay nothing, MSFT stands on adjusted closes; missing proxies and a young book are nobody's affair."""
    portfolio = await leadline.create(
        [lot("AMZN", 10, "2020-07-20", "2020-07-31"), lot("MSFT", 50, "2020-07-20"), lot("KO", 10, "2020-12-28")]
    )
    (status,) = await leadline.complete(portfolio)
    assert (status["state"], status["processed"], status["coverage_min"]) == ("complete", 1.0, 1.0)
    assert status["needs_you"] == []
    assert {r["reason"] for of in status["partials"] for r in of["reasons"]} <= {"short_history", "not_yet_listed"}


async def test_a_book_without_most_of_its_prices_is_partial_and_says_what_to_do(leadline: Pipeline) -> None:
    portfolio = await leadline.create([UNKNOWN, lot("AAPL", 100, "2020-12-14")])
    (status,) = await leadline.complete(portfolio)
    assert (status["state"], status["processed"]) == ("partial", 1.0)
    assert status["coverage_min"] < 0.2
    assert [(need["symbol"], need["reason"]) for need in status["needs_you"]] == [("TWTR", "not_found")]
    listed = {item["id"]: item for item in (await leadline.api.get("/portfolios?limit=200")).json()["items"]}
    assert (listed[portfolio]["state"], listed[portfolio]["needs_you"]) == ("partial", 1)
    positions = (await leadline.api.get(f"/portfolios/{portfolio}/positions")).json()["items"]
    of = next(item for item in positions if item["symbol"] == "TWTR")
    assert {reason["reason"] for reason in of["reasons"]} == {"unpriceable", "not_found"}
    assert all(reason["remedy"] and reason["acts"] == "you" for reason in of["reasons"])
