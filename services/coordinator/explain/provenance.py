"""The data behind a figure, with provider and time: what stands in the database now. Corrected since, the figure is stale."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.explain import market_sources as market
from services.coordinator.explain import portfolio_sources as book
from services.coordinator.explain.formulas.model import NOTHING, Formula, Source
from services.coordinator.explain.sources import Entry, Scope

_OF: Mapping[Source, Callable[[AsyncConnection, Scope], Awaitable[list[Entry]]]] = {
    Source.FLOWS: book.flows,
    Source.EQUITY: book.equity,
    Source.PRICES: market.prices,
    Source.PROXIES: market.proxies,
    Source.ACTIONS: market.actions,
    Source.FACTS: market.facts,
    Source.PROFILES: market.profiles,
    Source.SNAPSHOT: book.snapshot,
    Source.EARLIER: book.earlier,
    Source.HISTORY: book.history,
    Source.RESULTS: book.results,
    Source.BENCHMARK: book.benchmark,
    Source.FUND_LISTS: book.fund_lists,
    Source.SCENARIO: book.scenario,
    Source.YIELDS: market.yields,
    Source.BILLS: market.bills,
}


async def inputs(conn: AsyncConnection, formula: Formula, scope: Scope, lots: int | None = None) -> dict[str, Any]:
    """`inputs`, and where there are none why: `no_inputs`.

    lots : at most so many of them, and `inputs_total` with all counted
    """
    found: list[Entry] = []
    others = 0
    for source in formula.sources:
        if source is Source.LOTS:
            of_lots = await book.lots(conn, scope, lots)
            others = 0 if lots is None else await book.count_lots(conn, scope) - len(of_lots)
            found += of_lots
        else:
            found += await _OF[source](conn, scope)
    if found:
        counted = {} if lots is None else {"inputs_total": len(found) + others}
        return {"inputs": found, "no_inputs": None, **counted}
    why = ", ".join(NOTHING[source] for source in formula.sources)
    return {"inputs": [], "no_inputs": f"There was {why}." if why else "It is a constant."}
