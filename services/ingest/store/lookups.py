"""SQL of `ingest.lookups`: what previews ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Lookup:
    """An answer. Closes are None where the source has none on or before the session."""

    symbol: str
    session: date
    found: bool
    company: str | None
    close: float | None
    adjusted: float | None
    suggestions: tuple[str, ...]


async def open_questions(conn: AsyncConnection) -> list[tuple[str, date]]:
    """Of the last minute: nobody waits for older ones."""
    rows = await conn.execute(
        text("""
            SELECT symbol, session FROM ingest.lookups
            WHERE answered_at IS NULL AND asked_at > clock_timestamp() - interval '1 minute' ORDER BY asked_at LIMIT :most
        """),
        {"most": AT_ONCE},
    )
    return [(symbol, session) for symbol, session in rows]


async def record_answers(conn: AsyncConnection, provider: str, answers: Sequence[Lookup]) -> None:
    for answer in answers:
        await conn.execute(
            text("""
                UPDATE ingest.lookups SET answered_at = clock_timestamp(), provider = :provider, found = :found,
                    company = :company, close = :close, adjusted = :adjusted, suggestions = :suggestions
                WHERE symbol = :symbol AND session = :session
            """),
            {
                "provider": provider,
                "symbol": answer.symbol,
                "session": answer.session,
                "found": answer.found,
                "company": answer.company,
                "close": answer.close,
                "adjusted": answer.adjusted,
                "suggestions": list(answer.suggestions),
            },
        )
