"""What stands behind a session's funds: sectors, names and concentration, with the lists of holdings that the user gave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.compute.look_through import Behind, Line, Told, behind, concentration_of
from services.coordinator.results import book, fund_lists, sector_names
from services.coordinator.results.book import Book
from services.coordinator.results.reasons import documents
from services.coordinator.results.sector_names import FUND_TYPES
from services.coordinator.results.values import to_json
from shared.market.reasons import ReasonCode
from shared.market.registry import COVERAGE_GATE
from shared.market.sectors import ETF, UNCLASSIFIED, gics
from shared.work import Phase

MONEY = "Cash"
FIGURES = ("hhi", "effective", "top_3", "top_10")


async def read(conn: AsyncConnection, portfolio: UUID, session: date | None, most: int) -> dict[str, Any]:
    """The answer. most : of the names behind, the largest by gross value"""
    of = await book.read(conn, portfolio, session, phase=Phase.SNAPSHOTS)
    roots = {holding.root for holding in of.holdings}
    lists = await fund_lists.current_on(conn, roots, of.session)
    inside = {name for fund in lists.values() for name in fund.names}
    known = await sector_names.asset_types(conn, roots | inside, of.session)
    held = await sector_names.find_sectors(conn, portfolio, of.symbols, of.session)
    sectors = _sectors(of, lists, known, held)
    return await asyncio.to_thread(_answer, of, lists, known, sectors, most)


def _sectors(
    of: Book, lists: Mapping[str, Told], known: Mapping[str, tuple[str, str | None]], held: Mapping[str, str]
) -> dict[str, str]:
    """Of every name behind the book. What is held itself as risk has it; else as the lists say, the first fund by name, else as vendors."""
    found: dict[str, str] = {}
    for _, fund in sorted(lists.items()):
        for name, stated in zip(fund.names, fund.sectors, strict=True):
            kind, vendors = known.get(name, ("", None))
            said = ETF if kind in FUND_TYPES else stated or gics(vendors)
            if said and name not in found:
                found[name] = said
    for symbol, holding in zip(of.symbols, of.holdings, strict=True):
        said = MONEY if holding.cash else held.get(symbol)
        if said and said != UNCLASSIFIED:
            found[holding.root] = said
    # A fund that the user opens is one, whatever nobody said of it: what is not told of it stays in `ETF`.
    return found | dict.fromkeys(lists, ETF)


def _answer(
    of: Book,
    lists: Mapping[str, Told],
    known: Mapping[str, tuple[str, str | None]],
    sectors: Mapping[str, str],
    most: int,
) -> dict[str, Any]:
    long = (of.gross_value + of.value) / 2.0
    lines = [
        Line(holding.root, float(up), float(up - gross))
        for holding, up, gross in zip(of.holdings, long.tolist(), of.gross_value.tolist(), strict=True)
    ]
    names = behind(lines, lists)
    whole = float(of.gross_value.sum())
    priced = float(of.gross_value[~of.old].sum()) / whole if whole > 0.0 else 1.0
    reasons: list[dict[str, Any]] = []
    funds, opened = _funds(of, lists, known, reasons)
    good = priced >= COVERAGE_GATE
    if not good:
        reasons.append(_entry("look_through", None, ReasonCode.LOW_COVERAGE))
    elif not of.symbols:
        reasons.append(_entry("look_through.concentration", None, ReasonCode.NO_HOLDINGS))
    if not of.nav > 0.0:
        reasons.append(_entry("look_through.sectors", None, ReasonCode.NAV_NOT_POSITIVE))
    spread = concentration_of(names)
    ordered = sorted(names.items(), key=lambda item: (-item[1].gross, item[0]))
    return {
        **of.envelope,
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
            for name, each in ordered[:most]
        ],
        "reasons": of.envelope["reasons"] + documents(reasons, (), phase=Phase.SNAPSHOTS.value),
    }


def _funds(
    of: Book,
    lists: Mapping[str, Told],
    known: Mapping[str, tuple[str, str | None]],
    reasons: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], float | None]:
    """(the funds held, how much of their gross value is looked through; None without funds)."""
    found: list[dict[str, Any]] = []
    whole, opened = 0.0, 0.0
    for at, (symbol, holding) in enumerate(zip(of.symbols, of.holdings, strict=True)):
        fund = lists.get(holding.root)
        if fund is None and known.get(holding.root, ("", None))[0] not in FUND_TYPES:
            continue
        told = 0.0 if fund is None else float(fund.weights.sum())
        whole += float(of.gross_value[at])
        opened += told * float(of.gross_value[at])
        if fund is None:
            reasons.append(_entry("look_through.funds", symbol, ReasonCode.NO_FUND_HOLDINGS))
        found.append(
            {
                "symbol": symbol,
                "market_value": float(of.value[at]),
                "weight": _weight(float(of.value[at]), of.nav),
                "as_of": None if fund is None or fund.as_of is None else fund.as_of.isoformat(),
                "holdings": 0 if fund is None else len(fund.names),
                "told": told,
                "reason": None if fund is not None else ReasonCode.NO_FUND_HOLDINGS.value,
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
