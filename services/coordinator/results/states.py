"""The completeness of many portfolios at once, as the ledger has it now: for the list, the status and the metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.states import Completeness, Need, Shortfall, State, needs_you
from services.coordinator.results.reasons import Document, Wait, absences, document
from shared.clock import Clock
from shared.db.statements import statement
from shared.ledger import runs, shortfalls
from shared.ledger.among import AMONG, among
from shared.ledger.runs import Extent
from shared.ledger.shortfalls import Lacks
from shared.market import reasons
from shared.market.reasons import ReasonCode
from shared.work import Phase

# What fell short longer ago is history: no figure of today looks further back.
WINDOW = 252


class Overview(NamedTuple):
    """A portfolio's completeness, and how far its units are."""

    completeness: Completeness
    extent: Extent
    waits: tuple[Wait, ...] = ()
    left_out: tuple[Wait, ...] = ()
    """Prices that are held back and that nothing waits for."""

    @property
    def state(self) -> State:
        return self.completeness.state

    @property
    def complete_to(self) -> date | None:
        return self.extent.complete_to

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
    """The overview of each portfolio, from what is kept of its units."""
    lacks = await shortfalls.read_lacks(conn, portfolios, window_start(clock))
    held, left_out = await _held_back(conn, portfolios, _symbols_held_back(lacks.values()))
    needs = {of: tuple(Need(wait.symbol, wait.reason) for wait in waits) for of, waits in held.items()}
    found = await _overviews(conn, portfolios, lacks, needs)
    return {of: overview._replace(waits=held.get(of, ()), left_out=left_out) for of, overview in found.items()}


async def read_without_waits(
    conn: AsyncConnection, clock: Clock, portfolios: Sequence[UUID], held_back: Mapping[UUID, tuple[Need, ...]]
) -> dict[UUID, Overview]:
    """The same for who does not show what needs the reader, but how much. held_back : what `find_held_back` says"""
    lacks = await shortfalls.read_lacks(conn, portfolios, window_start(clock))
    return await _overviews(conn, portfolios, lacks, held_back)


async def _overviews(
    conn: AsyncConnection,
    portfolios: Sequence[UUID],
    lacks: Mapping[UUID, Lacks],
    held_back: Mapping[UUID, tuple[Need, ...]],
) -> dict[UUID, Overview]:
    extents = await runs.read_extents(conn, portfolios)
    provisional = await _provisional(conn, portfolios)
    found = {}
    for portfolio in portfolios:
        extent, lack = extents.get(portfolio, _NOTHING), lacks.get(portfolio, _COMPLETE)
        needs = _needs(lack.shortfalls)
        if portfolio in held_back:
            needs = tuple(dict.fromkeys((*needs, *held_back[portfolio])))
        if extent.blocked:
            needs = (Need(None, ReasonCode.BLOCKED.value), *needs)
        covered = (1.0 if lack.coverage is None else lack.coverage) if extent.valued else None
        found[portfolio] = Overview(
            Completeness(extent.missing, extent.blocked, portfolio in provisional, covered, needs), extent
        )
    return found


_NOTHING, _COMPLETE = Extent(), Lacks((), None)


@lru_cache(maxsize=2048)
def _needs(lacking: tuple[tuple[str, str], ...]) -> tuple[Need, ...]:
    return needs_you(Shortfall(phase, *of) for phase, lacks in lacking for of in shortfalls.reasons_of(lacks))


async def _provisional(conn: AsyncConnection, portfolios: Sequence[UUID]) -> set[UUID]:
    """Of which something was computed while prices were waited for. The only place that asks."""
    rows = await conn.scalars(
        statement(f"SELECT DISTINCT portfolio_id FROM ledger.units WHERE provisional AND {AMONG}"),
        among(portfolios),
    )
    return set(rows.all())


def _symbols_held_back(lacks: Iterable[Lacks]) -> set[str]:
    """Symbols that are lacking because a price of theirs is held back."""
    told = {text for lack in lacks for _, text in lack.shortfalls if ReasonCode.QUARANTINED in text}
    return {
        symbol
        for text in told
        for symbol, reason in shortfalls.reasons_of(text)
        if symbol is not None and reason == ReasonCode.QUARANTINED
    }


_HELD = """
    held AS MATERIALIZED (
        SELECT DISTINCT s.symbol, g.reason FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
        WHERE NOT g.terminal AND g.reason = ANY (CAST(:yours AS text[]))
    ), holders AS (
        -- From what is held back, which is little, to who holds it. OFFSET: found by the symbol, not by a thousand portfolios.
        SELECT DISTINCT portfolio_id, h.symbol, h.reason FROM held h CROSS JOIN LATERAL (
            SELECT portfolio_id FROM coordinator.positions p WHERE p.symbol = h.symbol AND p.deleted_at IS NULL OFFSET 0
        ) p
    )
"""
_YOURS = [code for code in ReasonCode if reasons.info(code).acts == "you"]


async def find_held_back(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, tuple[Need, ...]]:
    """Symbols whose prices the units of a portfolio wait for and only the reader can end, with the reasons. Of others too."""
    rows = await conn.execute(
        statement(f"""
            WITH {_HELD}
            SELECT portfolio_id, array_agg(symbol ORDER BY symbol, reason), array_agg(reason ORDER BY symbol, reason)
            FROM holders WHERE {AMONG} GROUP BY portfolio_id
        """),
        among(portfolios) | {"yours": _YOURS},
    )
    return {of: tuple(map(Need, symbols, codes)) for of, symbols, codes in rows.all()}


async def _held_back(
    conn: AsyncConnection, portfolios: Sequence[UUID], told: Collection[str]
) -> tuple[dict[UUID, tuple[Wait, ...]], tuple[Wait, ...]]:
    """(by portfolio the absences that its units wait for and only the reader can end, such as a price that is held back; of the symbols
    of `told` the sessions on which a price jumped, which the reader decides about)."""
    rows = (
        await conn.execute(
            statement(f"""
                WITH {_HELD}
                SELECT DISTINCT portfolio_id, symbol FROM holders WHERE {AMONG} ORDER BY portfolio_id, symbol
            """),
            among(portfolios) | {"yours": _YOURS},
        )
    ).all()
    waits = await absences(conn, {row.symbol for row in rows} | set(told))
    mine: dict[str, list[Wait]] = defaultdict(list)
    for wait in waits:
        if not wait.terminal and reasons.info(wait.reason).acts == "you":
            mine[wait.symbol].append(wait)
    found: dict[UUID, tuple[Wait, ...]] = {}
    for row in rows:
        found[row.portfolio_id] = (*found.get(row.portfolio_id, ()), *mine[row.symbol])
    jumped = (wait for wait in waits if wait.symbol in told and wait.reason == ReasonCode.QUARANTINED)
    return found, tuple(jumped)
