"""Profiles, valuation and statements as vendors give them, and when they are asked for next."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Described, ProfileRow

# What bears no date is known from the beginning.
ALWAYS = date.min  # the driver's -infinity


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


# A price that is asked for again within this waits for what a profile would use up. One that is not, a key that is refused or a
# plan used up for the day, has its share of the quota when its time comes.
NEAR = timedelta(minutes=10)


async def prices_wait(conn: AsyncConnection) -> bool:
    """Whether prices are being fetched, by anybody, or will be soon: then these come first."""
    return bool(
        await conn.scalar(
            text("""
                SELECT EXISTS (SELECT 1 FROM ingest.symbols WHERE claim_until > clock_timestamp())
                    OR EXISTS (SELECT 1 FROM ingest.gaps
                               WHERE NOT terminal AND reason IN ('rate_limited', 'provider_down')
                                       AND retry_at <= clock_timestamp() + CAST(:near AS interval)
                                  OR retry_at <= clock_timestamp())
            """),
            {"near": NEAR},
        )
    )


async def date_profiles(conn: AsyncConnection, found: Sequence[Described], learnt: date) -> list[ProfileRow]:
    """Profiles with the day each counts from, of those that say something new.

    What bears no date and is the first its provider says counts from the beginning; a difference from what it said before counts from
    the day it was learnt, so what was said before stays true of the days before.
    """
    if not found:
        return []
    rows = await conn.execute(
        text("""
            SELECT DISTINCT ON (symbol_id, provider) symbol_id, provider, asset_type, name, sector, industry
            FROM ingest.symbol_profiles WHERE symbol_id = ANY (CAST(:ids AS integer[])) AND provider = ANY (CAST(:providers AS text[]))
            ORDER BY symbol_id, provider, as_of DESC
        """),
        {"ids": [of.symbol_id for of in found], "providers": sorted({of.provider for of in found})},
    )
    before = {(row[0], row[1]): row[2:] for row in rows}
    result = []
    for of in found:
        said = before.get((of.symbol_id, of.provider))
        # What is left out takes nothing back.
        if said is not None and all(new is None or new == old for new, old in zip(of[3:], said, strict=True)):
            continue
        as_of = of.as_of or (ALWAYS if said is None else learnt)
        result.append(
            ProfileRow(
                of.symbol_id, as_of, of.provider, None, of.sector, of.industry, of.name, None, None, of.asset_type
            )
        )
    return result


async def classes(
    conn: AsyncConnection, asked: Sequence[tuple[int, date]]
) -> dict[tuple[int, date], tuple[str, str | None, str | None]]:
    """(symbol, asset type, sector) as known on a day, by (symbol id, day): of each the newest that was said by then."""
    rows = await conn.execute(
        text("""
            SELECT a.id, a.day, s.symbol, t.asset_type, c.sector
            FROM unnest(CAST(:ids AS integer[]), CAST(:days AS date[])) AS a (id, day) JOIN ingest.symbols s ON s.id = a.id
            LEFT JOIN LATERAL (SELECT asset_type FROM ingest.symbol_profiles p
                               WHERE p.symbol_id = a.id AND p.as_of <= a.day AND p.asset_type IS NOT NULL
                               ORDER BY p.as_of DESC, p.provider LIMIT 1) t ON true
            LEFT JOIN LATERAL (SELECT sector FROM ingest.symbol_profiles p
                               WHERE p.symbol_id = a.id AND p.as_of <= a.day AND p.sector IS NOT NULL
                               ORDER BY p.as_of DESC, p.provider LIMIT 1) c ON true
        """),
        {"ids": [id_ for id_, _ in asked], "days": [day for _, day in asked]},
    )
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}


async def write(conn: AsyncConnection, rows: Sequence[ProfileRow], statements: Sequence[dict[str, Any]] = ()) -> None:
    """Profiles of a day, and the statements of the first by period. What a vendor lacks today does not erase what it had.

    Needs the commit-order lock: what a symbol is goes into risk.
    """
    figures = ("beta", "sector", "industry", "name", "market_cap", "pe", "asset_type")
    types = {"beta": "float8", "market_cap": "float8", "pe": "float8"}
    unnested = ", ".join(f"CAST(:{name} AS {types.get(name, 'text')}[])" for name in figures)
    kept = ", ".join(f"{name} = coalesce(excluded.{name}, p.{name})" for name in figures)
    await conn.execute(
        text(f"""
            INSERT INTO ingest.symbol_profiles AS p (symbol_id, as_of, provider, {", ".join(figures)}, fetched_at)
            SELECT r.*, clock_timestamp()
            FROM unnest(CAST(:symbol_id AS integer[]), CAST(:as_of AS date[]), CAST(:provider AS text[]), {unnested}) AS r
            ON CONFLICT (symbol_id, as_of, provider) DO UPDATE SET {kept}, fetched_at = excluded.fetched_at
        """),
        {name: [getattr(row, name) for row in rows] for name in ("symbol_id", "as_of", "provider", *figures)},
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
            {
                "id": rows[0].symbol_id,
                "provider": rows[0].provider,
                "rows": json.dumps(list(statements), allow_nan=False),
            },
        )


async def schedule(conn: AsyncConnection, symbol_id: int, wait: timedelta) -> None:
    await conn.execute(
        text("""
            INSERT INTO ingest.profile_schedule (symbol_id, next_at) VALUES (:id, clock_timestamp() + :wait)
            ON CONFLICT (symbol_id) DO UPDATE SET next_at = excluded.next_at, checked_at = clock_timestamp()
        """),
        {"id": symbol_id, "wait": wait},
    )
