"""The two documents of the schema, and whether the committed ones are those of a database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from deploy.schema import catalogue, page, statements
from shared.db.migrate import head

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "shared" / "db" / "schema.sql"
PAGE = ROOT / "docs" / "schema.md"


async def render(conn: AsyncConnection) -> dict[Path, str]:
    """Text of each document, as the database that `conn` is connected to has it."""
    found = await catalogue.read(conn)
    return {SCHEMA: statements.render(found, head()), PAGE: page.render(found, head())}


async def drift(conn: AsyncConnection) -> list[str]:
    """Which committed documents differ from the database, a sentence each."""
    return [
        f"{path.relative_to(ROOT)} is not what the migrations lead to: run python -m deploy.schema"
        for path, text in (await render(conn)).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
