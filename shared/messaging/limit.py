"""When a consumer puts aside nearly everything it reads, it is the consumer that is broken: better stopped than emptying a topic."""

from __future__ import annotations

from collections import deque

# Of the last so many messages, this share put aside by our own failure stops the consumer.
WINDOW = 50
SHARE = 0.9
# What is put aside because we cannot handle a message that is in order, whoever sent it. Garbage says nothing about us, however
# much of it comes, and it must never stop anything; but what our own outbox sent is no garbage, whatever is thought of it here.
OUR_FAILURES = frozenset({"handler_failed", "unknown_version"})


class Limit:
    """A sliding window over what became of the last messages. Once tripped it stays so until the process starts anew."""

    def __init__(self, *, window: int = WINDOW, share: float = SHARE) -> None:
        self._ours: deque[bool] = deque(maxlen=window)
        self._most = share * window
        self._last = ""
        self.tripped: str | None = None
        """Why nothing is read any more; None while all is well."""

    def note(self, set_aside_for: str | None, *, sent_by_us: bool = False) -> bool:
        """Count a message: the reason it was put aside for, or None if it was handled. True if that was one too many.

        sent_by_us : it is, byte for byte, what our outbox sent: a release that cannot read it is broken, or the one that wrote it
        """
        ours = set_aside_for in OUR_FAILURES or (sent_by_us and set_aside_for is not None)
        self._ours.append(ours)
        if ours:
            self._last = str(set_aside_for)
        if self.tripped or len(self._ours) < (self._ours.maxlen or 0) or sum(self._ours) < self._most:
            return False
        self.tripped = (
            f"stopped reading: {sum(self._ours)} of the last {len(self._ours)} messages went to the dead letters "
            f"(last: {self._last}); mend the cause, restart, then `leadline dead-letters replay --all`"
        )
        return True
