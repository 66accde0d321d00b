"""Compare a result's price basis with stored closes. Pure.

A vendor adjusts its closes for a split and lists the split in two steps, hours or days apart. Taken between them, an answer would
be a loss that nobody had; taken after them, its split would lie before the range that was asked for. Both show in what an
answer says of sessions that are known: closes off by a factor, or actions that are not stored. Then the symbol, and no other, is asked
for over all that is known of it, and what is stored is restated from one vintage. Where that does not explain the closes either, nothing
of it is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from math import isfinite

from services.ingest.compute.splits import confirmed_adjusted_splits
from services.ingest.model.market import ChainResult, History, ProviderSeries
from services.ingest.model.stored import GapRow, StoredClose, StoredEvidence
from services.ingest.model.write_set import FetchRequest
from shared.market.calendar import Calendar

# Two vendors' closes of a day differ by the auction and by rounding; bases differ by splits, and hardly one is smaller than this.
SHIFT = 0.02


def contradicts_stored(request: FetchRequest, answer: ChainResult, stored: StoredEvidence, calendar: Calendar) -> bool:
    """Whether an answer about known sessions is on another basis than what is stored, lists actions that are not stored so, or no
    longer one that its provider told of on the session it joins at; or what is stored breaks off at a split of its own.

    Another basis not where an operator confirmed the next price after the stored ones.
    """
    assert request.known is not None
    if stored.unadjusted_split:
        return True
    listed = listed_actions(request, answer, stored.closes, calendar)
    known = {(action.ex_session, action.type): action.value for action in stored.actions}
    for session, type_, value in listed:
        before = known.get((session, type_))
        if before is None or abs(before - value) > 1e-6 * before:
            return True
    part = series_with_actions(answer)
    if part is not None and request.first > request.known[0]:
        still = {(session, type_) for session, type_, _ in listed}
        for action in stored.actions:
            at_edge = action.ex_session == request.first and action.provider == part.actions_by
            if at_edge and (action.ex_session, action.type) not in still:
                return True
    if not basis_mismatch(answer, stored.closes, calendar):
        return False
    following = next_session(answer, stored.closes)
    decision = stored.decisions.get(following) if following is not None else None
    return decision is None or decision.confirmed is not True


def listed_actions(
    request: FetchRequest, answer: ChainResult, samples: Sequence[StoredClose], calendar: Calendar
) -> list[tuple[date, str, float]]:
    """(ex session, type, value) of the answer's actions on known sessions, where it brings no return over them.

    Dividends only as the provider of the stored prices lists them: vendors do not agree on all of them.
    """
    part = series_with_actions(answer)
    if request.known is None or part is None:
        return []
    low, high = request.known
    same = bool(samples) and samples[-1].provider == part.provider
    return [
        (session, type_, value)
        for session, type_, value in actions_of(part.history, calendar)
        if low < session <= high and not request.first < session <= request.last and (type_ == "split" or same)
    ]


def next_session(answer: ChainResult, samples: Sequence[StoredClose]) -> date | None:
    """The first session of the first source after the last stored price."""
    if not samples or not answer.parts:
        return None
    days = (day for day in answer.parts[0].history.bars.sessions.tolist() if day > samples[-1].session)
    return next(days, None)


def series_with_actions(answer: ChainResult) -> ProviderSeries | None:
    """The part whose actions are taken."""
    return next((part for part in answer.parts if part.history.actions), None)


def actions_of(history: History, calendar: Calendar) -> list[tuple[date, str, float]]:
    """(ex session, type, value), those of a kind and session in one."""
    grouped: dict[tuple[date, str], float] = {}
    for action in sorted(history.actions, key=lambda action: (action.ex_date, action.value)):
        if action.ex_date > calendar.horizon:
            continue
        key = calendar.on_or_after(action.ex_date), action.type
        if key in grouped:
            grouped[key] = grouped[key] * action.value if action.type == "split" else grouped[key] + action.value
        else:
            grouped[key] = action.value
    return [(*key, value) for key, value in grouped.items()]


def basis_mismatch(
    answer: ChainResult,
    samples: Sequence[StoredClose],
    calendar: Calendar,
    stored_splits: Mapping[date, float] | None = None,
) -> bool:
    """Whether at least half of the stored closes that the answer has too are off by a factor.

    stored_splits : where given, a factor is explained by splits that are listed and not stored, or stored and not listed, or
                    that the answer's closes prove to be adjusted for while the stored ones are off by just these
    """
    compared = off = 0
    for part in answer.parts:
        listed = {day: value for day, type_, value in actions_of(part.history, calendar) if type_ == "split"}
        closes = dict(zip(part.history.bars.sessions.tolist(), part.history.bars.close.tolist(), strict=True))
        convert = part.history.bars.split_adjusted and part.history.lists_splits
        shown = confirmed_adjusted_splits(part.history, calendar) if stored_splits is not None else set()
        for sample in samples:
            close = closes.get(sample.session)
            if close is None or not isfinite(close):
                continue
            ratio = close * (_after(listed, sample.session) if convert else 1.0) / sample.close
            explained = [1.0]
            if stored_splits is not None:
                explained += [
                    _after({day: value for day, value in listed.items() if day not in stored_splits}, sample.session),
                    1.0
                    / _after({day: value for day, value in stored_splits.items() if day not in listed}, sample.session),
                    1.0
                    / _after(
                        {day: value for day, value in listed.items() if day in stored_splits and day in shown},
                        sample.session,
                    ),
                ]
            compared += 1
            off += all(abs(ratio / factor - 1.0) > SHIFT for factor in explained)
    return off > 0 and 2 * off >= compared


def _after(splits: Mapping[date, float], session: date) -> float:
    factor = 1.0
    for day, value in sorted(splits.items()):
        if day > session:
            factor *= value
    return factor


def widen_request(asks: Sequence[FetchRequest], gaps: Sequence[GapRow], calendar: Calendar) -> FetchRequest:
    """One ask for the asks of a symbol and everything that is known of it; it decides the absences among that too."""
    one = asks[0]
    assert one.known is not None
    first, last = min(one.known[0], *(ask.first for ask in asks)), max(one.known[1], *(ask.last for ask in asks))
    low, high = calendar.ordinal(one.known[0]), calendar.ordinal(one.known[1])
    absent = [(max(low, gap[0]), min(high, gap[1])) for gap in gaps if gap[0] <= high and gap[1] >= low]
    checked = sorted({span for ask in asks for span in ask.checked} | set(absent))
    return replace(one, first=first, last=last, checked=tuple(_join_spans(checked)), wide=True)


def _join_spans(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for low, high in spans:
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return out
