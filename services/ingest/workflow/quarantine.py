"""A new price that jumps beyond five standard deviations without an action is not believed on one source's word.

Only of sessions that are decided now and lie after the first known one: a backfill's own history is its evidence, and asking
twice for it would double every onboarding. With one provider there is nobody to ask, and its word stands. What an operator
decided (`leadline symbols release` or `reject`) is followed whoever is enabled.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from services.ingest.providers.base import Absence, Absent, History, Request
from services.ingest.providers.chain import Fetched, Part
from services.ingest.store.quarantine import Doubt, Jump
from services.ingest.workflow.bars import only
from services.ingest.workflow.plan import Ask
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
) -> list[Jump]:
    """Jumps found. Bars from an unconfirmed one on are taken out of `fetched`, in place, and are `quarantined` there; of a
    jump that an operator rejected only its own bar.

    sigmas : of daily returns, by symbol id; known : earlier jumps by (symbol id, session), and what was decided about them
    """
    found = []
    for ask, answer in zip(asks, fetched, strict=True):
        sigma = sigmas.get(ask.symbol_id)
        # An option moves by multiples of its price on any day.
        if sigma is None or ask.known is None or parse_occ(ask.symbol):
            continue
        for index, original in enumerate(answer.parts):
            part, limit = original, SIGMAS * sigma
            for session, _ in _jumps(part.history, limit, calendar):
                if (earlier := known.get((ask.symbol_id, session))) and earlier.believed is False:
                    part = Part(part.provider, only(part.history, part.history.bars.sessions != np.datetime64(session)))
                    answer.parts[index], answer.absent = part, Absence.QUARANTINED
            for session, jump in _jumps(part.history, limit, calendar):
                if not _doubted(ask, session, known.get((ask.symbol_id, session)), calendar):
                    continue
                # Under the name the first was asked for: an alias is the same security for the second.
                other = second(Request(part.history.symbol, calendar.previous(session), session), part.provider)
                said = _return_on(other.history, session, calendar) if isinstance(other, Part) else None
                # Nobody else has the symbol at all: then there is nobody to ask.
                confirmed = other is None or (said is not None and abs(said - jump) <= AGREE * (1 + abs(jump)))
                who = other.provider if isinstance(other, Part) else None
                found.append(Jump(ask.symbol_id, session, part.provider, jump, sigma, who, said, confirmed))
                if not confirmed:
                    before = part.history.bars.sessions < np.datetime64(session)
                    answer.parts[index], answer.absent = (
                        Part(part.provider, only(part.history, before)),
                        Absence.QUARANTINED,
                    )
                    break
    return found


def _doubted(ask: Ask, session: date, earlier: Doubt | None, calendar: Calendar) -> bool:
    """Whether a jump needs a second word: an old one until somebody has decided, a new one if its session is only now decided."""
    if earlier is not None:
        return earlier.believed is None
    assert ask.known is not None
    ordinal = calendar.ordinal(session)
    return session > ask.known[0] and any(first <= ordinal <= last for first, last in ask.checked)


def _jumps(history: History, limit: float, calendar: Calendar) -> list[tuple[date, float]]:
    """Sessions whose price moved by more than `limit` from the session before, with no action of that day."""
    actions = {calendar.on_or_after(action.ex_date) for action in history.actions if action.ex_date <= calendar.horizon}
    days = history.bars.sessions.tolist()
    return [
        (day, jump)
        for day in days
        if day not in actions
        and (jump := _return_on(history, day, calendar)) is not None and abs(jump) > limit
    ]  # fmt: skip


def _return_on(history: History, session: date, calendar: Calendar) -> float | None:
    """Price return on a session, of closes or adjusted closes, without a split of that day; None if the source has not both days."""
    bars = history.bars
    days = {day: index for index, day in enumerate(bars.sessions.tolist())}
    here, there = days.get(session), days.get(calendar.previous(session))
    if here is None or there is None:
        return None
    split = 1.0
    for action in history.actions:
        if action.type == "split" and not bars.split_adjusted and calendar.on_or_after(action.ex_date) == session:
            split *= action.value
    for column, factor in ((bars.close, split), (bars.adj_close, 1.0)):
        ratio = float(column[here] * factor / column[there])
        if np.isfinite(ratio):
            return ratio - 1.0
    return None
