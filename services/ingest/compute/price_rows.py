"""From the series of answers to rows of prices: as traded, with returns, on the level that was stored first. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from services.ingest.compute.returns import BASES, REMARKS, Events, Returns, split_factor, total_returns
from services.ingest.model.market import Action, Bars, ChainResult, History, LeftOut
from services.ingest.model.steps import may_hold_split
from services.ingest.model.write_set import FetchRequest
from shared.arrays import FloatVector, IntVector
from shared.market.calendar import Calendar


def price_rows(
    asks: Sequence[FetchRequest],
    fetched: Sequence[ChainResult],
    levels: Mapping[int, tuple[date, float]],
    calendar: Calendar,
) -> list[tuple[Any, ...]]:
    """Records for `store.prices.STAGED`, by symbol and session."""
    of_ask, providers, histories = _with_bars(fetched)
    if not histories:
        return []
    bars = [history.bars for history in histories]
    lengths = np.array([len(bar.sessions) for bar in bars])
    ends = np.cumsum(lengths)
    series = np.repeat(np.arange(len(bars)), lengths)
    sessions = np.concatenate([bar.sessions for bar in bars])
    ordinal = np.searchsorted(calendar.sessions, sessions).astype(np.int64)
    # As traded without a list of splits: on the newest basis all the same where no close moves as by a split.
    adjusted = np.array(
        [of.bars.split_adjusted or (of.actions_refused and not may_hold_split(of.bars)) for of in histories]
    )
    listed = np.array([history.lists_splits for history in histories])
    splits, dividends = (
        _events([[action for action in history.actions if action.type == type_] for history in histories], calendar)
        for type_ in ("split", "dividend")
    )
    convertible = (adjusted & listed)[splits.series] if len(splits.series) else np.empty(0, bool)
    factor = split_factor(series, ordinal, Events(*(column[convertible] for column in splits)))
    delivered = {name: _concatenate(bars, name) for name in ("open", "high", "low", "close", "adj_close", "volume")}
    traded = {name: delivered[name] * factor for name in ("open", "high", "low", "close")}
    traded["volume"] = delivered["volume"] / factor
    returns = total_returns(
        series,
        ordinal,
        adj_close=delivered["adj_close"],
        split_close=np.where(adjusted[series], delivered["close"], np.nan),
        close=traded["close"],
        splits=splits,
        dividends=dividends,
        left_out=_events([history.left_out for history in histories], calendar),
        lists_actions=np.array([of.lists_splits and not of.actions_refused for of in histories])[series],
    )
    level = _bring_to_level(delivered["adj_close"], sessions, ends, of_ask, levels)
    symbol = np.array([asks[index].symbol_id for index in of_ask], dtype=np.int64)[series]
    known = _find_known(asks, of_ask, series, sessions)
    rows = _one_each(symbol, ordinal, returns)
    return list(
        zip(
            symbol[rows].tolist(),
            sessions[rows].tolist(),
            *(_nullable(column[rows]) for column in (traded["open"], traded["high"], traded["low"], traded["close"])),
            _nullable(level[rows]),
            _nullable(traded["volume"][rows]),
            _nullable(returns.value[rows]),
            [BASES[code] for code in returns.basis[rows].tolist()],
            [REMARKS[code] for code in returns.remark[rows].tolist()],
            np.where(adjusted & ~listed, "file", "as_traded")[series[rows]].tolist(),
            np.array(providers)[series[rows]].tolist(),
            known[rows].tolist(),
            strict=True,
        )
    )


def _with_bars(fetched: Sequence[ChainResult]) -> tuple[list[int], list[str], list[History]]:
    """The series that have bars: of which ask, by whom, and what."""
    found = [
        (index, part.provider, part.history)
        for index, answer in enumerate(fetched)
        for part in answer.parts
        if len(part.history.bars.sessions)
    ]
    return (
        [index for index, _, _ in found],
        [provider for _, provider, _ in found],
        [history for _, _, history in found],
    )


def _concatenate(bars: Sequence[Bars], name: str) -> FloatVector:
    joined: FloatVector = np.concatenate([getattr(bar, name) for bar in bars])
    return joined


def _events(listed: Iterable[Iterable[Action | LeftOut]], calendar: Calendar) -> Events:
    """What each series lists, by the session it takes effect on; a non-session ex-date rolls to the next session."""
    rows = [(series, event.ex_date, event.value) for series, events in enumerate(listed) for event in events]
    days = np.array([day for _, day, _ in rows], dtype="datetime64[D]")
    return Events(
        np.array([series for series, _, _ in rows], dtype=np.int64),
        np.searchsorted(calendar.sessions, days).astype(np.int64),
        np.array([value for _, _, value in rows], dtype=np.float64),
    )


def _bring_to_level(
    adj_close: FloatVector,
    sessions: Any,
    ends: IntVector,
    of_ask: Sequence[int],
    levels: Mapping[int, tuple[date, float]],
) -> FloatVector:
    """Adjusted closes on the level first stored: a source moves all its levels with every dividend, its ratios it does not.

    A second source of one ask is brought to the level of the first at a session both have.
    """
    level = adj_close.copy()
    start = 0
    placed: dict[int, list[slice]] = {}
    for index, end in zip(of_ask, ends.tolist(), strict=True):
        rows = slice(start, end)
        start = end
        target = levels.get(index)
        scale = _scale(adj_close[rows], sessions[rows], *target) if target else None
        for other in placed.get(index, []):
            for day in np.intersect1d(sessions[rows], sessions[other]):
                there = float(level[other][np.searchsorted(sessions[other], day)])
                scale = scale or _scale(adj_close[rows], sessions[rows], day, there)
        if scale is not None and scale != 1.0:
            level[rows] *= scale
        placed.setdefault(index, []).append(rows)
    return level


def _scale(adj_close: FloatVector, sessions: Any, day: Any, level: float) -> float | None:
    at = int(np.searchsorted(sessions, np.datetime64(day, "D")))
    if at == len(sessions) or sessions[at] != np.datetime64(day, "D") or not adj_close[at] > 0 or not level > 0:
        return None
    return level / float(adj_close[at])


def _find_known(asks: Sequence[FetchRequest], of_ask: Sequence[int], series: IntVector, sessions: Any) -> Any:
    """Which rows fall on sessions whose truth was known before, so that a difference is a correction."""
    nothing = (date.max, date.min)
    low = np.array([(asks[index].known or nothing)[0] for index in of_ask], dtype="datetime64[D]")
    high = np.array([(asks[index].known or nothing)[1] for index in of_ask], dtype="datetime64[D]")
    return (sessions >= low[series]) & (sessions <= high[series])


def _one_each(symbol: IntVector, ordinal: IntVector, returns: Returns) -> IntVector:
    """Row numbers, one a (symbol, session), sorted: the first source's bar, with the return of whoever has the session before.

    `returns` is completed in place.
    """
    order = np.lexsort((np.arange(len(symbol)), ordinal, symbol))
    repeats = (np.diff(symbol[order]) == 0) & (np.diff(ordinal[order]) == 0)
    kept = np.concatenate(([True], ~repeats))
    for index in np.flatnonzero(~kept):
        first = index
        while not kept[first]:
            first -= 1
        if np.isnan(returns.value[order[first]]):
            for column in returns:
                column[order[first]] = column[order[index]]
    chosen: IntVector = order[kept]
    return chosen


def _nullable(values: FloatVector) -> list[float | None]:
    """NaN ends here: the database has nulls."""
    out = values.astype(object)
    out[np.isnan(values)] = None
    listed: list[float | None] = out.tolist()
    return listed
