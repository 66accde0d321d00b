"""What stands behind a session's funds: sectors, names and concentration, with the lists of holdings that the user gave."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.look_through import Behind, Line, Told, behind, concentration_of
from services.coordinator.results import book, fund_lists, held, option_values, sector_names
from services.coordinator.results.held import Held
from services.coordinator.results.reasons import documents
from services.coordinator.results.sector_names import FUND_TYPES
from services.coordinator.results.values import to_json
from shared.arrays import FloatVector
from shared.market.reasons import ReasonCode
from shared.market.registry import COVERAGE_GATE
from shared.market.sectors import ETF, UNCLASSIFIED, gics
from shared.market.symbols import SymbolKind
from shared.work import Phase

MONEY = "Cash"
FIGURES = ("hhi", "effective", "top_3", "top_10")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known by a session of the names behind a book."""

    lists: Mapping[str, Told]
    types: Mapping[str, tuple[str, str | None]]
    """(asset type in lower case or empty, the vendor's sector)."""
    sectors: Mapping[str, str]
    """Of what is held itself, as risk has it."""


async def read(conn: AsyncConnection, portfolio: UUID, session: date | None, most: int) -> dict[str, Any]:
    """The answer. most : of the names behind, the largest by gross value"""
    found = await book.read(conn, portfolio, session, phase=Phase.SNAPSHOTS)
    of = held.of_book(found)
    facts = await _facts(conn, portfolio, of.symbols, {each.root for each in of.holdings}, of.session)
    leverage = await _leverage(conn, of)
    body, reasons = await asyncio.to_thread(figures, of, facts, leverage)
    return {
        **found.envelope,
        **body,
        "items": body["items"][:most],
        "reasons": found.envelope["reasons"] + documents(reasons, (), phase=Phase.SNAPSHOTS.value),
    }


async def document(conn: AsyncConnection, portfolio: UUID, session: date) -> dict[str, Any]:
    """The figures of one session with all names: what is explained."""
    return held.one_document(await series(conn, portfolio, session, session), portfolio, session, "holdings")


async def series(
    conn: AsyncConnection, portfolio: UUID, first: date, last: date, names: Collection[str] | None = None
) -> list[tuple[date, dict[str, Any]]]:
    """The documents, each with its `reasons`, of all sessions in [first, last] that have a snapshot.

    names : of the names behind those that are wanted, else all
    """
    books = await held.of_range(conn, portfolio, first, last)
    symbols = sorted(held.symbols_of(books))
    roots = {each.root for of in books for each in of.holdings}
    changes = await sector_names.changes(conn, portfolio, symbols, roots, last) if books else []
    found: list[tuple[date, dict[str, Any]]] = []
    facts, known_at = Facts({}, {}, {}), -1
    for of in books:
        # What is known of names changes on few days: it is read again on those alone.
        at = bisect.bisect_right(changes, of.session)
        if at != known_at or not found:
            facts, known_at = await _facts(conn, portfolio, symbols, roots, of.session), at
        body, reasons = await asyncio.to_thread(figures, of, facts, await _leverage(conn, of))
        if names is not None:
            body["items"] = [item for item in body["items"] if item["symbol"] in names]
        found.append((of.session, body | {"reasons": reasons}))
    return found


async def _facts(
    conn: AsyncConnection, portfolio: UUID, symbols: Collection[str], roots: Collection[str], session: date
) -> Facts:
    lists = await fund_lists.current_on(conn, roots, session)
    inside = {name for fund in lists.values() for name in fund.names}
    types = await sector_names.asset_types(conn, set(roots) | inside, session)
    return Facts(lists, types, await sector_names.find_sectors(conn, portfolio, symbols, session))


async def _leverage(conn: AsyncConnection, of: Held) -> FloatVector:
    """(K,) money exposed to the name for each unit of value: 1, of an option by its delta, NaN without one."""
    roots = {
        symbol: each.root
        for symbol, each in zip(of.symbols, of.holdings, strict=True)
        if each.kind is SymbolKind.OPTION
    }
    terms = await option_values.imply(conn, of.session, roots) if roots else {}
    return np.array(
        [1.0 if s not in roots else terms[s].leverage if s in terms else np.nan for s in of.symbols], dtype=np.float64
    )


def figures(of: Held, facts: Facts, leverage: FloatVector) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the body with all names, the reasons)."""
    reasons: list[dict[str, Any]] = []
    lines = []
    for k, (symbol, holding) in enumerate(zip(of.symbols, of.holdings, strict=True)):
        # An option that nobody knows the delta of stands by itself: of its value it is not known which side of the name it is on.
        unknown = np.isnan(leverage[k])
        name, scale = (symbol, 1.0) if unknown else (holding.root, float(leverage[k]))
        lines.append(Line.of(name, float(of.long[k]), float(of.short[k]), scale))
        if unknown:
            reasons.append(_entry("look_through.items", symbol, ReasonCode.NO_DELTA))
    names, sectors = behind(lines, facts.lists), _sectors(of, facts)
    funds, opened = _funds(of, facts, lines, reasons)
    good = of.evident_share >= COVERAGE_GATE
    if not good:
        reasons.append(_entry("look_through", None, ReasonCode.LOW_COVERAGE))
    elif not of.symbols:
        reasons.append(_entry("look_through.concentration", None, ReasonCode.NO_HOLDINGS))
    if not of.nav > 0.0:
        reasons.append(_entry("look_through.sectors", None, ReasonCode.NAV_NOT_POSITIVE))
    spread = concentration_of(names)
    body = {
        "looked_through": opened,
        "funds": funds,
        "sectors": _by_sector(names, sectors, of.nav) if good else None,
        "concentration": {figure: to_json(getattr(spread, figure)) if good else None for figure in FIGURES},
        "names": len(names),
        "items": [
            {
                "symbol": name,
                "sector": sectors.get(name, UNCLASSIFIED),
                "direct": each.direct,
                "through": each.through,
                "money": each.net,
                "weight": _weight(each.net, of.nav),
            }
            for name, each in sorted(names.items(), key=lambda item: (-item[1].gross, item[0]))
        ],
    }
    return body, reasons


def _sectors(of: Held, facts: Facts) -> dict[str, str]:
    """Of every name behind the book. What is held itself as risk has it; else as the lists say, the first fund by name, else as vendors."""
    found: dict[str, str] = {}
    for _, fund in sorted(facts.lists.items()):
        for name, stated in zip(fund.names, fund.sectors, strict=True):
            kind, vendors = facts.types.get(name, ("", None))
            said = ETF if kind in FUND_TYPES else stated or gics(vendors)
            if said and name not in found:
                found[name] = said
    for symbol, holding in zip(of.symbols, of.holdings, strict=True):
        said = MONEY if holding.cash else facts.sectors.get(symbol)
        if said and said != UNCLASSIFIED:
            found[holding.root] = said
    # A fund that the user opens is one, whatever nobody said of it: what is not told of it stays in `ETF`.
    return found | dict.fromkeys(facts.lists, ETF)


def _funds(
    of: Held, facts: Facts, lines: list[Line], reasons: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], float | None]:
    """(the funds held, how much of their gross money is looked through; None without funds)."""
    found: list[dict[str, Any]] = []
    whole, opened = 0.0, 0.0
    for at, (symbol, holding) in enumerate(zip(of.symbols, of.holdings, strict=True)):
        fund = facts.lists.get(holding.root)
        if fund is None and facts.types.get(holding.root, ("", None))[0] not in FUND_TYPES:
            continue
        gross = lines[at].long - lines[at].short
        # An option without a delta is not opened, though the fund is.
        told = 0.0 if fund is None or lines[at].name != holding.root else fund.share
        whole += gross
        opened += told * gross
        why = ReasonCode.NO_FUND_HOLDINGS if fund is None else ReasonCode.NO_DELTA if told == 0.0 else None
        if why is not None:
            reasons.append(_entry("look_through.funds", symbol, why))
        found.append(
            {
                "symbol": symbol,
                "market_value": float(of.value[at]),
                "weight": _weight(float(of.value[at]), of.nav),
                "as_of": None if fund is None or fund.as_of is None else fund.as_of.isoformat(),
                "holdings": 0 if fund is None else len(fund.names),
                "told": told,
                "reason": None if why is None else why.value,
            }
        )
    return found, opened / whole if whole > 0.0 else None


def _by_sector(names: Mapping[str, Behind], sectors: Mapping[str, str], nav: float) -> list[dict[str, Any]]:
    sums: dict[str, Behind] = {}
    for name, each in sorted(names.items()):
        into = sums.setdefault(sectors.get(name, UNCLASSIFIED), Behind())
        into.direct += each.direct
        into.through += each.through
        into.long += each.long
        into.short += each.short
    return [
        {"sector": sector}
        | {side: _weight(getattr(of, side), nav) for side in ("direct", "through", "long", "short", "net", "gross")}
        for sector, of in sorted(sums.items())
    ]


def _weight(value: float, nav: float) -> float | None:
    return value / nav if nav > 0.0 else None


def _entry(figure: str, symbol: str | None, code: ReasonCode) -> dict[str, Any]:
    return {"figure": figure, "symbol": symbol, "reason": code.value}
