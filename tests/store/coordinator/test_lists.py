"""The list of portfolios reads again what changed, and only that: whoever wrote it, however transactions overlap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.portfolios import lists
from services.coordinator.portfolios.lists import Lists, Page
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import snapshot
from shared.ledger import portfolio_changes
from tests.store.coordinator.conftest import AS_OF, Api
from tests.store.coordinator.test_reads import complete_with_results


class Replica:
    """A process of its own that keeps the list: what it answers, and which lines it read for it."""

    def __init__(self, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.lists, self.read = Lists(), set[str]()
        self._engine = engine
        inner = lists._read_lines

        async def noted(conn: AsyncConnection, clock: Clock, ids: Sequence[UUID], needs: Any) -> dict[UUID, bytes]:
            self.read |= {str(of) for of in ids}
            return await inner(conn, clock, ids, needs)

        if monkeypatch is not None:
            monkeypatch.setattr(lists, "_read_lines", noted)

    async def ask(self, limit: int = 1000, after: str | None = None, as_of: date = AS_OF) -> dict[str, dict[str, Any]]:
        """Lines by id."""
        self.read.clear()
        async with self.lists.turn, snapshot(self._engine) as conn:
            await load_closures(conn)
            page = await self.lists.page(conn, Clock(as_of), limit=limit, after=None if after is None else UUID(after))
        return {item["id"]: item for item in json.loads(b"[%b]" % page.items)}


async def fresh(engine: AsyncEngine) -> dict[str, dict[str, Any]]:
    """As a process answers that has kept nothing."""
    return await Replica(engine).ask()


async def book(api: Api) -> list[str]:
    """Three portfolios, the first with results."""
    first = await complete_with_results(api)
    return [first, *[str((await api.create(name=name))["id"]) for name in ("Second", "Third")]]


# What is written, and of which of the three portfolios lines may be read for it.
CHANGES: tuple[tuple[str, set[int]], ...] = (
    ("UPDATE snapshots.snapshots SET nav = nav + 1, cash = cash + 1 WHERE session = '2020-12-30'", {0}),
    ("UPDATE snapshots.snapshots SET nav = nav + 1, cash = cash + 1 WHERE session = '2020-12-29'", {0}),
    ("UPDATE risk.results SET risk = jsonb_set(risk, '{volatility,realized_252}', '0.5')", {0}),
    ("UPDATE risk.results SET risk = jsonb_set(risk, '{volatility,realized_252}', '0.6')", {0}),
    ("UPDATE ledger.units SET provisional = true WHERE portfolio_id = :first AND session = '2020-12-21'", {0}),
    ("UPDATE ledger.units SET provisional = false WHERE portfolio_id = :first", {0}),
    ("UPDATE ledger.units SET quality = 'partial', coverage = 0.4 WHERE portfolio_id = :first AND phase = 'snapshots'", {0}),
    ("UPDATE ledger.units SET blocked_reason = 'x' WHERE portfolio_id = :second", {1}),
    ("UPDATE coordinator.portfolios SET name = 'Renamed' WHERE id = :second", {1}),
    ("DELETE FROM coordinator.positions WHERE portfolio_id = :third AND symbol = 'MSFT'", {2}),
    ("UPDATE coordinator.positions SET portfolio_id = :third WHERE portfolio_id = :second AND symbol = 'MSFT'", {1, 2}),
    # A price that is held back: of whoever holds the symbol.
    ("""INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at)
        SELECT id, '2020-12-30', '2020-12-30', 'quarantined', false, 'file', now() FROM ingest.symbols WHERE symbol = 'MSFT'""",
     {0, 2}),
    ("UPDATE ingest.gaps SET terminal = true", {0, 2}),
    ("UPDATE coordinator.portfolios SET deleted_at = now() WHERE id = :second", set()),
    ("UPDATE coordinator.portfolios SET deleted_at = NULL WHERE id = :second", {1}),
    ("DELETE FROM snapshots.snapshots", {0}),
    ("DELETE FROM risk.results", {0}),
    ("DELETE FROM ledger.units WHERE portfolio_id = :third", {2}),
    ("INSERT INTO coordinator.lookups SELECT FROM generate_series(1, 0)", set()),
)  # fmt: skip


async def test_what_was_written_is_read_and_nothing_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await book(api)
    named = dict(zip(("first", "second", "third"), map(UUID, ids), strict=True))
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('MSFT') ON CONFLICT DO NOTHING")
    # They would hold the lots.
    await api.run("DELETE FROM coordinator.import_lots")
    mine = Replica(api.admin, monkeypatch)
    assert list(await mine.ask()) == ids
    assert mine.read == set(ids)
    for statement, of in CHANGES:
        used = {name: value for name, value in named.items() if f":{name}" in statement}
        await api.run(statement, **used)
        found = await mine.ask()
        assert mine.read == {ids[at] for at in of}, statement
        assert found == await fresh(api.admin), statement
    assert ids[1] in found


async def test_who_commits_late_is_not_missed(api: Api) -> None:
    """A transaction that began, and wrote, before the page was read; younger ones commit meanwhile, and a savepoint is rolled back."""
    ids = await book(api)
    mine, other = Replica(api.admin), Replica(api.admin)
    rename = "UPDATE coordinator.portfolios SET name = :name WHERE id = :id"
    async with api.admin.connect() as early, api.admin.connect() as late:
        first = await early.begin()
        await early.execute(text(rename), {"name": "Early", "id": UUID(ids[0])})
        await mine.ask()
        begun = await late.begin()
        nested = await late.begin_nested()
        await late.execute(text(rename), {"name": "Never", "id": UUID(ids[1])})
        await nested.rollback()
        await late.execute(text(rename), {"name": "Late", "id": UUID(ids[1])})
        await api.run(rename, name="Between", id=UUID(ids[2]))
        assert [line["name"] for line in (await mine.ask()).values()] == ["Test", "Second", "Between"]
        await begun.commit()
        assert [line["name"] for line in (await mine.ask()).values()] == ["Test", "Late", "Between"]
        assert [line["name"] for line in (await other.ask()).values()] == ["Test", "Late", "Between"]
        await first.commit()
    for replica in (mine, other):
        assert [line["name"] for line in (await replica.ask()).values()] == ["Early", "Late", "Between"]


async def test_a_completion_of_many_is_read_of_those_it_completed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await book(api)
    mine = Replica(api.admin, monkeypatch)
    await mine.ask()
    await api.run(
        "UPDATE ledger.units SET completed_revision = required_revision, quality = 'complete' WHERE portfolio_id <> :id",
        id=UUID(ids[0]),
    )
    assert [line["state"] for line in (await mine.ask()).values()] == ["healing", "complete", "complete"]
    assert mine.read == set(ids[1:])
    assert await mine.ask() == await fresh(api.admin)


async def test_notes_that_were_forgotten_make_nobody_miss_a_change(
    api: Api, loops: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await book(api)
    mine = Replica(api.admin, monkeypatch)
    await mine.ask()
    await api.run("UPDATE coordinator.portfolios SET name = 'Renamed' WHERE id = :id", id=UUID(ids[2]))
    async with loops.begin() as conn:
        assert await portfolio_changes.forget(conn, most=10**6) == 0
        assert await portfolio_changes.forget(conn, most=0) > 0
        assert await portfolio_changes.forget(conn, most=0) == 1, "what it left itself"
    assert (await mine.ask())[ids[2]]["name"] == "Renamed"
    assert mine.read == set(ids)
    await api.run("UPDATE coordinator.portfolios SET name = 'Again' WHERE id = :id", id=UUID(ids[2]))
    assert (await mine.ask())[ids[2]]["name"] == "Again"
    assert mine.read == {ids[2]}


async def test_truncated_tables_and_another_server_are_read_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await book(api)
    mine = Replica(api.admin, monkeypatch)
    assert (await mine.ask())[ids[0]]["nav"] == 100_010.25
    await api.run("TRUNCATE snapshots.snapshots")
    assert (await mine.ask())[ids[0]]["nav"] is None
    assert mine.lists._seen is not None
    mine.lists._seen = mine.lists._seen._replace(source="another one")
    await api.run("UPDATE coordinator.portfolios SET name = name WHERE id = :id", id=UUID(ids[0]))
    await mine.ask()
    assert mine.read == set(ids)


async def test_a_page_is_the_same_while_it_is_known_that_nothing_was_committed(api: Api) -> None:
    """On a standby nobody knows: snapshots of one may read alike, and see different rows."""
    ids = await book(api)
    mine = Lists()

    async def page() -> Page:
        async with snapshot(api.admin) as conn:
            await load_closures(conn)
            return await mine.page(conn, Clock(AS_OF), limit=10, after=None)

    first = await page()
    assert await page() is first
    assert mine._seen is not None
    mine._seen = mine._seen._replace(snapshot=None)
    second = await page()
    assert (second is first, second) == (False, first)
    await api.run("UPDATE coordinator.portfolios SET name = name WHERE id = :id", id=UUID(ids[0]))
    assert (await page() is second, await page()) == (False, second)
    unknown = mine._seen._replace(snapshot=None)
    assert not unknown.sees_the_same(unknown)


async def test_another_day_or_calendar_is_another_list(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await book(api)
    mine = Replica(api.admin, monkeypatch)
    await mine.ask()
    await mine.ask(as_of=date(2020, 12, 31))
    assert mine.read == set(ids)
    await mine.ask(as_of=date(2020, 12, 31))
    assert mine.read == set()


async def test_pages_share_their_lines_and_there_is_an_end_of_them(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await book(api)
    mine = Replica(api.admin, monkeypatch)
    assert list(await mine.ask(limit=2)) == ids[:2]
    assert list(await mine.ask(limit=1)) == ids[:1]
    assert mine.read == set()
    assert list(await mine.ask(limit=2, after=ids[0])) == ids[1:]
    assert mine.read == {ids[2]}
    assert await mine.ask(after="f" * 32) == {}
    monkeypatch.setattr(lists, "MOST_LINES", 2)
    await api.run("UPDATE coordinator.portfolios SET name = 'X'")
    assert [line["name"] for line in (await mine.ask()).values()] == ["X"] * 3
    assert len(mine.lists._lines) == 2
