"""Writing what was fetched: staged by COPY before the commit-order lock, moved under it, corrections kept as history."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import ActionRow, Change, GapRow, SymbolRow
from shared.db import bulk
from shared.market.calendar import Calendar

# A vendor's rounding moves a ratio in the sixth digit. More than this is another number.
RESTATED = 1e-5

STAGED = (
    "symbol_id", "session", "open", "high", "low", "close", "adj_close", "volume", "total_return", "return_basis", "return_remark",
    "basis", "provider", "known",
)  # fmt: skip
_STORED = ", ".join(STAGED[:-1])


async def database_time(conn: AsyncConnection) -> datetime:
    value = await conn.scalar(text("SELECT clock_timestamp()"))
    assert isinstance(value, datetime)
    return value


async def anchors(conn: AsyncConnection, asks: Sequence[tuple[int, date, date]]) -> dict[int, tuple[date, float]]:
    """Per ask (symbol id, first, last), by its index: the first stored adjusted close in the range, to join levels at."""
    rows = await conn.execute(
        text("""
            SELECT a.n - 1, p.session, p.adj_close
            FROM unnest(CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) WITH ORDINALITY
                AS a (id, first, last, n)
            CROSS JOIN LATERAL (
                SELECT session, adj_close FROM ingest.prices
                WHERE symbol_id = a.id AND session BETWEEN a.first AND a.last AND adj_close IS NOT NULL
                ORDER BY session LIMIT 1
            ) p
        """),
        {"ids": [a[0] for a in asks], "firsts": [a[1] for a in asks], "lasts": [a[2] for a in asks]},
    )
    return {index: (session, level) for index, session, level in rows}


async def stage(conn: AsyncConnection, records: Iterable[Sequence[Any]]) -> None:
    """COPY rows of `STAGED` into a temporary table that goes with the transaction. Before the commit-order lock."""
    await conn.execute(
        text(f"""
            CREATE TEMP TABLE staged ON COMMIT DROP AS
            SELECT {_STORED}, false AS known FROM ingest.prices WITH NO DATA
        """)
    )
    await bulk.copy(conn, "staged", STAGED, records)
    await conn.execute(text("ANALYZE staged (symbol_id, session, known)"))


async def move(conn: AsyncConnection, *, change_seq: int, fetched_at: datetime) -> list[Change]:
    """Move the staged rows into place under the lock; answers what became different inside sessions that were known.

    A stored value is never replaced by nothing: a source that lacks a field today had it yesterday, and the first bar of
    every fetch has no return because the session before was not part of it. What stood there goes to the history, by a trigger.
    """
    parameters = {"change": change_seq, "fetched_at": fetched_at}
    updated = await conn.execute(
        text(f"""
            WITH compared AS (
                SELECT s.*,
                    p.close IS NULL AND s.close IS NOT NULL OR p.adj_close IS NULL AND s.adj_close IS NOT NULL
                        OR abs(s.close - p.close) > {RESTATED} * p.close IS TRUE AS price_moved,
                    p.total_return IS NULL AND s.total_return IS NOT NULL
                        OR abs(s.total_return - p.total_return) > {RESTATED} * (1 + p.total_return) IS TRUE
                        -- What is said of a return belongs to it: an action that is listed late may leave the number as it was.
                        OR s.total_return IS NOT NULL AND s.return_remark IS DISTINCT FROM p.return_remark AS return_moved,
                    p.close IS NOT NULL AND abs(s.close - p.close) > {RESTATED} * p.close
                        OR abs(s.total_return - p.total_return) > {RESTATED} * (1 + p.total_return)
                        OR p.total_return IS NOT NULL AND s.return_remark IS DISTINCT FROM p.return_remark AS restated
                FROM staged s JOIN ingest.prices p ON p.symbol_id = s.symbol_id AND p.session = s.session
                WHERE s.known
            ), differing AS MATERIALIZED (
                SELECT * FROM compared WHERE price_moved OR return_moved
            )
            UPDATE ingest.prices p
            SET open = coalesce(d.open, p.open), high = coalesce(d.high, p.high), low = coalesce(d.low, p.low),
                close = coalesce(d.close, p.close), adj_close = coalesce(d.adj_close, p.adj_close),
                volume = coalesce(d.volume, p.volume), total_return = coalesce(d.total_return, p.total_return),
                return_basis = CASE WHEN d.total_return IS NULL THEN p.return_basis ELSE d.return_basis END,
                return_remark = CASE WHEN d.total_return IS NULL THEN p.return_remark ELSE d.return_remark END,
                basis = d.basis, provider = d.provider, fetched_at = :fetched_at, change = :change
            FROM differing d WHERE p.symbol_id = d.symbol_id AND p.session = d.session
            RETURNING p.symbol_id, p.session,
                      CASE WHEN d.price_moved THEN 'price' WHEN d.restated THEN 'return' ELSE 'first_return' END
        """),
        parameters,
    )
    changes = [Change(*row) for row in updated]
    await _rejoin_levels(conn, sorted({change_seq.symbol_id for change_seq in changes if change_seq.what == "return"}))
    arrived = await conn.execute(text(_insert("known") + " RETURNING symbol_id, session, 'price'"), parameters)
    changes += [Change(*row) for row in arrived]
    await conn.execute(text(_insert("NOT known")), parameters)
    return changes


async def _rejoin_levels(conn: AsyncConnection, ids: Sequence[int]) -> None:
    """After a corrected ratio all later adjusted levels of the same fetch move with it. No ratio changes by that."""
    if ids:
        await conn.execute(
            text("""
                UPDATE ingest.prices p SET adj_close = s.adj_close FROM staged s
                WHERE s.known AND s.adj_close IS NOT NULL AND s.symbol_id = ANY (CAST(:ids AS integer[]))
                  AND p.symbol_id = s.symbol_id AND p.session = s.session AND p.adj_close <> s.adj_close
            """),
            {"ids": list(ids)},
        )


def _insert(which: str) -> str:
    return f"""
        INSERT INTO ingest.prices ({_STORED}, fetched_at, change, known_from)
        SELECT {_STORED}, :fetched_at, :change, (SELECT ingest.instant()) FROM staged WHERE {which}
        ON CONFLICT (symbol_id, session) DO NOTHING
    """


async def write_actions(
    conn: AsyncConnection, rows: Sequence[ActionRow], *, change_seq: int, fetched_at: datetime
) -> list[Change]:
    """Add and correct actions; answers those that are new or different, wherever they are."""
    if not rows:
        return []
    result = await conn.execute(
        text("""
            INSERT INTO ingest.actions AS a (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
            SELECT r.*, :fetched_at, :change
            FROM unnest(CAST(:ids AS integer[]), CAST(:ex_sessions AS date[]), CAST(:types AS text[]), CAST(:values AS float8[]),
                        CAST(:ex_dates AS date[]), CAST(:providers AS text[])) AS r
            ON CONFLICT (symbol_id, ex_session, type) DO UPDATE
            SET value = excluded.value, ex_date = excluded.ex_date, provider = excluded.provider,
                fetched_at = excluded.fetched_at, change = excluded.change
            WHERE abs(a.value - excluded.value) > 1e-9 * a.value
            RETURNING symbol_id, ex_session, 'action'
        """),
        {
            "ids": [row.symbol_id for row in rows],
            "ex_sessions": [row.ex_session for row in rows],
            "types": [row.type for row in rows],
            "values": [row.value for row in rows],
            "ex_dates": [row.ex_date for row in rows],
            "providers": [row.provider for row in rows],
            "fetched_at": fetched_at,
            "change": change_seq,
        },
    )
    return [Change(*row) for row in result]


async def withdraw_actions(
    conn: AsyncConnection, listed: Sequence[tuple[int, date, date, str]], rows: Sequence[ActionRow]
) -> list[Change]:
    """Delete actions within (symbol id, first, last) that the provider who told us of them lists no more."""
    if not listed:
        return []
    result = await conn.execute(
        text("""
            DELETE FROM ingest.actions a
            USING unnest(CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]), CAST(:providers AS text[]))
                AS l (id, first, last, provider)
            WHERE a.symbol_id = l.id AND a.ex_session BETWEEN l.first AND l.last AND a.provider = l.provider
              AND NOT EXISTS (
                  SELECT 1 FROM unnest(CAST(:row_ids AS integer[]), CAST(:sessions AS date[]), CAST(:types AS text[]))
                      AS r (id, ex_session, type)
                  WHERE r.id = a.symbol_id AND r.ex_session = a.ex_session AND r.type = a.type)
            RETURNING a.symbol_id, a.ex_session, 'action'
        """),
        {
            "ids": [row[0] for row in listed],
            "firsts": [row[1] for row in listed],
            "lasts": [row[2] for row in listed],
            "providers": [row[3] for row in listed],
            "row_ids": [row.symbol_id for row in rows],
            "sessions": [row.ex_session for row in rows],
            "types": [row.type for row in rows],
        },
    )
    return [Change(*row) for row in result]


async def write_gaps(conn: AsyncConnection, gaps: Mapping[int, Sequence[GapRow]], calendar: Calendar) -> None:
    """Replace the symbols' gaps as a set."""
    if not gaps:
        return
    await conn.execute(
        text("DELETE FROM ingest.gaps WHERE symbol_id = ANY (CAST(:ids AS integer[]))"), {"ids": list(gaps)}
    )
    rows = [(id_, gap) for id_, found in gaps.items() for gap in found]
    if not rows:
        return
    await conn.execute(
        text("""
            INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
            SELECT * FROM unnest(
                CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]), CAST(:reasons AS text[]),
                CAST(:terminals AS boolean[]), CAST(:providers AS text[]), CAST(:checked AS timestamptz[]),
                CAST(:retries AS timestamptz[]))
        """),
        {
            "ids": [id_ for id_, _ in rows],
            "firsts": [calendar.session(first) for _, (first, *_) in rows],
            "lasts": [calendar.session(last) for _, (_, last, *_) in rows],
            "reasons": [reason for _, (_, _, reason, *_) in rows],
            "terminals": [terminal for _, (_, _, _, terminal, *_) in rows],
            "providers": [provider for _, (*_, provider, _, _) in rows],
            "checked": [checked for _, (*_, checked, _) in rows],
            "retries": [retry for _, (*_, retry) in rows],
        },
    )


async def write_symbols(conn: AsyncConnection, rows: Sequence[SymbolRow]) -> None:
    """Extend coverage."""
    await conn.execute(
        text("""
            UPDATE ingest.symbols s
            SET covered_from = least(s.covered_from, r.first), covered_to = greatest(s.covered_to, r.last)
            FROM unnest(CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS r (id, first, last)
            WHERE s.id = r.id
        """),
        {
            "ids": [row.id for row in rows],
            "firsts": [row.first for row in rows],
            "lasts": [row.last for row in rows],
        },
    )
