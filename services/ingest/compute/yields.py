"""Which curves are news, which sessions look at them, and when a year of them is asked for again. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.market.calendar import Calendar
from shared.market.curve import CURVE_MOST_DAYS, Curve, is_bank_holiday

# The Treasury publishes a day's curve between the close of trading and six in the evening of New York.
PUBLISHED_AT = time(18, 0)
# A curve that is not out yet, or a source that does not answer.
RETRY = timedelta(minutes=30)
# The last curve of a year is published within its first week; after that the year does not change.
SETTLED_AFTER = timedelta(days=7)
# Published with two decimals of a per cent; less than half of the last one is the arithmetic of whoever converted it.
SAME = 5e-7
_NEW_YORK = ZoneInfo("America/New_York")


def news(
    found: Sequence[Curve], provider: str, stored: Mapping[date, tuple[Curve, str]], order: Sequence[str]
) -> list[Curve]:
    """Curves that are not stored, or whose yields differ from what is stored and is not of a source the user puts first.

    A further tenor of the same yields is no news: two sources print the same curve with more or fewer columns.
    """
    out = []
    for curve in found:
        before = stored.get(curve.date)
        if before is None:
            out.append(curve)
            continue
        known, by = before
        if by in order and provider in order and order.index(by) < order.index(provider):
            continue
        old, new = (
            dict(zip(known.tenors, known.yields, strict=True)),
            dict(zip(curve.tenors, curve.yields, strict=True)),
        )
        if any(abs(old[tenor] - new[tenor]) > SAME for tenor in old.keys() & new.keys()):
            out.append(curve)
    return out


def affected_days(changed: Sequence[date], known: Sequence[date]) -> list[tuple[date, date]]:
    """Days [first, last] whose newest curve dated before them is one of `changed`, ascending and disjoint.

    known : dates of all curves there are around, ascending, the changed ones among them
    """
    spans: list[tuple[date, date]] = []
    for day in sorted(changed):
        following = next((other for other in known if other > day), date.max)
        last = min(following, day + timedelta(days=CURVE_MOST_DAYS))
        first = day + timedelta(days=1)
        if spans and first <= spans[-1][1] + timedelta(days=1):
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    return spans


def spans_without(sessions: Sequence[date], left_out: Collection[date]) -> list[tuple[date, date]]:
    """The consecutive sessions, less those left out, as ranges [first, last]."""
    spans: list[tuple[date, date]] = []
    follows = False
    for session in sessions:
        if session in left_out:
            follows = False
            continue
        spans = [*spans[:-1], (spans[-1][0], session)] if follows else [*spans, (session, session)]
        follows = True
    return spans


def ask_again_at(
    year: int, newest: date | None, calendar: Calendar, last_due: date, now: datetime, retry_at: datetime | None = None
) -> datetime | None:
    """When a year of curves is asked for again after an answer, or after none (`newest` None); None: never.

    newest   : date of the newest curve of the answer
    last_due : the newest session whose prices are expected
    retry_at : when the source that failed said to come back
    """
    settled = datetime.combine(date(year + 1, 1, 1), time(), UTC) + SETTLED_AFTER
    if newest is None:
        return max(retry_at or now, now + RETRY)
    if now >= settled:
        return None
    expected = last_due
    while is_bank_holiday(expected):
        expected = calendar.back(expected, 1)
    if newest < expected and expected.year == year:
        return now + RETRY
    following = calendar.forward(last_due, 1)
    return max(datetime.combine(following, PUBLISHED_AT, _NEW_YORK).astimezone(UTC), now + RETRY)
