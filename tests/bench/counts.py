"""What a run asks of the database, in numbers that do not depend on the machine: statements, rows and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Any, Self

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.bench.measured import Measured
from tests.support.pipeline import Pipeline

# Sessions of the server tell what they wrote once they have been idle for a second.
TOLD_AFTER_SECONDS = 1.5
TABLES_SHOWN = 10
RESULTS = ("snapshots.snapshots", "snapshots.holdings", "risk.results", "ledger.units")


@dataclass(frozen=True)
class Counts:
    """Of one run: statements sent by this process, rows written in the database, bytes of journal and of a session's results."""

    statements: int
    by_table: Mapping[str, int]
    journal_bytes: int
    result_rows: Mapping[str, int]
    result_bytes: Mapping[str, int]

    @property
    def rows(self) -> int:
        return sum(self.by_table.values())

    def each(self, portfolios: int) -> str:
        """All of it a portfolio, and where most rows went."""
        tables = sorted(self.by_table.items(), key=lambda item: -item[1])[:TABLES_SHOWN]
        most = ", ".join(f"{table} {count / portfolios:.2f}" for table, count in tables)
        size = sum(self.result_bytes.values())
        return (
            f"a portfolio: {self.statements / portfolios:.2f} statements, {self.rows / portfolios:.2f} rows written,"
            f" {sum(self.result_rows.values()) / portfolios:.2f} rows and {size / portfolios:,.0f} bytes of results,"
            f" {self.journal_bytes / portfolios:,.0f} bytes of journal\n    rows written to {most}"
        )

    def figures(self, portfolios: int) -> list[Measured]:
        """What must grow with the portfolios and nothing else."""
        return [
            Measured("night", f"{portfolios:,} portfolios, {what} of one", value / portfolios, unit)
            for what, value, unit in (
                ("statements", self.statements, ""),
                ("rows written", self.rows, ""),
                ("results", sum(self.result_bytes.values()), "bytes"),
                ("journal", self.journal_bytes, "bytes"),
            )
        ]


class Statements:
    """Counts the statements that this process sends through SQLAlchemy while its block runs. A statement of many rows is one."""

    def __init__(self) -> None:
        self.count = 0
        # The same bound method both times, or it could not be taken off again.
        self._kept = self._one_more

    def _one_more(self, *_: Any) -> None:
        self.count += 1

    def __enter__(self) -> Self:
        event.listen(Engine, "before_cursor_execute", self._kept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(Engine, "before_cursor_execute", self._kept)


@dataclass(frozen=True)
class Written:
    """So far: rows written by table, and the position in the server's journal in bytes."""

    rows: Mapping[str, int]
    journal: int


async def written(leadline: Pipeline) -> Written:
    await asyncio.sleep(TOLD_AFTER_SECONDS)
    rows = await leadline.query(
        "SELECT schemaname || '.' || relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
    )
    [(position,)] = await leadline.query("SELECT CAST(pg_current_wal_lsn() - '0/0' AS bigint)")
    return Written({table: int(count) for table, count in rows}, int(position))


async def count(leadline: Pipeline, session: date, statements: int, before: Written, after: Written) -> Counts:
    """What was counted between two looks, with the results of one session as they are stored."""
    rows, size = {}, {}
    for table in RESULTS:
        [(found, stored)] = await leadline.query(
            f"SELECT count(*), coalesce(sum(pg_column_size(t.*)), 0) FROM {table} t WHERE session = :session",
            session=session,
        )
        rows[table], size[table] = int(found), int(stored)
    by_table = {table: count - before.rows.get(table, 0) for table, count in after.rows.items()}
    return Counts(statements, by_table, after.journal - before.journal, rows, size)
