"""How often one caller may ask: a bucket for each, bounded in memory. A caller is a token, or an address where there is none."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from services.coordinator.errors import TooManyRequests

BURST_SECONDS = 10.0
# Callers at a time: who was quiet for longest goes first, and begins anew.
MOST = 4_096


@dataclass
class RateLimit:
    """per_second : requests that a caller may make for long, ten seconds of them at once; 0 for no limit"""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    _used: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def seconds_to_wait(self, caller: str, per_second: float | None = None) -> float:
        """Count a request; 0 where it may pass, else how long until the next one may. What is refused does not count.

        per_second : of this caller; without it what everybody may
        """
        rate = self.per_second if per_second is None else per_second
        if rate <= 0:
            return 0.0
        now = self.clock()
        used, at = self._used.get(caller, (0.0, now))
        used = max(0.0, used - (now - at) * rate)
        # Half a request of slack: the clock's own steps refuse nobody who keeps to the rate.
        over = used + 1.0 - rate * BURST_SECONDS
        if over > 0.5:
            return over / rate
        self._used[caller] = (used + 1.0, now)
        self._used.move_to_end(caller)
        while len(self._used) > MOST:
            self._used.popitem(last=False)
        return 0.0


def over_quota(rate: RateLimit, tenant: UUID, own: float | None) -> TooManyRequests | None:
    """Count a request of the tenant, by whichever way it came; a refusal where those are more than its quota.

    own : requests a second that the tenant may make; None for what the server allows everybody
    """
    wait = 0.0 if own is None else rate.seconds_to_wait(f"tenant {tenant}", own)
    if wait <= 0:
        return None
    return TooManyRequests(
        f"The tenant asks more than {own:g} times a second, which is its quota. Nothing was done. Wait {math.ceil(wait)} s and ask "
        "less often; an operator of the installation sets the quota.",
        retry_after=wait,
    )
