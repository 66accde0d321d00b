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
