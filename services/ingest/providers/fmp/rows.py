"""FMP's rows, each by itself: an odd one costs what it says and not its symbol. What is left out is told in the log."""

import logging
from collections.abc import Callable, Iterable
from datetime import date
from math import prod
from typing import TypeVar

from services.ingest.model.market import Action
from services.ingest.providers.actions import check_actions, dividend, split
from services.ingest.providers.errors import SchemaChanged
from services.ingest.providers.normalise import Row
from services.ingest.providers.transport.payload import Record

Made = TypeVar("Made")
log = logging.getLogger(__name__)


def each_row(provider: str, name: str, items: Iterable[Record], read: Callable[[Record], Made | None]) -> list[Made]:
    """What can be read of the items. Raises `SchemaChanged` if none can: then it is the format that is another."""
    made: list[Made] = []
    odd: list[SchemaChanged] = []
    for item in items:
        try:
            row = read(item)
        except SchemaChanged as error:
            odd.append(error)
        else:
            if row is not None:
                made.append(row)
    if odd and not made:
        raise odd[0]
    if odd:
        log.warning("%s: %d rows of %s were left out: %s", provider, len(odd), name, odd[0])
    return made


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
    for item in splits:
        day = item.day("date")
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
    seen: set[object] = set()
    for item in dividends:
        day = item.day("date")
        if day <= unknown_before:
            continue
        try:
            paid, adjusted = item.opt_number("dividend"), item.opt_number("adjDividend")
            if not paid and adjusted:
                paid = adjusted * prod(s.value for s in listed if s.ex_date > day)
            # The same payment is listed twice at times; two payments of a day differ in amount or in the day they are paid on.
            told = (day, paid, item.opt_text("paymentDate"))
            if told in seen:
                continue
            seen.add(told)
            if paid:
                found.append(dividend(provider, day, paid))
        except SchemaChanged as error:
            if day >= since:
                raise
            log.warning("%s: a dividend of %s before what was asked for was left out: %s", provider, name, error)
    return check_actions(provider, tuple(sorted(found, key=lambda action: (action.ex_date, action.type))))
