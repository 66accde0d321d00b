"""What both ways to Yahoo have in common: the questions, and reading what comes back. How a library is asked is its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from services.ingest.model.market import Answer, Listing, NoData, NoDataReason, Rename, Request
from services.ingest.providers.network import Described, Fundamentals, Matches, ProviderHealth, Statement
from services.ingest.providers.normalise import market_day
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter
from services.ingest.providers.transport.http import Bounds
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo import chart, fields
from services.ingest.providers.yahoo.answers import NO_BARS
from services.ingest.providers.yahoo.session import YahooSession
from shared.market.calendar import Calendar

Answered = TypeVar("Answered")
Given = TypeVar("Given")


class YahooSource(ABC):
    """Implements `network.NetworkProvider` but for asking."""

    name: str
    separator = "-"

    def __init__(
        self,
        calendar: Callable[[], Calendar],
        *,
        gate: RateLimiter | None = None,
        endpoint: str | None = None,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._prepare()
        self._calendar = calendar
        self._now = now
        self._session = YahooSession(
            self.name,
            gate or LocalRateLimiter(now=now),
            endpoint=endpoint,
            allow_loopback=allow_loopback,
            bounds=bounds,
            now=now,
        )

    @abstractmethod
    def _prepare(self) -> None:
        """Whatever the library needs before anything is asked."""

    @abstractmethod
    def _each(
        self, items: Sequence[Given], symbol_of: Callable[[Given], str], ask: Callable[[Given, str], Answered | NoData]
    ) -> Iterator[Answered | NoData]:
        """`ask(item, the symbol in Yahoo's spelling)` of each, in order; a fault is the answer about its symbol."""

    @abstractmethod
    def _ask_guarded(
        self, item: Given, name: str, ask: Callable[[Given, str], Answered | NoData], *, symbol: str
    ) -> Answered | NoData:
        """`ask`'s answer, or why there is none."""

    @abstractmethod
    def _ask_chart(self, name: str, asked: Mapping[str, str]) -> None:
        """With the library's cookies, crumb and consent; what comes stays with the session."""

    @abstractmethod
    def _listings(self, text: str) -> tuple[Listing, ...]:
        """What a search finds."""

    @abstractmethod
    def _info(self, name: str) -> Record:
        """All figures about a symbol in one record. Raises `UnknownToProvider` where there are none."""

    @abstractmethod
    def _statements(self, name: str, info: Record) -> list[Statement]:
        """Its quarters; none of a fund."""

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        return self._each(requests, lambda request: request.symbol, self._history)

    def profiles(self, symbols: Sequence[str]) -> Iterator[Described | NoData]:
        def ask(symbol: str, name: str) -> Described:
            return Described(symbol, fields.profile(self._info(name), self._today()))

        return self._each(symbols, str, ask)

    def fundamentals(self, symbols: Sequence[str]) -> Iterator[Fundamentals | NoData]:
        def ask(symbol: str, name: str) -> Fundamentals:
            info = self._info(name)
            return fields.fundamentals(symbol, info, self._statements(name, info), self._today())

        return self._each(symbols, str, ask)

    def search(self, text: str) -> Matches:
        def ask(given: str, _name: str) -> tuple[Listing, ...]:
            return self._listings(given)

        answer = self._ask_guarded(text, text, ask, symbol=text)
        return Matches(failed=answer) if isinstance(answer, NoData) else Matches(answer)

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        """Yahoo has no list of changes."""
        return iter([None] * len(symbols))

    def answers(self) -> NoData | None:
        """Of prices: profiles and searches may be refused while charts are served."""
        (found,) = self.fetch([Request("SPY", self._today() - timedelta(days=7), self._today())])
        return found if isinstance(found, NoData) else None

    def health(self) -> ProviderHealth:
        journal = self._session.journal
        return ProviderHealth(self.name, disabled=journal.disabled, last_fault=journal.last_fault, calls=journal.calls)

    def close(self) -> None:
        self._session.close()

    def _today(self) -> date:
        return market_day(self._now())

    def _history(self, request: Request, name: str) -> Answer:
        self._ask_chart(name, chart.parameters(fields.range_for(request.first, self._today())))
        if (result := self._session.chart()) is NO_BARS:
            return fields.without_bars(request, self._calendar(), self._now())
        found = chart.read(self.name, result)
        answer = fields.history(self.name, request, name, found, self._calendar(), self._now())
        if isinstance(answer, NoData) and answer.reason is NoDataReason.NOT_FOUND:
            return fields.add_suggestions(answer, name, self._session.suggestions(name))
        return answer
