"""Whether two portfolios have the same figures, to the last digit."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import text

from shared.db.engine import create_engine
from tests.support.databases import Database

_FIGURES = "to_jsonb(t) - ARRAY['portfolio_id', 'revision', 'computed_at', 'position_ids']"
TABLES = ("snapshots.snapshots", "snapshots.holdings", "risk.results")


async def digests(database: Database, portfolio: str) -> dict[str, tuple[int, str]]:
    """Rows and a digest of every stored figure, by table; without what names the portfolio, its lots or the moment."""
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    found: dict[str, tuple[int, str]] = {}
    async with engine.connect() as conn:
        for table in TABLES:
            rows = await conn.execute(
                text(
                    f"SELECT {_FIGURES} FROM {table} t WHERE portfolio_id = CAST(:portfolio AS uuid) ORDER BY session"
                ),
                {"portfolio": portfolio},
            )
            kept = [json.dumps(row[0], sort_keys=True) for row in rows]
            found[table] = len(kept), hashlib.sha256("\n".join(kept).encode()).hexdigest()
    await engine.dispose()
    return found


async def differences(database: Database, one: str, other: str) -> list[str]:
    """Table, session and column of the stored figures in which two portfolios differ, with both values."""
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    found: list[str] = []
    async with engine.connect() as conn:
        for table in TABLES:
            rows = await conn.execute(
                text(f"""
                    SELECT coalesce(a.session, b.session), k.key, left(a.row ->> k.key, 200), left(b.row ->> k.key, 200)
                    FROM (SELECT session, {_FIGURES} AS row FROM {table} t WHERE portfolio_id = CAST(:one AS uuid)) a
                    FULL JOIN (SELECT session, {_FIGURES} AS row FROM {table} t WHERE portfolio_id = CAST(:other AS uuid)) b
                      USING (session)
                    CROSS JOIN LATERAL jsonb_object_keys(coalesce(a.row, b.row)) AS k (key)
                    WHERE a.row -> k.key IS DISTINCT FROM b.row -> k.key ORDER BY 1, 2
                """),
                {"one": one, "other": other},
            )
            found += [f"{table} {session} {key}: {before} / {after}" for session, key, before, after in rows.all()]
    await engine.dispose()
    return found
