"""When an absence is asked for again, by its reason. One chain of attempts a window, whatever the number of sessions. Pure."""

from datetime import timedelta

from services.ingest.model.market import NoDataReason

# A limit or an outage whose end the provider did not tell.
TRANSIENT = timedelta(minutes=5)
# A second provider may have the session by then, or the first may have corrected itself. An old one is asked for daily.
SUSPECT = timedelta(hours=1)
# The newest session's bar may be late; a vendor has it by the next morning.
LATE_BAR = timedelta(hours=4)
# A halt of a week ends or does not; after that nobody is asked more than once a week.
HALTED = timedelta(days=1)
SILENT = timedelta(days=7)
HALT_SESSIONS = 5
# A hole this many sessions back that no vendor has filled stays one. Corrections that late come with `rerun`.
OLD_SESSIONS = 21
# Unknown symbols: a typing mistake mostly, else a listing some days away.
UNKNOWN = timedelta(days=3)
# A question only the user answers; the vendors' lists change too, rarely.
QUESTION = timedelta(days=30)
# A dated announcement is not taken back, but symbols are used again.
GONE = timedelta(days=30)

PRESUMED = frozenset(
    {
        NoDataReason.NOT_FOUND, NoDataReason.AMBIGUOUS, NoDataReason.DELISTED, NoDataReason.NO_TRADE, NoDataReason.NOT_YET_LISTED,
        NoDataReason.FOREIGN_CURRENCY,
    }
)  # fmt: skip
"""Reasons that stand for further sessions until the window ends. Of a silent series only once it is no short halt."""


def retry_after(reason: NoDataReason, *, length: int, age: int) -> timedelta | None:
    """None: never by itself. length: sessions of the absence; age: sessions between its last one and the newest due one."""
    if reason is NoDataReason.QUARANTINED:
        return SUSPECT if age == 0 else HALTED
    if reason.transient:
        return TRANSIENT
    if reason is NoDataReason.NO_TRADE:
        if age > OLD_SESSIONS:
            return None
        if length > HALT_SESSIONS:
            return SILENT
        return LATE_BAR if age == 0 else HALTED
    windows = {
        NoDataReason.NOT_FOUND: UNKNOWN, NoDataReason.AMBIGUOUS: QUESTION, NoDataReason.DELISTED: GONE,
        NoDataReason.FOREIGN_CURRENCY: QUESTION,
        NoDataReason.PLAN_LIMIT: QUESTION,
    }  # fmt: skip
    return windows.get(reason)


def carries_forward(reason: str, length: int) -> bool:
    """Whether an absence of so many sessions is presumed to go on while its window lasts."""
    absence = NoDataReason(reason)
    return absence in PRESUMED and (absence is not NoDataReason.NO_TRADE or length > HALT_SESSIONS)
