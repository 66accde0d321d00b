"""SQL of the results that risk owns."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import binary
from shared.work import Key

_FIRST_DAY = date(2000, 1, 1)  # of PostgreSQL's dates

KEY_COLUMNS = ("portfolio_id", "session", "revision", "model_version")
WHOLE: dict[str, Callable[[Any], bytes]] = {
    "quality": binary.text, "coverage": binary.float8, "reasons": binary.jsonb, "risk": binary.jsonb,
    "scenario_set": binary.text,
}  # fmt: skip
FIGURES: dict[str, Callable[[Any], bytes]] = {
    **dict.fromkeys(
        ("weights", "exposure_values", "betas", "greeks", "realized_252", "forecast_21"), binary.float8_array
    ),
    **dict.fromkeys(("symbols", "beta_reasons", "series_reasons", "excluded"), binary.text_array),
    "har": binary.bool_array,
    **dict.fromkeys(("contributions", "contribution_shares", "exposures"), binary.float8_array),
    "exposure_limited": binary.bool_array,
    **dict.fromkeys(("proxies", "exposure_reasons", "model_factors", "stress_reasons"), binary.text_array),
    **dict.fromkeys(("factor_shares", "factor_correlations", "correlations"), binary.float8_array),
    **dict.fromkeys(("correlation_n_obs", "clusters", "stress_capped"), binary.int2_array),
    **dict.fromkeys(("stress_shocks", "stress_direct", "stress_propagated"), binary.float8_array),
    **dict.fromkeys(("shrinkage", "mean_correlation", "uncovered_value"), binary.float8),
    "forecasts": binary.float8_array,
    "realized_return": binary.float8,
}
FIGURE_COLUMNS = tuple(FIGURES)
RESULT_COLUMNS = (*KEY_COLUMNS, *WHOLE, *FIGURES)


def encoded(whole: Mapping[str, Any], figures: Mapping[str, Any]) -> bytes:
    """A row without its key columns, as `save` takes it. Documents come as JSON text."""
    return b"".join(
        [encode(of[name]) for of, columns in ((whole, WHOLE), (figures, FIGURES)) for name, encode in columns.items()]
    )


async def save_scenarios(conn: AsyncConnection, digest: str, scenarios: str) -> None:
    """Keep the scenarios that results refer to; JSON text."""
    await conn.execute(
        text("""
            INSERT INTO risk.scenario_sets (digest, scenarios) VALUES (:digest, CAST(:scenarios AS jsonb))
            ON CONFLICT (digest) DO NOTHING
        """),
        {"digest": digest, "scenarios": scenarios},
    )


async def save(conn: AsyncConnection, results: Mapping[Key, bytes], revisions: Mapping[Key, int], version: str) -> None:
    """Replace the results of the units with a revision. What a higher revision replaces goes to the history."""
    if not revisions:
        return
    keys = sorted(revisions)
    model = binary.text(version)
    records = [
        binary.field(key.portfolio_id.bytes)
        + struct.pack("!iiiq", 4, (key.session - _FIRST_DAY).days, 8, revisions[key])
        + model
        + results[key]
        for key in keys
    ]
    before = await conn.scalar(
        text("""
            SELECT EXISTS (SELECT FROM risk.results JOIN unnest(CAST(:portfolios AS uuid[]), CAST(:sessions AS date[]))
                           AS own (portfolio_id, session) USING (portfolio_id, session))
        """),
        {"portfolios": [key.portfolio_id for key in keys], "sessions": [key.session for key in keys]},
    )
    if not before:
        # The units are ours until this transaction ends, so nobody else can put results there meanwhile.
        await binary.copy(conn, "results", RESULT_COLUMNS, records, schema="risk")
        return
    await conn.execute(
        text("CREATE TEMP TABLE staged_results (LIKE risk.results INCLUDING STORAGE INCLUDING DEFAULTS) ON COMMIT DROP")
    )
    await binary.copy(conn, "staged_results", RESULT_COLUMNS, records)
    listed = ", ".join(RESULT_COLUMNS)
    updates = ", ".join(f"{column} = excluded.{column}" for column in RESULT_COLUMNS[2:])
    await conn.execute(
        text(f"""
            INSERT INTO risk.results ({listed}) SELECT {listed} FROM staged_results ORDER BY portfolio_id, session
            ON CONFLICT (portfolio_id, session) DO UPDATE SET {updates}, computed_at = clock_timestamp()
        """)
    )
