"""What took effect, as a chart of Yahoo's lists it: splits, dividends, and capital gains that a dividend holds already, or does not."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from math import isfinite
from statistics import median
from typing import Final

from services.ingest.model.market import Action, LeftOut
from services.ingest.providers.actions import dividend, split
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.normalise import Row, is_ours
from services.ingest.providers.payments import SAME_PAYMENT, Payments, is_alike
from services.ingest.providers.transport.payload import Record

# A fund's daily return is mostly within so much, where its own say nothing or next to nothing.
LEAST_SIGMA, USUAL_SIGMA = 0.002, 0.0075
# Of a normal distribution, the median of what is left without its sign.
_MEDIAN: Final = 0.6745
# How much likelier the closes must be with both payments, as a difference of squared standard deviations, before both are believed.
MUCH_LIKELIER: Final = 6.0

log = logging.getLogger(__name__)
Payment = tuple[date, float]


def read_events(
    provider: str, chart: Record, symbol: str, rows: Sequence[Row], day_of: Callable[[Record], date]
) -> tuple[list[Action], list[LeftOut]]:
    """Actions, each once, and payments in another currency. An event without a day costs itself.

    Raises `SchemaChanged` for a ratio or an amount that can not be.
    """
    if not chart.has("events"):
        return [], []
    events = chart.record("events")
    actions: list[Action] = []
    for day, one in _with_days(provider, symbol, events.values("splits"), day_of):
        made = split(provider, day, one.number("numerator"), one.number("denominator"))
        actions += [made] if made not in actions else []
    left_out: list[LeftOut] = []
    paid: dict[str, list[Payment]] = {}
    for kind in ("dividends", "capitalGains"):
        listed: list[Payment] = []
        foreign: list[LeftOut] = []
        for day, one in _with_days(provider, symbol, events.values(kind), day_of):
            # Null is nothing paid; another name for it is another format.
            amount = one.opt_number("amount") if one.names("amount") else one.number("amount")
            currency = one.opt_text("currency")
            if not amount:
                continue
            if currency is not None and not is_ours(currency):
                foreign.append(LeftOut(day, amount, currency))
            else:
                listed.append((day, amount))
        paid[kind] = _each_once(provider, symbol, listed)
        for gone in dict.fromkeys(foreign):
            log.warning(
                "%s: a payment of %s on %s was left out: it is in %s, and nothing is converted",
                provider, symbol, gone.ex_date, gone.currency,
            )  # fmt: skip
            left_out.append(gone)
    dividends = _sums(paid["dividends"])
    gains = [
        (day, amount)
        for day, amount in paid["capitalGains"]
        if not (_is_as_large(dividends.get(day, 0.0), amount) and _holds(rows, day, dividends[day], amount))
    ]
    actions += [dividend(provider, day, amount) for day, amount in [*paid["dividends"], *gains]]
    return actions, left_out


def _with_days(
    provider: str, symbol: str, items: Iterable[Record], day_of: Callable[[Record], date]
) -> list[tuple[date, Record]]:
    """By day, so that the order of the keys is of no account. Raises `SchemaChanged` where the day has another name."""
    found: list[tuple[date, Record]] = []
    for item in items:
        try:
            found.append((day_of(item), item))
        except SchemaChanged as error:
            if not item.names("date"):
                raise
            log.warning("%s: an event of %s was left out: %s", provider, symbol, error)
    return sorted(found, key=lambda one: one[0])


def _each_once(provider: str, symbol: str, listed: Sequence[Payment]) -> list[Payment]:
    """Without those that are listed again: at another hour of the day, or within days of the first, as after a holiday.

    Who pays as much every day pays often; of that one, only what is listed twice for a day is one.
    """
    within, of_day = Payments(), Payments()
    kept = [one for one in listed if within.is_new(*one, around=SAME_PAYMENT)]
    once = [one for one in listed if of_day.is_new(*one)]
    if len(once) - len(kept) > len(kept):
        kept = once
    if len(kept) < len(listed):
        log.warning("%s: %d payments of %s are listed twice and paid once", provider, len(listed) - len(kept), symbol)
    return kept


def _is_as_large(paid: float, gain: float) -> bool:
    return paid >= gain or is_alike(paid, gain)


def _sums(payments: Iterable[Payment]) -> dict[date, float]:
    found: dict[date, float] = {}
    for day, amount in payments:
        found[day] = found.get(day, 0.0) + amount
    return found


def _holds(rows: Sequence[Row], day: date, paid: float, gain: float) -> bool:
    """Whether a fund's dividend of the day holds its gain, as it mostly does: unless the fall of the close is that of both.

    The adjusted closes do not tell: Yahoo takes off both either way.
    """
    closes = _closes(rows)
    place = next((i for i, (at, _) in enumerate(closes) if at >= day), None)
    if not place:
        return True
    before, here = closes[place - 1][1], closes[place][1]
    near = closes[max(0, place - 64) : place + 64]
    moves = [
        abs(later / earlier - 1.0) for (_, earlier), (at, later) in pairwise(near) if abs(at - day) > timedelta(days=5)
    ]
    sigma = max(median(moves) / _MEDIAN, LEAST_SIGMA) if len(moves) >= 5 else USUAL_SIGMA
    alone, both = ((here + paid) / before - 1.0) / sigma, ((here + paid + gain) / before - 1.0) / sigma
    return alone**2 - both**2 < MUCH_LIKELIER


def _closes(rows: Iterable[Row]) -> list[tuple[date, float]]:
    """By day, the last of several of a day."""
    found: Mapping[date, float] = {
        row.day: row.close for row in rows if row.close is not None and isfinite(row.close) and row.close > 0
    }
    return sorted(found.items())
