"""Which ingest units are complete now, with what quality, and which other units a changed price concerns."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import Affected
from services.ingest.store.universe import REQUIRED_COVERAGE
from shared.ledger import Outcome
from shared.work import MissingUnit, Phase, UnitKey


async def portfolios_holding(
    conn: AsyncConnection, symbols: Collection[str], sessions: Sequence[date], limit: int, *, everyone: bool
) -> list[UUID]:
    """At most `limit` portfolios that hold one of the symbols, or all (`everyone`), and miss an ingest unit on one of the sessions."""
    if limit <= 0:
        return []
    rows = await conn.execute(
        text("""
            SELECT h.portfolio_id FROM (
                SELECT portfolio_id FROM coordinator.positions
                WHERE deleted_at IS NULL AND symbol = ANY (CAST(:symbols AS text[]))
                UNION
                SELECT portfolio_id FROM coordinator.positions
                WHERE deleted_at IS NULL AND investment_class = 'OPTIONS' AND underlying_symbol = ANY (CAST(:symbols AS text[]))
                UNION
                SELECT id FROM coordinator.portfolios WHERE deleted_at IS NULL AND CAST(:everyone AS boolean)
            ) h
            WHERE EXISTS (
                SELECT 1 FROM ledger.units u
                WHERE u.portfolio_id = h.portfolio_id AND u.phase = 'ingest' AND u.session BETWEEN :first AND :last
                  AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL
            )
            LIMIT :limit
        """),
        {"symbols": list(symbols), "first": min(sessions), "last": max(sessions), "limit": limit, "everyone": everyone},
    )
    return [row[0] for row in rows]


async def ready(
    conn: AsyncConnection,
    portfolios: Sequence[UUID],
    sessions: Sequence[date],
    lookbacks: Sequence[date],
    proxies: Sequence[str],
) -> list[MissingUnit]:
    """Missing ingest units whose symbols and proxies are all known from the session's lookback to the session.

    sessions, lookbacks : the sessions in question, ascending, and for each the first session of its window.
    An absence that may still pass (`terminal` false) holds back every unit whose window it touches.
    """
    rows = await conn.execute(
        text(f"""
            WITH look AS (
                SELECT * FROM unnest(CAST(:sessions AS date[]), CAST(:lookbacks AS date[])) AS l (session, start)
            ), lots AS MATERIALIZED (
                SELECT n.*, s.id AS symbol_id, s.covered_from, s.covered_to
                FROM ({REQUIRED_COVERAGE}) n LEFT JOIN ingest.symbols s ON s.symbol = n.symbol
                WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
            ), proxies AS MATERIALIZED (
                SELECT s.id, s.covered_from, s.covered_to
                FROM unnest(CAST(:proxies AS text[])) AS n (symbol) LEFT JOIN ingest.symbols s ON s.symbol = n.symbol
            ), short AS MATERIALIZED (
                -- Lots not known over the whole rectangle. When all is well there is none, and what follows costs nothing.
                SELECT * FROM lots
                WHERE covered_from IS NULL OR covered_from > :first_start OR covered_to < :last_session
            ), unsettled AS MATERIALIZED (
                SELECT l.portfolio_id, l.entry_session, l.exit_session, g.first, g.last
                FROM lots l JOIN ingest.gaps g ON g.symbol_id = l.symbol_id WHERE NOT g.terminal
            ), unsettled_proxies AS MATERIALIZED (
                SELECT g.first, g.last FROM proxies p JOIN ingest.gaps g ON g.symbol_id = p.id WHERE NOT g.terminal
            )
            SELECT u.portfolio_id, u.session, u.required_revision
            FROM look JOIN ledger.units u ON u.session = look.session
            WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = 'ingest'
              AND u.completed_revision < u.required_revision
              AND look.start >= (SELECT max(coalesce(covered_from, 'infinity')) FROM proxies)
              AND look.session <= (SELECT min(coalesce(covered_to, '-infinity')) FROM proxies)
              AND NOT EXISTS (SELECT 1 FROM unsettled_proxies g WHERE g.first <= look.session AND g.last >= look.start)
              AND NOT EXISTS (
                  SELECT 1 FROM short x
                  WHERE x.portfolio_id = u.portfolio_id AND x.entry_session <= look.session
                    AND (x.exit_session IS NULL OR x.exit_session >= look.session)
                    AND (x.covered_from IS NULL OR x.covered_from > look.start OR x.covered_to < look.session))
              AND NOT EXISTS (
                  SELECT 1 FROM unsettled w
                  WHERE w.portfolio_id = u.portfolio_id AND w.entry_session <= look.session
                    AND (w.exit_session IS NULL OR w.exit_session >= look.session)
                    AND w.first <= look.session AND w.last >= look.start)
        """),
        {
            "portfolios": list(portfolios),
            "sessions": list(sessions),
            "lookbacks": list(lookbacks),
            "proxies": list(proxies),
            "first_start": lookbacks[0],
            "last_session": sessions[-1],
        },
    )
    return [MissingUnit(*row) for row in rows]


async def outcomes(conn: AsyncConnection, units: Sequence[MissingUnit]) -> dict[MissingUnit, Outcome]:
    """The outcome of each ready unit: partial, with (symbol, reason), where a symbol held on the session has no price on it.

    Coverage is the share of the portfolio's gross cost whose symbols have a price; what the price is worth is known later.
    A private holding stands at its stated value and is covered. A proxy without a price is not the portfolio's fault.
    """
    if not units:
        return {}
    parameters = {"portfolios": [unit.portfolio_id for unit in units], "sessions": [unit.session for unit in units]}
    missing = await conn.execute(
        text(f"""
            WITH keys AS (
                SELECT * FROM unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[])) AS k (portfolio_id, session)
            ), absent AS MATERIALIZED (
                SELECT n.*, g.reason, greatest(g.first, n.entry_session) AS first, least(g.last, n.exit_session) AS last
                FROM ({REQUIRED_COVERAGE}) n
                JOIN ingest.symbols s ON s.symbol = n.symbol
                JOIN ingest.gaps g ON g.symbol_id = s.id
                WHERE n.portfolio_id IN (SELECT portfolio_id FROM keys)
            )
            SELECT k.portfolio_id, k.session, a.lot_id, a.symbol, a.reason
            FROM keys k JOIN absent a ON a.portfolio_id = k.portfolio_id AND k.session BETWEEN a.first AND a.last
        """),
        parameters,
    )
    fell_short: dict[UnitKey, list[Any]] = defaultdict(list)
    for portfolio, session, lot, symbol, reason in missing:
        fell_short[UnitKey(portfolio, session)].append((lot, symbol, reason))
    gross = await _gross(conn, {key.portfolio_id for key in fell_short})
    found = {}
    for unit in units:
        absent = fell_short.get(UnitKey(unit.portfolio_id, unit.session))
        if not absent:
            found[unit] = Outcome()
            continue
        held = {
            lot: cost
            for lot, entry, exit_, cost in gross[unit.portfolio_id]
            if entry <= unit.session and (exit_ is None or exit_ >= unit.session)
        }
        lost = {lot for lot, _, _ in absent}
        # In one order whatever the database's: the sum is stored.
        total = sum(cost for _, cost in sorted(held.items()))
        backed = sum(cost for lot, cost in sorted(held.items()) if lot not in lost)
        reasons = sorted({(symbol, reason) for _, symbol, reason in absent})
        found[unit] = Outcome(
            quality="partial",
            coverage=min(1.0, backed / total) if total > 0 else 0.0,
            reasons=[{"figure": None, "symbol": symbol, "reason": reason} for symbol, reason in reasons],
        )
    return found


async def _gross(conn: AsyncConnection, portfolios: Collection[UUID]) -> dict[UUID, list[Any]]:
    """Lots of the portfolios with what they cost, without sign."""
    if not portfolios:
        return {}
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, id, entry_session, exit_session,
                   CAST(abs(quantity) * entry_price * CASE investment_class WHEN 'OPTIONS' THEN 100 ELSE 1 END AS float8)
            FROM coordinator.positions
            WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND deleted_at IS NULL
        """),
        {"portfolios": list(portfolios)},
    )
    lots: dict[UUID, list[Any]] = defaultdict(list)
    for portfolio, *lot in rows:
        lots[portfolio].append(lot)
    return lots


async def affected_units(
    conn: AsyncConnection, affected: Sequence[Affected], proxies: Collection[str]
) -> list[tuple[UUID, date, date, Phase]]:
    """What a changed price demands anew, as arguments of `ledger.require`.

    Only units whose ingest is complete: the others have not used the price, and cannot be in flight.
    """
    if not affected:
        return []
    rows = await conn.execute(
        text(f"""
            WITH affected AS (
                SELECT * FROM unnest(CAST(:symbols AS text[]), CAST(:phases AS text[]), CAST(:firsts AS date[]),
                                     CAST(:lasts AS date[])) AS a (symbol, phase, first, last)
            ), looking AS (
                SELECT n.portfolio_id, a.phase, greatest(a.first, n.entry_session) AS first,
                       least(a.last, n.exit_session) AS last
                FROM affected a JOIN ({REQUIRED_COVERAGE}) n ON n.symbol = a.symbol
                UNION ALL
                SELECT p.id, a.phase, a.first, a.last
                FROM affected a JOIN coordinator.portfolios p ON p.deleted_at IS NULL
                WHERE a.phase = 'factors' AND a.symbol = ANY (CAST(:proxies AS text[]))
            ), merged AS (
                SELECT portfolio_id, phase, min(first) AS first, max(last) AS last
                FROM looking WHERE first <= last GROUP BY portfolio_id, phase
            )
            SELECT m.portfolio_id, min(u.session), max(u.session), m.phase
            FROM merged m JOIN ledger.units u ON u.portfolio_id = m.portfolio_id AND u.phase = 'ingest'
                AND u.session BETWEEN m.first AND m.last AND u.completed_revision >= u.required_revision
            GROUP BY m.portfolio_id, m.phase
        """),
        {
            "symbols": [a.symbol for a in affected],
            "phases": [a.phase.value for a in affected],
            "firsts": [a.first for a in affected],
            "lasts": [a.last for a in affected],
            "proxies": list(proxies),
        },
    )
    return [(portfolio, first, last, Phase(phase)) for portfolio, first, last, phase in rows]
