"""What users and the world get wrong: a clear error or a typed reason, nothing lost, nothing blocked."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from shared.events.topics import DATE_DUE, PRICES_INGESTED
from tests.flow.holdings import lot
from tests.support.pipeline import Pipeline

HEADER = "symbol,quantity,entry_date,entry_price"


async def refused(leadline: Pipeline, content: bytes | str) -> list[dict[str, Any]]:
    """The errors of an import that must fail, after making sure that it left nothing behind."""
    before = await leadline.query("SELECT count(*) FROM coordinator.portfolios")
    answer = await leadline.api.post(
        "/portfolios/import",
        data={"name": "Bad", "account_type": "taxable", "equity_balance": "1000"},
        files={"file": ("bad.csv", content if isinstance(content, bytes) else content.encode(), "text/csv")},
    )
    assert answer.status_code == 422, answer.text
    assert await leadline.query("SELECT count(*) FROM coordinator.portfolios") == before, "nothing is saved"
    return list(answer.json()["errors"])


async def test_all_errors_of_a_file_come_at_once_with_row_column_and_code(leadline: Pipeline) -> None:
    errors = await refused(
        leadline,
        f"""{HEADER}
AAPL,0,2020-12-01,100
,5,2020-12-01,100
MSFT,abc,2020-12-01,100
JPM,5,01/12/2020,100
KO,5,2020-12-01,-3
PG,5,2031-01-02,100
GE,5,1901-01-02,100
XOM,nan,2020-12-01,inf
""",
    )
    assert {error["row"] for error in errors} == set(range(2, 10)) or {error["row"] for error in errors} == set(
        range(1, 9)
    )
    for error in errors:
        assert set(error) >= {"row", "column", "code", "message", "value"}
        assert error["code"].startswith("ERR_POS_")
        assert len(error["message"]) > 10


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\x00symbol", "ERR_CSV"),
        ("", "ERR_CSV"),
        ("symbol,quantity\nAAPL,5", "ERR_CSV"),
        (HEADER, "ERR_CSV"),
    ],
    ids=["not UTF-8", "empty", "missing columns", "header only"],
)
async def test_a_file_that_is_not_a_portfolio_is_refused(leadline: Pipeline, content: bytes | str, code: str) -> None:
    errors = await refused(leadline, content)
    assert any(error["code"].startswith(code) for error in errors), errors


async def test_an_unknown_symbol_is_a_reason_and_stops_nobody(leadline: Pipeline) -> None:
    portfolio = await leadline.create(
        [lot("AAPL", 10, "2020-12-01"), {**lot("AAPL", 10, "2020-12-01"), "symbol": "QZZXQ"}]
    )
    [status] = await leadline.complete(portfolio)

    assert status["completed"] == status["expected"]
    assert status["partial"] > 0
    reasons = {(r["symbol"], r["reason"]) for partial in status["partials"] for r in partial["reasons"]}
    assert any(symbol == "QZZXQ" for symbol, _ in reasons), reasons
    items = {i["symbol"]: i for i in (await leadline.api.get(f"/portfolios/{portfolio}/positions")).json()["items"]}
    assert items["QZZXQ"]["reason"] == "unpriceable"
    assert items["AAPL"]["reason"] is None
    snapshot = (await leadline.api.get(f"/portfolios/{portfolio}/snapshots")).json()["items"][-1]
    assert snapshot["coverage"] < 1, "what could not be priced is outside the coverage"


async def test_a_series_that_ends_goes_stale_and_then_unpriceable(leadline: Pipeline) -> None:
    """The bundled AMZN ends on 2020-07-31: its last price is carried, marked, and leaves the coverage after five sessions."""
    portfolio = await leadline.create([lot("AMZN", 5, "2020-07-01"), lot("JPM", 50, "2020-07-01")])
    await leadline.complete(portfolio)
    rows = await leadline.query(
        "SELECT session, reason, stale, price, daily_pnl FROM snapshots.positions"
        " WHERE portfolio_id = :id AND symbol = 'AMZN' ORDER BY session",
        id=portfolio,
    )
    by_day = {row.session: row for row in rows}
    assert by_day[date(2020, 7, 31)].stale == 0
    assert (by_day[date(2020, 8, 3)].stale, by_day[date(2020, 8, 3)].daily_pnl) == (1, 0)
    assert by_day[date(2020, 8, 7)].reason == "stale"
    assert by_day[date(2020, 8, 10)].reason == "unpriceable"
    assert by_day[date(2020, 12, 31)].price == by_day[date(2020, 7, 31)].price


async def test_an_entry_on_a_weekend_counts_from_the_next_session(leadline: Pipeline) -> None:
    portfolio = await leadline.create([{**lot("AAPL", 10, "2020-12-04"), "entry_date": "2020-12-05"}])
    [status] = await leadline.complete(portfolio)
    assert status["first_session"] == "2020-12-07"


async def test_an_empty_portfolio_is_complete_with_nothing_expected(leadline: Pipeline) -> None:
    portfolio = await leadline.create([])
    status = await leadline.status(portfolio)
    assert (status["state"], status["expected"], status["completed"]) == ("complete", 0, 0)
    assert (await leadline.api.get(f"/portfolios/{portfolio}/risk")).status_code == 404


async def test_ids_that_do_not_exist_are_named_and_nothing_widens(leadline: Pipeline) -> None:
    """Bugs 7, 8 and 39: an invalid id fell back to everybody; contradictory dates were silently ignored."""
    runs = await leadline.query("SELECT count(*) FROM coordinator.runs")
    missing = "00000000-0000-4000-8000-000000000000"
    answer = await leadline.api.post("/admin/batch/run", params={"portfolio_id": missing})
    assert answer.status_code == 422
    assert missing in answer.text
    assert (await leadline.api.post("/admin/batch/run", params={"portfolio_id": "x"})).status_code == 422
    backwards = {"start_date": "2020-12-31", "end_date": "2020-12-01", "force_rerun": "true"}
    assert (await leadline.api.post("/admin/batch/run", params=backwards)).status_code == 400
    assert await leadline.query("SELECT count(*) FROM coordinator.runs") == runs
    assert (await leadline.api.get(f"/portfolios/{missing}/status")).status_code == 404


async def test_malformed_events_are_put_aside_and_the_next_one_is_handled(
    leadline: Pipeline, producer: AIOKafkaProducer
) -> None:
    portfolio = await leadline.create([lot("AAPL", 10, "2020-12-21")])
    await leadline.complete(portfolio)
    await leadline.quiet()
    before = (await leadline.query("SELECT count(*) FROM bus.dead_letters"))[0][0]
    good = [("ce_type", b"leadline.PricesIngested.v1"), ("ce_id", b"1")]
    bad: list[tuple[str, bytes | None, list[tuple[str, bytes]]]] = [
        (PRICES_INGESTED, b"{not json", good),
        (PRICES_INGESTED, b"\x00\x01\xff", good),
        (PRICES_INGESTED, None, good),
        (PRICES_INGESTED, b'{"work": {"portfolios": [], "from": "2020-01-02", "to": "2020-01-02"}}', good),
        (PRICES_INGESTED, b"{}", [("ce_type", b"leadline.PricesIngested.v9")]),
        (DATE_DUE, b"{}", [("ce_type", b"\xff\xfe")]),
        (DATE_DUE, b"{}", []),
    ]
    for topic, body, headers in bad:
        await producer.send_and_wait(f"{leadline.database.name}.{topic}", body, key=b"k", headers=headers)
    after = await leadline.create([lot("MSFT", 10, "2020-12-21")])
    await leadline.complete(after)
    await leadline.quiet()

    letters = await leadline.query("SELECT consumer, reason FROM bus.dead_letters ORDER BY id OFFSET :n", n=before)
    # Prices-ingested has three readers (factors, snapshots, and whoever else asks), date-due has one.
    for consumer in ("factors", "snapshots"):
        reasons = sorted(reason for who, reason in letters if who == consumer)
        assert reasons == ["empty_body", "invalid_body", "not_json", "not_json", "unknown_version"]
    assert sorted(reason for who, reason in letters if who == "ingest") == ["no_type", "unknown_type"]
    listed = (await leadline.api.get("/admin/dead-letters")).json()["items"]
    assert len(listed) >= len(letters)
