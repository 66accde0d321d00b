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
from services.ingest.compute.outliers import AGREE, SIGMAS, doubted, last_close, price_jumps, price_move
from services.ingest.model.market import ChainResult, NoData, NoDataReason, ProviderSeries, Request
from services.ingest.model.stored import OutlierDecision, PriceOutlier, StoredClose
from services.ingest.model.write_set import FetchRequest
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

SecondOpinion = Callable[[Request, str], ProviderSeries | NoData | None]


class OutlierInputs(NamedTuple):
    """Standard deviations by symbol id, and jumps found before by (symbol id, session) with what was decided about them."""

    sigmas: Mapping[int, float]
    known: Mapping[tuple[int, date], OutlierDecision]

    def decisions_applied(self, asks: Sequence[FetchRequest]) -> dict[tuple[int, date], int]:
        """Decisions about sessions the asks are about: after their answers they have been taken up."""
        spans: dict[int, list[FetchRequest]] = {}
        for ask in asks:
            spans.setdefault(ask.symbol_id, []).append(ask)
        return {
            (id_, session): doubt.decision
            for (id_, session), doubt in self.known.items()
            if doubt.decision is not None and any(ask.first <= session <= ask.last for ask in spans.get(id_, ()))
        }


def detect_outliers(
    asks: Sequence[FetchRequest],
    fetched: Sequence[ChainResult],
    sigmas: Mapping[int, float],
    known: Mapping[tuple[int, date], OutlierDecision],
    calendar: Calendar,
    second: SecondOpinion,
    stored: Mapping[int, Sequence[StoredClose]] = MappingProxyType({}),
) -> list[PriceOutlier]:
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
            last = last_close(stored.get(place, ()), part.history)
            for session in [jump.session for jump in price_jumps(part.history, limit, calendar, last)]:
                if (earlier := known.get((ask.symbol_id, session))) and earlier.confirmed is False:
                    part = ProviderSeries(
                        part.provider, only(part.history, part.history.bars.sessions != np.datetime64(session))
                    )
                    answer.parts[index], answer.absent = part, NoDataReason.QUARANTINED
            for session, before, jump, sessions in price_jumps(part.history, limit, calendar, last):
                if not doubted(ask, session, known.get((ask.symbol_id, session)), calendar):
                    continue
                # Under the name the first was asked for: an alias is the same security for the second.
                other = second(Request(part.history.symbol, before, session), part.provider)
                said = (
                    price_move(other.history, before, session, calendar) if isinstance(other, ProviderSeries) else None
                )
                # Nobody else has the symbol at all: then there is nobody to ask.
                confirmed = other is None or (said is not None and abs(said - jump) <= AGREE * (1 + abs(jump)))
                who = other.provider if isinstance(other, ProviderSeries) else None
                found.append(
                    PriceOutlier(
                        ask.symbol_id, session, part.provider, jump, sigma * sqrt(sessions), who, said, confirmed
                    )
                )
                if not confirmed:
                    # Whoever has answered otherwise will hardly say anything else: only who has not yet is waited for.
                    answer.undecided = isinstance(other, NoData)
                    kept = part.history.bars.sessions < np.datetime64(session)
                    answer.parts[index], answer.absent = (
                        ProviderSeries(part.provider, only(part.history, kept)),
                        NoDataReason.QUARANTINED,
                    )
                    break
    return found
