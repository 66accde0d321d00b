"""Jumps nobody has confirmed: kept out of the prices, until a second provider or an operator says that they are real."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Jump(NamedTuple):
    symbol_id: int
    session: date
    provider: str
    jump: float
    sigma: float
    second: str | None
    second_return: float | None
    confirmed: bool


async def sigmas(conn: AsyncConnection, ids: Sequence[int], window: int) -> dict[int, float]:
    """Standard deviation of each symbol's last `window` stored daily returns; not of symbols with fewer."""
    rows = await conn.execute(
        text("""
            SELECT i.id, (SELECT stddev_samp(r.total_return) FROM (
                SELECT total_return FROM ingest.prices
                WHERE symbol_id = i.id AND total_return IS NOT NULL AND session > current_date - 4000
                ORDER BY session DESC LIMIT :window) r HAVING count(*) = :window)
            FROM unnest(CAST(:ids AS integer[])) AS i (id)
        """),
        {"ids": list(ids), "window": window},
    )
    return {id_: sigma for id_, sigma in rows if sigma}


async def known(conn: AsyncConnection, ids: Sequence[int]) -> dict[tuple[int, date], bool]:
    """Jumps of the symbols, and whether each was released."""
    rows = await conn.execute(
        text(
            "SELECT symbol_id, session, released_at IS NOT NULL FROM ingest.quarantine"
            " WHERE symbol_id = ANY (CAST(:ids AS integer[]))"
        ),
        {"ids": list(ids)},
    )
    return {(id_, session): free for id_, session, free in rows}


async def write(conn: AsyncConnection, jumps: Sequence[Jump]) -> None:
    for jump in jumps:  # a handful on the worst of days
        await conn.execute(
            text("""
                INSERT INTO ingest.quarantine AS q
                    (symbol_id, session, provider, return, sigma, second, second_return, released_at, released_by)
                VALUES (:symbol_id, :session, :provider, :jump, :sigma, :second, :second_return,
                        CASE WHEN :confirmed THEN clock_timestamp() END, CASE WHEN :confirmed THEN 'confirmed' END)
                ON CONFLICT (symbol_id, session) DO UPDATE
                SET provider = excluded.provider, return = excluded.return, second = excluded.second,
                    second_return = excluded.second_return, released_at = coalesce(q.released_at, excluded.released_at),
                    released_by = coalesce(q.released_by, excluded.released_by)
            """),
            jump._asdict(),
        )
