"""What a figure is about, and the shape of what it was computed from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain.formulas.model import Source
from services.coordinator.results.values import to_json
from shared.offloading import offload

_KEYS = ("kind", "symbol", "from", "to", "provider", "fetched_at", "price_version", "revision")
Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a figure is about.

    reach    : by symbol the first and last session whose prices enter
    symbols  : those of the lots, with or without a price
    first    : where the window begins; its last session is `session`
    after    : flows dated later than that enter
    traded   : splits and dividends from there on are in quantities and P&L
    proxies  : the factors whose proxies enter; empty: all
    """

    session: date
    first: date
    after: date
    traded: date
    reach: Mapping[str, tuple[date, date]]
    symbols: Collection[str]
    portfolio: UUID | None = None
    lot: str | None = None
    scenario: str | None = None
    proxies: Collection[str] = field(default=())


def entry(source: Source, **values: Any) -> Entry:
    return {key: to_json(values.get(key)) for key in _KEYS} | {"kind": source.kind}


async def rows(conn: AsyncConnection, source: Source, statement: str, **parameters: Any) -> list[Entry]:
    """The rows of a statement whose columns are named as an entry's keys."""
    found = (await conn.execute(text(statement), parameters)).mappings().all()
    return await offload(len(found), lambda: [entry(source, **row) for row in found])
