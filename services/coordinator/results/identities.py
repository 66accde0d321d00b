"""A symbol's identity: what ingest knows of it, what it is called at the vendors, what the user chose."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.symbols import symbol_id
from services.coordinator.results.values import to_json


async def describe(conn: AsyncConnection, symbol: str) -> dict[str, Any]:
    identity, name = await symbol_id(conn, symbol)
    row = (
        (
            await conn.execute(
                text("""
                SELECT coalesce(asset_type, 'unknown') AS asset_type, name, sector, industry, currency, covered_from, covered_to,
                       (SELECT min(session) FROM ingest.prices WHERE symbol_id = s.id) AS priced_from,
                       (SELECT max(session) FROM ingest.prices WHERE symbol_id = s.id) AS priced_to
                FROM ingest.symbols s
                -- Of each the newest that a provider said.
                CROSS JOIN LATERAL (
                    SELECT (array_agg(asset_type ORDER BY as_of DESC, provider) FILTER (WHERE asset_type IS NOT NULL))[1] AS asset_type,
                           (array_agg(p.name ORDER BY as_of DESC, provider) FILTER (WHERE p.name IS NOT NULL))[1] AS name,
                           (array_agg(sector ORDER BY as_of DESC, provider) FILTER (WHERE sector IS NOT NULL))[1] AS sector,
                           (array_agg(industry ORDER BY as_of DESC, provider) FILTER (WHERE industry IS NOT NULL))[1] AS industry
                    FROM ingest.symbol_profiles p WHERE p.symbol_id = s.id
                ) t WHERE id = :id
            """),
                {"id": identity},
            )
        )
        .mappings()
        .one()
    )
    gaps = await conn.execute(
        text("""
            SELECT first AS "from", last AS "to", reason, terminal, retry_at FROM ingest.gaps
            WHERE symbol_id = :id ORDER BY first
        """),
        {"id": identity},
    )
    candidates = await conn.execute(
        text("""
            SELECT candidate AS symbol, nullif(exchange, '') AS exchange, name, asset_type, currency
            FROM ingest.candidates WHERE symbol_id = :id ORDER BY candidate, exchange
        """),
        {"id": identity},
    )
    aliases = await conn.execute(
        text("""
            SELECT target AS symbol, nullif(valid_from, '-infinity') AS valid_from, nullif(valid_to, 'infinity') AS valid_to,
                   renamed_on, said_by FROM (
                SELECT chosen AS target, valid_from, valid_to, NULL::date AS renamed_on, 'user' AS said_by, 0 AS rank
                FROM coordinator.symbol_choices WHERE symbol = :symbol
                UNION ALL
                SELECT target, valid_from, valid_to, renamed_on, provider, 1 FROM ingest.aliases WHERE symbol = :symbol
            ) a ORDER BY rank, a.valid_from DESC
        """),
        {"symbol": name},
    )
    return {
        "symbol": name,
        **to_json(dict(row)),
        "asked_as": [to_json(dict(alias)) for alias in aliases.mappings()],
        "candidates": [to_json(dict(candidate)) for candidate in candidates.mappings()],
        "gaps": [to_json(dict(gap)) for gap in gaps.mappings()],
    }
