"""What was believed at an instant is what a reader of that instant saw, whatever was written since."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import symbols
from services.ingest.model.stored import ActionRow
from services.ingest.store import prices, remap
from shared.db.engine import acquire_commit_order_lock, next_change_seq
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_ingest import settle

SESSIONS = DAYS.between(date(2020, 11, 2), date(2020, 11, 11))


async def view(ingest: Ingest, symbol: str, at: datetime | None = None) -> dict[str, Any]:
    async with ingest.admin.connect() as conn:
        found = await symbols.prices(conn, symbol, None, None, at)
    return {"items": found["items"], "actions": found["actions"]}


async def instant(ingest: Ingest) -> datetime:
    async with ingest.admin.connect() as conn:
        return await prices.database_time(conn)


async def test_a_first_return_that_arrives_later_takes_nothing_from_what_was_known(ingest: Ingest) -> None:
    ingest.market.quote("AAA")
    await ingest.run(await ingest.portfolio(("AAA", LAST)))
    await settle(ingest)
    at, before = await instant(ingest), await view(ingest, "AAA")
    first = before["items"][0]["session"]
    assert before["items"][0]["total_return"] is None

    await ingest.run(await ingest.portfolio(("AAA", DAYS.back(LAST, 30))))
    now = {item["session"]: item for item in (await view(ingest, "AAA"))["items"]}
    assert now[first]["total_return"] is not None
    assert await view(ingest, "AAA", at) == before


async def write(conn: AsyncConnection, rng: np.random.Generator, ids: list[int], fetched_at: datetime) -> None:
    """One write transaction of what a source may say: prices, some of their fields missing, and actions."""
    id_ = int(rng.choice(ids))
    low, high = sorted(rng.choice(len(SESSIONS), 2, replace=False).tolist())
    said = [day for day in SESSIONS[low : high + 1] if rng.random() < 0.8]

    def some(value: float) -> float | None:
        return value if rng.random() < 0.7 else None

    records: list[tuple[Any, ...]] = [
        (id_, day, None, None, None, some(float(rng.integers(99, 102))), float(rng.integers(49, 52)), None,
         some(float(rng.integers(-1, 2)) / 100), "adjusted",
         str(rng.choice(["adj_close_disagrees", "dividend_not_listed"])), "as_traded", "test", bool(rng.random() < 0.9))
        for day in said
    ]  # fmt: skip
    records = [(*row[:9], None if row[8] is None else row[9], *row[10:]) for row in records]
    actions = [
        ActionRow(id_, day, type_, float(rng.integers(2, 4)), day, "test")
        for day in said
        for type_ in ("split", "dividend")
        if rng.random() < 0.3
    ]
    await prices.stage(conn, records)
    await acquire_commit_order_lock(conn)
    change = await next_change_seq(conn)
    if rng.random() < 0.15:
        await remap.replace_history(conn, [id_], actions, change_seq=change)
    await prices.move(conn, change_seq=change, fetched_at=fetched_at)
    await prices.write_actions(conn, actions, change_seq=change, fetched_at=fetched_at)
    await prices.withdraw_actions(conn, [(id_, SESSIONS[low], SESSIONS[high], "test")], actions)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_written_every_instant_keeps_its_view(ingest: Ingest, seed: int) -> None:
    """Also between a source's answer and its writing, and over a closure entered and taken back."""
    rng = np.random.default_rng(seed)
    names = ("AAA", "BBB")
    for name in names:
        await ingest.execute("INSERT INTO ingest.symbols (symbol) VALUES (:name)", name=name)
    ids = [row.id for row in await ingest.rows("SELECT id FROM ingest.symbols ORDER BY symbol")]
    seen: list[tuple[datetime, dict[str, Any]]] = []
    closed: date | None = None
    for _ in range(14):
        fetched_at = await instant(ingest)
        seen.append((await instant(ingest), {name: await view(ingest, name) for name in names}))
        day = SESSIONS[3]
        async with ingest.admin.begin() as conn:
            if rng.random() < 0.2:
                await acquire_commit_order_lock(conn)
                did = "ingest.open_day" if closed else "ingest.close_day"
                await conn.execute(
                    text(f"SELECT {did}(:day, :before, :after, :change)"),
                    {"day": day, "before": SESSIONS[2], "after": SESSIONS[4], "change": await next_change_seq(conn)},
                )
                closed = None if closed else day
            else:
                await write(conn, rng, ids, fetched_at)
    assert sum(len(of[name]["items"]) for _, of in seen for name in names) > 50
    assert sum(len(of[name]["actions"]) for _, of in seen for name in names) > 20
    for at, then in seen:
        assert {name: await view(ingest, name, at) for name in names} == then
