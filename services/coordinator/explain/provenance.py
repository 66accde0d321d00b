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
    Source.LOTS: book.lots,
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


async def inputs(conn: AsyncConnection, formula: Formula, scope: Scope) -> dict[str, Any]:
    """`inputs`, and where there are none why: `no_inputs`."""
    found = [item for source in formula.sources for item in await _OF[source](conn, scope)]
    if found:
        return {"inputs": found, "no_inputs": None}
    why = ", ".join(NOTHING[source] for source in formula.sources)
    return {"inputs": [], "no_inputs": f"There was {why}." if why else "It is a constant."}
