"""Which new prices jump beyond what a symbol moves by, after the actions that explain it. Pure."""

from collections.abc import Sequence
from datetime import date
from math import sqrt
from typing import NamedTuple

import numpy as np

from services.ingest.model.market import History
from services.ingest.model.stored import OutlierDecision, StoredClose
from services.ingest.model.write_set import FetchRequest
from shared.market.calendar import Calendar

SIGMAS = 5.0
WINDOW = 63
# A vendor's close and another's differ by the auction and by rounding; a wrong split or a slipped digit by far more.
AGREE = 0.02


class Last(NamedTuple):
    """A stored close, as traded."""

    session: date
    close: float


def last_close(stored: Sequence[StoredClose], history: History) -> Last | None:
    """The last stored close before the first bar."""
    first = history.bars.sessions[0].item() if len(history.bars.sessions) else date.min
    return next((Last(one.session, one.close) for one in reversed(stored) if one.session < first), None)


def needs_confirmation(ask: FetchRequest, session: date, earlier: OutlierDecision | None, calendar: Calendar) -> bool:
    """Whether a jump needs a second word: an old one until somebody has decided, a new one if its session is only now decided."""
    if earlier is not None:
        return earlier.confirmed is None
    assert ask.known is not None
    ordinal = calendar.ordinal(session)
    return session > ask.known[0] and any(first <= ordinal <= last for first, last in ask.checked)


class Move(NamedTuple):
    """From the price before, on `before`, to that of `session`."""

    session: date
    before: date
    move: float
    sessions: int


def price_jumps(history: History, limit: float, calendar: Calendar, last: Last | None) -> list[Move]:
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
        move = price_move(history, before, day, calendar, last.close if not index and last is not None else None)
        sessions = calendar.ordinal(day) - calendar.ordinal(before)
        if move is not None and abs(move) > limit * sqrt(sessions):
            found.append(Move(day, before, move, sessions))
    return found


def price_move(
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
