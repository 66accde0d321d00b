"""From the providers' answers to rows: one conversion, one rule for returns, one for absences. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from math import prod
from typing import Any

import numpy as np

from services.ingest.compute.retry_policy import retry_after
from services.ingest.compute.returns import (
    BASES,
    REMARKS,
    Events,
    GapRange,
    Returns,
    missing_spans,
    split_factor,
    total_returns,
)
from services.ingest.compute.unserved import explain_all
from services.ingest.model.market import Action, Bars, ChainResult, History, LeftOut, NoDataReason
from services.ingest.model.stored import ActionRow, Described, PriceGap, PriceOutlier, SymbolRow
from services.ingest.model.write_set import FetchRequest, WriteSet
from shared.arrays import FloatVector, IntVector
from shared.market.calendar import Calendar

# A file says the same whenever it is asked; it is read anew at the start.
FILE = "file"


def build_rows(
    asks: Sequence[FetchRequest],
    fetched: Sequence[ChainResult],
    levels: Mapping[int, tuple[date, float]],
    calendar: Calendar,
    *,
    chain: str,
    now: datetime,
    newest: date,
    published_at: datetime | None = None,
    jumps: Sequence[PriceOutlier] = (),
) -> WriteSet:
    """Rows of some asks and their answers, in the order of the asks.

    levels : by the ask's index, a stored adjusted close inside its range: new levels are brought to it.
    chain  : who may be asked, stored with an absence.
    newest : the last due session: how old an absence is decides when it is asked for again.
    published_at : when all of the chain have published the bars of `newest`; None: when the session is due, so now.
    """
    checked: dict[int, list[tuple[int, int]]] = {}
    gaps: dict[int, list[PriceGap]] = {}
    actions: dict[tuple[int, date, str], ActionRow] = {}
    symbols: dict[int, SymbolRow] = {}
    described: dict[int, Described] = {}
    for ask, answer in zip(asks, fetched, strict=True):
        checked.setdefault(ask.symbol_id, []).extend(ask.checked)
        gaps.setdefault(ask.symbol_id, []).extend(
            _gaps(ask, answer, calendar, chain=chain, now=now, newest=newest, published_at=published_at)
        )
        actions |= _actions(ask, answer, calendar)
        symbols[ask.symbol_id] = _symbol(ask, symbols.get(ask.symbol_id))
        described |= _described(ask, answer)
    listed = [
        (ask.symbol_id, ask.first, ask.last, part.provider)
        for ask, answer in zip(asks, fetched, strict=True)
        for part in answer.parts[:1]
        if part.history.lists_splits and len(part.history.bars.sessions)
    ]
    rows = _prices(asks, fetched, levels, calendar)
    return WriteSet(
        rows,
        list(actions.values()),
        list(symbols.values()),
        checked,
        gaps,
        listed,
        list(jumps),
        described=list(described.values()),
    )


def _gaps(
    ask: FetchRequest,
    answer: ChainResult,
    calendar: Calendar,
    *,
    chain: str,
    now: datetime,
    newest: date,
    published_at: datetime | None,
) -> list[PriceGap]:
    bars = [part.history.bars.sessions for part in answer.parts if len(part.history.bars.sessions)]
    have = np.unique(np.searchsorted(calendar.sessions, np.concatenate(bars))) if bars else np.empty(0, np.int64)
    listed_from, delisted_on = answer.listed_from, answer.delisted_on
    found = []
    for first, last in ask.checked:
        spans = missing_spans(
            first,
            last,
            have.astype(np.int64),
            listed_from=calendar.ordinal(calendar.on_or_after(listed_from)) if listed_from else None,
            delisted_from=int(np.searchsorted(calendar.sessions, np.datetime64(delisted_on))) if delisted_on else None,
            absent=answer.absent,
        )
        if published_at is not None and now < published_at:
            spans = list(_late(spans, calendar.ordinal(newest)))
        for span, told in explain_all(spans, answer, calendar):
            reason = NoDataReason(span.reason)
            transient = reason.transient and (reason is not NoDataReason.QUARANTINED or answer.undecided)
            retry_at = answer.retry_at or told
            if retry_at is None and reason is NoDataReason.LATE:
                retry_at = published_at
            if retry_at is None and (transient or chain != FILE):
                age = max(0, calendar.ordinal(newest) - span.last)
                wait = retry_after(reason, length=span.last - span.first + 1, age=age)
                retry_at = now + wait if wait is not None else None
            found.append(
                PriceGap(span.first, span.last, str(span.reason), not transient, _told(chain, answer), now, retry_at)
            )
    return found


def _late(spans: Iterable[GapRange], newest: int) -> Iterator[GapRange]:
    """A bar of the newest session that is not out yet is late; that nothing traded is known once it would be."""
    for span in spans:
        if span.reason != NoDataReason.NO_TRADE or span.last < newest:
            yield span
            continue
        if span.first < newest:
            yield span._replace(last=newest - 1)
        yield GapRange(newest, newest, NoDataReason.LATE)


def _told(chain: str, answer: ChainResult) -> str:
    """Who may be asked, less those who could not be: once they can, that is another chain, and a reason to ask again."""
    return ",".join(name for name in chain.split(",") if name not in answer.broken)


def _actions(ask: FetchRequest, answer: ChainResult, calendar: Calendar) -> dict[tuple[int, date, str], ActionRow]:
    """Actions from the first source that lists any, by ex session. Two of a kind that fall on one session are one.

    Splits after the range are kept, because a file's prices and a user's file are on the basis of the newest; whoever
    computes for a session uses those up to it. A dividend is of no use before its day.
    """
    part = next((part for part in answer.parts if part.history.actions), None)
    grouped: dict[tuple[int, date, str], list[Action]] = {}
    for action in part.history.actions if part else ():
        if action.ex_date > calendar.horizon:
            continue
        ex_session = calendar.on_or_after(action.ex_date)
        if ex_session >= ask.first and (action.type == "split" or ex_session <= ask.last):
            grouped.setdefault((ask.symbol_id, ex_session, action.type), []).append(action)
    rows = {}
    for (id_, ex_session, type_), same in grouped.items():
        values = sorted(action.value for action in same)
        value = prod(values) if type_ == "split" else sum(values)
        assert part is not None
        rows[id_, ex_session, type_] = ActionRow(id_, ex_session, type_, value, same[-1].ex_date, part.provider)
    return rows


def _symbol(ask: FetchRequest, before: SymbolRow | None) -> SymbolRow:
    """Coverage reached; of two asks of one symbol by both, in one row."""
    row = before or SymbolRow(ask.symbol_id, ask.first, ask.last)
    return row._replace(first=min(row.first, ask.first), last=max(row.last, ask.last))


def _described(ask: FetchRequest, answer: ChainResult) -> Iterator[tuple[int, Described]]:
    part = next((part for part in answer.parts if part.history.profile), None)
    if part is None or (of := part.history.profile) is None:
        return
    asset_type = of.asset_type if of.asset_type != "unknown" else None
    yield ask.symbol_id, Described(ask.symbol_id, part.provider, of.as_of, asset_type, of.name, of.sector, of.industry)


def _prices(
    asks: Sequence[FetchRequest],
    fetched: Sequence[ChainResult],
    levels: Mapping[int, tuple[date, float]],
    calendar: Calendar,
) -> list[tuple[Any, ...]]:
    """Records for `store.prices.STAGED`, by symbol and session."""
    histories: list[History] = []
    providers: list[str] = []
    of_ask: list[int] = []
    for index, answer in enumerate(fetched):
        for part in answer.parts:
            if len(part.history.bars.sessions):
                histories.append(part.history)
                providers.append(part.provider)
                of_ask.append(index)
    if not histories:
        return []
    bars = [history.bars for history in histories]
    lengths = np.array([len(bar.sessions) for bar in bars])
    ends = np.cumsum(lengths)
    series = np.repeat(np.arange(len(bars)), lengths)
    sessions = np.concatenate([bar.sessions for bar in bars])
    ordinal = np.searchsorted(calendar.sessions, sessions).astype(np.int64)
    adjusted = np.array([bar.split_adjusted for bar in bars])
    listed = np.array([history.lists_splits for history in histories])
    splits, dividends = (
        _events([[action for action in history.actions if action.type == type_] for history in histories], calendar)
        for type_ in ("split", "dividend")
    )
    convertible = (adjusted & listed)[splits.series] if len(splits.series) else np.empty(0, bool)
    factor = split_factor(series, ordinal, Events(*(column[convertible] for column in splits)))
    delivered = {name: _joined(bars, name) for name in ("open", "high", "low", "close", "adj_close", "volume")}
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
        lists_actions=listed[series],
    )
    level = _bring_to_level(delivered["adj_close"], sessions, ends, of_ask, levels)
    symbol = np.array([asks[index].symbol_id for index in of_ask], dtype=np.int64)[series]
    known = _known(asks, of_ask, series, sessions)
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


def _joined(bars: Sequence[Bars], name: str) -> FloatVector:
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


def _known(asks: Sequence[FetchRequest], of_ask: Sequence[int], series: IntVector, sessions: Any) -> Any:
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
