"""The completeness of many portfolios at once, as the ledger has it now: for the list, the status and the metrics."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.states import Completeness, Need, Shortfall, State, needs_you
from services.coordinator.results.reasons import Document, Wait, absences, document
from shared.clock import Clock
from shared.market import reasons
from shared.market.reasons import ReasonCode
from shared.work import Phase

# What fell short longer ago is history: no figure of today looks further back.
WINDOW = 252
# Whether something of portfolio `p` was computed while prices were waited for. The only place that asks.
_PROVISIONAL = "EXISTS (SELECT 1 FROM ledger.units u WHERE u.portfolio_id = p.id AND u.provisional)"


@dataclass(frozen=True, slots=True)
class Overview:
    """A portfolio's completeness, and the last session up to which nothing at all is missing."""

    completeness: Completeness
    complete_to: date | None
    waits: tuple[Wait, ...]
    left_out: tuple[Wait, ...] = ()
    """Prices that are held back and that nothing waits for."""

    @property
    def state(self) -> State:
        return self.completeness.state

    def needs(self) -> list[Document]:
        """What needs the reader, with the remedy."""
        known = {(wait.symbol, wait.reason): wait for wait in (*self.left_out, *self.waits)}
        return [
            document(
                need.reason,
                phase=Phase.SNAPSHOTS.value,
                symbol=need.symbol,
                wait=known.get((need.symbol or "", need.reason)),
            )
            for need in self.completeness.needs
        ]


def window_start(clock: Clock) -> date:
    """The first session whose shortfalls still count."""
    return clock.calendar().back(clock.last_due(), WINDOW - 1)


async def read(conn: AsyncConnection, clock: Clock, portfolios: Sequence[UUID]) -> dict[UUID, Overview]:
    """The overview of each portfolio. Costs what is missing or fell short, not what is complete."""
    shortfalls, coverage = await _shortfalls(conn, portfolios, window_start(clock))
    held = await _held_back(conn, portfolios)
    left_out = await _left_out(conn, shortfalls)
    found = {}
    for row in await _counts(conn, portfolios):
        waits = held.get(row.id, ())
        needs = needs_you(shortfalls.get(row.id, ()))
        needs += tuple(Need(wait.symbol, wait.reason) for wait in waits)
        if row.blocked:
            needs = (Need(None, ReasonCode.BLOCKED.value), *needs)
        covered = None if row.last_snapshot is None else coverage.get(row.id, 1.0)
        found[row.id] = Overview(
            Completeness(row.missing, row.blocked, row.provisional, covered, tuple(dict.fromkeys(needs))),
            row.complete_to,
            waits,
            left_out,
        )
    return found


async def _counts(conn: AsyncConnection, portfolios: Sequence[UUID]) -> Sequence[Any]:
    """What is missing, by the two partial indexes of what is missing and what is blocked."""
    rows = await conn.execute(
        text(f"""
            SELECT p.id, open.n + stuck.n AS missing, stuck.n AS blocked, {_PROVISIONAL} AS provisional,
                   (SELECT max(u.session) FROM ledger.units u
                    WHERE u.portfolio_id = p.id AND u.phase = 'snapshots' AND u.completed_revision > 0) AS last_snapshot,
                   (SELECT max(u.session) FROM ledger.units u
                    WHERE u.portfolio_id = p.id
                      AND u.session < coalesce(least(open.first, stuck.first), 'infinity')) AS complete_to
            FROM unnest(CAST(:ids AS uuid[])) AS p (id)
            CROSS JOIN LATERAL (
                SELECT count(*) AS n, min(u.session) AS first FROM ledger.units u
                WHERE u.portfolio_id = p.id AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
            ) open
            CROSS JOIN LATERAL (
                SELECT count(*) AS n, min(u.session) AS first FROM ledger.units u
                WHERE u.portfolio_id = p.id AND u.blocked_reason IS NOT NULL
            ) stuck
        """),
        {"ids": list(portfolios)},
    )
    return rows.all()


async def _shortfalls(
    conn: AsyncConnection, portfolios: Sequence[UUID], since: date
) -> tuple[Mapping[UUID, list[Shortfall]], Mapping[UUID, float]]:
    """What completed units of the window lack, and the lowest coverage of a partial snapshot. Equal reasons are read once."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, CAST(phase AS text) AS phase, CAST(reasons AS text) AS reasons, min(coverage) AS coverage
            FROM ledger.units
            WHERE portfolio_id = ANY (CAST(:ids AS uuid[])) AND quality = 'partial' AND session >= :since
              AND completed_revision >= required_revision
            GROUP BY portfolio_id, phase, ledger.units.reasons
        """),
        {"ids": list(portfolios), "since": since},
    )
    shortfalls: dict[UUID, list[Shortfall]] = defaultdict(list)
    coverage: dict[UUID, float] = {}
    for row in rows:
        entries = json.loads(row.reasons)
        shortfalls[row.portfolio_id] += [Shortfall(row.phase, of.get("symbol"), of["reason"]) for of in entries]
        if row.phase == Phase.SNAPSHOTS and row.coverage is not None:
            coverage[row.portfolio_id] = min(coverage.get(row.portfolio_id, 1.0), float(row.coverage))
    return shortfalls, coverage


async def _left_out(conn: AsyncConnection, shortfalls: Mapping[UUID, list[Shortfall]]) -> tuple[Wait, ...]:
    """Of symbols whose price is held back: the sessions on which it jumped, which the reader decides about."""
    symbols = {
        symbol for lacking in shortfalls.values() for _, symbol, reason in lacking
        if symbol is not None and reason == ReasonCode.QUARANTINED
    }  # fmt: skip
    return tuple(wait for wait in await absences(conn, symbols) if wait.reason == ReasonCode.QUARANTINED)


async def _held_back(conn: AsyncConnection, portfolios: Sequence[UUID]) -> dict[UUID, tuple[Wait, ...]]:
    """Absences that units wait for and only the reader can end, such as a price that is held back."""
    rows = (
        await conn.execute(
            text("""
                SELECT DISTINCT p.portfolio_id, p.symbol FROM coordinator.positions p
                JOIN ingest.symbols s ON s.symbol = p.symbol
                JOIN ingest.gaps g ON g.symbol_id = s.id AND NOT g.terminal AND g.reason = ANY (CAST(:yours AS text[]))
                WHERE p.portfolio_id = ANY (CAST(:ids AS uuid[])) AND p.deleted_at IS NULL
                ORDER BY p.portfolio_id, p.symbol
            """),
            {"ids": list(portfolios), "yours": [code for code in ReasonCode if reasons.info(code).acts == "you"]},
        )
    ).all()
    waits = await absences(conn, {row.symbol for row in rows}, open_only=True)
    found: dict[UUID, tuple[Wait, ...]] = {}
    for row in rows:
        mine = tuple(w for w in waits if w.symbol == row.symbol and reasons.info(w.reason).acts == "you")
        found[row.portfolio_id] = (*found.get(row.portfolio_id, ()), *mine)
    return found
