"""What a file said, written down beside what was made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.parse import Parsed
from services.coordinator.portfolios import import_store, reimport
from services.coordinator.portfolios.ledger_effects import Change

Stated = tuple[UUID, Mapping[str, str]]
"""A lot, and what a file says of it."""


@dataclass(frozen=True, slots=True)
class File:
    """What is known of an upload beside its content."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """removed: lots that only this import stated; restored: lots that other imports state, too, and say otherwise."""

    import_id: UUID
    removed: int
    restored: int
    change: Change
    issues: Issues


async def record(
    conn: AsyncConnection, portfolio: UUID, parsed: Parsed, file: File, import_id: UUID | None = None
) -> UUID:
    """import_id : drawn before; without it a new one"""
    reading = parsed.reading or {}
    return await import_store.insert_import(
        conn,
        portfolio,
        import_id or await import_store.draw_id(conn),
        filename=file.name,
        kind=str(reading.get("kind", "positions")),
        preset=reading.get("preset"),  # type: ignore[arg-type]
        dialect=str(reading.get("dialect", "iso")),
        rows=len(parsed.positions if parsed.trades is None else parsed.trades),
    )


# Both one by one, as they are sent: of fifty thousand lots it takes a second, and the event loop has others to answer.


def stated_of_fresh(positions: Sequence[Position], ids: Sequence[UUID]) -> Iterator[Stated]:
    """What the file says of lots that it brings."""
    for lot, position in zip(ids, positions, strict=True):
        yield lot, reimport.statement_of(position, complete=True)


def stated_of_known(found: reimport.Comparison, *, update: bool) -> Iterator[Stated]:
    """What the file says of lots that were there. What was only listed was not taken, so it does not count as said."""
    untaken = {} if update else {entry.lot["id"]: entry.changes for entry in found.differences}
    for row, lot in found.known:
        yield row["id"], reimport.statement_of(lot, without=untaken.get(row["id"], ()))
