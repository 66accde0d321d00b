"""Whether two portfolios have the same figures, to the last digit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.risk_rows import read_legs, read_shown
from shared.db.engine import create_engine
from tests.support.databases import Database

_OWN = ("portfolio_id", "revision", "computed_at", "position_ids")
TABLES = ("snapshots.snapshots", "snapshots.holdings", "risk.results")
# Stored, or worked out when they are read: what counts is what is answered.
_LOSSES = ("stress_direct", "stress_propagated", "stress_shocks")
_REFERENCES = ("nav", "shocks_id")

Figures = dict[tuple[str, str], dict[str, Any]]


async def digests(database: Database, portfolio: str) -> dict[str, tuple[int, str]]:
    """Rows and a digest of every figure, by table; without what names the portfolio, its lots or the moment."""
    found = await _figures(database, portfolio)
    kept = {table: [row for (of, _), row in found.items() if of == table] for table in TABLES}
    return {
        table: (len(rows), hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest())
        for table, rows in kept.items()
    }


async def differences(database: Database, one: str, other: str) -> list[str]:
    """Table, session and column of the figures in which two portfolios differ, with both values."""
    before, after = await _figures(database, one), await _figures(database, other)
    found = []
    for table, session in sorted(before.keys() | after.keys()):
        a, b = before.get((table, session), {}), after.get((table, session), {})
        found += [
            f"{table} {session} {key}: {str(a.get(key))[:200]} / {str(b.get(key))[:200]}"
            for key in sorted(a.keys() | b.keys())
            if a.get(key) != b.get(key)
        ]
    return found


async def _figures(database: Database, portfolio: str) -> Figures:
    """By table and session."""
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    found: Figures = {}
    async with engine.connect() as conn:
        for table in TABLES:
            rows = await conn.execute(
                text(f"""
                    SELECT session, to_jsonb(t) - CAST(:own AS text[])
                    FROM {table} t WHERE portfolio_id = CAST(:portfolio AS uuid) ORDER BY session
                """),
                {"portfolio": portfolio, "own": list(_OWN)},
            )
            found |= {(table, str(session)): row for session, row in rows.all()}
        losses = await _losses(conn, portfolio)
    await engine.dispose()
    for session, of in losses.items():
        row = found["risk.results", session]
        found["risk.results", session] = {key: value for key, value in row.items() if key not in _REFERENCES} | of
    return found


async def _losses(conn: AsyncConnection, portfolio: str) -> dict[str, dict[str, str]]:
    """What scenarios do, by session and column, as bytes of doubles: an integer and a float of JSON would be two texts of one number."""
    rows = await conn.execute(
        text("""
            SELECT session, stress_direct, stress_propagated, stress_shocks, exposure_values, betas, nav, stress_reasons, shocks
            FROM risk.results LEFT JOIN risk.stress_shocks USING (shocks_id) WHERE portfolio_id = CAST(:portfolio AS uuid)
        """),
        {"portfolio": portfolio},
    )
    found: dict[str, dict[str, str]] = {}
    for mapping in rows.mappings():
        row = {str(name): value for name, value in mapping.items()}
        legs = dict(zip(_LOSSES, (*read_legs(row), read_shown(row)), strict=True))
        found[str(row["session"])] = {
            name: np.asarray(leg, dtype=np.float64).tobytes().hex() for name, leg in legs.items()
        }
    return found
