"""From the providers' answers to rows: one conversion, one rule for returns, one for absences. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from math import prod

import numpy as np

from services.ingest.compute.price_rows import price_rows
from services.ingest.compute.retry_policy import retry_after
from services.ingest.compute.returns import GapRange, missing_spans
from services.ingest.compute.unserved import explain_all
from services.ingest.model.market import Action, ChainResult, NoDataReason
from services.ingest.model.stored import ActionRow, Described, PriceGap, PriceOutlier, SymbolRow
from services.ingest.model.write_set import FetchRequest, WriteSet
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
        described |= _descriptions(ask, answer)
    listed = [
        (ask.symbol_id, ask.first, ask.last, part.provider)
        for ask, answer in zip(asks, fetched, strict=True)
        for part in answer.parts[:1]
        # What a list that is refused held before stands.
        if part.history.lists_splits and not part.history.actions_refused and len(part.history.bars.sessions)
    ]
    rows = price_rows(asks, fetched, levels, calendar)
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
                PriceGap(
                    span.first,
                    span.last,
                    str(span.reason),
                    not transient,
                    _answering_chain(chain, answer),
                    now,
                    retry_at,
                )
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


def _answering_chain(chain: str, answer: ChainResult) -> str:
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
        rows[id_, ex_session, type_] = ActionRow(id_, ex_session, type_, value, same[-1].ex_date, part.actions_by)
    return rows


def _symbol(ask: FetchRequest, before: SymbolRow | None) -> SymbolRow:
    """Coverage reached; of two asks of one symbol by both, in one row."""
    row = before or SymbolRow(ask.symbol_id, ask.first, ask.last)
    return row._replace(first=min(row.first, ask.first), last=max(row.last, ask.last))


def _descriptions(ask: FetchRequest, answer: ChainResult) -> Iterator[tuple[int, Described]]:
    part = next((part for part in answer.parts if part.history.profile), None)
    if part is None or (of := part.history.profile) is None:
        return
    asset_type = of.asset_type if of.asset_type != "unknown" else None
    yield ask.symbol_id, Described(ask.symbol_id, part.provider, of.as_of, asset_type, of.name, of.sector, of.industry)
