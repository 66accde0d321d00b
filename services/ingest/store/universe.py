"""Which symbols are needed, what is known of them, and who is fetching them."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.model.stored import GapRow, SymbolCoverage
from shared.market.calendar import Calendar
from shared.market.reasons import ReasonCode

# Three renewals long; whoever needs what a dead process had claimed waits for as long as that.
CLAIM = timedelta(seconds=30)

_PRICED = """
    FROM coordinator.positions p
    WHERE p.deleted_at IS NULL AND p.investment_class <> 'PRIVATE'
      AND coalesce(p.investment_subtype, '') NOT IN ('CASH', 'MONEY_MARKET')
"""
REQUIRED_COVERAGE = f"""
    SELECT p.id AS lot_id, p.portfolio_id, p.symbol, p.entry_session, p.exit_session {_PRICED}
    UNION ALL
    SELECT p.id, p.portfolio_id, p.underlying_symbol, p.entry_session, p.exit_session {_PRICED}
      AND p.investment_class = 'OPTIONS' AND p.underlying_symbol IS NOT NULL
"""
"""Symbols a lot needs: its own, and an option's underlying; cash-like holdings need none.

The stored class was decided by the classifier at import. A table of its own for each kind of symbol, and not both symbols of a lot
beside each other: made of each lot, they took longer than the lots.
"""


async def required_coverage(
    conn: AsyncConnection, portfolios: Sequence[UUID], first: date, last: date
) -> dict[str, tuple[date, date]]:
    """Per symbol held by the portfolios within [first, last]: the first and the last of those sessions it is held on."""
    rows = await conn.execute(
        text(f"""
            SELECT n.symbol, min(greatest(n.entry_session, :first)), max(least(n.exit_session, :last))
            FROM ({REQUIRED_COVERAGE}) n
            WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[]))
              AND n.entry_session <= :last AND (n.exit_session IS NULL OR n.exit_session >= :first)
            GROUP BY n.symbol
        """),
        {"portfolios": list(portfolios), "first": first, "last": last},
    )
    return {symbol: (low, high) for symbol, low, high in rows}


async def find_coverage(conn: AsyncConnection, symbols: Sequence[str]) -> list[SymbolCoverage]:
    rows = await conn.execute(
        text(
            "SELECT id, symbol, covered_from, covered_to FROM ingest.symbols WHERE symbol = ANY (CAST(:symbols AS text[]))"
        ),
        {"symbols": list(symbols)},
    )
    return [SymbolCoverage(*row) for row in rows]


async def insert_symbols(conn: AsyncConnection, symbols: Sequence[str]) -> None:
    """Put new symbols into the universe. In order of name, so that two workers with the same new symbols do not deadlock."""
    await conn.execute(
        text("""
            INSERT INTO ingest.symbols (symbol)
            SELECT n.symbol FROM unnest(CAST(:symbols AS text[])) AS n (symbol)
            WHERE NOT EXISTS (SELECT 1 FROM ingest.symbols s WHERE s.symbol = n.symbol)
            ORDER BY n.symbol ON CONFLICT DO NOTHING
        """),
        {"symbols": list(symbols)},
    )


async def acquire_leases(conn: AsyncConnection, symbols: Sequence[str], owner: str) -> list[SymbolCoverage]:
    """Claim those of the symbols that nobody is fetching, with their coverage as of now. The others are somebody's work."""
    rows = await conn.execute(
        text("""
            WITH free AS (
                SELECT id FROM ingest.symbols
                WHERE symbol = ANY (CAST(:symbols AS text[])) AND (claim_until IS NULL
                    -- Further away than a claim lasts: the database's clock was ahead when it was set.
                    OR claim_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + CAST(:claim AS interval))
                ORDER BY id
                FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE ingest.symbols s SET claim_owner = :owner, claim_until = clock_timestamp() + CAST(:claim AS interval)
            FROM free WHERE s.id = free.id
            RETURNING s.id, s.symbol, s.covered_from, s.covered_to
        """),
        {"symbols": list(symbols), "owner": owner, "claim": CLAIM},
    )
    return sorted((SymbolCoverage(*row) for row in rows), key=lambda symbol: symbol.id)


async def renew_leases(conn: AsyncConnection, owner: str) -> None:
    await conn.execute(
        text(
            "UPDATE ingest.symbols SET claim_until = clock_timestamp() + CAST(:claim AS interval) WHERE claim_owner = :owner"
        ),
        {"owner": owner, "claim": CLAIM},
    )


async def not_owned(conn: AsyncConnection, ids: Sequence[int], owner: str) -> list[str]:
    """Those of the symbols whose claim is somebody else's by now, or nobody's; the others stay ours until the commit."""
    rows = await conn.execute(
        text("""
            WITH held AS (
                SELECT id FROM ingest.symbols WHERE id = ANY (CAST(:ids AS integer[])) AND claim_owner = :owner
                ORDER BY id FOR NO KEY UPDATE
            )
            SELECT symbol FROM ingest.symbols
            WHERE id = ANY (CAST(:ids AS integer[])) AND id NOT IN (SELECT id FROM held) ORDER BY symbol
        """),
        {"ids": list(ids), "owner": owner},
    )
    return [symbol for (symbol,) in rows]


async def release_leases(conn: AsyncConnection, owner: str) -> None:
    await conn.execute(
        text("UPDATE ingest.symbols SET claim_owner = NULL, claim_until = NULL WHERE claim_owner = :owner"),
        {"owner": owner},
    )


async def gaps(conn: AsyncConnection, ids: Sequence[int], calendar: Calendar) -> dict[int, list[GapRow]]:
    """The symbols' gaps, as ordinals, ascending. Symbols without a gap are not in the answer."""
    rows = await conn.execute(
        text("""
            SELECT symbol_id, first, last, reason, terminal, provider, checked_at, retry_at
            FROM ingest.gaps WHERE symbol_id = ANY (CAST(:ids AS integer[])) ORDER BY symbol_id, first
        """),
        {"ids": list(ids)},
    )
    found: dict[int, list[GapRow]] = {}
    for id_, first, last, *rest in rows:
        found.setdefault(id_, []).append((calendar.ordinal(first), calendar.ordinal(last), *rest))
    return found


async def due_retries(
    conn: AsyncConnection, limit: int, symbols: Sequence[str] | None = None
) -> dict[str, list[tuple[date, date]]]:
    """Absences whose time to ask again has come, oldest first: ranges by symbol, of `symbols` or of all."""
    rows = await conn.execute(
        text(f"""
            SELECT s.symbol, g.first, g.last FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
            WHERE (CAST(:symbols AS text[]) IS NULL OR s.symbol = ANY (CAST(:symbols AS text[]))) AND (g.retry_at <= clock_timestamp()
               -- A user who says what is meant is answered now.
               OR EXISTS (SELECT 1 FROM coordinator.symbol_choices c WHERE c.symbol = s.symbol AND c.chosen_at > g.checked_at)
               OR g.reason = '{ReasonCode.QUARANTINED}' AND EXISTS (
                   SELECT 1 FROM ingest.quarantine q JOIN LATERAL (
                       SELECT id FROM coordinator.price_decisions d
                       WHERE d.symbol = s.symbol AND d.session = q.session ORDER BY id DESC LIMIT 1) d ON true
                   WHERE q.symbol_id = g.symbol_id AND q.session BETWEEN g.first AND g.last AND q.decision IS DISTINCT FROM d.id))
            ORDER BY g.retry_at, g.symbol_id, g.first LIMIT :limit
        """),
        {"limit": limit, "symbols": None if symbols is None else list(symbols)},
    )
    due: dict[str, list[tuple[date, date]]] = {}
    for symbol, first, last in rows:
        due.setdefault(symbol, []).append((first, last))
    return due


async def reset_retries(conn: AsyncConnection, *, other_than: str, always: bool) -> int:
    """Make absences due now that another chain of providers found, or all (`always`): the answer may be another one today."""
    result = await conn.execute(
        text(
            "UPDATE ingest.gaps SET retry_at = clock_timestamp() WHERE provider <> :chain OR CAST(:always AS boolean)"
        ),
        {"chain": other_than, "always": always},
    )
    return int(result.rowcount)
