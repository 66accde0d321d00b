"""What a preview asks the price sources through ingest, beside stored profiles. Bounded in questions and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.importer import basis, basis_warnings
from services.coordinator.importer.basis import Decision
from services.coordinator.importer.model import Issues, Position
from shared.clock import Clock
from shared.db.tenancy import omit_from_audit
from shared.market.calendar import Calendar
from shared.market.reasons import ReasonCode

AT_MOST = 500
SECONDS = 4.0
_POLL = 0.1
# What ingest answers with where it asks nobody.
_NOT_ASKED = ""
Question = tuple[str, date]


@dataclass(frozen=True, slots=True)
class Answers:
    """company: of every symbol with a name; found: what a price source says, by symbol and session; silent: not asked or not
    answered in time."""

    company: Mapping[str, str]
    found: Mapping[Question, RowMapping]
    silent: frozenset[str]


async def ask(engine: AsyncEngine, clock: Clock, pairs: Sequence[tuple[Position, Decision]]) -> Answers:
    """Answers about listed positions whose closes are not stored; names of all."""
    calendar = clock.calendar()
    listed = [(position, decision) for position, decision in pairs if basis.applies(position)]
    asked_about = [position for position, decision in listed if not decision.known]
    entries = {(position.symbol, calendar.on_or_before(position.entry_date)) for position in asked_about}
    exits = {(p.symbol, calendar.on_or_before(p.exit_date)) for p in asked_about if p.exit_date is not None}
    questions = [*sorted(entries), *sorted(exits - entries)][:AT_MOST]
    company = await _companies(engine, {position.symbol for position, _ in listed})
    found = await _ask(engine, questions) if questions else {}
    company |= {symbol: row["company"] for (symbol, _), row in found.items() if row["company"]}
    found = {question: row for question, row in found.items() if row["provider"] != _NOT_ASKED}
    asked = {symbol for symbol, _ in found}
    unknown = {position.symbol for position, decision in listed if not decision.known}
    return Answers(company, found, frozenset(unknown - asked))


async def annotate(
    engine: AsyncEngine, clock: Clock, pairs: Sequence[tuple[Position, Decision]], body: dict[str, Any]
) -> None:
    """Add to a preview what the price source says: companies, closes, unknown symbols with suggestions, doubtful prices."""
    answers = await ask(engine, clock, pairs)
    # Of fifty thousand lots, the event loop has others to answer meanwhile.
    await asyncio.to_thread(_tell, answers, clock.calendar(), pairs, body)


def _tell(
    answers: Answers, calendar: Calendar, pairs: Sequence[tuple[Position, Decision]], body: dict[str, Any]
) -> None:
    issues = Issues()
    for line, (position, decision) in zip(body["preview"], pairs, strict=True):
        line["company"] = answers.company.get(position.symbol)
        row = answers.found.get((position.symbol, calendar.on_or_before(position.entry_date)))
        line["asked"] = None if row is None else row["provider"]
        if decision.known or row is None:
            continue
        if row["close"] is None:
            _doubt_adjusted(position, row["adjusted"], issues)
            continue
        line["close_as_traded"], line["close_split_adjusted"] = row["close"], row["adjusted"]
        _doubt(position, (row["close"], row["adjusted"]), issues)
        if position.exit_date is not None:
            _doubt_exit(
                position, answers.found.get((position.symbol, calendar.on_or_before(position.exit_date))), issues
            )
    body["unknown_symbols"] = [
        {
            "symbol": symbol,
            "message": f"the price source ({row['provider']}) does not have it",
            "suggestions": list(row["suggestions"]),
        }
        for symbol, row in _first_of_each(answers.found)
        if not row["found"]
    ]
    body["not_asked"] = sorted(answers.silent)
    body["warnings"] += [issue.document() for issue in issues.warnings]


def _first_of_each(found: Mapping[Question, RowMapping]) -> Iterable[tuple[str, RowMapping]]:
    first: dict[str, RowMapping] = {}
    for (symbol, _), row in sorted(found.items()):
        first.setdefault(symbol, row)
    return first.items()


def _doubt(position: Position, closes: tuple[float, float], issues: Issues) -> None:
    stated = float(position.entry_price)
    if stated and not any(basis.is_near(stated, close) for close in closes):
        shown = " and ".join(f"{close:.4f}" for close in dict.fromkeys(closes))
        issues.warn(
            position.row, "entry_price", ReasonCode.PRICE_BASIS_MISMATCH.value,
            f"entry_price {position.entry_price} of {position.symbol} is far from the close of {position.entry_date} ({shown}). "
            "Check the price, the date and the symbol.", str(position.entry_price),
        )  # fmt: skip


def _doubt_adjusted(position: Position, level: float | None, issues: Issues) -> None:
    """Of a source with adjusted closes alone, as the import judges it once they are stored."""
    stated = float(position.entry_price)
    if stated and level and abs(stated / level - 1.0) > basis.PLAUSIBLE:
        basis_warnings.warn_far(position, level, "adjusted close, the only one there is,", issues)


def _doubt_exit(position: Position, row: RowMapping | None, issues: Issues) -> None:
    """As traded or split-adjusted: on which basis the file is follows from its entries, once they are stored."""
    stated = float(position.exit_price or 0)
    if row is None or row["close"] is None or not stated:
        return
    if not any(basis.is_near(stated, close) for close in (row["close"], row["adjusted"])):
        basis_warnings.warn_far_exit(position, row["close"], "close", issues)


async def _companies(engine: AsyncEngine, symbols: set[str]) -> dict[str, str]:
    async with engine.connect() as conn:
        rows = await conn.execute(
            text("""
                SELECT DISTINCT ON (s.symbol) s.symbol, p.name FROM ingest.symbols s
                JOIN ingest.symbol_profiles p ON p.symbol_id = s.id AND p.name IS NOT NULL
                WHERE s.symbol = ANY (CAST(:symbols AS text[])) ORDER BY s.symbol, p.fetched_at DESC
            """),
            {"symbols": sorted(symbols)},
        )
        return {row.symbol: row.name for row in rows}


async def _ask(engine: AsyncEngine, questions: Sequence[Question]) -> dict[Question, RowMapping]:
    """Put the questions to ingest, where there are providers, and wait a little for its answers."""
    symbols, sessions = [symbol for symbol, _ in questions], [session for _, session in questions]
    async with engine.connect() as conn, omit_from_audit(conn):
        if not await conn.scalar(text("SELECT EXISTS (SELECT 1 FROM ingest.chain)")):
            return {}
        await conn.execute(
            text("DELETE FROM coordinator.lookups WHERE asked_at < clock_timestamp() - interval '1 hour'")
        )
        await conn.execute(
            text("""
                INSERT INTO coordinator.lookups (symbol, session)
                SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:sessions AS date[]))
                ON CONFLICT (symbol, session) DO UPDATE SET asked_at = clock_timestamp()
            """),
            {"symbols": symbols, "sessions": sessions},
        )
    deadline = asyncio.get_running_loop().time() + SECONDS
    while True:
        async with engine.connect() as conn:
            rows = await conn.execute(
                text("""
                    SELECT l.* FROM ingest.lookups l
                    JOIN unnest(CAST(:symbols AS text[]), CAST(:sessions AS date[])) AS q (symbol, session)
                        USING (symbol, session)
                    JOIN coordinator.lookups c USING (symbol, session)
                    WHERE l.answered_at > c.asked_at
                """),
                {"symbols": symbols, "sessions": sessions},
            )
            found = {(row["symbol"], row["session"]): row for row in rows.mappings()}
        if len(found) == len(questions) or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(_POLL)
