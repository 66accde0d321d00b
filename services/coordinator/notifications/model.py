"""Limits and webhooks as values, and the signature of a message. Nothing here reads or writes anything."""

from __future__ import annotations

import hashlib
import hmac
import operator
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

# Found by scanners of source code and logs, which look for a fixed beginning.
SECRET_PREFIX = "leadline_hook_"  # noqa: S105 (the beginning of every secret, not one)
SECRET_BYTES = 32
LATE: Final = timedelta(days=3)
"""A message that could not be delivered for so long is given up: what it says is history by then."""
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(hours=1)


class Op(StrEnum):
    """How a figure is compared with the value: the limit is breached where the comparison holds."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="


_HOLDS: Final[Mapping[Op, Callable[[float, float], bool]]] = {
    Op.ABOVE: operator.gt,
    Op.AT_LEAST: operator.ge,
    Op.BELOW: operator.lt,
    Op.AT_MOST: operator.le,
}


class LimitState(StrEnum):
    KEPT = "kept"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class Limit:
    """portfolio: the only one it is about; None for every portfolio"""

    id: UUID
    name: str
    portfolio: UUID | None
    figure: str
    op: Op
    value: float
    created_at: datetime
    tenant: UUID

    def judge(self, figure: float) -> LimitState:
        return LimitState.BREACHED if _HOLDS[self.op](figure, self.value) else LimitState.KEPT


@dataclass(frozen=True, slots=True)
class Reading:
    """What a figure was when it was looked at.

    value   : None where it is unknown, with why in `detail`
    session : of the figure; None for one of the moment
    seen    : which results it was read from; the same results are not read again
    """

    value: float | None
    detail: str | None
    session: date | None
    seen: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How one portfolio stands to one limit."""

    limit: UUID
    portfolio: UUID
    state: LimitState
    since: datetime
    reading: Reading


@dataclass(frozen=True, slots=True)
class Webhook:
    """pending: messages that are still to be delivered; last_error: why the newest of them was not, or was given up"""

    id: UUID
    name: str
    url: str
    created_at: datetime
    pending: int
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is to be delivered now. `attempt` counts from 1."""

    id: int
    delivery: UUID
    url: str
    secret: str
    event: str
    body: Mapping[str, Any]
    attempt: int
    tenant: UUID


def draw_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over `timestamp.body` in hexadecimal, so that an old message cannot be sent again as a new one.

    timestamp : seconds since 1970, as in the header beside it
    """
    signed = f"{timestamp}.".encode() + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def wait_after(attempt: int) -> timedelta:
    """From 5 seconds after the first failure, doubled after each, to an hour."""
    return min(FIRST_WAIT * int(2 ** min(attempt - 1, 20)), LONGEST_WAIT)
