"""Whether two portfolios have the same figures, to the last digit."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import text

from shared.db.engine import create_engine
from tests.support.databases import Database

TABLES = ("snapshots.snapshots", "snapshots.holdings", "risk.results")


async def digests(database: Database, portfolio: str) -> dict[str, tuple[int, str]]:
    """Rows and a digest of every stored figure, by table; without what names the portfolio, its lots or the moment."""
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    found: dict[str, tuple[int, str]] = {}
    async with engine.connect() as conn:
        for table in TABLES:
            rows = await conn.execute(
                text(
                    f"SELECT to_jsonb(t) - ARRAY['portfolio_id', 'revision', 'computed_at', 'position_ids'] FROM {table} t"
                    " WHERE portfolio_id = CAST(:portfolio AS uuid) ORDER BY session"
                ),
                {"portfolio": portfolio},
            )
            kept = [json.dumps(row[0], sort_keys=True) for row in rows]
            found[table] = len(kept), hashlib.sha256("\n".join(kept).encode()).hexdigest()
    await engine.dispose()
    return found
