"""Profiles, valuation and statements as vendors give them, and when they are asked for next."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class ProfileRow(NamedTuple):
    symbol_id: int
    as_of: date
    provider: str
    beta: float | None
    sector: str | None
    industry: str | None
    name: str | None
    market_cap: float | None
    pe: float | None


async def claim(conn: AsyncConnection, lease: timedelta) -> tuple[int, str] | None:
    """A share or fund somebody holds whose profile was never asked for or whose time has come, the longest waiting first.

    Nobody else gets it before the lease has run out, or `schedule` has said when it is due again.
    """
    row = (
        await conn.execute(
            text("""
                WITH due AS (
                    SELECT s.id, s.symbol FROM ingest.symbols s LEFT JOIN ingest.profile_schedule p ON p.symbol_id = s.id
                    WHERE (p.next_at IS NULL OR p.next_at <= clock_timestamp())
                      AND EXISTS (SELECT 1 FROM coordinator.positions h
                                  WHERE h.symbol = s.symbol AND h.investment_class = 'PUBLIC' AND h.deleted_at IS NULL)
                      AND EXISTS (SELECT 1 FROM ingest.prices q WHERE q.symbol_id = s.id)
                    ORDER BY p.next_at NULLS FIRST, s.id LIMIT 1
                ), taken AS (
                    INSERT INTO ingest.profile_schedule AS p (symbol_id, next_at)
                    SELECT id, clock_timestamp() + CAST(:lease AS interval) FROM due
                    ON CONFLICT (symbol_id) DO UPDATE SET next_at = excluded.next_at WHERE p.next_at <= clock_timestamp()
                    RETURNING symbol_id
                )
                SELECT due.id, due.symbol FROM due JOIN taken ON taken.symbol_id = due.id
            """),
            {"lease": lease},
        )
    ).one_or_none()
    return None if row is None else (row.id, row.symbol)


async def prices_wait(conn: AsyncConnection) -> bool:
    """Whether prices are being fetched, by anybody, or wait for a quota or a provider: then these come first."""
    return bool(
        await conn.scalar(
            text("""
                SELECT EXISTS (SELECT 1 FROM ingest.symbols WHERE claim_until > clock_timestamp())
                    OR EXISTS (SELECT 1 FROM ingest.gaps
                               WHERE NOT terminal AND reason IN ('rate_limited', 'provider_down')
                                  OR retry_at <= clock_timestamp())
            """)
        )
    )


async def write(conn: AsyncConnection, row: ProfileRow, statements: Sequence[dict[str, Any]]) -> None:
    """A day's profile, and statements by period. What a vendor lacks today does not erase what it had."""
    await conn.execute(
        text("""
            INSERT INTO ingest.symbol_profiles AS p
                (symbol_id, as_of, provider, beta, sector, industry, name, market_cap, pe, fetched_at)
            VALUES (:symbol_id, :as_of, :provider, :beta, :sector, :industry, :name, :market_cap, :pe, clock_timestamp())
            ON CONFLICT (symbol_id, as_of, provider) DO UPDATE
            SET beta = coalesce(excluded.beta, p.beta), sector = coalesce(excluded.sector, p.sector),
                industry = coalesce(excluded.industry, p.industry), name = coalesce(excluded.name, p.name),
                market_cap = coalesce(excluded.market_cap, p.market_cap), pe = coalesce(excluded.pe, p.pe),
                fetched_at = excluded.fetched_at
        """),
        row._asdict(),
    )
    if statements:
        await conn.execute(
            text("""
                INSERT INTO ingest.statements (symbol_id, provider, kind, period_end, figures, currency, filed_on, fetched_at)
                SELECT :id, :provider, r.kind, r.period_end, r.figures, r.currency, r.filed_on, clock_timestamp()
                FROM jsonb_to_recordset(CAST(:rows AS jsonb))
                    AS r (kind text, period_end date, figures jsonb, currency text, filed_on date)
                ON CONFLICT (symbol_id, provider, kind, period_end) DO UPDATE
                SET figures = excluded.figures, currency = excluded.currency, filed_on = excluded.filed_on,
                    fetched_at = excluded.fetched_at
            """),
            {"id": row.symbol_id, "provider": row.provider, "rows": json.dumps(list(statements), allow_nan=False)},
        )


async def schedule(conn: AsyncConnection, symbol_id: int, wait: timedelta) -> None:
    await conn.execute(
        text("""
            INSERT INTO ingest.profile_schedule (symbol_id, next_at) VALUES (:id, clock_timestamp() + :wait)
            ON CONFLICT (symbol_id) DO UPDATE SET next_at = excluded.next_at, checked_at = clock_timestamp()
        """),
        {"id": symbol_id, "wait": wait},
    )
