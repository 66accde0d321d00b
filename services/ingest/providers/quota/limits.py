"""What a quota is, whoever keeps it: several windows at once, shared by all replicas, with a reserve for today."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple, Protocol

from services.ingest.providers.errors import ProviderError

_PERIODS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_WINDOW = re.compile(r"(\d+)/(?:(second|minute|hour|day)|(\d+(?:\.\d+)?)s)")
UNLIMITED = "unlimited"


class Window(NamedTuple):
    """At most `calls` in any `seconds`."""

    calls: int
    seconds: float


def windows(text: str) -> tuple[Window, ...]:
    """`5/minute,250/day` or `100/10s`; `unlimited` is no window. Raises `ValueError`.

    >>> windows("5/minute,250/day")
    (Window(calls=5, seconds=60.0), Window(calls=250, seconds=86400.0))
    """
    if text.strip().lower() == UNLIMITED:
        return ()
    found = []
    for part in text.replace(" ", "").lower().split(","):
        match = _WINDOW.fullmatch(part)
        if match is None or int(match[1]) < 1:
            raise ValueError(
                f"{part!r} is not a quota; write 5/minute, 250/day or 100/10s, several by commas, or unlimited"
            )
        found.append(Window(int(match[1]), _PERIODS[match[2]] if match[2] else float(match[3])))
    return tuple(found)


class Priority(Enum):
    """What part of each window a purpose may use up. Today's prices may have all; a backfill leaves a fifth for them."""

    TODAY = 1.0
    HISTORY = 0.8
    BACKGROUND = 0.4


@dataclass(frozen=True, slots=True)
class Permit:
    """`calls` may be made now; `reservation` is settled when they have been. Or none, `refused` (transient, with `retry_at`).

    probe : the provider was closed and may be tried with one question, on which hangs whether it opens again
    """

    calls: int
    reservation: int | None = None
    refused: ProviderError | None = None
    probe: bool = False


class PlanMemory(Protocol):
    """How many years back the plan of one key reaches, as refusals showed; kept over restarts for a week. Blocks."""

    def plan_years(self) -> int | None:
        """None: nobody was refused, or it is a week ago."""
        ...

    def learn_plan(self, years: int) -> None: ...


class Quota(PlanMemory, Protocol):
    """The calls of one provider and key. Blocks; called from worker threads."""

    windows: tuple[Window, ...]

    def reserve(self, wanted: int, least: int, priority: Priority) -> Permit: ...

    def renew(self, uses: Sequence[int]) -> None:
        """The calls are still being made."""
        ...

    def release(self, uses: Sequence[int], unused: int) -> None:
        """The calls have been made, but for `unused` of them."""
        ...

    def record_success(self) -> None: ...

    def record_failure(self, error: ProviderError, *, confirmed: bool = False) -> ProviderError | None:
        """Record it; the error that says until when nobody is to ask, if the provider is closed now.

        confirmed : several answers could not be used, nor could one about another symbol: closed at once
        """
        ...


def spread(queue: Sequence[int], base: datetime, windows: Sequence[Window]) -> list[datetime]:
    """When each of a queue of questions, of so many calls each, will have its turn, if `base` is when the first has.

    Who comes back earlier only finds that others were first; with thousands waiting that is thousands of rows a minute.
    """

    if not windows:
        return [base] * len(queue)
    slowest = max(windows, key=lambda window: window.seconds / window.calls)
    times, before = [], 0
    for calls in queue:
        times.append(base + timedelta(seconds=slowest.seconds * (before // slowest.calls)))
        before += calls
    return times
