"""Where a symbol's own figures come from: the same explanation, for what belongs to no portfolio."""

from __future__ import annotations

import asyncio
from calendar import monthrange
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.explain.formulas.model import Formula
from services.coordinator.explain.portfolios import answer_of, find_figure, list_figures, steps
from services.coordinator.explain.provenance import inputs
from services.coordinator.explain.sources import Scope
from services.coordinator.results import symbols
from services.coordinator.results.figures import Name, flatten, join_name
from services.coordinator.results.values import to_json
from shared.market.calendar import calendar
from shared.market.registry import HORIZON_MONTHS

ANSWERS = ("factors", "metrics", "prices")
_TABLES = {"factors": "exposures", "metrics": "metrics"}
_TRADED = (
    "open",
    "high",
    "low",
    "close",
    "adj_close",
    "volume",
    "total_return",
    "return_basis",
    "return_remark",
    "basis",
)
_DAY = timedelta(days=1)


async def explain(conn: AsyncConnection, symbol: str, session: date | None, figure: str) -> dict[str, Any]:
    """The explanation as answered. `NotFound` names figures that are close."""
    envelope, figures = await _figures(conn, symbol, session, answer_of(figure, ANSWERS))
    name, formula = await asyncio.to_thread(find_figure, figure, figures, envelope["session"])
    when = date.fromisoformat(envelope["session"])
    first = base_of(name[-1], when) if formula.based else calendar().back(when, _sessions(formula) - 1)
    own = envelope["symbol"]
    # A split on the window's first session is in the price there, not between.
    traded = when if name[:2] == ("prices", "actions") else _later(first, when)
    scope = Scope(
        session=when,
        first=first,
        after=when,
        traded=traded,
        reach={own: (first, when)},
        symbols=(own,),
        proxies=formula.proxies,
    )
    behind = await inputs(conn, formula, scope)
    versions = [item["price_version"] for item in behind["inputs"] if item["price_version"] is not None]
    return envelope | {
        "stale": max(versions, default=0) > envelope["price_version"],
        "figure": join_name(name),
        "value": figures[name],
        "formula": formula.text,
        "parameters": dict(formula.parameters),
        "steps": steps(formula, name, figures),
        **behind,
    }


async def names(conn: AsyncConnection, symbol: str, session: date | None) -> dict[str, Any]:
    """All figures of the symbol on a session, or each on the newest one it is known of."""
    _, name = await symbols.symbol_id(conn, symbol)
    found: list[dict[str, Any]] = []
    when: str | None = None
    for answer in ANSWERS:
        try:
            envelope, figures = await _figures(conn, name, session, answer)
        except NotFound:
            continue
        when = max(when or envelope["session"], envelope["session"])
        found += await asyncio.to_thread(list_figures, figures)
    return {"symbol": name, "session": when, "figures": found}


def base_of(horizon: str, session: date) -> date:
    """The base session of a return's horizon (docs/methods.md §4); the calendar's first one where it lies before."""
    days = calendar()
    if horizon == "1d":
        return days.back(session, 1)
    if horizon in HORIZON_MONTHS:
        year, month = divmod(session.year * 12 + session.month - 1 - HORIZON_MONTHS[horizon], 12)
        month += 1
        day = date(year, month, min(session.day, monthrange(year, month)[1]))
    else:
        begins = {"mtd": session.month, "qtd": session.month - (session.month - 1) % 3, "ytd": 1}[horizon]
        day = date(session.year, begins, 1) - _DAY
    return days.on_or_before(max(day, days.first))


def _sessions(formula: Formula) -> int:
    assert isinstance(formula.window, int), "a symbol has no chain"
    return formula.window


def _later(first: date, last: date) -> date:
    return first + _DAY if first < last else last


async def _figures(
    conn: AsyncConnection, symbol: str, session: date | None, answer: str
) -> tuple[dict[str, Any], dict[Name, Any]]:
    """The envelope of an answer about a symbol, and all its figures by name."""
    if answer == "prices":
        return await _price_row(conn, symbol, session)
    name, row = await symbols.facts(conn, _TABLES[answer], "computed_at", symbol, session)
    read = symbols.factors if answer == "factors" else symbols.metrics
    document = await read(conn, name, row.session)
    envelope = {
        "symbol": name,
        "session": row.session.isoformat(),
        "model_version": row.model_version,
        "price_version": row.price_version,
        "computed_at": to_json(row.computed_at),
        "quality": row.quality,
    }
    return envelope, flatten(answer, {key: value for key, value in document.items() if key not in envelope})


async def _price_row(
    conn: AsyncConnection, symbol: str, session: date | None
) -> tuple[dict[str, Any], dict[Name, Any]]:
    """Of one session, without one of the newest that is priced."""
    identity, name = await symbols.symbol_id(conn, symbol)
    when = session or await conn.scalar(
        text("SELECT max(session) FROM ingest.prices WHERE symbol_id = :id"), {"id": identity}
    )
    document = {} if when is None else await symbols.prices(conn, name, when, when)
    if not document.get("items"):
        raise NotFound(f"{name} has no price of {'any session' if when is None else f'session {when}'}.")
    [row] = document["items"]
    envelope = {
        "symbol": name,
        "session": row["session"],
        "model_version": None,
        "price_version": row["price_version"],
        "computed_at": row["fetched_at"],
        "quality": None,
    }
    actions = {action["type"]: action["value"] for action in document["actions"]}
    return envelope, flatten("prices", {key: row[key] for key in _TRADED} | {"actions": actions})
