"""What a file said, written down beside what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.importer.model import Issues, Position
from services.coordinator.importer.parse import Parsed
from services.coordinator.portfolios import import_store, lot_store, reimport
from services.coordinator.portfolios.ledger_effects import Change


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


async def record(conn: AsyncConnection, portfolio: UUID, parsed: Parsed, file: File) -> UUID:
    reading = parsed.reading or {}
    import_id = await import_store.insert_import(
        conn,
        portfolio,
        filename=file.name,
        kind=str(reading.get("kind", "positions")),
        preset=reading.get("preset"),  # type: ignore[arg-type]
        dialect=str(reading.get("dialect", "iso")),
        rows=len(parsed.positions if parsed.trades is None else parsed.trades),
    )
    if parsed.trades is not None:
        await import_store.insert_trades(conn, portfolio, import_id, parsed.trades)
    return import_id


async def state_fresh(
    conn: AsyncConnection, portfolio: UUID, import_id: UUID, positions: Sequence[Position], keys: Sequence[str]
) -> None:
    ids = await lot_store.ids_of_keys(conn, portfolio)
    # One by one, as they are sent: of fifty thousand lots it takes a second, and the event loop has others to answer.
    said = ((ids[key], reimport.statement_of(lot, complete=True)) for lot, key in zip(positions, keys, strict=True))
    await import_store.insert_statements(conn, import_id, said)


async def state_known(conn: AsyncConnection, import_id: UUID, found: reimport.Comparison, *, update: bool) -> None:
    """What the file says of lots that were there. What was only listed was not taken, so it does not count as said."""
    untaken = {} if update else {entry.lot["id"]: entry.changes for entry in found.differences}
    said = ((row["id"], reimport.statement_of(lot, without=untaken.get(row["id"], ()))) for row, lot in found.known)
    await import_store.insert_statements(conn, import_id, said)
