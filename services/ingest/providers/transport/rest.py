"""What the keyed REST adapters share: errors become answers, one symbol never stops the others."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from services.ingest.model.market import Absent
from services.ingest.providers.errors import VendorError, unexpected
from services.ingest.providers.normalise import market_day, never_asked, spelled
from services.ingest.providers.transport.http import VendorHttp
from services.ingest.providers.vendor import Condition

Answered = TypeVar("Answered")


class RestVendor:
    """Base of an adapter: its client, its spelling, its condition."""

    name: str
    separator: str

    def __init__(self, http: VendorHttp, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._http = http
        self._now = now

    def condition(self) -> Condition:
        journal = self._http.journal
        return Condition(self.name, disabled=journal.disabled, last_fault=journal.last_fault, calls=journal.calls)

    def close(self) -> None:
        self._http.close()

    def _today(self) -> date:
        return market_day(self._now())

    def _each(
        self, symbols: Sequence[str], ask: Callable[[str, str], Answered | Absent]
    ) -> Iterator[Answered | Absent]:
        """`ask(symbol, vendor's spelling)` for each, its errors as absences. A symbol nobody could know is not asked for."""
        for symbol in symbols:
            yield self._one(symbol, ask)

    def _one(self, symbol: str, ask: Callable[[str, str], Answered | Absent]) -> Answered | Absent:
        name = self._spelled(symbol)
        if name is None:
            return never_asked(symbol)
        try:
            return ask(symbol, name)
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._failed(symbol, error)

    def _failed(self, symbol: str, error: Exception) -> Absent:
        """What a question about a symbol ended in; an error that nobody foresaw is a schema that nobody knew."""
        known = error if isinstance(error, VendorError) else unexpected(self.name, symbol, error)
        return self._http.noted(known).absent(symbol)

    def _spelled(self, symbol: str) -> str | None:
        return spelled(symbol, self.separator)
