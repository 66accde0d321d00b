"""Yahoo through yfinance. No key, no contract, personal use only; limits are not published.

Not `yfinance.download`: it is one `history` a symbol in threads, as here, but it keeps the errors to itself (a symbol that
Yahoo refused, one it does not know and one that failed to parse are all an empty frame), fills every frame to the union of
all dates, and waits without end for a thread that died. So each symbol's history is asked for here, in a pool of our own.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import yfinance
from curl_cffi.requests.exceptions import RequestException
from yfinance.data import YfData
from yfinance.exceptions import YFException, YFRateLimitError

from services.ingest.model.market import Listing, NoData, Request
from services.ingest.providers.errors import ProviderError, RateLimited, UnknownToProvider, unexpected_answer
from services.ingest.providers.network import Statement, StatementKind
from services.ingest.providers.normalise import encode_path_segment, invalid_symbol, to_vendor
from services.ingest.providers.transport.gate import asking_about
from services.ingest.providers.transport.payload import Record
from services.ingest.providers.yahoo import chart, fields
from services.ingest.providers.yahoo.session import RETRY_AFTER
from services.ingest.providers.yahoo.source import Answered, Given, YahooSource

# Yahoo turned clients away at a few dozen calls at once; four keep a night's 5,000 symbols under half an hour.
WORKERS = 4
SYMBOLS_A_BATCH = 50
# What a library raises on an answer it did not expect.
_UNEXPECTED = (YFException, KeyError, IndexError, TypeError, ValueError, AttributeError)


class Yahoo(YahooSource):
    """One a process: yfinance keeps one session for all.

    profile_calls, statement_calls : a profile is quoteSummary, quote and one series; statements are that and three series more
    """

    name = "yahoo"
    profile_calls = 3
    statement_calls = 6

    def _prepare(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="yahoo")
        # It uses what pandas 4 will drop; that is its authors' to hear, not our users'.
        warnings.filterwarnings("ignore", module=r"yfinance\b")
        # Off, or yfinance logs what failed and goes on with nothing.
        yfinance.config.debug.hide_exceptions = False

    def calls(self, requests: Sequence[Request]) -> int:
        """One a symbol, and two for cookie and crumb."""
        return len(requests) + 2

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        super().close()

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
                return self._ask_guarded(item, name, ask, symbol=symbol)

        for start in range(0, len(items), SYMBOLS_A_BATCH):
            yield from self._pool.map(one, items[start : start + SYMBOLS_A_BATCH])

    def _ask_guarded(
        self, item: Given, name: str, ask: Callable[[Given, str], Answered | NoData], *, symbol: str
    ) -> Answered | NoData:
        """`ask`'s answer, or why there is none: what the session saw counts, not what the library made of it."""
        session = self._session
        session.forget()
        # yfinance remembers answers for the life of the process; what to keep and until when is ours to say.
        YfData.cache_get.cache_clear()
        try:
            return ask(item, name)
        except ProviderError as error:
            return error.to_no_data(symbol)
        except YFRateLimitError:
            limited = RateLimited(self.name, "limit reached", retry_at=self._now() + RETRY_AFTER)
            return (session.fault() or session.record_error(limited)).to_no_data(symbol)
        except (*_UNEXPECTED, RequestException) as error:
            verdict = session.verdict(error, library="yfinance")
            assert verdict is not None
            return verdict.to_no_data(symbol)
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return (session.fault() or session.record_error(unexpected_answer(self.name, symbol, error))).to_no_data(
                symbol
            )

    def _ask_chart(self, name: str, asked: Mapping[str, str]) -> None:
        YfData(session=self._session).get(
            chart.URL + encode_path_segment(name), dict(asked), timeout=self._session.seconds
        )

    def _listings(self, text: str) -> tuple[Listing, ...]:
        found = yfinance.Search(text[:100], max_results=20, news_count=0, lists_count=0, session=self._session)
        document = Record(self.name, "search", found.response)
        return tuple(fields.listing(item) for item in document.records("quotes") if item.has("symbol"))

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
