"""Snapshots of a portfolio over a range of sessions, as documents and as the JSON that is sent.

A year is 250 rows which mostly lack the same: what is read of stored reasons, and made of them, is made once for all rows that say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from pydantic_core import to_json as to_text
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.portfolios import SNAPSHOT_FIELDS, require_portfolio
from services.coordinator.results.reasons import Document, Entry, Made, Wait, absences, documents
from services.coordinator.results.values import to_json
from shared.db.statements import statement
from shared.db.tenancy import only_own, tenant_filter
from shared.market.reasons import ABSENCES
from shared.offloading import offload
from shared.work import Phase

# As JSON has them: to make a decimal of each amount and a number of that is as much work as the rest.
_AMOUNTS = frozenset({
    "nav", "cash", "long_value", "short_value", "gross_exposure", "net_exposure", "daily_pnl", "cumulative_pnl", "realized_pnl",
    "unrealized_pnl", "dividends", "flow", "cumulative_flow",
})  # fmt: skip
_COLUMNS = ", ".join(
    f"CAST(s.{name} AS double precision) AS {name}" if name in _AMOUNTS else f"s.{name}" for name in SNAPSHOT_FIELDS
)
_AT = {name: SNAPSHOT_FIELDS.index(name) for name in ("session", "computed_at")}
_BYTES_AS_A_ROW = 2_000
# Bytes of stored reasons that are read at once.
_SHORT = 20_000
_REASONS, _STALE = len(SNAPSHOT_FIELDS), len(SNAPSHOT_FIELDS) + 1

ReasonsT = TypeVar("ReasonsT")


async def read(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> dict[str, Any]:
    """All snapshots in [first, last], oldest first. Sessions that are no longer the portfolio's have no unit, and are left out."""
    rows = await _find(conn, portfolio, first, last)
    lacking = await _read_lacking(conn, rows)
    items = await offload(_weight(rows), lambda: [_item(row, lacking.documents(row)) for row in rows])
    return {"portfolio_id": str(portfolio), "items": items}


async def read_json(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> bytes:
    """The same as JSON, byte for byte what the document would be encoded to."""
    rows = await _find(conn, portfolio, first, last)
    lacking = await _read_lacking(conn, rows)
    items = await offload(_weight(rows), lambda: b",".join([_line(row, lacking) for row in rows]))
    return b'{"portfolio_id":"%b","items":[%b]}' % (str(portfolio).encode(), items)


async def _find(conn: AsyncConnection, portfolio: UUID, first: date | None, last: date | None) -> Sequence[Row[Any]]:
    """In the order of the fields, then the reasons as text and whether the row is stale."""
    found = await conn.execute(
        statement(f"""
            SELECT {_COLUMNS}, CAST(s.reasons AS text) AS reasons, u.completed_revision < u.required_revision AS stale
            FROM snapshots.snapshots s
            JOIN ledger.units u ON u.portfolio_id = s.portfolio_id AND u.session = s.session AND u.phase = 'snapshots'
            WHERE s.portfolio_id = (SELECT id FROM coordinator.portfolios WHERE id = :id AND deleted_at IS NULL AND {only_own()})
              AND s.session BETWEEN :first AND :last
            ORDER BY s.session
        """),
        {"id": portfolio, "first": first or date.min, "last": last or date.max, "tenant": tenant_filter()},
    )
    rows = found.all()
    if not rows:
        await require_portfolio(conn, portfolio)
    return rows


def _weight(rows: Sequence[Row[Any]]) -> int:
    """Rows, and more where their reasons are long: of two thousand symbols without a price a row is a hundred kilobytes."""
    return len(rows) + sum(len(row[_REASONS]) for row in rows) // _BYTES_AS_A_ROW


@dataclass(slots=True)
class _Lacking:
    """What rows lack, by what is stored of it and the absences that their sessions meet."""

    entries: Mapping[str, Sequence[Entry]]
    waits: Sequence[Wait]
    _made: Made = field(default_factory=dict)
    _documents: dict[tuple[str, tuple[int, ...]], list[Document]] = field(default_factory=dict)
    _texts: dict[tuple[str, tuple[int, ...]], bytes] = field(default_factory=dict)

    def documents(self, row: Row[Any]) -> list[Document]:
        key = self._key(row)
        if (known := self._documents.get(key)) is None:
            met = [self.waits[at] for at in key[1]]
            known = self._documents[key] = documents(
                self.entries[key[0]], met, phase=Phase.SNAPSHOTS.value, made=self._made
            )
        return known

    def text(self, row: Row[Any]) -> bytes:
        key = self._key(row)
        if (known := self._texts.get(key)) is None:
            known = self._texts[key] = to_text(self.documents(row), inf_nan_mode="null")
        return known

    def _key(self, row: Row[Any]) -> tuple[str, tuple[int, ...]]:
        session = row[_AT["session"]]
        return row[_REASONS], tuple(at for at, wait in enumerate(self.waits) if wait.first <= session <= wait.last)


async def _read_lacking(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> _Lacking:
    texts = {row[_REASONS] for row in rows}
    # Of years of five hundred symbols without a price it takes seconds, and the event loop has others to answer.
    long = sum(map(len, texts))
    entries = await offload(long, lambda: {text: json.loads(text) for text in texts}, few=_SHORT)
    named = {str(of["symbol"]) for each in entries.values() for of in each if of["symbol"] and of["reason"] in ABSENCES}
    return _Lacking(entries, await absences(conn, named))


def _item(row: Row[Any], reasons: list[Document]) -> dict[str, Any]:
    return _fields(row) | {"reasons": reasons, "stale": row[_STALE]}


def _line(row: Row[Any], lacking: _Lacking) -> bytes:
    fields = to_text(_fields(row), inf_nan_mode="null")
    return b'%b,"reasons":%b,"stale":%b}' % (fields[:-1], lacking.text(row), b"true" if row[_STALE] else b"false")


def _fields(row: Row[Any]) -> dict[str, Any]:
    values: list[Any] = [
        value if value.__class__ is not float or math.isfinite(value) else None for value in row[:_REASONS]
    ]
    for at in _AT.values():
        values[at] = to_json(values[at])
    return dict(zip(SNAPSHOT_FIELDS, values, strict=True))
