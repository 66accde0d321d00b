"""Lots whose price basis can be settled now, in slices, and those of the same files that were decided before."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

# Compared at a time: what is read and decided of so many lots is tens of megabytes.
LOTS_A_SLICE = 5_000

# Lots that can be settled now: assumed ones whose entry session is ingested, so that their closes are known or known to be
# absent, with every split there is; ones whose basis is stated, which are only compared; and ones settled without a close that has
# come since. Of the latter two not while what arrives is taken up together a little later: a portfolio that waits for five hundred
# prices would be computed five hundred times.
_UNDECIDED = """
    FROM coordinator.positions x
    JOIN coordinator.portfolios p ON p.id = x.portfolio_id AND p.deleted_at IS NULL
    JOIN ledger.units u ON u.portfolio_id = x.portfolio_id AND u.session = x.entry_session AND u.phase = 'ingest'
        AND u.completed_revision >= u.required_revision
    WHERE x.deleted_at IS NULL AND x.basis_awaits IS NOT NULL
      AND (x.basis_assumed OR (
          EXISTS (SELECT 1 FROM ingest.symbols y JOIN ingest.prices q ON q.symbol_id = y.id
                  WHERE y.symbol = x.symbol AND q.session = x.basis_awaits)
          AND NOT EXISTS (SELECT 1 FROM ledger.schedule w WHERE w.portfolio_id = x.portfolio_id AND w.phase = 'snapshots'
                              AND w.withheld_until > clock_timestamp())))
"""


async def waiting_portfolios(conn: AsyncConnection, portfolios: Sequence[UUID] | None) -> set[UUID]:
    among = {"portfolios": None if portfolios is None else list(portfolios)}
    # By a partial index that is mostly empty; the statement below takes longer to plan.
    awaiting = text("""
        SELECT EXISTS (SELECT FROM coordinator.positions
                       WHERE deleted_at IS NULL AND basis_awaits IS NOT NULL
                         AND (CAST(:portfolios AS uuid[]) IS NULL OR portfolio_id = ANY (CAST(:portfolios AS uuid[]))))
    """)
    if not await conn.scalar(awaiting, among):
        return set()
    rows = await conn.scalars(
        text(f"""
            SELECT DISTINCT x.portfolio_id {_UNDECIDED}
              AND (CAST(:portfolios AS uuid[]) IS NULL OR x.portfolio_id = ANY (CAST(:portfolios AS uuid[])))
        """),
        among,
    )
    return set(rows)


async def read_slice(conn: AsyncConnection, portfolio: UUID, after: str) -> Sequence[RowMapping]:
    """Some of one portfolio's, of the next symbols: a basis is decided for all lots of a symbol in a file. `version` is the row's."""
    rows = await conn.execute(
        text(f"""
            SELECT * FROM (
                SELECT x.*, x.xmin::text AS version, rank() OVER (ORDER BY x.symbol) AS lots_before {_UNDECIDED}
                  AND x.portfolio_id = :portfolio AND x.symbol > :after
            ) x
            WHERE lots_before <= :slice
            ORDER BY symbol, entry_session, id
        """),
        {"portfolio": portfolio, "after": after, "slice": LOTS_A_SLICE},
    )
    return rows.mappings().all()


async def are_unchanged(conn: AsyncConnection, rows: Sequence[RowMapping]) -> bool:
    """Whether no row was written since it was read. Needs the commit-order lock, which every edit has."""
    same = await conn.scalar(
        text("""
            SELECT count(*) FROM coordinator.positions x
            JOIN unnest(CAST(:ids AS uuid[]), CAST(:versions AS text[])) AS v (id, version) ON v.id = x.id
            WHERE x.xmin::text = v.version
        """),
        {"ids": [row["id"] for row in rows], "versions": [row["version"] for row in rows]},
    )
    return bool(same == len(rows))


async def decided_positions(
    conn: AsyncConnection, portfolio: UUID, undecided: Sequence[RowMapping]
) -> Sequence[RowMapping]:
    """Lots of the same files and symbols that were compared already. The rows of a file were created in one transaction."""
    rows = await conn.execute(
        text("""
            SELECT x.* FROM coordinator.positions x
            JOIN (SELECT DISTINCT * FROM unnest(CAST(:created AS timestamptz[]), CAST(:symbols AS text[])) AS f (created_at, symbol)) f
                ON f.created_at = x.created_at AND f.symbol = x.symbol
            WHERE x.portfolio_id = :portfolio AND x.deleted_at IS NULL AND NOT x.id = ANY (CAST(:undecided AS uuid[]))
              AND x.basis_reason IN ('compared', 'ambiguous', 'mismatch') AND x.price_basis IN ('as_traded', 'split_adjusted')
            ORDER BY x.entry_session, x.id
        """),
        {
            "portfolio": portfolio,
            "created": [row["created_at"] for row in undecided],
            "symbols": [row["symbol"] for row in undecided],
            "undecided": [row["id"] for row in undecided],
        },
    )
    return rows.mappings().all()
