"""GET /symbols/{symbol} and the answer to an ambiguous one."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.store.coordinator.conftest import Api


async def test_an_ambiguous_symbol_is_shown_with_its_candidates_and_can_be_answered(
    api: Api, engines: tuple[AsyncEngine, AsyncEngine]
) -> None:
    async with engines[1].begin() as conn:
        await conn.execute(text("INSERT INTO ingest.symbols (symbol) VALUES ('DUPE') ON CONFLICT DO NOTHING"))
        await conn.execute(
            text("""
                INSERT INTO ingest.candidates (symbol_id, candidate, exchange, name)
                SELECT id, 'DUPE.A', 'XNYS', 'One' FROM ingest.symbols WHERE symbol = 'DUPE'
            """)
        )
    shown = (await api.client.get("/api/v1/symbols/dupe")).json()
    assert [one["symbol"] for one in shown["candidates"]] == ["DUPE.A"]
    assert shown["asked_as"] == []
    answered = await api.client.post("/api/v1/symbols/DUPE/resolve", json={"symbol": "dupe-a"})
    assert answered.status_code == 200
    assert [(one["symbol"], one["said_by"]) for one in answered.json()["asked_as"]] == [("DUPE.A", "user")]
    again = await api.client.post("/api/v1/symbols/DUPE/resolve", json={"symbol": "DUPE.B", "valid_to": "2024-12-31"})
    assert [(one["symbol"], one["valid_to"]) for one in again.json()["asked_as"]] == [("DUPE.B", "2024-12-31")]
    assert (await api.client.get("/api/v1/symbols/NOBODY")).status_code == 404
    assert (await api.client.post("/api/v1/symbols/NOBODY/resolve", json={"symbol": "A"})).status_code == 404
    assert (await api.client.post("/api/v1/symbols/DUPE/resolve", json={"symbol": "CASH_X"})).status_code == 422


async def test_what_did_we_know_then(api: Api) -> None:
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL') ON CONFLICT DO NOTHING")
    await api.run("""
        INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change, known_from)
        SELECT id, day, 100, 'as_traded', 'test', '2020-12-30 21:50+00', 1, '2020-12-30 22:00+00'
        FROM ingest.symbols, unnest(ARRAY[DATE '2020-12-29', DATE '2020-12-30']) AS day WHERE symbol = 'AAPL'
    """)
    await api.run("""
        DO $$ BEGIN
            PERFORM set_config('leadline.instant', '2021-01-04 12:00+00', true);
            UPDATE ingest.prices SET close = 101, change = 2 WHERE session = '2020-12-30';
        END $$
    """)

    async def closes(when: str) -> list[float]:
        answer = await api.client.get("/api/v1/symbols/AAPL/prices", params={"known_at": when})
        return [item["close"] for item in answer.json()["items"]]

    assert await closes("2020-12-30T21:55:00Z") == [], "asked for, and not written yet"
    assert await closes("2021-01-01T00:00:00Z") == [100, 100]
    assert await closes("2021-01-05T00:00:00Z") == [100, 101]
    assert await closes("2021-01-04T07:00:00-05:00") == [100, 101]
