"""What results take on the disk, with their indexes: one portfolio-session, by table."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.measured import Measured
from tests.support.pipeline import Pipeline

# What every portfolio and session has for itself; facts of symbols are shared by whoever holds them.
TABLES = (
    "risk.results", "risk.results_history", "ledger.units", "ledger.unit_runs", "snapshots.holdings", "snapshots.snapshots",
)  # fmt: skip
# Of the figures that there were at commit 232be82, by which the goal is told.
GOAL_KB = 12.0
# What each figure that was added since may take, in KB for 13 positions: a column of its own, or a part of the document.
COLUMNS_KB: Mapping[str, float] = {"exposure_errors": 0.1, "tail_parts": 0.25}
DOCUMENT_KB: Mapping[str, float] = {"covered_only": 0.6, "var_10d": 0.35, "es_factors": 0.2, "reverse_stress": 0.1}


async def sizes(leadline: Pipeline) -> dict[str, int]:
    """Bytes by table, with indexes and what is stored out of line. Tables that are not there take none."""
    found = {}
    for table in TABLES:
        [(size,)] = await leadline.query(
            "SELECT coalesce(pg_total_relation_size(to_regclass(CAST(:table AS text))), 0)", table=table
        )
        found[table] = int(size)
    return found


async def added(leadline: Pipeline) -> dict[str, float]:
    """Kilobytes that figures added since take in a row of risk. Of the document, which is compressed as a whole, its share of the text."""
    columns = [f"avg(coalesce(pg_column_size({name}), 0))" for name in COLUMNS_KB]
    shares = [
        f"avg(pg_column_size(risk) * (1 - length(CAST(risk - '{key}' AS text)) / CAST(length(CAST(risk AS text)) AS float8)))"
        for key in DOCUMENT_KB
    ]
    [row] = await leadline.query(f"SELECT {', '.join([*columns, *shares])} FROM risk.results")
    return {name: float(size or 0) / 1e3 for name, size in zip((*COLUMNS_KB, *DOCUMENT_KB), row, strict=True)}


async def taken(leadline: Pipeline, before: Mapping[str, int], sessions: int, positions: int) -> list[Measured]:
    """Kilobytes (10³) that each of so many portfolio-sessions added."""
    after, newer = await sizes(leadline), await added(leadline)
    each = {table: (after[table] - before[table]) / sessions / 1e3 for table in TABLES}
    note = ", ".join(f"{table} {kilobytes:.1f}" for table, kilobytes in each.items() if kilobytes >= 0.05)
    whole, since = sum(each.values()), sum(newer.values())
    what = f"a portfolio-session of {positions} positions"
    return [
        Measured("disk", what, whole, "KB", note=note),
        Measured(
            "disk",
            f"{what}, figures of 232be82",
            whole - since,
            "KB",
            GOAL_KB,
            note=f"{since:.1f} KB are of figures since",
        ),
        *(
            Measured("disk", f"{what}, {name}", 1e3 * newer[name], "bytes", 1e3 * budget)
            for name, budget in {**COLUMNS_KB, **DOCUMENT_KB}.items()
        ),
    ]
