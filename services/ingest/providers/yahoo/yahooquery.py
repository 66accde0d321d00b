"""Yahoo through yahooquery, an optional extra (`pip install leadline[yahooquery]`): another way to the same source.

It helps where yfinance breaks on a change that yahooquery survives; it does not help against Yahoo's limits, which are those
of the machine. yahooquery answers errors as texts among the data, so the session's own view of each answer decides here too.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from curl_cffi.requests.exceptions import RequestException

from services.ingest.model.market import Listing, NoData, Request
from services.ingest.providers.errors import ProviderError, UnknownToProvider, unexpected_answer
from services.ingest.providers.network import Statement, StatementKind
from services.ingest.providers.normalise import encode_path_segment, invalid_symbol, to_vendor
from services.ingest.providers.transport.gate import asking_about
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo import chart, fields
from services.ingest.providers.yahoo.source import Answered, Given, YahooSource
from shared.errors import ConfigurationError

MODULES = "assetProfile quoteType summaryDetail price calendarEvents"
_UNEXPECTED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RequestException)


class YahooQuery(YahooSource):
    """Thread-safe by a lock: a yahooquery Ticker holds the symbols of the question it is asking."""

    name = "yahooquery"
    profile_calls = 1
    statement_calls = 4

    def _prepare(self) -> None:
        """Raises `ConfigurationError` without the library."""
        try:
            self._library = importlib.import_module("yahooquery")
        except ImportError:
            raise ConfigurationError(
                "LEADLINE_PROVIDERS names yahooquery, which is not installed: pip install 'leadline[yahooquery]', or leave it out"
            ) from None
        self._lock = Lock()
        self._made: Any = None

    def calls(self, requests: Sequence[Request]) -> int:
        """One a symbol, and one for the crumb."""
        return len(requests) + 1

    def _each(
        self, items: Sequence[Given], symbol_of: Callable[[Given], str], ask: Callable[[Given, str], Answered | NoData]
    ) -> Iterator[Answered | NoData]:
        for item in items:
            symbol = symbol_of(item)
            name = to_vendor(symbol, self.separator)
            if name is None:
                yield invalid_symbol(symbol)
                continue
            with asking_about(symbol):
                answer = self._ask_guarded(item, name, ask, symbol=symbol)
            yield answer

    def _ask_guarded(
        self, item: Given, name: str, ask: Callable[[Given, str], Answered | NoData], *, symbol: str
    ) -> Answered | NoData:
        """`ask`'s answer, or why there is none. A refusal gets one more try, with a new crumb."""
        with self._lock:
            answer = self._ask_once(item, name, ask, symbol)
            if answer is None:
                self._made = None
                answer = self._ask_once(item, name, ask, symbol)
            if answer is not None:
                return answer
            refusal = self._session.verdict()
            assert refusal is not None
            return refusal.to_no_data(symbol)

    def _ask_once(
        self, item: Given, name: str, ask: Callable[[Given, str], Answered | NoData], symbol: str
    ) -> Answered | NoData | None:
        """None if Yahoo refused with 401 or 403."""
        session = self._session
        session.forget()
        answer: Answered | NoData | None = None
        error: Exception | None = None
        try:
            answer = ask(item, name)
        except ProviderError as raised:
            if session.fault() is None and session.last_refusal() is not None:
                return None  # without data there is no chart either: the refusal is what happened
            return raised.to_no_data(symbol)
        except _UNEXPECTED as raised:
            error = raised
        except Exception as raised:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return (session.fault() or session.record_error(unexpected_answer(self.name, symbol, raised))).to_no_data(
                symbol
            )
        if session.fault() is None and session.last_refusal() is not None:
            return None
        verdict = session.verdict(error, library="yahooquery")
        return answer if verdict is None else verdict.to_no_data(symbol)

    def _ticker(self, name: str) -> Any:
        """One for all symbols: making one costs a call for the crumb."""
        if self._made is None:
            self._made = self._library.Ticker([name], session=self._session)
        self._made.symbols = [name]
        return self._made

    def _ask_chart(self, name: str, asked: Mapping[str, str]) -> None:
        self._session.get(
            chart.URL + encode_path_segment(name), params={**self._ticker(name).default_query_params, **asked}
        )

    def _listings(self, text: str) -> tuple[Listing, ...]:
        """Through our session: yahooquery's own search opens one of its own, without our bounds."""
        return tuple(self._session.search(text))

    def _info(self, name: str) -> Record:
        modules = self._ticker(name).get_modules(MODULES).get(name)
        if not isinstance(modules, dict):
            raise UnknownToProvider(self.name, f"no profile of {name}: {str(modules)[:120]}")
        flat: dict[str, Any] = {}
        for module in modules.values():
            flat |= {
                key: value for key, value in module.items() if value is not None and not isinstance(value, dict | list)
            }
        return Record(self.name, "quoteSummary", flat)

    def _statements(self, name: str, info: Record) -> list[Statement]:
        ticker = self._ticker(name)
        found: list[Statement] = []
        for kind, get in (
            (StatementKind.INCOME, ticker.income_statement),
            (StatementKind.BALANCE, ticker.balance_sheet),
            (StatementKind.CASH_FLOW, ticker.cash_flow),
        ):
            frame = get("q") if kind is StatementKind.BALANCE else get("q", trailing=False)
            if isinstance(frame, str | dict):
                continue  # "data unavailable": a fund has none; a fault of the vendor's was seen by the session
            for row in frame.to_dict("records"):
                figures = {str(key): fields.plain(value) for key, value in row.items() if key != "asOfDate"}
                currency = figures.pop("currencyCode", None)
                record = Record(self.name, "timeseries", figures)
                found.append(fields.statement(kind, row["asOfDate"].date(), record, currency))
        return found
