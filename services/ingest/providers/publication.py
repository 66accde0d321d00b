"""Sessions that a source lacks because the hour at which it publishes them has not come."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

from services.ingest.model.market import Bars, NoDataReason, Request, Unserved
from shared.market.calendar import Calendar


def unpublished(
    request: Request, found: Bars, calendar: Calendar, now: datetime, published_at: Callable[[date], datetime]
) -> tuple[Unserved, ...]:
    """The newest sessions of a question that are missing and not out yet, as one span to be asked for at the hour of its last; or none."""
    newest = session = calendar.on_or_before(request.last)
    served = found.sessions[-1].item() if len(found.sessions) else date.min
    first = None
    while session > max(served, request.first - timedelta(days=1)) and now < published_at(session):
        first, session = session, calendar.previous(session)
    return () if first is None else (Unserved(first, request.last, NoDataReason.LATE, published_at(newest)),)
