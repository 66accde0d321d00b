"""What is still waited for: which portfolios do, until when, and proxies that nobody has asked for yet."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.store.universe import REQUIRED_COVERAGE
from shared.ledger import Deferral
from shared.market.calendar import Calendar
from shared.market.reasons import ReasonCode

# Of a proxy that a unit was completed without: nobody was asked for it yet.
UNASKED = ReasonCode.LATE.value
SHOWN = 5


async def still_waiting(conn: AsyncConnection, portfolios: Collection[UUID]) -> set[UUID]:
    """Those of the portfolios that wait for a price of a holding."""
    if not portfolios:
        return set()
    rows = await conn.scalars(
        text(f"""
            SELECT DISTINCT n.portfolio_id
            FROM ({REQUIRED_COVERAGE}) n JOIN ingest.symbols s ON s.symbol = n.symbol
            JOIN ingest.gaps g ON g.symbol_id = s.id AND NOT g.terminal
            WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND (n.exit_session IS NULL OR g.first <= n.exit_session)
        """),
        {"portfolios": list(portfolios)},
    )
    return set(rows.all())


async def find_waits(
    conn: AsyncConnection, portfolios: Collection[UUID], first: date, last: date, patience: float
) -> dict[UUID, Deferral]:
    """For what each of the portfolios waits on [first, last], and when to look again: when all of it will have been asked for,
    or when patience runs out. A price that arrives before completes what it can by itself."""
    rows = await conn.execute(
        text(f"""
            WITH waits AS (
                SELECT n.portfolio_id, n.symbol, g.reason, g.provider, g.retry_at
                FROM ({REQUIRED_COVERAGE}) n JOIN ingest.symbols s ON s.symbol = n.symbol
                JOIN ingest.gaps g ON g.symbol_id = s.id AND NOT g.terminal
                WHERE n.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND g.first <= :last
                  AND n.entry_session <= :last AND (n.exit_session IS NULL OR n.exit_session >= :first)
            ), ends AS (
                SELECT portfolio_id, min(required_at) + make_interval(secs => :patience) AS over FROM ledger.units
                WHERE portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND phase = 'ingest'
                  AND session BETWEEN :first AND :last AND completed_revision < required_revision GROUP BY portfolio_id
            )
            SELECT w.portfolio_id, least(max(w.retry_at), min(CASE WHEN e.over > clock_timestamp() THEN e.over END)) AS until,
                   array_agg(DISTINCT w.symbol ORDER BY w.symbol), array_agg(DISTINCT w.reason ORDER BY w.reason),
                   array_agg(DISTINCT w.provider ORDER BY w.provider)
            FROM waits w LEFT JOIN ends e ON e.portfolio_id = w.portfolio_id GROUP BY w.portfolio_id
        """),
        {"portfolios": list(portfolios), "first": first, "last": last, "patience": patience},
    )
    return {
        portfolio: Deferral(until, _wait_text(symbols, reasons, providers))
        for portfolio, until, symbols, reasons, providers in rows
        if until is not None
    }


def _wait_text(symbols: Sequence[str], reasons: Sequence[str], providers: Sequence[str]) -> str:
    more = f" and {len(symbols) - SHOWN} more" if len(symbols) > SHOWN else ""
    return f"{', '.join(reasons)} ({', '.join(providers)}): {', '.join(symbols[:SHOWN])}{more}"


async def is_awaited(conn: AsyncConnection, symbols: Sequence[str]) -> bool:
    """Whether a price of one of the symbols is waited for."""
    return bool(
        await conn.scalar(
            text("""
                SELECT EXISTS (SELECT 1 FROM ingest.gaps g JOIN ingest.symbols s ON s.id = g.symbol_id
                               WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND NOT g.terminal)
            """),
            {"symbols": list(symbols)},
        )
    )


async def record_unasked(
    conn: AsyncConnection, symbols: Sequence[str], first: date, last: date, chain: str, calendar: Calendar
) -> list[str]:
    """Put what is not known of the symbols within [first, last] down as waited for, due now; returns of which symbols.

    Needs the commit-order lock. Whoever is fetching them writes under it too, and finds these absences there: what it brings is
    then news to the units that were completed without.
    """
    rows = await conn.execute(
        text("""
            SELECT n.symbol, s.covered_from, s.covered_to FROM unnest(CAST(:symbols AS text[])) AS n (symbol)
            LEFT JOIN ingest.symbols s ON s.symbol = n.symbol
            WHERE s.covered_from IS NULL OR s.covered_from > :first OR s.covered_to < :last
        """),
        {"symbols": list(symbols), "first": first, "last": last},
    )
    absent = _days_outside([(row[0], row[1], row[2]) for row in rows], first, last, calendar)
    if not absent:
        return []
    parameters = {
        "symbols": [symbol for symbol, _, _ in absent],
        "firsts": [low for _, low, _ in absent],
        "lasts": [high for _, _, high in absent],
    }
    await conn.execute(
        text("""
            INSERT INTO ingest.symbols (symbol)
            SELECT DISTINCT a.symbol FROM unnest(CAST(:symbols AS text[])) AS a (symbol) ORDER BY a.symbol ON CONFLICT DO NOTHING
        """),
        {"symbols": parameters["symbols"]},
    )
    await conn.execute(
        text("""
            WITH a AS (
                SELECT s.id, min(a.first) AS first, max(a.last) AS last
                FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS a (symbol, first, last)
                JOIN ingest.symbols s ON s.symbol = a.symbol GROUP BY s.id
            ), k AS (
                SELECT s.id FROM ingest.symbols s JOIN a ON a.id = s.id ORDER BY s.id FOR NO KEY UPDATE OF s
            )
            UPDATE ingest.symbols s
            SET covered_from = least(s.covered_from, a.first), covered_to = greatest(s.covered_to, a.last)
            FROM a JOIN k ON k.id = a.id WHERE s.id = a.id
        """),
        parameters,
    )
    await conn.execute(
        text("""
            INSERT INTO ingest.gaps (symbol_id, first, last, reason, terminal, provider, checked_at, retry_at)
            SELECT s.id, a.first, a.last, :reason, false, :chain, clock_timestamp(), clock_timestamp()
            FROM unnest(CAST(:symbols AS text[]), CAST(:firsts AS date[]), CAST(:lasts AS date[])) AS a (symbol, first, last)
            JOIN ingest.symbols s ON s.symbol = a.symbol
        """),
        parameters | {"reason": UNASKED, "chain": chain},
    )
    return sorted({symbol for symbol, _, _ in absent})


def _days_outside(
    coverage: Sequence[tuple[str, date | None, date]], first: date, last: date, calendar: Calendar
) -> list[tuple[str, date, date]]:
    """What lies within [first, last] and outside (symbol, covered from, covered to), as (symbol, from, to)."""
    absent: list[tuple[str, date, date]] = []
    for symbol, known_from, known_to in coverage:
        if known_from is None:
            absent.append((symbol, first, last))
            continue
        # Coverage stays one range: what lies between is unknown too.
        if first < known_from:
            absent.append((symbol, first, calendar.previous(known_from)))
        if last > known_to:
            absent.append((symbol, calendar.next(known_to), last))
    return absent
