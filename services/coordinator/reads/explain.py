"""Where a figure comes from: its value, formula, parameters, what leads to it, and the data behind it with provider and time."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.errors import NotFound
from services.coordinator.reads import portfolios, quarantine
from services.coordinator.reads.figures import Name, flatten, joined
from services.coordinator.reads.formulas import Formula, Source, formula_of
from services.coordinator.reads.values import plain
from shared.market.calendar import calendar

_KEYS = ("kind", "symbol", "from", "to", "provider", "fetched_at", "price_version", "revision")
# The answers there are, by the first part of a figure's name.
ANSWERS = ("snapshots", "positions", "exposures", "risk", "correlations", "stress")
_ENVELOPE = (
    "portfolio_id", "session", "revision", "model_version", "computed_at", "quality", "coverage", "reasons", "stale",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """What a figure is about."""

    portfolio: UUID
    symbols: Sequence[str]
    first: date
    session: date


async def explain(conn: AsyncConnection, portfolio: UUID, session: date | None, figure: str) -> dict[str, Any]:
    """The explanation as answered. `NotFound` names figures that are close."""
    figure = figure.strip()
    answer = figure.partition(".")[0]
    if answer not in ANSWERS:
        raise NotFound(f"A figure's name begins with one of {', '.join(ANSWERS)}. Without `figure` all are listed.")
    envelope, figures = await _figures(conn, portfolio, session, answer)
    names = {joined(name): name for name in figures}
    name = names.get(figure)
    if name is None:
        close = ", ".join(difflib.get_close_matches(figure, names, n=3))
        raise NotFound(
            f"There is no figure {figure[:100]!r} on session {envelope['session']}."
            + (f" Did you mean {close}?" if close else " Without `figure` all are listed.")
        )
    formula = formula_of(name)
    assert formula is not None, figure
    when = date.fromisoformat(envelope["session"])
    scope = await _scope(conn, portfolio, when, formula, name, figures)
    inputs = [item for source in formula.sources for item in await _INPUTS[source](conn, scope)]
    return envelope | {
        "figure": joined(name),
        "value": figures[name],
        "formula": formula.text,
        "parameters": dict(formula.parameters),
        "steps": _steps(formula, name, figures),
        "inputs": inputs,
    }


async def names(conn: AsyncConnection, portfolio: UUID, session: date | None) -> dict[str, Any]:
    """All figures of a session that can be explained; matrices and betas by symbol are many."""
    found: list[dict[str, Any]] = []
    when: str | None = None
    for answer in ANSWERS:
        try:
            envelope, figures = await _figures(conn, portfolio, session, answer)
        except NotFound:
            # The session may be without risk; whether the portfolio exists is asked here again.
            await portfolios.require_portfolio(conn, portfolio)
            continue
        when = max(when or envelope["session"], envelope["session"])
        for name in figures:
            formula = formula_of(name)
            found.append({"figure": joined(name), "formula": formula.text if formula else None})
    return {"portfolio_id": str(portfolio), "session": when, "figures": found}


async def _figures(
    conn: AsyncConnection, portfolio: UUID, session: date | None, answer: str
) -> tuple[dict[str, Any], dict[Name, Any]]:
    """The envelope of an answer, and all its figures by name."""
    if answer in ("snapshots", "positions"):
        document = await portfolios.positions(conn, portfolio, session)
    else:
        document = await portfolios.risk_document(conn, portfolio, answer, session)
    envelope = {key: document[key] for key in _ENVELOPE}
    if answer == "snapshots":
        when = date.fromisoformat(document["session"])
        [document] = (await portfolios.snapshots(conn, portfolio, when, when))["items"]
    return envelope, flatten(answer, document)


def _steps(formula: Formula, name: Name, figures: dict[Name, Any]) -> list[dict[str, Any]]:
    """The figures that lead to this one: beside it, or beside what it is part of."""
    found = []
    for step in formula.steps:
        for depth in range(len(name), 0, -1):
            beside = (*name[:depth], step)
            if beside in figures and beside != name:
                found.append({"name": joined(beside), "value": figures[beside]})
                break
    return found


async def _scope(
    conn: AsyncConnection, portfolio: UUID, session: date, formula: Formula, name: Name, figures: dict[Name, Any]
) -> Scope:
    if formula.own:
        symbols = [figures["positions", name[1], "symbol"]] if name[0] == "positions" else [name[2]]
    else:
        rows = await conn.scalars(
            text("""
                SELECT DISTINCT unnest(symbols) AS symbol FROM snapshots.holdings
                WHERE portfolio_id = :id AND session = :session ORDER BY symbol
            """),
            {"id": portfolio, "session": session},
        )
        symbols = list(rows)
    days = calendar()
    first = days.back(session, formula.window - 1) if formula.window else days.first
    return Scope(portfolio, symbols, first, session)


def _input(kind: Source, **values: Any) -> dict[str, Any]:
    return {key: plain(values.get(key)) for key in _KEYS} | {"kind": kind.value}


async def _ranges(conn: AsyncConnection, kind: Source, symbols: Collection[str], scope: Scope) -> list[dict[str, Any]]:
    """Prices by symbol and provider: what stands for the range now. Corrected since, the figure is marked stale."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, min(p.session) AS "from", max(p.session) AS "to", p.provider, max(p.fetched_at) AS fetched_at,
                   max(p.change) AS price_version
            FROM ingest.symbols s JOIN ingest.prices p ON p.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND p.session BETWEEN :first AND :last
            GROUP BY s.symbol, p.provider ORDER BY s.symbol, p.provider
        """),
        {"symbols": list(symbols), "first": scope.first, "last": scope.session},
    )
    jumps = await quarantine.about(conn, sorted(symbols), scope.first, scope.session)
    return [_input(kind, **row) for row in rows.mappings()] + [_jump(**jump) for jump in jumps]


def _jump(**jump: Any) -> dict[str, Any]:
    """A price that was held back at first: who says that it is true, or is to be left out, when and why."""
    about = {"symbol": jump["symbol"], "from": jump["session"], "to": jump["session"]}
    said = {key: plain(jump[key]) for key in ("state", "return", "reason")}
    return _input(Source.JUMPS, **about, provider=jump["decided_by"], fetched_at=jump["decided_at"]) | said


async def _prices(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    return await _ranges(conn, Source.PRICES, scope.symbols, scope)


async def _proxies(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    stand_ins = await conn.scalar(
        text("SELECT proxies FROM factors.proxies WHERE session = :session"), {"session": scope.session}
    )
    return await _ranges(conn, Source.PROXIES, [symbol for symbol in stand_ins or () if symbol], scope)


async def _actions(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    """Splits and dividends since the first entry: quantities and P&L hold all of them."""
    rows = await conn.execute(
        text("""
            SELECT s.symbol, min(a.ex_session) AS "from", max(a.ex_session) AS "to", a.provider,
                   max(a.fetched_at) AS fetched_at, max(a.change) AS price_version
            FROM ingest.symbols s JOIN ingest.actions a ON a.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND a.ex_session <= :session AND a.ex_session >= (
                SELECT min(entry_session) FROM coordinator.positions WHERE portfolio_id = :id AND deleted_at IS NULL)
            GROUP BY s.symbol, a.provider ORDER BY s.symbol, a.provider
        """),
        {"symbols": list(scope.symbols), "session": scope.session, "id": scope.portfolio},
    )
    return [_input(Source.ACTIONS, **row) for row in rows.mappings()]


async def _facts(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    rows = await conn.execute(
        text("""
            SELECT s.symbol, e.session AS "from", e.session AS "to", 'factors' AS provider, e.computed_at AS fetched_at,
                   e.price_version
            FROM ingest.symbols s JOIN factors.exposures e ON e.symbol_id = s.id
            WHERE s.symbol = ANY (CAST(:symbols AS text[])) AND e.session = :session ORDER BY s.symbol
        """),
        {"symbols": list(scope.symbols), "session": scope.session},
    )
    return [_input(Source.FACTS, **row) for row in rows.mappings()]


async def _snapshots(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    rows = await conn.execute(
        text("""
            SELECT min(session) AS "from", max(session) AS "to", 'snapshots' AS provider, max(computed_at) AS fetched_at,
                   max(revision) AS revision
            FROM snapshots.snapshots WHERE portfolio_id = :id AND session BETWEEN :first AND :last HAVING count(*) > 0
        """),
        {"id": scope.portfolio, "first": scope.first, "last": scope.session},
    )
    return [_input(Source.SNAPSHOTS, **row) for row in rows.mappings()]


async def _lots(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    rows = await conn.execute(
        text("""
            SELECT symbol, entry_date AS "from", exit_date AS "to", 'user' AS provider, created_at AS fetched_at
            FROM coordinator.positions
            WHERE portfolio_id = :id AND deleted_at IS NULL AND entry_session <= :session
              AND symbol = ANY (CAST(:symbols AS text[]))
            ORDER BY symbol, entry_session, id
        """),
        {"id": scope.portfolio, "session": scope.session, "symbols": list(scope.symbols)},
    )
    return [_input(Source.LOTS, **row) for row in rows.mappings()]


async def _flows(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    rows = await conn.execute(
        text("""
            SELECT date AS "from", date AS "to", 'user' AS provider, created_at AS fetched_at FROM coordinator.flows
            WHERE portfolio_id = :id AND deleted_at IS NULL AND session <= :session ORDER BY session, id
        """),
        {"id": scope.portfolio, "session": scope.session},
    )
    return [_input(Source.FLOWS, **row) for row in rows.mappings()]


async def _benchmark(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    """The table that the result was compared with, as it was then: of those of its date the last one that the result could know."""
    rows = await conn.execute(
        text("""
            SELECT b.code AS symbol, b.date AS "from", b.date AS "to", 'user' AS provider, b.loaded_at AS fetched_at,
                   b.change AS revision
            FROM risk.results r JOIN coordinator.benchmarks b
                ON b.code = r.risk ->> 'benchmark' AND b.date = CAST(r.risk ->> 'benchmark_date' AS date) AND b.change <= r.revision
            WHERE r.portfolio_id = :id AND r.session = :session ORDER BY b.change DESC LIMIT 1
        """),
        {"id": scope.portfolio, "session": scope.session},
    )
    return [_input(Source.BENCHMARK, **row) for row in rows.mappings()]


async def _equity(conn: AsyncConnection, scope: Scope) -> list[dict[str, Any]]:
    rows = await conn.execute(
        text("""
            SELECT first_session AS "from", 'user' AS provider, updated_at AS fetched_at FROM coordinator.portfolios
            WHERE id = :id
        """),
        {"id": scope.portfolio},
    )
    return [_input(Source.EQUITY, **row) for row in rows.mappings()]


_INPUTS = {
    Source.LOTS: _lots,
    Source.FLOWS: _flows,
    Source.EQUITY: _equity,
    Source.PRICES: _prices,
    Source.PROXIES: _proxies,
    Source.ACTIONS: _actions,
    Source.FACTS: _facts,
    Source.SNAPSHOTS: _snapshots,
    Source.BENCHMARK: _benchmark,
}
