"""`python -m deploy.schema` writes shared/db/schema.sql and docs/schema.md from a database that it migrates and throws away."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from deploy.embedded import postgres
from deploy.schema import documents
from shared.db.engine import create_engine
from shared.db.migrate import upgrade


async def _documents(url: str) -> dict[Path, str]:
    await upgrade(url)
    engine = create_engine(url, application="leadline-schema", pool_size=1)
    try:
        async with engine.begin() as conn:
            return await documents.render(conn)
    finally:
        await engine.dispose()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="leadline-schema-") as directory:
        running = postgres.serve(Path(directory), throw_away=True)
        try:
            found = asyncio.run(_documents(running.url("postgres")))
        finally:
            running.stop()
    for path, text in found.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
