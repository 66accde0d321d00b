"""FMP's rows, each by itself: an odd one costs what it says and not its symbol. What is left out is told in the log."""

import logging
from collections.abc import Iterable
from datetime import date
from math import prod

from services.ingest.model.market import Action
from services.ingest.providers.actions import check_actions, dividend, split
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.normalise import Row
from services.ingest.providers.payments import Payments
from services.ingest.providers.transport.payload import Record, with_days

log = logging.getLogger(__name__)


def price_row(provider: str, name: str, item: Record) -> Row:
    """One day. A close of null is no bar; another value that is no number is none. Raises `SchemaChanged` without a day or a close."""
    if not item.names("close"):
        item.number("close")

    def number(key: str) -> float | None:
        try:
            return item.opt_number(key)
        except SchemaChanged as error:
            log.warning("%s: a value of %s was left out: %s", provider, name, error)
            return None

    day, close = item.day("date"), item.opt_number("close")
    return Row(day, number("open"), number("high"), number("low"), close, None, number("volume"))


def listed_actions(
    provider: str, name: str, splits: Iterable[Record], dividends: Iterable[Record], *, since: date, until: date
) -> tuple[Action, ...]:
    """All there are up to `until` (splits), each once. Dividends are stated as paid and on today's shares; where only the latter is there,
    it is converted.

    since : the first session asked for. An action before it that can not be is left out, and with it everything before an odd split, whose
            basis nobody knows; one within the range is not. Raises `SchemaChanged`.
    """
    found: list[Action] = []
    unknown_before = date.min
    for day, item in with_days(provider, f"splits of {name}", splits, "date"):
        try:
            if day <= until:
                one = split(provider, day, item.number("numerator"), item.number("denominator"))
                found += [one] if one not in found else []
        except SchemaChanged as error:
            if day >= since:
                raise
            unknown_before = max(unknown_before, day)
            log.warning("%s: a split of %s before what was asked for was left out: %s", provider, name, error)
    found = [action for action in found if action.ex_date > unknown_before]
    listed = list(found)
    payments = Payments()
    for day, item in with_days(provider, f"dividends of {name}", dividends, "date"):
        if day <= unknown_before:
            continue
        try:
            paid = _cash_per_share(item, prod(s.value for s in listed if s.ex_date > day))
            if paid and payments.is_new(day, paid, (item.opt_text("paymentDate"),)):
                found.append(dividend(provider, day, paid))
        except SchemaChanged as error:
            if day >= since:
                raise
            log.warning("%s: a dividend of %s before what was asked for was left out: %s", provider, name, error)
    return check_actions(provider, tuple(sorted(found, key=lambda action: (action.ex_date, action.type))))


def _cash_per_share(item: Record, later: float) -> float | None:
    """Cash per share of the day, by the one of its two columns that can be read. Raises `SchemaChanged` where none of them can be.

    later : new shares per old of the splits after it
    """
    found: list[float | None] = []
    odd: list[SchemaChanged] = []
    for key, factor in (("dividend", 1.0), ("adjDividend", later)):
        try:
            value = item.opt_number(key)
        except SchemaChanged as error:
            odd.append(error)
        else:
            found.append(value * factor if value else value)
    paid = next((value for value in found if value), None)
    if paid is None and odd:
        raise odd[0]
    return paid
