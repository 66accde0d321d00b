"""Reasons as they are answered: the code with what it touches, who acts, until when, which provider, and the remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.states import REACH
from services.coordinator.results.values import to_json
from shared.db.statements import statement
from shared.market import reasons
from shared.market.reasons import ABSENCES, ReasonCode
from shared.work import Phase

Document = dict[str, Any]
Entry = Mapping[str, Any]
# Of a chain, who never makes anybody wait.
_NEVER_WAITS = frozenset({"file"})


@dataclass(frozen=True, slots=True)
class Wait:
    """An absence of prices: who is asked about it, and when next."""

    symbol: str
    reason: str
    first: date
    last: date
    provider: str | None
    until: datetime | None
    jump: date | None = None
    """Of a price that is held back: the first session on which the reader has a jump to decide about."""
    terminal: bool = False
    """Nothing waits for it."""


async def absences(
    conn: AsyncConnection,
    symbols: Collection[str],
    session: date | None = None,
    *,
    open_only: bool = False,
) -> list[Wait]:
    """The symbols' absences, on a session or at all; of one that passes by itself, the provider that refuses.

    open_only : only those that units wait for
    """
    if not symbols:
        return []
    rows = (
        await conn.execute(
            statement("""
                SELECT s.symbol, g.reason, g.first, g.last, g.provider, g.retry_at, g.terminal,
                       CASE WHEN g.reason = 'quarantined' THEN (
                           SELECT min(q.session) FROM ingest.quarantine q
                           WHERE q.symbol_id = g.symbol_id AND q.session BETWEEN g.first AND g.last AND q.released_at IS NULL
                             AND NOT EXISTS (SELECT 1 FROM coordinator.price_decisions d
                                             WHERE d.symbol = s.symbol AND d.session = q.session)
                       ) END AS jump
                FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
                WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND (NOT g.terminal OR NOT CAST(:open_only AS boolean))
                  AND (CAST(:session AS date) IS NULL OR :session BETWEEN g.first AND g.last)
                ORDER BY s.symbol, g.first
            """),
            {"symbols": sorted(symbols), "session": session, "open_only": open_only},
        )
    ).all()
    closed = await _read_closed_providers(conn) if rows else {}
    return [
        Wait(
            row.symbol,
            row.reason,
            row.first,
            row.last,
            _provider(row.provider, row.reason, closed),
            row.retry_at,
            row.jump,
            row.terminal,
        )
        for row in rows
    ]


async def _read_closed_providers(conn: AsyncConnection) -> dict[str, str]:
    """The providers that are not asked at the moment, and why."""
    rows = await conn.execute(
        statement("SELECT provider, closed_by FROM ingest.providers WHERE closed_until > clock_timestamp()")
    )
    return {row.provider: row.closed_by for row in rows}


def _provider(chain: str, reason: str, closed: Mapping[str, str]) -> str | None:
    """Who of a chain an absence is due to: the providers that refuse, where that is known, or else all that were asked."""
    asked = [name for name in chain.split(",") if name]
    if reasons.info(reason).acts == "wait":
        refusing = [
            name for name in asked if (closed.get(name) == ReasonCode.RATE_LIMITED) == (reason == ReasonCode.RATE_LIMITED)
            and name in closed
        ]  # fmt: skip
        asked = refusing or [name for name in asked if name not in _NEVER_WAITS] or asked
    return ", ".join(asked) or None


def document(
    code: str, *, phase: str, figure: str | None = None, symbol: str | None = None, wait: Wait | None = None
) -> Document:
    """One reason with everything a reader needs; the keys are the same wherever a reason is answered."""
    known = reasons.info(code)
    remedy = known.remedy
    if symbol is not None:
        remedy = remedy.replace("SYMBOL", symbol)
    if wait is not None and (session := wait.jump or (wait.first if wait.first == wait.last else None)):
        remedy = remedy.replace("SESSION", session.isoformat())
    return {
        "figure": figure,
        "symbol": symbol,
        "reason": str(code),
        "severity": reasons.severity(code, within=REACH[phase]),
        "acts": known.acts,
        "until": None if wait is None or known.acts == "you" else to_json(wait.until),
        "provider": None if wait is None else wait.provider,
        "remedy": remedy,
    }


Made = dict[tuple[Any, ...], Document]
"""Documents of one answer by what they say: hundreds of runs of sessions may lack the same hundreds of symbols."""


def documents(
    entries: Iterable[Entry], waits: Iterable[Wait], *, phase: str, made: Made | None = None
) -> list[Document]:
    """Reasons as stored (figure, symbol, reason) with all their keys. made : those of before are not put together again"""
    known = {(wait.symbol, wait.reason): wait for wait in waits}
    made = {} if made is None else made
    found = []
    for entry in entries:
        figure, symbol, reason = entry.get("figure"), entry.get("symbol"), entry["reason"]
        wait = known.get((symbol or "", reason))
        key = (phase, figure, symbol, reason, wait)
        if key not in made:
            made[key] = document(reason, phase=phase, figure=figure, symbol=symbol, wait=wait)
        found.append(made[key])
    return found


async def describe_reasons(
    conn: AsyncConnection, entries: Sequence[Entry], *, phase: Phase, session: date | None = None
) -> list[Document]:
    """The same, with the absences read that they speak of."""
    symbols = {str(entry["symbol"]) for entry in entries if entry.get("symbol") and entry["reason"] in ABSENCES}
    return documents(entries, await absences(conn, symbols, session), phase=phase.value)


def gap_document(symbol: str, row: RowMapping) -> Document:
    """A range of sessions without a price, as stored and with what its reason means for the reader."""
    known = reasons.info(row["reason"])
    told = document(row["reason"], phase=Phase.INGEST.value, symbol=symbol)
    stored: Document = to_json(dict(row))
    return stored | {
        "severity": told["severity"],
        "acts": known.acts,
        "until": None if known.acts == "you" else to_json(row["retry_at"]),
        "remedy": told["remedy"],
    }


def sentence(waits: Sequence[Wait], now: datetime, shown: int = 5) -> str | None:
    """What a hole waits for, in a line: each reason with its provider, its end and its symbols."""
    grouped: dict[tuple[str, str | None, datetime | None], dict[str, None]] = {}
    for wait in waits:
        until = wait.until if reasons.info(wait.reason).acts != "you" else None
        grouped.setdefault((wait.reason, wait.provider, until), {})[wait.symbol] = None
    parts = []
    for (reason, provider, until), symbols in grouped.items():
        names = list(symbols)
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        by = f" ({provider})" if provider else ""
        end = f" until {_clock_time(until, now)}" if until else ""
        parts.append(f"{reason}{by}{end}: {', '.join(names[:shown])}{more}")
    return "; ".join(parts) or None


def _clock_time(moment: datetime, now: datetime) -> str:
    """The hour, and the day where it is another one."""
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"
