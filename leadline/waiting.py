"""When waiting for a portfolio is over."""

from __future__ import annotations

from leadline.errors import Blocked, NotInTime
from leadline.models import Status

WAIT_SECONDS, POLL_SECONDS = 600.0, 1.0


def is_finished(status: Status) -> bool:
    """Whether nothing is missing that comes by itself. Raises Blocked where nothing comes without a person."""
    if status["state"] == "blocked":
        why = "; ".join(dict.fromkeys(hole["reason"] for hole in status["holes"] if hole["reason"]))
        raise Blocked(f"Portfolio {status['id']} is blocked{': ' + why if why else ''}.", body=dict(status))
    return status["state"] != "healing"


def not_in_time(status: Status, seconds: float) -> NotInTime:
    done = f"{status['completed']:,} of {status['expected']:,} units"
    return NotInTime(f"After {seconds:g} seconds {done} of portfolio {status['id']} are done.", body=dict(status))
