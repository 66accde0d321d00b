"""Figures over time: any figure that can be explained, of every session in a range, in one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.scorecard import Record, score
from services.coordinator.errors import Invalid
from services.coordinator.results import scorecard, thinned, worked_out_series
from services.coordinator.results.figures import Name, flatten
from services.coordinator.results.named_values import Values, select_figures, unknown_figure
from services.coordinator.results.portfolios import SNAPSHOT_FIELDS, require_portfolio
from services.coordinator.results.risk import ANSWERS
from services.coordinator.results.risk_rows import SOURCE
from services.coordinator.results.values import document, to_json

MOST_FIGURES = 50
# Parts of the risk answer that are made of arrays; the others stand in the stored document as they are.
_OF_ARRAYS = frozenset({"positions", "decomposition"})
_LOT = ("symbol", "quantity", "price", "price_session", "price_basis", "market_value", "daily_pnl", "cumulative_pnl",
        "realized_pnl", "unrealized_pnl", "dividends", "reason")  # fmt: skip
_JSON = ("risk", "scenarios")
_ON_SNAPSHOTS = frozenset({"snapshots", "positions", "performance", "attribution", "liquidity", "look_through"})


async def read(
    conn: AsyncConnection,
    portfolio: UUID,
    figures: Sequence[str],
    first: date | None,
    last: date | None,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """Sessions ascending and, under each name, one value a session; null where it is not known.

    strict : refuse a name that no session has; else it is null throughout

    `stale` says of each session whether what it shows is behind what is required; `reasons` are those stored with the sessions and those
    of what is worked out when asked, each once with the first and last session it stands beside. Of sessions that were thinned out names
    are not known any more: where there are any, none is refused.
    """
    await require_portfolio(conn, portfolio)
    wanted = _by_answer(figures)
    window = {"id": portfolio, "first": first or date.min, "last": last or date.max}
    units = await _units(conn, window, {"snapshots" if answer in _ON_SNAPSHOTS else "risk" for answer in wanted})
    values: Values = {}
    told: list[tuple[date, Mapping[str, Any]]] = []
    gone = await _find_thinned(conn, window, wanted)
    for answer, names in wanted.items():
        known = strict and not (gone and answer in thinned.FIGURES)
        if answer in _WORKED_OUT:
            found, why = await _WORKED_OUT[answer](conn, window, names, strict=known)
            values, told = values | found, [*told, *why]
        else:
            values |= await _READERS[answer](conn, window, names, strict=known)
    told += [(session, thinned.entry(answer)) for answer in wanted if answer in thinned.FIGURES for session in gone]
    sessions = sorted({row.session for row in units})
    stale = {row.session for row in units if row.stale}
    return {
        "portfolio_id": str(portfolio),
        "sessions": [session.isoformat() for session in sessions],
        "figures": {name: [values[name].get(session) for session in sessions] for name in dict.fromkeys(figures)},
        "stale": [session in stale for session in sessions],
        "reasons": await asyncio.to_thread(_reasons, units, told),
    }


def _by_answer(figures: Sequence[str]) -> dict[str, list[str]]:
    if not figures or len(figures) > MOST_FIGURES:
        raise Invalid(
            f"Name 1 to {MOST_FIGURES} figures, and {len(figures)} are named. Separate them by commas: "
            "figures=snapshots.nav,risk.var.historical.0.95. `…/explain` without `figure` lists them all.",
            errors=[_fault(None, "figures", "1 to 50 names are needed")],
        )
    found: dict[str, list[str]] = {}
    for figure in dict.fromkeys(figures):
        answer = figure.partition(".")[0]
        if answer not in _ANSWERS:
            raise Invalid(
                f"{figure[:100]!r} is not the name of a figure: a name begins with one of {', '.join(_ANSWERS)}.",
                errors=[_fault(figure, "figures", f"begins with none of {', '.join(_ANSWERS)}")],
            )
        found.setdefault(answer, []).append(figure)
    return found


def _fault(value: str | None, column: str, message: str) -> dict[str, object]:
    shown = None if value is None else value[:100]
    return {"row": None, "column": column, "code": "unknown_figure", "message": message, "value": shown}


async def _units(conn: AsyncConnection, window: Mapping[str, Any], phases: Iterable[str]) -> Sequence[Any]:
    """The sessions that have values of these phases."""
    rows = await conn.execute(
        text("""
            SELECT session, completed_revision < required_revision AS stale, CAST(reasons AS text) AS reasons FROM ledger.units
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last AND completed_revision > 0
              AND phase = ANY (CAST(CAST(:phases AS text[]) AS ledger.phase[]))
            ORDER BY session
        """),
        {**window, "phases": list(phases)},
    )
    return rows.all()


async def _find_thinned(conn: AsyncConnection, window: Mapping[str, Any], wanted: Iterable[str]) -> list[date]:
    """The sessions that lack figures of what is asked for, because they were thinned out."""
    if not any(answer in thinned.FIGURES for answer in wanted):
        return []
    return await thinned.find_sessions(conn, window["id"], window["first"], window["last"])


def _reasons(units: Sequence[Any], told: Sequence[tuple[date, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Equal reasons of many sessions once. Consecutive sessions mostly have the same text, which is then read once."""
    found: dict[tuple[Any, Any, Any], list[date]] = {}
    parsed: dict[str, list[dict[str, Any]]] = {}
    stored = (
        (unit.session, reason) for unit in units for reason in parsed.setdefault(unit.reasons, document(unit.reasons))
    )
    for session, reason in (*stored, *told):
        key = (reason.get("figure"), reason.get("symbol"), reason.get("reason"))
        span = found.setdefault(key, [session, session])
        span[:] = min(span[0], session), max(span[1], session)
    return [
        {"figure": figure, "symbol": symbol, "reason": reason, "from": low.isoformat(), "to": high.isoformat()}
        for (figure, symbol, reason), (low, high) in found.items()
    ]


async def _snapshots(conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool) -> Values:
    """A column of the snapshot or nothing at all: known by its name, whether or not it is `strict`."""
    del strict
    columns = {name: name.partition(".")[2] for name in names}
    for name, column in columns.items():
        if column not in SNAPSHOT_FIELDS:
            raise unknown_figure(name, [f"snapshots.{field}" for field in SNAPSHOT_FIELDS])
    listed = ", ".join(dict.fromkeys(["session", *columns.values()]))
    rows = await conn.execute(
        text(f"SELECT {listed} FROM snapshots.snapshots WHERE portfolio_id = :id AND session BETWEEN :first AND :last"),
        window,
    )
    found = rows.mappings().all()
    return {name: {row["session"]: to_json(row[column]) for row in found} for name, column in columns.items()}


async def _positions(conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool) -> Values:
    lots: dict[str, tuple[UUID, str]] = {}
    whole: Values = {}
    for name in names:
        if name == "positions.coverage":
            # Of all lots together, which is the snapshot's.
            whole[name] = (await _snapshots(conn, window, ["snapshots.coverage"], strict=strict))["snapshots.coverage"]
            continue
        _, identity, column = [*name.split(".", 2), "", ""][:3]
        try:
            lots[name] = UUID(identity), column
        except ValueError:
            raise unknown_figure(name, [f"positions.POSITION_ID.{field}" for field in _LOT]) from None
        if column not in _LOT:
            raise unknown_figure(name, [f"positions.{identity}.{field}" for field in _LOT])
    rows = await conn.execute(
        text(f"""
            SELECT session, position_id, {", ".join(_LOT)} FROM snapshots.positions
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last AND position_id = ANY (CAST(:lots AS uuid[]))
        """),
        {**window, "lots": [identity for identity, _ in lots.values()]},
    )
    found = rows.mappings().all()
    return whole | {
        name: {row["session"]: to_json(row[column]) for row in found if row["position_id"] == identity}
        for name, (identity, column) in lots.items()
    }


async def _risk(conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool) -> Values:
    """Of the stored document only the sections that are asked for, unless one of them is made of arrays."""
    scored = [name for name in names if name.startswith("risk.scorecard.")]
    if scored:
        others = [name for name in names if name not in scored]
        found = await _risk(conn, window, others, strict=strict) if others else {}
        return await _scorecard(conn, window, scored, strict=strict) | found
    sections = sorted({[*name.split("."), ""][1] for name in names})
    if _OF_ARRAYS & set(sections):
        return await _arrays(conn, window, names, strict=strict)
    rows = await conn.execute(
        # Those that there are: a section that is not, would be a figure whose value is not known.
        text("""
            SELECT session, coverage, CAST(coalesce(parts.risk, '{}') AS text) AS risk FROM risk.results r
            CROSS JOIN LATERAL (
                SELECT jsonb_object_agg(key, value) AS risk FROM jsonb_each(r.risk) WHERE key = ANY (CAST(:sections AS text[]))
            ) parts
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last ORDER BY session
        """),
        {**window, "sections": sections},
    )
    kept = rows.all()
    return await asyncio.to_thread(
        select_figures,
        ((row.session, flatten("risk", {**document(row.risk), "coverage": row.coverage})) for row in kept),
        names,
        strict=strict,
    )


async def _arrays(conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool) -> Values:
    """Answers that are made of the arrays that risk stores, as the single-session answers make them."""
    which = names[0].partition(".")[0]
    answer = ANSWERS[which]
    columns = ", ".join(
        f"CAST({column} AS text) AS {column}" if column in _JSON else column for column in answer.columns
    )
    rows = await conn.execute(
        text(f"""
            SELECT session, coverage, {thinned.COLUMN}, {columns} FROM {SOURCE}
            WHERE portfolio_id = :id AND session BETWEEN :first AND :last ORDER BY session
        """),
        window,
    )
    found = [dict(row) for row in rows.mappings() if row[answer.columns[0]] is not None or row["thinned"]]

    def figures(row: Mapping[str, Any]) -> Mapping[Name, Any]:
        body = thinned.body(which, row) if row["thinned"] else answer.body(row)
        return flatten(which, {**body, "coverage": row["coverage"]})

    return await asyncio.to_thread(
        select_figures, ((row["session"], figures(row)) for row in found), names, strict=strict
    )


async def _scorecard(conn: AsyncConnection, window: Mapping[str, Any], names: Sequence[str], *, strict: bool) -> Values:
    """A scorecard knows what was before it, so the whole history is read, and cut off at each session."""
    rows = await scorecard.forecast_rows(conn, window["id"], window["last"])
    if not rows:
        return {name: {} for name in names}
    whole = scorecard.record(rows, rows[-1].session)
    length = len(whole.realized)
    # Records lie on the calendar, which may have sessions without a row: positions are counted from the end.
    at = {row.session: scorecard.position(rows[0].session, row.session) for row in rows}

    def of(row: Any) -> Mapping[Name, Any]:
        end = min(at[row.session] + 1, length)
        known = score(Record(whole.forecasts[:end], whole.realized[:end]))
        own = flatten("scorecard", {**scorecard.body(known), "coverage": row.coverage})
        return own | flatten("risk", {"scorecard": scorecard.summary(known)})

    shown = [row for row in rows if row.session >= window["first"]]
    return await asyncio.to_thread(
        lambda: select_figures(((row.session, of(row)) for row in shown), names, strict=strict)
    )


_READERS = {
    "snapshots": _snapshots,
    "positions": _positions,
    "exposures": _arrays,
    "risk": _risk,
    "correlations": _arrays,
    "stress": _arrays,
    "scorecard": _scorecard,
}
# With why they are null, which is stored with no session.
_WORKED_OUT = {
    "performance": worked_out_series.read_performance,
    "attribution": worked_out_series.read_attribution,
    "liquidity": worked_out_series.read_liquidity,
    "look_through": worked_out_series.read_look_through,
    "sector_exposures": worked_out_series.read_sector_exposures,
}
_ANSWERS = (*_READERS, *_WORKED_OUT)
