"""What took effect, as a chart of Yahoo's lists it: splits, dividends, and capital gains that a dividend holds already, or does not."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from math import isfinite
from typing import Final

from services.ingest.model.market import Action, LeftOut
from services.ingest.providers.actions import dividend, split
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.normalise import Row, is_ours
from services.ingest.providers.payments import SAME_PAYMENT, Payments, is_alike
from services.ingest.providers.transport.payload import Record

# No market falls by so much on a day that is not remembered; what fell further without a payment was paid.
BEYOND_MARKETS: Final = -0.07
# A gain above its dividend by no more may be one with it, told by another department; above that it cannot be inside.
NEARLY: Final = 0.05
# Two payments explain a fall where one leaves three times as much of it as both.
MUCH_NEARER: Final = 3.0

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
    closes = _closes(rows)
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
        paid[kind] = _each_once(provider, symbol, listed, closes)
        for gone in dict.fromkeys(foreign):
            log.warning(
                "%s: a payment of %s on %s was left out: it is in %s, and nothing is converted",
                provider, symbol, gone.ex_date, gone.currency,
            )  # fmt: skip
            left_out.append(gone)
    gains = _gains_beside(closes, paid["dividends"], paid["capitalGains"])
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


def _each_once(provider: str, symbol: str, listed: Sequence[Payment], closes: Sequence[Payment]) -> list[Payment]:
    """Without those that are listed again: at another hour of the day, or within days of the first, as after a holiday.

    Who pays as much every day pays often; of that one, only what is listed twice for a day is one. What the close fell by once
    more, as no market falls, was paid once more.
    """
    within, of_day = Payments(), Payments()
    kept: list[Payment] = []
    for one in listed:
        if within.is_new(*one, around=SAME_PAYMENT) or _fell_again(closes, one, kept):
            kept.append(one)
    once = [one for one in listed if of_day.is_new(*one)]
    if len(once) - len(kept) > len(kept):
        kept = once
    if len(kept) < len(listed):
        log.warning("%s: %d payments of %s are listed twice and paid once", provider, len(listed) - len(kept), symbol)
    return kept


def _fell_again(closes: Sequence[Payment], again: Payment, paid: Iterable[Payment]) -> bool:
    """Whether the close fell by a payment as well as by those of the same session that are paid already, as no market falls.

    A payment on a closed day belongs to the next session.
    """
    day, amount = again
    around = _around(closes, day, day)
    if around is None:
        return False
    (before, _), (session, _) = around
    alone, both = _moves(around, sum(other for at, other in paid if before < at <= session), amount)
    return alone <= BEYOND_MARKETS and abs(both) * MUCH_NEARER <= abs(alone)


def _gains_beside(closes: Sequence[Payment], dividends: Sequence[Payment], gains: Sequence[Payment]) -> list[Payment]:
    """The gains that no dividend of the same days holds."""
    beside: list[Payment] = []
    held: dict[date, list[Payment]] = {}
    for gain in gains:
        around = [(day, paid) for day, paid in dividends if abs(day - gain[0]) <= SAME_PAYMENT]
        near = [day for day, paid in around if paid * (1.0 + NEARLY) >= gain[1]] or [day for day, _ in around]
        if not near:
            beside.append(gain)
        else:
            held.setdefault(min(near, key=lambda day: (abs(day - gain[0]), day)), []).append(gain)
    for day, of_day in held.items():
        paid = sum(amount for at, amount in dividends if at == day)
        days = (day, *(at for at, _ in of_day))
        if not _holds(closes, (min(days), max(days)), paid, [amount for _, amount in of_day]):
            beside += of_day
    return sorted(beside)


def _holds(closes: Sequence[Payment], days: tuple[date, date], paid: float, gains: Sequence[float]) -> bool:
    """Whether a fund's dividend holds its gains, as Yahoo's do: unless they are too large for it, or the fall for any market.

    A market that falls on the day looks like a gain beside, so that a likely fall tells nothing. It is asked only where the gains
    are hardly larger than the dividend. The adjusted closes do not tell: Yahoo takes off both either way.
    """
    if max(gains) > paid * (1.0 + NEARLY):
        return False
    total = sum(gains)
    around = _around(closes, *days)
    if around is None:
        return True
    alone, both = _moves(around, paid, total)
    if total > paid and not is_alike(total, paid):
        return abs(alone) <= abs(both)
    return alone > BEYOND_MARKETS or abs(both) * MUCH_NEARER > abs(alone)


def _around(closes: Sequence[Payment], first: date, last: date) -> tuple[Payment, Payment] | None:
    """The close before `first` and that of `last`, with their days; None without one of them."""
    before = [close for close in closes if close[0] < first]
    here = [close for close in closes if close[0] >= last]
    return (before[-1], here[0]) if before and here else None


def _moves(around: tuple[Payment, Payment], paid: float, more: float) -> tuple[float, float]:
    """Returns from one close to the other, with what was paid, and with `more`."""
    (_, before), (_, here) = around
    return (here + paid) / before - 1.0, (here + paid + more) / before - 1.0


def _closes(rows: Iterable[Row]) -> list[tuple[date, float]]:
    """By day, the last of several of a day."""
    found: Mapping[date, float] = {
        row.day: row.close for row in rows if row.close is not None and isfinite(row.close) and row.close > 0
    }
    return sorted(found.items())
