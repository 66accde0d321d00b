"""A new price that jumps beyond five standard deviations is not believed on one source's word. What an action of the day explains
is no jump; what it leaves unexplained is one, however large the action is said to be.

Only of sessions that are decided now and lie after the first known one: a backfill's own history is its evidence, and asking
twice for it would double every onboarding. With one provider there is nobody to ask, and its word stands. What an operator
decided (`leadline symbols release` or `reject`) is followed whoever is enabled.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from math import sqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from services.ingest.compute.bars import only
from services.ingest.compute.requests import Ask
from services.ingest.model.market import Absence, Absent, History, Request
from services.ingest.providers.chain import Fetched, Part
from services.ingest.store.quarantine import Doubt, Jump
from services.ingest.store.vintage import Sample
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

SIGMAS = 5.0
WINDOW = 63
# A vendor's close and another's differ by the auction and by rounding; a wrong split or a slipped digit by far more.
AGREE = 0.02
SecondOpinion = Callable[[Request, str], Part | Absent | None]


class Doubts(NamedTuple):
    """Standard deviations by symbol id, and jumps found before by (symbol id, session) with what was decided about them."""

    sigmas: Mapping[int, float]
    known: Mapping[tuple[int, date], Doubt]

    def followed(self, asks: Sequence[Ask]) -> dict[tuple[int, date], int]:
        """Decisions about sessions the asks are about: after their answers they have been taken up."""
        spans: dict[int, list[Ask]] = {}
        for ask in asks:
            spans.setdefault(ask.symbol_id, []).append(ask)
        return {
            (id_, session): doubt.decision
            for (id_, session), doubt in self.known.items()
            if doubt.decision is not None and any(ask.first <= session <= ask.last for ask in spans.get(id_, ()))
        }


def examined(
    asks: Sequence[Ask],
    fetched: Sequence[Fetched],
    sigmas: Mapping[int, float],
    known: Mapping[tuple[int, date], Doubt],
    calendar: Calendar,
    second: SecondOpinion,
    stored: Mapping[int, Sequence[Sample]] = MappingProxyType({}),
) -> list[Jump]:
    """Jumps found. Bars from an unconfirmed one on are taken out of `fetched`, in place, and are `quarantined` there; of a
    jump that an operator rejected only its own bar.

    sigmas : of daily returns, by symbol id; known : earlier jumps by (symbol id, session), and what was decided about them
    stored : closes by the ask's index, for a bar that has none before it in its own answer
    """
    found = []
    for place, (ask, answer) in enumerate(zip(asks, fetched, strict=True)):
        sigma = sigmas.get(ask.symbol_id)
        # An option moves by multiples of its price on any day.
        if sigma is None or ask.known is None or parse_occ(ask.symbol):
            continue
        for index, original in enumerate(answer.parts):
            part, limit = original, SIGMAS * sigma
            last = _last(stored.get(place, ()), part.history)
            for session in [jump.session for jump in _jumps(part.history, limit, calendar, last)]:
                if (earlier := known.get((ask.symbol_id, session))) and earlier.believed is False:
                    part = Part(part.provider, only(part.history, part.history.bars.sessions != np.datetime64(session)))
                    answer.parts[index], answer.absent = part, Absence.QUARANTINED
            for session, before, jump, sessions in _jumps(part.history, limit, calendar, last):
                if not _doubted(ask, session, known.get((ask.symbol_id, session)), calendar):
                    continue
                # Under the name the first was asked for: an alias is the same security for the second.
                other = second(Request(part.history.symbol, before, session), part.provider)
                said = _move(other.history, before, session, calendar) if isinstance(other, Part) else None
                # Nobody else has the symbol at all: then there is nobody to ask.
                confirmed = other is None or (said is not None and abs(said - jump) <= AGREE * (1 + abs(jump)))
                who = other.provider if isinstance(other, Part) else None
                found.append(
                    Jump(ask.symbol_id, session, part.provider, jump, sigma * sqrt(sessions), who, said, confirmed)
                )
                if not confirmed:
                    kept = part.history.bars.sessions < np.datetime64(session)
                    answer.parts[index], answer.absent = (
                        Part(part.provider, only(part.history, kept)),
                        Absence.QUARANTINED,
                    )
                    break
    return found


class Last(NamedTuple):
    """A stored close, as traded."""

    session: date
    close: float


def _last(stored: Sequence[Sample], history: History) -> Last | None:
    """The last stored close before the first bar."""
    first = history.bars.sessions[0].item() if len(history.bars.sessions) else date.min
    return next((Last(one.session, one.close) for one in reversed(stored) if one.session < first), None)


def _doubted(ask: Ask, session: date, earlier: Doubt | None, calendar: Calendar) -> bool:
    """Whether a jump needs a second word: an old one until somebody has decided, a new one if its session is only now decided."""
    if earlier is not None:
        return earlier.believed is None
    assert ask.known is not None
    ordinal = calendar.ordinal(session)
    return session > ask.known[0] and any(first <= ordinal <= last for first, last in ask.checked)


class _Move(NamedTuple):
    """From the price before, on `before`, to that of `session`."""

    session: date
    before: date
    move: float
    sessions: int


def _jumps(history: History, limit: float, calendar: Calendar, last: Last | None) -> list[_Move]:
    """Prices that moved by more than `limit` a day from the one before them, whatever lies between, after the actions.

    last : the last stored price before the bars, for the first of them
    """
    bars = history.bars
    days: list[date] = bars.sessions.tolist()
    if not days:
        return []
    ordinals = np.searchsorted(calendar.sessions, bars.sessions)
    moves = bars.close[1:] / bars.close[:-1] - 1.0
    moves = np.where(np.isfinite(moves), moves, bars.adj_close[1:] / bars.adj_close[:-1] - 1.0)
    suspect = np.concatenate(([True], np.abs(moves) > limit * np.sqrt(np.diff(ordinals))))
    # Where there is an action the delivered closes alone tell nothing.
    acting = [action.ex_date for action in history.actions if action.ex_date <= calendar.horizon]
    places = np.searchsorted(bars.sessions, np.array(acting, dtype="datetime64[D]"))
    suspect[places[places < len(days)]] = True
    found = []
    for index in np.flatnonzero(suspect).tolist():
        day = days[index]
        before = days[index - 1] if index else last.session if last is not None and last.session < day else None
        if before is None:
            continue
        move = _move(history, before, day, calendar, last.close if not index and last is not None else None)
        sessions = calendar.ordinal(day) - calendar.ordinal(before)
        if move is not None and abs(move) > limit * sqrt(sessions):
            found.append(_Move(day, before, move, sessions))
    return found


def _move(
    history: History, before: date, session: date, calendar: Calendar, close: float | None = None
) -> float | None:
    """S (C + D) / C₋₁ − 1 of closes as traded, with the splits S and dividends D between them; of adjusted closes where the source has no
    others; None if it has not both days.

    close : as traded on `before`, where it is stored and not among the bars
    """
    bars = history.bars
    here, there = (int(np.searchsorted(bars.sessions, np.datetime64(day, "D"))) for day in (session, before))
    days = bars.sessions.tolist()
    if here == len(days) or days[here] != session:
        return None
    split, later, paid = 1.0, 1.0, 0.0
    for action in sorted(history.actions, key=lambda action: (action.ex_date, action.value)):
        if action.ex_date > calendar.horizon:
            continue
        ex = calendar.on_or_after(action.ex_date)
        if action.type == "split":
            split *= action.value if before < ex <= session else 1.0
            later *= action.value if ex > session else 1.0
        elif before < ex <= session:
            paid += action.value
    converted = bars.split_adjusted and history.lists_splits
    now = float(bars.close[here]) * (later if converted else 1.0)
    if close is not None:
        return split * (now + paid) / close - 1.0 if np.isfinite(now) else None
    if there == len(days) or days[there] != before:
        return None
    then = float(bars.close[there]) * (later * split if converted else 1.0)
    if np.isfinite(now) and np.isfinite(then):
        return split * (now + paid) / then - 1.0
    ratio = float(bars.adj_close[here] / bars.adj_close[there])
    return ratio - 1.0 if np.isfinite(ratio) else None
