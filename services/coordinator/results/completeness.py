"""How complete a portfolio is, read from the ledger: never a stored state, so it cannot be stale or stuck."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results import providers, states
from services.coordinator.results.reasons import Entry, Made, Wait, absences, document, documents, sentence
from shared.clock import Clock
from shared.db.statements import statement
from shared.ledger.states import state_of_missing
from shared.market.reasons import ABSENCES, ReasonCode
from shared.market.registry import COVERAGE_GATE, PROXY_SYMBOLS
from shared.work import Phase

# A page shows no more; `holes_total` and `partials_total` say how many there are.
SHOWN = 200
# Names no column that the index of the key lacks: the units of one portfolio lie on as many pages of the table as it has sessions.
COUNTS = """
    SELECT CAST(phase AS text) AS phase, count(*) AS expected, min(session) AS first, max(session) AS last,
           count(*) FILTER (WHERE completed_revision >= required_revision) AS completed,
           count(*) FILTER (WHERE completed_revision >= required_revision AND quality = 'partial') AS partial
    FROM ledger.units WHERE portfolio_id = :id GROUP BY phase
"""
# A row without a phase where there are no units, and none where there is no portfolio.
_PORTFOLIO = f"""
    SELECT p.first_session, c.* FROM coordinator.portfolios p LEFT JOIN ({COUNTS}) c ON true
    WHERE p.id = :id AND p.deleted_at IS NULL
"""


async def read(conn: AsyncConnection, clock: Clock, portfolio: UUID) -> dict[str, Any] | None:
    """The status document, or None if there is no such portfolio.

    Best called in one snapshot, so that counts and holes agree.
    """
    rows = (await conn.execute(statement(_PORTFOLIO), {"id": portfolio})).all()
    if not rows:
        return None
    counts = [row for row in rows if row.phase is not None]
    expected = sum(count.expected for count in counts)
    completed = sum(count.completed for count in counts)
    partial = sum(count.partial for count in counts)
    overview = (await states.read(conn, clock, [portfolio]))[portfolio]
    holes, holes_total = await _holes(conn, portfolio) if completed < expected else ([], 0)
    partials, partials_total = await _partials(conn, portfolio) if partial else ([], 0)
    by_phase = {count.phase: {"expected": count.expected, "completed": count.completed} for count in counts}
    return {
        "id": str(portfolio),
        "state": overview.state,
        "processed": completed / expected if expected else 1.0,
        "coverage_min": overview.completeness.coverage,
        "coverage_gate": COVERAGE_GATE,
        "needs_you": overview.needs(),
        "as_of": clock.last_due().isoformat(),
        "first_session": iso(min((count.first for count in counts), default=rows[0].first_session)),
        "last_session": iso(max((count.last for count in counts), default=None)),
        "complete_to": iso(overview.complete_to),
        "expected": expected,
        "completed": completed,
        "partial": partial,
        "phases": {phase.value: by_phase.get(phase.value, {"expected": 0, "completed": 0}) for phase in Phase},
        "holes": holes,
        "holes_total": holes_total,
        "partials": partials,
        "partials_total": partials_total,
        "price_basis": await _price_basis(conn, portfolio),
        "refusals": await providers.refusals(conn),
        "curve": await providers.curve(conn),
    }


async def _holes(conn: AsyncConnection, portfolio: UUID) -> tuple[list[dict[str, Any]], int]:
    """Missing units as runs of consecutive sessions, oldest first.

    The units of a phase are all sessions from the first entry on, so neighbours among them are neighbours in the calendar,
    and the difference of two row numbers is constant exactly within an unbroken run. What the index of the key lacks is read of
    those alone that are blocked.
    """
    rows = (
        await conn.execute(
            statement("""
                WITH numbered AS (
                    SELECT phase, session, completed_revision < required_revision AS missing,
                           row_number() OVER (PARTITION BY phase ORDER BY session) AS n
                    FROM ledger.units WHERE portfolio_id = :id
                ), blocked AS MATERIALIZED (
                    SELECT phase, session, blocked_reason FROM ledger.units
                    WHERE portfolio_id = :id AND blocked_reason IS NOT NULL
                ), islands AS (
                    SELECT *, n - row_number() OVER (PARTITION BY phase, blocked_reason ORDER BY session) AS island
                    FROM numbered LEFT JOIN blocked USING (phase, session) WHERE missing
                )
                SELECT CAST(i.phase AS text) AS phase, min(i.session) AS first, max(i.session) AS last, i.blocked_reason,
                       coalesce(bool_or(s.lease_until > clock_timestamp()), false) AS running,
                       coalesce(max(s.runs), 0) AS runs, max(s.next_at) AS next_at, max(s.last_error) AS last_error,
                       count(*) OVER () AS total
                FROM islands i LEFT JOIN ledger.schedule s ON s.portfolio_id = :id AND s.phase = i.phase
                GROUP BY i.phase, i.blocked_reason, i.island
                ORDER BY min(i.session), i.phase LIMIT :shown
            """),
            {"id": portfolio, "shown": SHOWN},
        )
    ).all()
    phases = {row.phase for row in rows}
    awaited = await _read_awaited_prices(conn, portfolio) if Phase.INGEST in phases else []
    factors = await absences(conn, set(PROXY_SYMBOLS), open_only=True) if Phase.FACTORS in phases else []
    undecided = await _read_undecided_lots(conn, portfolio) if any(row.phase == Phase.SNAPSHOTS for row in rows) else []
    holes = [
        _hole(
            row, {Phase.INGEST: awaited, Phase.FACTORS: factors, Phase.SNAPSHOTS: undecided}.get(Phase(row.phase), [])
        )
        for row in rows
    ]
    return holes, (rows[0].total if rows else 0)


def _hole(row: Row[Any], awaited: Sequence[Wait]) -> dict[str, Any]:
    waits = [wait for wait in awaited if wait.first <= row.last]
    blocked = row.blocked_reason is not None
    known = {(wait.symbol, wait.reason): wait for wait in reversed(waits)}
    return {
        "from": row.first.isoformat(),
        "to": row.last.isoformat(),
        "phase": row.phase,
        "state": state_of_missing(blocked=blocked, running=row.running, runs=row.runs),
        "reason": _why(row, waits),
        "reasons": [
            document(wait.reason, phase=row.phase, symbol=wait.symbol, wait=wait)
            for wait in sorted(known.values(), key=lambda wait: (wait.symbol, wait.first))
        ],
        "symbols": sorted({wait.symbol for wait in waits}),
        "attempts": row.runs,
        "next_at": instant(row.next_at),
    }


def _why(row: Row[Any], waits: Sequence[Wait]) -> str | None:
    """What failed, or what is waited for. A wait is told by its symbols, provider and end; the schedule's own words know less."""
    failed = row.blocked_reason or (row.last_error if row.runs else None)
    if failed:
        return str(failed).splitlines()[0]
    return sentence(waits, datetime.now(UTC)) or row.last_error


async def _read_awaited_prices(conn: AsyncConnection, portfolio: UUID) -> Sequence[Wait]:
    """The prices an unfinished ingest is waiting for: gaps of the portfolio's symbols that are not terminal."""
    held = await conn.scalars(
        statement("""
            SELECT symbol FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL
            UNION
            SELECT underlying_symbol FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND underlying_symbol IS NOT NULL
        """),
        {"id": portfolio},
    )
    return await absences(conn, set(held), open_only=True)


async def _read_undecided_lots(conn: AsyncConnection, portfolio: UUID) -> Sequence[Wait]:
    """The lots that snapshots wait for: it is not settled yet whether their numbers are as traded."""
    rows = await conn.execute(
        statement("""
            SELECT symbol, min(entry_session) AS first FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND basis_assumed GROUP BY symbol ORDER BY symbol
        """),
        {"id": portfolio},
    )
    return [
        Wait(row.symbol, ReasonCode.BASIS_UNDECIDED.value, row.first, row.first, provider=None, until=None)
        for row in rows
    ]


async def _partials(conn: AsyncConnection, portfolio: UUID) -> tuple[list[dict[str, Any]], int]:
    """Completed units that fell short, as runs of consecutive sessions with equal reasons; coverage is the lowest.

    The row numbers are the key's index's, which has no reasons: those are read of partial units alone.
    """
    rows = (
        await conn.execute(
            statement("""
                WITH numbered AS (
                    SELECT phase, session, row_number() OVER (PARTITION BY phase ORDER BY session) AS n
                    FROM ledger.units WHERE portfolio_id = :id
                ), partials AS MATERIALIZED (
                    SELECT phase, session, coverage, CAST(reasons AS text) AS reasons FROM ledger.units
                    WHERE portfolio_id = :id AND quality = 'partial' AND completed_revision >= required_revision
                ), islands AS (
                    SELECT *, n - row_number() OVER (PARTITION BY phase, reasons ORDER BY session) AS island
                    FROM numbered JOIN partials USING (phase, session)
                )
                SELECT CAST(phase AS text) AS phase, min(session) AS first, max(session) AS last, min(coverage) AS coverage,
                       reasons, count(*) OVER () AS total
                FROM islands GROUP BY islands.phase, reasons, island ORDER BY min(session), islands.phase LIMIT :shown
            """),
            {"id": portfolio, "shown": SHOWN},
        )
    ).all()
    # Of five hundred symbols without a price it is megabytes, and the event loop has others to answer.
    found = await asyncio.to_thread(lambda: [symbol_reasons(json.loads(row.reasons)) for row in rows])
    symbols = {str(of["symbol"]) for entries in found for of in entries if of["symbol"] and of["reason"] in ABSENCES}
    waits = await absences(conn, symbols)
    made: Made = {}
    runs = await asyncio.to_thread(
        lambda: [_partial_run(row, entries, waits, made) for row, entries in zip(rows, found, strict=True)]
    )
    return runs, (rows[0].total if rows else 0)


def _partial_run(row: Any, entries: Sequence[Entry], waits: Sequence[Wait], made: Made) -> dict[str, Any]:
    met = [wait for wait in waits if wait.first <= row.last and wait.last >= row.first]
    return {
        "from": row.first.isoformat(),
        "to": row.last.isoformat(),
        "phase": row.phase,
        "coverage": row.coverage,
        "reasons": documents(entries, met, phase=row.phase, made=made),
    }


async def _price_basis(conn: AsyncConnection, portfolio: UUID) -> list[dict[str, Any]]:
    """Lots that are stored with other numbers than stated, or whose numbers are doubtful, by symbol and entry."""
    rows = await conn.execute(
        statement("""
            SELECT id, symbol, entry_date, price_basis, basis_reason, stated_quantity, stated_entry_price, quantity, entry_price
            FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND NOT basis_assumed
              AND (basis_reason IN ('ambiguous', 'mismatch', 'stated_mismatch', 'no_close') OR quantity <> stated_quantity)
            ORDER BY symbol, entry_session, id LIMIT :shown
        """),
        {"id": portfolio, "shown": SHOWN},
    )
    return [
        {
            "position_id": str(row.id),
            "symbol": row.symbol,
            "entry_date": row.entry_date.isoformat(),
            "price_basis": row.price_basis,
            "basis_reason": row.basis_reason,
            "stated_quantity": float(row.stated_quantity),
            "stated_entry_price": float(row.stated_entry_price),
            "stored_quantity": float(row.quantity),
            "stored_entry_price": float(row.entry_price),
        }
        for row in rows
    ]


def symbol_reasons(reasons: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each symbol and reason once, in the order first seen: several figures that fall short for one cause name none of them."""
    figures: dict[tuple[str | None, str], set[str | None]] = {}
    for reason in reasons:
        figures.setdefault((reason.get("symbol"), reason["reason"]), set()).add(reason.get("figure"))
    return [
        {"figure": next(iter(names)) if len(names) == 1 else None, "symbol": symbol, "reason": reason}
        for (symbol, reason), names in figures.items()
    ]


def iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def instant(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC, with Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
