"""Cut and select bars of a provider's series. Pure."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.ingest.model.market import Bars, ChainResult, History, ProviderSeries
from shared.market.calendar import Calendar


def with_rows(history: History, rows: NDArray[np.bool_]) -> History:
    """The history with these bars alone."""
    bars = history.bars
    cut = Bars(
        sessions=bars.sessions[rows], open=bars.open[rows], high=bars.high[rows], low=bars.low[rows], close=bars.close[rows],
        adj_close=bars.adj_close[rows], volume=bars.volume[rows], split_adjusted=bars.split_adjusted,
    )  # fmt: skip
    return replace(history, bars=cut)


def on_sessions(answer: ChainResult, calendar: Calendar) -> ChainResult:
    """The answer without bars of days on which the exchange was closed: sources carry the last price on, or know no better.

    And without actions before the first session there is: they are in no price, and would roll to that session, which has none of them.
    """
    return replace(answer, parts=[_on_sessions(part, calendar) for part in answer.parts])


def _on_sessions(part: ProviderSeries, calendar: Calendar) -> ProviderSeries:
    history = part.history
    traded = calendar.are_sessions(history.bars.sessions)
    if not traded.all():
        history = with_rows(history, traded)
    if any(action.ex_date < calendar.first for action in history.actions):
        within = tuple(action for action in history.actions if action.ex_date >= calendar.first)
        history = replace(history, actions=within)
    return part if history is part.history else ProviderSeries(part.provider, history)
