"""Prices of a security that the user did not mean: which symbols have them, and their replacement as a set."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import ActionRow, Change, Choice
from services.ingest.store.prices import RESTATED

# What is told of a company and not of a session; of another company it is wrong on every day.
_OF_THE_COMPANY = ("quarantine", "symbol_profiles", "statements", "profile_schedule")


async def pending_remaps(conn: AsyncConnection) -> list[Choice]:
    """Symbols with prices that follow another choice than the user's newest, or none."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, c.chosen
            FROM (SELECT DISTINCT symbol FROM coordinator.symbol_choices) k
            JOIN ingest.symbols s ON s.symbol = k.symbol AND s.covered_from IS NOT NULL
            CROSS JOIN LATERAL (
                SELECT chosen FROM coordinator.symbol_choices
                WHERE symbol = s.symbol AND s.covered_to BETWEEN valid_from AND valid_to ORDER BY valid_from DESC LIMIT 1
            ) c
            WHERE s.chosen IS DISTINCT FROM c.chosen AND EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = s.id)
            ORDER BY s.symbol
        """)
    )
    return [Choice(*row) for row in rows]


async def record_mapping(conn: AsyncConnection, chosen: Mapping[int, str | None], *, replaced: bool) -> None:
    """Remember what the user had said when the symbols were asked for: of those without prices, or (`replaced`) of all."""
    await conn.execute(
        text("""
            UPDATE ingest.symbols s SET chosen = c.chosen
            FROM unnest(CAST(:ids AS integer[]), CAST(:names AS text[])) AS c (id, chosen)
            WHERE s.id = c.id AND s.chosen IS DISTINCT FROM c.chosen
              AND (CAST(:replaced AS boolean) OR NOT EXISTS (SELECT 1 FROM ingest.prices p WHERE p.symbol_id = s.id))
        """),
        {"ids": list(chosen), "names": list(chosen.values()), "replaced": replaced},
    )


async def replace_history(
    conn: AsyncConnection, ids: Sequence[int], actions: Sequence[ActionRow], *, change_seq: int
) -> list[Change]:
    """Make room for what is staged of the symbols, which is all there is of them; answers where it differs from what was stored.

    What is stored goes to the histories, unless the other name means the same security: then nothing differs and it stays.
    """
    compared = await conn.execute(
        text(f"""
            SELECT symbol_id, session, CASE WHEN price_moved THEN 'price' ELSE 'return' END FROM (
                SELECT coalesce(p.symbol_id, s.symbol_id) AS symbol_id, coalesce(p.session, s.session) AS session,
                       p.session IS NULL OR s.session IS NULL OR (p.close IS NULL) <> (s.close IS NULL)
                           OR abs(s.close - p.close) > {RESTATED} * p.close IS TRUE AS price_moved,
                       -- The first bar of an answer has no return.
                       (p.total_return IS NULL) <> (s.total_return IS NULL) AND s.session > min(s.session) OVER ()
                           OR abs(s.total_return - p.total_return) > {RESTATED} * (1 + p.total_return) IS TRUE AS return_moved
                FROM (SELECT * FROM ingest.prices WHERE symbol_id = ANY (CAST(:ids AS integer[]))) p
                FULL JOIN staged s ON s.symbol_id = p.symbol_id AND s.session = p.session
            ) c WHERE price_moved OR return_moved
        """),
        {"ids": list(ids)},
    )
    changes = [Change(*row) for row in compared]
    other = sorted({row.symbol_id for row in changes})
    if not other:
        return []
    await conn.execute(
        text("""
            WITH gone AS (DELETE FROM ingest.prices WHERE symbol_id = ANY (CAST(:ids AS integer[])) RETURNING *)
            INSERT INTO ingest.prices_history SELECT gone.*, ingest.instant() FROM gone
        """),
        {"ids": other},
    )
    taken_back = await conn.execute(
        text("""
            DELETE FROM ingest.actions a WHERE a.symbol_id = ANY (CAST(:ids AS integer[])) AND NOT EXISTS (
                SELECT 1 FROM unnest(CAST(:row_ids AS integer[]), CAST(:sessions AS date[]), CAST(:types AS text[]))
                    AS r (id, ex_session, type)
                WHERE r.id = a.symbol_id AND r.ex_session = a.ex_session AND r.type = a.type)
            RETURNING a.symbol_id, a.ex_session, 'action'
        """),
        {
            "ids": other,
            "row_ids": [row.symbol_id for row in actions],
            "sessions": [row.ex_session for row in actions],
            "types": [row.type for row in actions],
        },
    )
    changes += [Change(*row) for row in taken_back]
    for table in _OF_THE_COMPANY:
        await conn.execute(
            text(f"DELETE FROM ingest.{table} WHERE symbol_id = ANY (CAST(:ids AS integer[]))"), {"ids": other}
        )
    await conn.execute(
        text("UPDATE ingest.symbols SET replaced = :change WHERE id = ANY (CAST(:ids AS integer[]))"),
        {"ids": other, "change": change_seq},
    )
    return changes
