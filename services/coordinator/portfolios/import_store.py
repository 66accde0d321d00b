"""SQL of what files said: `coordinator.imports` and `import_lots`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.bulk import insert_staged_rows, stage_rows

_STATED = ("import_id", "position_id", "stated")


async def draw_id(conn: AsyncConnection) -> UUID:
    """Of an import: later ones are larger."""
    found = await conn.scalar(text("SELECT uuidv7()"))
    assert isinstance(found, UUID)
    return found


async def insert_import(
    conn: AsyncConnection,
    portfolio: UUID,
    import_id: UUID,
    *,
    filename: str | None,
    kind: str,
    preset: str | None,
    dialect: str,
    rows: int,
) -> UUID:
    await conn.execute(
        text("""
            INSERT INTO coordinator.imports (id, portfolio_id, filename, kind, preset, dialect, rows)
            VALUES (:id, :portfolio, :filename, :kind, :preset, :dialect, :rows)
        """),
        {
            "id": import_id,
            "portfolio": portfolio,
            "filename": filename,
            "kind": kind,
            "preset": preset,
            "dialect": dialect,
            "rows": rows,
        },
    )
    return import_id


async def imports(conn: AsyncConnection, portfolio: UUID) -> Sequence[RowMapping]:
    """All imports of a portfolio, newest first, those taken back included."""
    rows = await conn.execute(
        text("""
            SELECT id, filename, kind, preset, dialect, rows, imported_at, undone_at FROM coordinator.imports
            WHERE portfolio_id = :id ORDER BY id DESC
        """),
        {"id": portfolio},
    )
    return rows.mappings().all()


async def kind_of(conn: AsyncConnection, portfolio: UUID, import_id: UUID) -> str | None:
    """The kind of the import, or None where there is none that counts."""
    kind = await conn.scalar(
        text("SELECT kind FROM coordinator.imports WHERE id = :id AND portfolio_id = :portfolio AND undone_at IS NULL"),
        {"id": import_id, "portfolio": portfolio},
    )
    return None if kind is None else str(kind)


async def mark_undone(conn: AsyncConnection, import_id: UUID) -> None:
    await conn.execute(
        text("UPDATE coordinator.imports SET undone_at = clock_timestamp() WHERE id = :id"), {"id": import_id}
    )


async def insert_statements(
    conn: AsyncConnection, import_id: UUID, statements: Iterable[tuple[UUID, Mapping[str, str]]]
) -> None:
    await stage_statements(conn, import_id, statements)
    await insert_staged_statements(conn)


async def stage_statements(
    conn: AsyncConnection, import_id: UUID, statements: Iterable[tuple[UUID, Mapping[str, str]]]
) -> None:
    """Bring them to the database, for `insert_staged_statements` in the same transaction."""
    records = ((import_id, position, json.dumps(stated, sort_keys=True)) for position, stated in statements)
    await stage_rows(conn, "coordinator.import_lots", _STATED, records)


async def insert_staged_statements(conn: AsyncConnection) -> None:
    await insert_staged_rows(conn, "coordinator.import_lots", _STATED)


async def statements_beside(conn: AsyncConnection, import_id: UUID) -> Mapping[UUID, list[Mapping[str, str]]]:
    """Lots that the import states, each with what the other imports that count say of it, oldest first."""
    rows = await conn.execute(
        text("""
            SELECT own.position_id, CAST(other.stated AS text)
            FROM coordinator.import_lots own
            JOIN coordinator.positions x ON x.id = own.position_id AND x.deleted_at IS NULL
            LEFT JOIN (
                coordinator.import_lots other
                JOIN coordinator.imports i ON i.id = other.import_id AND i.undone_at IS NULL
            ) ON other.position_id = own.position_id AND other.import_id <> own.import_id
            WHERE own.import_id = :id ORDER BY own.position_id, other.import_id
        """),
        {"id": import_id},
    )
    found: dict[UUID, list[Mapping[str, str]]] = {}
    for position, stated in rows:
        of = found.setdefault(position, [])
        if stated is not None:
            of.append(json.loads(stated))
    return found
