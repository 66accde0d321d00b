"""SQL of what previews ask (`coordinator.lookups`) and what is answered (`ingest.lookups`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

AT_ONCE = 500
# Stands for the provider where nobody was asked: the preview need not wait for it.
NOT_ASKED = ""


@dataclass(frozen=True, slots=True)
class Lookup:
    """An answer. Closes are None where the source has none on or before the session; `adjusted` alone is one that is adjusted for
    dividends too, of a source without others."""

    symbol: str
    session: date
    provider: str
    found: bool
    company: str | None
    close: float | None
    adjusted: float | None
    suggestions: tuple[str, ...]


async def open_questions(conn: AsyncConnection) -> list[tuple[str, date]]:
    """Of the last minute: nobody waits for older ones."""
    rows = await conn.execute(
        text("""
            SELECT symbol, session FROM coordinator.lookups q
            WHERE asked_at > clock_timestamp() - interval '1 minute' AND NOT EXISTS (
                SELECT 1 FROM ingest.lookups a
                WHERE a.symbol = q.symbol AND a.session = q.session AND a.answered_at > q.asked_at)
            ORDER BY asked_at LIMIT :most
        """),
        {"most": AT_ONCE},
    )
    return [(symbol, session) for symbol, session in rows]


async def record_answers(conn: AsyncConnection, answers: Sequence[Lookup]) -> None:
    await conn.execute(text("DELETE FROM ingest.lookups WHERE answered_at < clock_timestamp() - interval '1 hour'"))
    for answer in answers:
        await conn.execute(
            text("""
                INSERT INTO ingest.lookups (symbol, session, provider, found, company, close, adjusted, suggestions)
                VALUES (:symbol, :session, :provider, :found, :company, :close, :adjusted, :suggestions)
                ON CONFLICT (symbol, session) DO UPDATE SET answered_at = excluded.answered_at, provider = excluded.provider,
                    found = excluded.found, company = excluded.company, close = excluded.close,
                    adjusted = excluded.adjusted, suggestions = excluded.suggestions
            """),
            {
                "provider": answer.provider,
                "symbol": answer.symbol,
                "session": answer.session,
                "found": answer.found,
                "company": answer.company,
                "close": answer.close,
                "adjusted": answer.adjusted,
                "suggestions": list(answer.suggestions),
            },
        )
