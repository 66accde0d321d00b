"""SQL of the results that risk owns."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import binary
from shared.work import UnitKey

_FIRST_DAY = date(2000, 1, 1)  # of PostgreSQL's dates

KEY_COLUMNS = ("portfolio_id", "session", "revision", "model_version")
Encoder = Callable[[Sequence[Any]], list[bytes]]


def _or_null(encode: Encoder) -> Encoder:
    """Of a column of which some values are null."""

    def encoded(column: Sequence[Any]) -> list[bytes]:
        known = iter(encode([value for value in column if value is not None]))
        return [binary.NULL if value is None else next(known) for value in column]

    return encoded


def _each(encode: Callable[[Any], bytes]) -> Encoder:
    return lambda column: [encode(value) for value in column]


def _texts(column: Sequence[Sequence[str | None]]) -> list[bytes]:
    """Reasons of which mostly there are none: null, where all are."""
    return [binary.NULL if not any(texts) else binary.text_array(texts) for texts in column]


def _counts(column: Sequence[NDArray[np.int64]]) -> list[bytes]:
    """One number for all, where all are the same."""
    return binary.int2_arrays([of[:1] if len(of) and (of == of[0]).all() else of for of in map(np.asarray, column)])


WHOLE: dict[str, Encoder] = {
    "quality": _each(binary.text), "coverage": _each(binary.float8), "reasons": _each(binary.jsonb),
    "risk": _each(binary.jsonb), "scenario_set": _each(binary.text), "provisional": binary.booleans,
}  # fmt: skip
FIGURES: dict[str, Encoder] = {
    **dict.fromkeys(
        (
            "exposure_values", "betas", "greeks", "realized_252", "forecast_21", "contributions", "exposures", "exposure_errors",
            "tail_parts", "factor_shares", "correlations", "forecasts",
        ),
        binary.float8_arrays,
    ),
    **dict.fromkeys(("symbols", "proxies"), _each(binary.text_array)),
    **dict.fromkeys(("beta_reasons", "series_reasons", "excluded", "exposure_reasons", "stress_reasons"), _texts),
    **dict.fromkeys(("har", "exposure_limited"), binary.bool_arrays),
    "correlation_n_obs": _counts,
    **dict.fromkeys(("clusters", "stress_capped"), binary.int2_arrays),
    # Of a portfolio without options these follow of the others.
    **dict.fromkeys(
        ("weights", "tilts", "contribution_shares", "stress_direct", "stress_propagated"), _or_null(binary.float8_arrays)
    ),
    **dict.fromkeys(
        ("shrinkage", "mean_correlation", "uncovered_value", "realized_return", "nav"), _each(binary.float8)
    ),
    "duration_as_of": _each(binary.day),
    "shocks_id": _each(binary.uuid),
}  # fmt: skip
# Stored once for all portfolios of a session; rows of before have them themselves.
SHARED_COLUMNS = ("stress_shocks", "model_factors", "factor_correlations")
FIGURE_COLUMNS = tuple(FIGURES)
COLUMNS = WHOLE | FIGURES
RESULT_COLUMNS = (*KEY_COLUMNS, *COLUMNS)


# Rows of the largest portfolios are half a megabyte each, and twice that while their columns are joined.
ROWS_AT_ONCE = 32


def encode_rows(columns: Mapping[str, Sequence[Any]]) -> list[bytes]:
    """Rows without their key columns, as `save` takes them; documents come as JSON. One value a row in each of `COLUMNS`."""
    rows: list[bytes] = []
    for low in range(0, len(columns["quality"]), ROWS_AT_ONCE):
        piece = [encode(columns[name][low : low + ROWS_AT_ONCE]) for name, encode in COLUMNS.items()]
        rows += [b"".join(row) for row in zip(*piece, strict=True)]
    return rows


async def save_scenarios(conn: AsyncConnection, digest: str, scenarios: str, durations: str) -> None:
    """Keep the scenarios that results refer to, and the durations behind them; JSON text."""
    await conn.execute(
        text("""
            INSERT INTO risk.scenario_sets (digest, scenarios, durations)
            VALUES (:digest, CAST(:scenarios AS jsonb), CAST(:durations AS jsonb)) ON CONFLICT (digest) DO NOTHING
        """),
        {"digest": digest, "scenarios": scenarios, "durations": durations},
    )


class OfSession(NamedTuple):
    """What all portfolios of a session have in common: what the scenarios do to the factors, as `pack_shocks` has it; the factors that
    are available, and the upper triangle of their correlations."""

    shocks: bytes
    factor_names: Sequence[str]
    factor_matrix: NDArray[np.float64]


async def save_shared(conn: AsyncConnection, of_sessions: Mapping[UUID, OfSession]) -> None:
    """Keep what results refer to."""
    known = await conn.execute(
        text("SELECT shocks_id FROM risk.stress_shocks WHERE shocks_id = ANY (CAST(:ids AS uuid[]))"),
        {"ids": list(of_sessions)},
    )
    if new := sorted(of_sessions.keys() - set(known.scalars())):
        found = [of_sessions[one] for one in new]
        await conn.execute(
            # Arrays as the server reads them from text, because they differ in length: the shortest decimals are exact.
            text("""
                INSERT INTO risk.stress_shocks (shocks_id, shocks, factor_names, factor_matrix)
                SELECT id, shocks, CAST(names AS text[]), CAST(matrix AS float8[])
                FROM unnest(CAST(:ids AS uuid[]), CAST(:shocks AS bytea[]), CAST(:names AS text[]), CAST(:matrices AS text[]))
                    AS s (id, shocks, names, matrix)
                ON CONFLICT (shocks_id) DO NOTHING
            """),
            {
                "ids": new,
                "shocks": [of.shocks for of in found],
                "names": ["{" + ",".join(of.factor_names) + "}" for of in found],
                "matrices": ["{" + ",".join(map(repr, of.factor_matrix.tolist())) + "}" for of in found],
            },
        )


Window = tuple[date, date]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The set in force."""

    digest: str
    as_written: str
    """Digest of the file behind it, without the returns that stored prices gave its windows."""
    returns: Mapping[Window, Mapping[str, float]]
    """Those, by the window's dates and the proxy."""


async def chosen_scenarios(conn: AsyncConnection) -> Chosen | None:
    """None before any service started."""
    rows = await conn.execute(
        text("""
            SELECT c.digest, coalesce(c.as_written, c.digest) AS as_written,
                   CAST((SELECT json_agg(e.scenario -> 'replay') FROM jsonb_array_elements(s.scenarios) AS e (scenario)
                         WHERE e.scenario -> 'replay' ? 'from_prices') AS text) AS windows
            FROM risk.scenario_choice c LEFT JOIN risk.scenario_sets s USING (digest)
        """)
    )
    row = rows.one_or_none()
    if row is None:
        return None
    windows = {
        (date.fromisoformat(of["from"]), date.fromisoformat(of["to"])): of["returns"]
        for of in json.loads(row.windows or "[]")
    }
    return Chosen(row.digest, row.as_written, windows)


async def choose_scenarios(conn: AsyncConnection, digest: str, as_written: str) -> None:
    """Put a set in force. Needs the commit-order lock."""
    await conn.execute(
        text("""
            INSERT INTO risk.scenario_choice (digest, as_written) VALUES (:digest, :as_written)
            ON CONFLICT (one) DO UPDATE SET digest = excluded.digest, as_written = excluded.as_written, since = clock_timestamp()
        """),
        {"digest": digest, "as_written": as_written},
    )


async def with_other_scenarios(conn: AsyncConnection, digest: str) -> bool:
    """Whether anything was computed with another set."""
    return bool(
        await conn.scalar(
            text("SELECT EXISTS (SELECT FROM risk.results WHERE scenario_set <> :digest)"), {"digest": digest}
        )
    )


async def portfolios(conn: AsyncConnection) -> list[UUID]:
    """Those that there are."""
    rows = await conn.execute(text("SELECT id FROM coordinator.portfolios WHERE deleted_at IS NULL ORDER BY id"))
    return list(rows.scalars())


async def save(
    conn: AsyncConnection, results: Mapping[UnitKey, bytes], revisions: Mapping[UnitKey, int], version: str
) -> None:
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
    # COPY does not fill a table with row policies.
    await conn.execute(
        text("CREATE TEMP TABLE staged_results (LIKE risk.results INCLUDING STORAGE INCLUDING DEFAULTS) ON COMMIT DROP")
    )
    await binary.copy(conn, "staged_results", RESULT_COLUMNS, records)
    listed = ", ".join(RESULT_COLUMNS)
    if not before:
        # The units are ours until this transaction ends, so nobody else can put results there meanwhile.
        await conn.execute(text(f"INSERT INTO risk.results ({listed}) SELECT {listed} FROM staged_results"))
        return
    # What a row of before has itself is another session's model than the one that the new one refers to.
    updates = ", ".join(f"{column} = excluded.{column}" for column in (*RESULT_COLUMNS[2:], *SHARED_COLUMNS))
    await conn.execute(
        text(f"""
            INSERT INTO risk.results ({listed}) SELECT {listed} FROM staged_results ORDER BY portfolio_id, session
            ON CONFLICT (portfolio_id, session) DO UPDATE SET {updates}, computed_at = clock_timestamp()
        """)
    )
