"""SQL of the symbol facts that the factors service owns: how they are written.

Rows are made from arrays, some thousands at a time, in the form of a binary COPY, which is most of what storing a new portfolio's
facts would cost otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.arrays import DateVector, IntVector
from shared.db import binary, bulk
from shared.market.registry import MODEL_VERSION


class FactPiece(Protocol):
    """Some rows of a table of facts, column by column: n of them; `services.factors.compute.rows` makes them."""

    @property
    def ids(self) -> IntVector: ...

    @property
    def sessions(self) -> DateVector: ...

    @property
    def versions(self) -> IntVector: ...

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]: ...

    @property
    def reasons(self) -> Sequence[str]: ...


class FactRows(Protocol):
    """Rows that are counted before they are made, in key order."""

    def __len__(self) -> int: ...

    def pieces(self) -> Iterator[FactPiece]: ...


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of facts: a row a symbol and session. COPY takes its columns in the order in which they are named here.

    whole    : arrays, and single values that are never null
    unknown  : single numbers, null where they are unknown
    labelled : one of a few texts, or null
    """

    name: str
    whole: tuple[str, ...]
    unknown: tuple[str, ...]
    labelled: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*KEY, "price_version", *self.whole, *self.unknown, *self.labelled, "model_version", "reasons")


KEY = ("symbol_id", "session")
EXPOSURES = _Table(
    "exposures",
    ("market", "spreads", "joint", "joint_stderr", "joint_fit", "n_obs", "flagged"),
    ("market_shrunk", "ir_beta"),
    ("quality",),
)
METRICS = _Table(
    "metrics", ("price_return", "total_return", "volatility"), ("price",), ("price_basis", "quality")
)  # fmt: skip
PROXY_COLUMNS = ("session", "model_version", "price_version", "proxies", "slopes", "sigmas")


async def save(
    conn: AsyncConnection,
    exposures: FactRows | None,
    metrics: FactRows | None,
    proxies: bulk.Records,
    *,
    new: bool,
) -> None:
    """Store facts. One that was computed from older prices than the stored one is dropped, whoever commits first.

    new : nothing was stored of these symbols and sessions when they were read
    """
    for table, rows in ((EXPOSURES, exposures), (METRICS, metrics)):
        if rows and not (new and await _insert(conn, table, rows)):
            await _upsert(conn, table, rows)
    if proxies:
        await bulk.stage(conn, "staged_proxies", "factors.proxies", PROXY_COLUMNS, proxies)
        await _merge(conn, "proxies", PROXY_COLUMNS, PROXY_COLUMNS[:1])


async def _insert(conn: AsyncConnection, table: _Table, rows: FactRows) -> bool:
    """Copy into the table itself, which takes a fifth of the way by a temporary one; False, and nothing written, if some are there.

    Who misses a fact holds its symbol, so none comes in between; but of a symbol that had no price at all, nobody was to have any.
    """
    try:
        async with conn.begin_nested():
            await binary.copy(conn, table.name, table.columns, _encode(table, rows), schema="factors")
    except asyncpg.UniqueViolationError:
        return False
    return True


async def _upsert(conn: AsyncConnection, table: _Table, rows: FactRows) -> None:
    listed = ", ".join(table.columns)
    await conn.execute(
        text(f"""
            CREATE TEMP TABLE staged_{table.name} ON COMMIT DROP AS SELECT {listed} FROM factors.{table.name} WITH NO DATA
        """)
    )
    await binary.copy(conn, f"staged_{table.name}", table.columns, _encode(table, rows))
    await _merge(conn, table.name, table.columns, KEY)


async def _merge(conn: AsyncConnection, table: str, columns: Sequence[str], key: Sequence[str]) -> None:
    listed, keys = ", ".join(columns), ", ".join(key)
    updates = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in key)
    # In key order: two handlers that store the same facts wait for one another instead of deadlocking.
    await conn.execute(
        text(f"""
            INSERT INTO factors.{table} AS stored ({listed}) SELECT {listed} FROM staged_{table} ORDER BY {keys}
            ON CONFLICT ({keys}) DO UPDATE SET {updates}, computed_at = clock_timestamp()
            WHERE excluded.price_version >= stored.price_version
        """)
    )
    await conn.execute(text(f"DROP TABLE staged_{table}"))


def _encode(table: _Table, rows: FactRows) -> Iterator[bytes]:
    """In key order."""
    for piece in rows.pieces():
        yield from _encode_piece(table, piece)


def _encode_piece(table: _Table, piece: FactPiece) -> Iterator[bytes]:
    of = piece.columns
    whole = binary.whole_rows(
        [piece.ids.astype(np.int32), binary.days(piece.sessions), piece.versions, *(of[name] for name in table.whole)]
    )
    unknown = [binary.float8_column(of[name]) for name in table.unknown]
    labelled = [binary.label_column(of[name].tolist()) for name in table.labelled]
    model = binary.text(MODEL_VERSION)
    reasons = binary.jsonb_column(piece.reasons)
    for row in zip(whole, *unknown, *labelled, [model] * len(whole), reasons, strict=True):
        yield b"".join(row)
