"""What a strictly higher revision replaced stays readable."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from tests.support.databases import act_as
from tests.support.ledger import SESSIONS, add

RESULT = """INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, risk)
            VALUES (:p, :s, :r, '1', 'complete', 1, CAST(:doc AS jsonb))
            ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, risk = excluded.risk"""
HOLDINGS = """INSERT INTO snapshots.holdings (portfolio_id, session, revision, position_ids, symbols, quantity, price, price_session,
                  price_basis, stale, market_value, daily_pnl, cumulative_pnl, realized_pnl, dividends, reason)
              VALUES (:p, :s, :r, '{}', ARRAY[CAST(:doc AS text)], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')
              ON CONFLICT (portfolio_id, session) DO UPDATE SET revision = excluded.revision, symbols = excluded.symbols"""
TABLES = {
    "risk": ("risk.results", RESULT, "risk"),
    "snapshots": ("snapshots.holdings", HOLDINGS, "symbols"),
}


@pytest.mark.parametrize("service", TABLES)
async def test_only_a_strictly_higher_revision_or_a_deletion_leaves_a_trace(db: AsyncConnection, service: str) -> None:
    table, statement, column = TABLES[service]
    portfolio: UUID = uuid4()
    await act_as(db, service)

    async def write(revision: int, doc: str) -> None:
        await db.execute(text(statement), {"p": portfolio, "s": SESSIONS[0], "r": revision, "doc": doc})

    async def history() -> list[tuple[int, str]]:
        rows = await db.execute(
            text(f"""SELECT revision, CAST({column} AS text) FROM {table}_history
                     WHERE portfolio_id = :p AND replaced_at <= clock_timestamp() ORDER BY replaced_at"""),
            {"p": portfolio},
        )
        return [(revision, doc.strip('{"}')) for revision, doc in rows]

    await write(3, '"a"')
    assert await history() == [], "nothing was replaced"
    await write(3, '"b"')
    assert await history() == [], "the same revision written again is a retry, not a change of mind"
    await write(5, '"c"')
    assert [(revision, "b" in doc) for revision, doc in await history()] == [(3, True)]
    await db.execute(text(f"DELETE FROM {table} WHERE portfolio_id = :p"), {"p": portfolio})
    assert [revision for revision, _ in await history()] == [3, 5]


@pytest.mark.parametrize("table", ["risk.results", "snapshots.holdings", "snapshots.snapshots"])
async def test_a_history_has_the_columns_of_its_table_and_when_it_was_replaced(db: AsyncConnection, table: str) -> None:
    """The trigger copies by position: a column added to one and not to the other must not pass unnoticed."""
    columns = await db.execute(
        text("""SELECT attrelid::regclass::text, array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum)
                FROM pg_attribute WHERE attrelid IN (to_regclass(:t), to_regclass(:h)) AND attnum > 0 AND NOT attisdropped
                GROUP BY 1"""),
        {"t": table, "h": f"{table}_history"},
    )
    of: dict[str, list[str]] = {row[0]: row[1] for row in columns}
    assert of[f"{table}_history"] == [*of[table], "replaced_at timestamp with time zone"]


@pytest.mark.parametrize("table", ["risk.results", "snapshots.holdings", "snapshots.snapshots"])
async def test_what_is_old_in_a_history_is_found_by_an_index(db: AsyncConnection, table: str) -> None:
    """A migration that makes `replaced_at` anew, to keep it last, drops the index with the old column."""
    kinds = await db.scalars(
        text("""SELECT m.amname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = to_regclass(:h) AND a.attname = 'replaced_at'"""),
        {"h": f"{table}_history"},
    )
    assert kinds.all() == ["brin"]


async def test_nobody_else_writes_history(db: AsyncConnection) -> None:
    await act_as(db, "coordinator")
    with pytest.raises(ProgrammingError, match="permission denied"):
        await db.execute(text("DELETE FROM risk.results_history"))


async def test_sessions_that_an_edit_takes_out_leave_with_their_results_and_stay_readable(
    db: AsyncConnection,
) -> None:
    a, b = uuid4(), uuid4()
    await add(db, [a, b], SESSIONS[:3])
    for service, (_, statement, _) in TABLES.items():
        await act_as(db, service)
        for portfolio in (a, b):
            for session in SESSIONS[:3]:
                await db.execute(text(statement), {"p": portfolio, "s": session, "r": 3, "doc": '"a"'})

    async def left(table: str) -> set[tuple[UUID, object]]:
        return {(p, s) for p, s in await db.execute(text(f"SELECT portfolio_id, session FROM {table}"))}

    await act_as(db, "coordinator")
    assert await ledger.withdraw_units(db, a, before=SESSIONS[2]) == 8
    others = {(b, session) for session in SESSIONS[:3]}
    for table, _, _ in TABLES.values():
        assert await left(table) == {(a, SESSIONS[2])} | others
        assert await left(f"{table}_history") == {(a, SESSIONS[0]), (a, SESSIONS[1])}
    assert await ledger.withdraw_units(db, a) == 4
    for table, _, _ in TABLES.values():
        assert await left(table) == others
    assert (await db.execute(text("SELECT DISTINCT portfolio_id FROM ledger.schedule"))).scalars().all() == [b]


async def test_of_provisional_results_the_first_is_kept_until_one_is_final(db: AsyncConnection) -> None:
    """What was said first, and nothing of the steps from there to the final one; a correction after that is kept like any other."""
    portfolio: UUID = uuid4()
    await act_as(db, "risk")
    statement = RESULT.replace("risk)", "risk, provisional)", 1).replace("jsonb))", "jsonb), :provisional)", 1)
    statement += ", provisional = excluded.provisional"
    for revision, provisional in (
        (3, True),
        (4, True),
        (5, True),
        (6, False),
        (7, False),
        (8, True),
        (9, True),
        (10, False),
    ):
        values = {"p": portfolio, "s": SESSIONS[0], "r": revision, "doc": "{}", "provisional": provisional}
        await db.execute(text(statement), values)
    kept = await db.execute(
        text("SELECT revision, provisional FROM risk.results_history WHERE portfolio_id = :p ORDER BY revision"),
        {"p": portfolio},
    )
    assert [tuple(row) for row in kept] == [(3, True), (6, False), (7, False), (8, True)]
