"""COPY: the write path is what limits an onboarding, so bulk rows never go through INSERT one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# The driver encodes on the event loop: after so many values everybody else gets a turn (some ten milliseconds).
VALUES_AT_ONCE = 10_000


class Records(Protocol):
    """Rows that are counted before they are made."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence[Any]]: ...


async def copy(
    conn: AsyncConnection,
    table: str,
    columns: Sequence[str],
    records: Iterable[Sequence[Any]],
    *,
    schema: str | None = None,
) -> None:
    """COPY records into a table, inside the connection's open transaction."""
    raw = await conn.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    await driver.copy_records_to_table(table, schema_name=schema, columns=list(columns), records=in_turns(records))


async def in_turns(records: Iterable[Sequence[Any]]) -> AsyncIterator[Sequence[Any]]:
    """The records; after `VALUES_AT_ONCE` values, elements of arrays and long texts among them, the event loop goes round."""
    values = 0
    for record in records:
        values += sum(_weight(value) for value in record)
        if values >= VALUES_AT_ONCE:
            await asyncio.sleep(0)
            values = 0
        yield record


def _weight(value: object) -> int:
    if isinstance(value, list | tuple):
        return len(value)
    return 1 + len(value) // 64 if isinstance(value, str) else 1


async def insert_staged(
    conn: AsyncConnection, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]
) -> None:
    """Insert records into a table with row policies, which COPY cannot fill: by way of a temporary one, in their order."""
    await stage_rows(conn, table, columns, records)
    await insert_staged_rows(conn, table, columns)


async def stage_rows(
    conn: AsyncConnection, table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]
) -> None:
    """Bring records to the database, for `insert_staged_rows` in the same transaction: it takes a tenth of the time, and locks may
    wait until then."""
    name = _staging_name(table)
    listed = ", ".join(f'"{column}"' for column in columns)
    await conn.execute(text(f"DROP TABLE IF EXISTS {name}"))
    await conn.execute(text(f"CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {listed} FROM {table} WITH NO DATA"))
    await copy(conn, name, columns, records)


async def insert_staged_rows(conn: AsyncConnection, table: str, columns: Sequence[str]) -> None:
    listed = ", ".join(f'"{column}"' for column in columns)
    await conn.execute(text(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {_staging_name(table)}"))
    await conn.execute(text(f"DROP TABLE {_staging_name(table)}"))


def _staging_name(table: str) -> str:
    return f"staged_{table.rpartition('.')[2]}"


async def stage(
    conn: AsyncConnection,
    name: str,
    like: str,
    columns: Sequence[str],
    records: Iterable[Sequence[Any]],
    *,
    analyze: bool = True,
) -> None:
    """COPY records into a temporary table with the named columns of table `like`; it is dropped at commit.

    The caller then moves the rows with one `INSERT … SELECT`. Statistics are gathered, because the planner's guess for
    a fresh temporary table is wrong by orders of magnitude.
    """
    listed = ", ".join(f'"{column}"' for column in columns)
    await conn.execute(text(f"CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT {listed} FROM {like} WITH NO DATA"))
    await copy(conn, name, columns, records)
    if analyze:
        await conn.execute(text(f"ANALYZE {name}"))
