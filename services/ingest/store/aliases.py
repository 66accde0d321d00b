"""What vendors call a symbol, and what a symbol nobody could place may mean."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Alias, Candidate, Found


async def read(conn: AsyncConnection, symbols: Sequence[str]) -> dict[str, list[Alias]]:
    """By symbol, in order of precedence: what users chose, then what vendors told, the newest validity first."""
    rows = await conn.execute(
        text("""
            SELECT symbol, target, greatest(valid_from, DATE '0001-01-01'), least(valid_to, DATE '9999-12-31'), renamed_on,
                   rank = 0 FROM (
                SELECT symbol, chosen AS target, valid_from, valid_to, NULL::date AS renamed_on, 0 AS rank
                FROM coordinator.symbol_choices
                UNION ALL SELECT symbol, target, valid_from, valid_to, renamed_on, 1 FROM ingest.aliases
            ) a WHERE symbol = ANY (CAST(:symbols AS text[])) ORDER BY symbol, rank, valid_from DESC
        """),
        {"symbols": list(symbols)},
    )
    found: dict[str, list[Alias]] = {}
    for symbol, *alias in rows:
        found.setdefault(symbol, []).append(Alias(*alias))
    return found


async def write(conn: AsyncConnection, found: Sequence[Found]) -> None:
    """The first name a symbol became is valid for all its time, since it has the history; a later one from its day on."""
    for rename in found:  # a handful a year
        await conn.execute(
            text("""
                INSERT INTO ingest.aliases (symbol, target, valid_from, renamed_on, provider)
                SELECT :symbol, :target, CASE WHEN EXISTS (SELECT 1 FROM ingest.aliases WHERE symbol = :symbol)
                                              THEN CAST(:renamed_on AS date) ELSE '-infinity' END, :renamed_on, :provider
                WHERE NOT EXISTS (SELECT 1 FROM ingest.aliases WHERE symbol = :symbol AND target = :target)
                ON CONFLICT DO NOTHING
            """),
            rename._asdict(),
        )


async def write_candidates(conn: AsyncConnection, ids: Sequence[int], candidates: Sequence[Candidate]) -> None:
    """Replace the candidates of the symbols asked for."""
    await conn.execute(
        text("DELETE FROM ingest.candidates WHERE symbol_id = ANY (CAST(:ids AS integer[]))"), {"ids": list(ids)}
    )
    if candidates:
        await conn.execute(
            text("""
                INSERT INTO ingest.candidates (symbol_id, candidate, exchange, name, asset_type, currency)
                SELECT * FROM unnest(CAST(:symbol_id AS integer[]), CAST(:candidate AS text[]), CAST(:exchange AS text[]),
                                     CAST(:name AS text[]), CAST(:asset_type AS text[]), CAST(:currency AS text[]))
                ON CONFLICT DO NOTHING
            """),
            {name: [getattr(candidate, name) for candidate in candidates] for name in Candidate._fields},
        )
