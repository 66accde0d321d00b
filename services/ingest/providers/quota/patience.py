"""How long a portion waits in place for calls beyond those it began with, and which symbols used such waits up."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import IntEnum

from services.ingest.model.market import Answer, NoData, NoDataReason
from services.ingest.providers.errors import ProviderError, QuotaUsedUp

# Of one portion, in all. Under the consumer's poll interval with room to spare.
PATIENCE_SECONDS = 150.0
LEAST_WAIT = 0.05


def wait_of(refused: ProviderError) -> float | None:
    """Seconds until what was refused for want of room may be tried again; None where waiting is of no use."""
    if not isinstance(refused, QuotaUsedUp) or refused.retry_at is None:
        return None
    return max((refused.retry_at - datetime.now(UTC)).total_seconds() + 0.01, LEAST_WAIT)


class Turn(IntEnum):
    """In what order symbols are asked for. Costly ones one a portion."""

    USUAL = 0
    COSTLY = 1
    FAILING = 2


class Patience:
    """Of one portion at a time; the costly symbols of all. Waits are taken under its owner's lock."""

    def __init__(self) -> None:
        self.left = PATIENCE_SECONDS
        self._waited_for: set[str] = set()
        self._costly: set[str] = set()

    def begin(self) -> None:
        self.left, self._waited_for = PATIENCE_SECONDS, set()

    def take_wait(self, refused: ProviderError, symbol: str | None) -> float:
        """Seconds to wait before the call is tried again. Raises `refused` where that is no matter of a wait in place.

        symbol : whom the call is about; remembered as costly where the wait would have been short enough at the portion's start
        """
        if symbol is not None:
            self._waited_for.add(symbol)
        wait = wait_of(refused)
        if wait is None:
            raise refused
        if wait >= self.left:
            if wait < PATIENCE_SECONDS:
                self._costly |= self._waited_for
            raise refused
        self.left -= wait
        return wait

    def is_costly(self, symbol: str) -> bool:
        return symbol in self._costly

    def forget(self, answers: Iterable[Answer]) -> None:
        """Those who were answered about, be it that there is nothing."""
        for answer in answers:
            if not isinstance(answer, NoData) or answer.reason is not NoDataReason.RATE_LIMITED:
                self._costly.discard(answer.symbol)
