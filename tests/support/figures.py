"""Whether two portfolios have the same figures, to the last digit."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.risk_rows import (
    SOURCE,
    Row,
    read_legs,
    read_model,
    read_observations,
    read_reasons,
    read_shares,
    read_shown,
    read_tails,
    read_texts,
    read_tilts,
    read_weights,
)
from shared.db.engine import create_engine
from shared.market import layouts
from tests.support.databases import Database

_OWN = ("portfolio_id", "revision", "computed_at", "position_ids")
TABLES = ("snapshots.snapshots", "snapshots.holdings", "risk.results")
# Stored, or worked out when they are read, and what they are worked out from: what counts is what is answered.
_READ = (
    "stress_direct", "stress_propagated", "stress_shocks", "shocks", "exposure_values", "betas", "nav", "weights", "tilts",
    "contributions", "contribution_shares", "risk", "tail_parts", "symbols", "beta_reasons", "series_reasons", "excluded",
    "exposure_reasons", "stress_reasons", "correlation_n_obs", "model_factors", "factor_correlations", "factor_names", "factor_matrix",
)  # fmt: skip
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
        worked_out = await _worked_out(conn, portfolio)
    await engine.dispose()
    for session, of in worked_out.items():
        row = found["risk.results", session]
        found["risk.results", session] = {key: value for key, value in row.items() if key not in _REFERENCES} | of
    return found


async def _worked_out(conn: AsyncConnection, portfolio: str) -> dict[str, dict[str, Any]]:
    """Columns that are stored or worked out, by session: doubles as bytes, since an integer and a float of JSON would be two texts of one
    number."""
    rows = await conn.execute(
        text(f"SELECT session, {', '.join(_READ)} FROM {SOURCE} WHERE portfolio_id = CAST(:portfolio AS uuid)"),
        {"portfolio": portfolio},
    )
    return {
        str(mapping["session"]): _answered({str(name): value for name, value in mapping.items()})
        for mapping in rows.mappings()
    }


def _answered(row: Row) -> dict[str, Any]:
    count = len(row["symbols"])
    excluded = read_texts(row, "excluded", count)
    names, correlations = read_model(row)
    direct, propagated = read_legs(row)
    doubles = {
        "stress_direct": direct, "stress_propagated": propagated, "stress_shocks": read_shown(row), "weights": read_weights(row),
        "tilts": read_tilts(row), "contribution_shares": read_shares(row), "tail_parts": read_tails(row),
        "factor_correlations": correlations,
    }  # fmt: skip
    return {name: np.asarray(values, dtype=np.float64).tobytes().hex() for name, values in doubles.items()} | {
        "beta_reasons": read_texts(row, "beta_reasons", count),
        "series_reasons": read_texts(row, "series_reasons", count),
        "excluded": excluded,
        "exposure_reasons": read_texts(row, "exposure_reasons", len(layouts.EXPOSURES)),
        "stress_reasons": read_reasons(row),
        "correlation_n_obs": read_observations(row, excluded.count(None)),
        "model_factors": list(names),
    }
