"""What results take on the disk, with their indexes: one portfolio-session, by table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.measured import Measured
from tests.support.pipeline import Pipeline

# What every portfolio and session has for itself; facts of symbols are shared by whoever holds them.
TABLES = (
    "risk.results", "risk.results_history", "ledger.units", "ledger.unit_runs", "snapshots.holdings", "snapshots.snapshots",
)  # fmt: skip
GOAL_KB = 12.0


async def sizes(leadline: Pipeline) -> dict[str, int]:
    """Bytes by table, with indexes and what is stored out of line. Tables that are not there take none."""
    found = {}
    for table in TABLES:
        [(size,)] = await leadline.query(
            "SELECT coalesce(pg_total_relation_size(to_regclass(CAST(:table AS text))), 0)", table=table
        )
        found[table] = int(size)
    return found


async def taken(leadline: Pipeline, before: Mapping[str, int], sessions: int, positions: int) -> list[Measured]:
    """Kilobytes (10³) that each of so many portfolio-sessions added."""
    after = await sizes(leadline)
    each = {table: (after[table] - before[table]) / sessions / 1e3 for table in TABLES}
    note = ", ".join(f"{table} {kilobytes:.1f}" for table, kilobytes in each.items() if kilobytes >= 0.05)
    return [
        Measured("disk", f"a portfolio-session of {positions} positions", sum(each.values()), "KB", GOAL_KB, note=note)
    ]
