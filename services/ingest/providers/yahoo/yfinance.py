"""Yahoo through yfinance. No key, no contract, personal use only; limits are not published.

Not `yfinance.download`: it is one `history` a symbol in threads, as here, but it keeps the errors to itself (a symbol that
Yahoo refused, one it does not know and one that failed to parse are all an empty frame), fills every frame to the union of
all dates, and waits without end for a thread that died. So each symbol's history is asked for here, in a pool of our own.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import yfinance
from curl_cffi.requests.exceptions import RequestException
from yfinance.data import YfData
from yfinance.exceptions import YFException, YFPricesMissingError, YFRateLimitError
from yfinance.scrapers.history import PriceHistory

from services.ingest.model.market import Action, Answer, Listing, NoData, Rename, Request
from services.ingest.providers.actions import dividend, split
from services.ingest.providers.errors import ProviderError, RateLimited, UnknownToProvider, unexpected
from services.ingest.providers.network import Described, Fundamentals, Matches, ProviderHealth, Statement, StatementKind
from services.ingest.providers.normalise import Row, invalid_symbol, market_day, to_vendor
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter, asking_about
from services.ingest.providers.transport.http import Bounds
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo import fields
from services.ingest.providers.yahoo.session import RETRY_AFTER, YahooSession
from shared.market.calendar import Calendar

# Yahoo turned clients away at a few dozen calls at once; four keep a night's 5,000 symbols under half an hour.
WORKERS = 4
SYMBOLS_A_BATCH = 50
_NEW_YORK = "America/New_York"
# What a library raises on an answer it did not expect.
_UNEXPECTED = (YFException, KeyError, IndexError, TypeError, ValueError, AttributeError)
Answered = TypeVar("Answered")
Given = TypeVar("Given")


class Yahoo:
    """One a process: yfinance keeps one session for all."""

    name = "yahoo"
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
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="yahoo")
        # It uses what pandas 4 will drop; that is its authors' to hear, not our users'.
        warnings.filterwarnings("ignore", module=r"yfinance\b")
        # Off, or yfinance logs what failed and goes on with nothing.
        yfinance.config.debug.hide_exceptions = False

    def calls(self, requests: Sequence[Request]) -> int:
        """One a symbol, and two for cookie and crumb."""
        return len(requests) + 2

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
        def ask(_text: str, _name: str) -> tuple[Listing, ...]:
            found = yfinance.Search(text[:100], max_results=20, news_count=0, lists_count=0, session=self._session)
            document = Record(self.name, "search", found.response)
            return tuple(fields.listing(item) for item in document.records("quotes") if item.has("symbol"))

        answer = self._guarded(text, text, ask)
        return Matches(failed=answer) if isinstance(answer, NoData) else Matches(answer)

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        """Yahoo has no list of changes."""
        return iter([None] * len(symbols))

    def health(self) -> ProviderHealth:
        journal = self._session.journal
        return ProviderHealth(self.name, disabled=journal.disabled, last_fault=journal.last_fault, calls=journal.calls)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._session.close()

    def _each(
        self, items: Sequence[Given], symbol_of: Callable[[Given], str], ask: Callable[[Given, str], Answered | NoData]
    ) -> Iterator[Answered | NoData]:
        """Answers in order, `WORKERS` at a time; at most a batch ahead of who reads them."""

        def one(item: Given) -> Answered | NoData:
            symbol = symbol_of(item)
            name = to_vendor(symbol, self.separator)
            if name is None:
                return invalid_symbol(symbol)
            with asking_about(symbol):
                return self._guarded(item, name, ask, symbol=symbol)

        for start in range(0, len(items), SYMBOLS_A_BATCH):
            yield from self._pool.map(one, items[start : start + SYMBOLS_A_BATCH])

    def _guarded(
        self, item: Given, name: str, ask: Callable[[Given, str], Answered | NoData], *, symbol: str | None = None
    ) -> Answered | NoData:
        """`ask`'s answer, or why there is none: what the session saw counts, not what the library made of it."""
        session, given = self._session, symbol if symbol is not None else str(item)
        session.forget()
        # yfinance remembers answers for the life of the process; what to keep and until when is ours to say.
        YfData.cache_get.cache_clear()
        try:
            return ask(item, name)
        except ProviderError as error:
            return error.absent(given)
        except YFRateLimitError:
            limited = RateLimited(self.name, "limit reached", retry_at=self._now() + RETRY_AFTER)
            return (session.fault() or session.noted(limited)).absent(given)
        except (*_UNEXPECTED, RequestException) as error:
            verdict = session.verdict(error, library="yfinance")
            assert verdict is not None
            return verdict.absent(given)
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return (session.fault() or session.noted(unexpected(self.name, given, error))).absent(given)

    def _today(self) -> date:
        return market_day(self._now())

    def _history(self, request: Request, name: str) -> Answer:
        # PriceHistory and not Ticker: a Ticker asks for each symbol's time zone first, a second call a symbol. We give it.
        series = PriceHistory(YfData(session=self._session), name, _NEW_YORK, session=self._session)
        try:
            frame = series.history(
                period=fields.range_for(request.first, self._today()), interval="1d", auto_adjust=False, actions=True,
                timeout=self._session.seconds,
            )  # fmt: skip
        except YFPricesMissingError:
            if self._session.fault() is not None or self._session.refused():
                raise
            frame = None  # the symbol is known, and was not traded in the range
        rows, actions = _rows(self.name, frame) if frame is not None else ([], [])
        return fields.history(
            self.name, request, name, self._session.chart(), rows, actions, self._calendar(), self._today(),
            self._session.left_out(),
        )  # fmt: skip

    def _info(self, name: str) -> Record:
        info = yfinance.Ticker(name, session=self._session).info
        if not info:
            raise UnknownToProvider(self.name, f"no profile of {name}")
        return Record(self.name, "quoteSummary", info)

    def _statements(self, name: str, info: Record) -> list[Statement]:
        ticker = yfinance.Ticker(name, session=self._session)
        currency = info.opt_text("financialCurrency") or info.opt_text("currency")
        found: list[Statement] = []
        for kind, get in (
            (StatementKind.INCOME, ticker.get_income_stmt),
            (StatementKind.BALANCE, ticker.get_balance_sheet),
            (StatementKind.CASH_FLOW, ticker.get_cashflow),
        ):
            try:
                frame = get(freq="quarterly", pretty=False)
            except YFException:
                if self._session.fault() is not None:
                    raise
                continue  # an ETF has none: the series is there and empty
            for quarter in frame.columns:
                figures = {str(key): fields.plain(value) for key, value in frame[quarter].items()}
                record = Record(self.name, "timeseries", figures)
                found.append(fields.statement(kind, quarter.date(), record, currency))
        return found


def _rows(provider: str, frame: Any) -> tuple[list[Row], list[Action]]:
    """Rows and actions of yfinance's frame, whose index is midnight in the exchange's time zone."""
    days = [stamp.date() for stamp in frame.index]
    columns = [frame[name].tolist() for name in ("Open", "High", "Low", "Close", "Adj Close", "Volume")]
    rows = [Row(day, *values) for day, *values in zip(days, *columns, strict=True)]
    actions = []
    paid = frame["Dividends"].tolist() if "Dividends" in frame else [0.0] * len(days)
    for name, made in (("Dividends", dividend), ("Capital Gains", dividend), ("Stock Splits", split)):
        for day, value, cash in zip(days, frame[name].tolist() if name in frame else (), paid, strict=False):
            # A fund's dividend of the day already holds its capital gain, mostly; counted twice it would be a return nobody had.
            if value and not (name == "Capital Gains" and cash >= value):
                actions.append(made(provider, day, value))
    return rows, actions
