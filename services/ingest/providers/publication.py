"""When sources publish, and sessions that one lacks because their hour has not come. Hours are New York's."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.ingest.model.market import Bars, NoDataReason, Request, Unserved
from shared.market.calendar import Calendar

NEW_YORK = ZoneInfo("America/New_York")
# Net asset values of funds come in the hours after eight in the evening.
FUNDS_PUBLISHED_AT = time(0, 30)


def is_fund(symbol: str) -> bool:
    """Whether a symbol is a mutual fund's: five letters that end in X, by the exchange's convention."""
    return len(symbol) == 5 and symbol.isalpha() and symbol.upper().endswith("X")


def in_new_york(day: date, at: time) -> datetime:
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)


def published_at(session: date, shares: time, *, fund: bool) -> datetime:
    """When a session's row is out (aware): of shares at `shares` of its day, of a fund half an hour after its midnight."""
    return in_new_york(session + timedelta(days=1), FUNDS_PUBLISHED_AT) if fund else in_new_york(session, shares)


def unpublished_sessions(
    request: Request, found: Bars, calendar: Calendar, now: datetime, published: Callable[[date], datetime]
) -> tuple[Unserved, ...]:
    """The newest sessions of a question that are missing and not out yet, as one span to be asked for at the hour of its last; or none."""
    newest = session = calendar.on_or_before(request.last)
    served = found.sessions[-1].item() if len(found.sessions) else date.min
    first = None
    while session > max(served, request.first - timedelta(days=1)) and now < published(session):
        first, session = session, calendar.previous(session)
    return () if first is None else (Unserved(first, request.last, NoDataReason.LATE, published(newest)),)
