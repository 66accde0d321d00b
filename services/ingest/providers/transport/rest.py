"""What the keyed REST adapters share: errors become answers, one symbol never stops the others."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from services.ingest.model.market import NoData
from services.ingest.providers.errors import ProviderError, unexpected_answer
from services.ingest.providers.network import Matches, ProviderHealth
from services.ingest.providers.normalise import invalid_symbol, market_day, to_vendor
from services.ingest.providers.transport.gate import asking_about
from services.ingest.providers.transport.http import ProviderHttp

Answered = TypeVar("Answered")


class RestProvider:
    """Base of an adapter: its client, its spelling, its condition."""

    name: str
    separator: str
    profile_calls = 1
    statement_calls = 5

    def __init__(self, http: ProviderHttp, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._http = http
        self._now = now

    def answers(self) -> NoData | None:
        return self.search("SPY").failed

    def search(self, text: str) -> Matches:
        raise NotImplementedError

    def health(self) -> ProviderHealth:
        journal = self._http.journal
        return ProviderHealth(self.name, disabled=journal.disabled, last_fault=journal.last_fault, calls=journal.calls)

    def close(self) -> None:
        self._http.close()

    def _today(self) -> date:
        return market_day(self._now())

    def _each(
        self, symbols: Sequence[str], ask: Callable[[str, str], Answered | NoData]
    ) -> Iterator[Answered | NoData]:
        """`ask(symbol, vendor's spelling)` for each, its errors as absences. A symbol nobody could know is not asked for."""
        for symbol in symbols:
            yield self._one(symbol, ask)

    def _one(self, symbol: str, ask: Callable[[str, str], Answered | NoData]) -> Answered | NoData:
        name = self._vendor_symbol(symbol)
        if name is None:
            return invalid_symbol(symbol)
        try:
            with asking_about(symbol):
                return ask(symbol, name)
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._to_no_data(symbol, error)

    def _to_no_data(self, symbol: str, error: Exception) -> NoData:
        """What a question about a symbol ended in; an error that nobody foresaw is a schema that nobody knew."""
        known = error if isinstance(error, ProviderError) else unexpected_answer(self.name, symbol, error)
        return self._http.record_error(known).to_no_data(symbol)

    def _vendor_symbol(self, symbol: str) -> str | None:
        return to_vendor(symbol, self.separator)
