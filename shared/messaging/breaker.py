"""Circuit breaker: stops a consumer that dead-letters nearly every message, before it empties a topic.

Stopped is not for good: after a pause it tries one message, and goes on where that succeeds. What is broken may have been mended
meanwhile (a grant, a table), or may never have been ours to mend: in a rolling deploy the newer release takes over the partition.
"""

from __future__ import annotations

import time
from collections import deque

# Of the last so many messages, this share put aside by our own failure stops the consumer.
WINDOW = 50
SHARE = 0.9
# Pauses before a message is tried. The longest is below what counts as a consumer that stands still (`watch.STALL_SECONDS`) and
# below the broker's poll interval: who sets one message aside in two minutes empties no topic.
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 120.0


class DeadLetterBreaker:
    """A sliding window over what became of the last messages. Tripped, it lets one message pass after each pause, until one
    of them succeeds."""

    def __init__(self, *, window: int = WINDOW, share: float = SHARE) -> None:
        self._ours: deque[bool] = deque(maxlen=window)
        self._most = share * window
        self._last = ""
        self._pause = FIRST_PAUSE_SECONDS
        self._next_try = 0.0
        self.tripped: str | None = None
        """Why reading is stopped; None while the breaker is closed."""

    def seconds_to_next_try(self) -> float:
        """Seconds to hold the next message; 0 while the breaker is closed."""
        return max(0.0, self._next_try - time.monotonic()) if self.tripped else 0.0

    def record(self, dead_letter_reason: str | None, *, sent_by_us: bool = False) -> bool:
        """Record one outcome: the dead letter's reason, or None if handled. True if that tripped the breaker.

        sent_by_us : it is, byte for byte, what our outbox sent: a release that cannot read it is broken, or the one that wrote it
            is newer. What others send says nothing about us, however much of it comes, and must never stop anything; but a
            handler that fails is ours to mend, whoever sent the message.
        """
        ours = dead_letter_reason == "handler_failed" or (sent_by_us and dead_letter_reason is not None)
        if self.tripped is not None:
            self._note_try(succeeded=dead_letter_reason is None, failed=ours)
            return False
        self._ours.append(ours)
        if ours:
            self._last = str(dead_letter_reason)
        if len(self._ours) < (self._ours.maxlen or 0) or sum(self._ours) < self._most:
            return False
        self.tripped = (
            f"stopped reading: {sum(self._ours)} of the last {len(self._ours)} messages went to the dead letters "
            f"(last: {self._last}); a message is tried every {LONGEST_PAUSE_SECONDS:.0f} s at most; fix the cause, "
            "then `leadline dead-letters replay --all`"
        )
        self._pause = FIRST_PAUSE_SECONDS
        self._next_try = time.monotonic() + self._pause
        return True

    def _note_try(self, *, succeeded: bool, failed: bool) -> None:
        """What a message that was let pass shows. Garbage of others shows nothing: the next one is tried without a pause."""
        if succeeded:
            self.tripped = None
            self._ours.clear()
        elif failed:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._next_try = time.monotonic() + self._pause
