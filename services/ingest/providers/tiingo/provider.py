"""Tiingo's end-of-day API: prices as traded, adjusted closes, dividends and splits in one answer; funds included.

A history is one call a symbol. A night is one call for all symbols: the list of everybody's newest row, joined to the row that was
served last of each symbol. A symbol that has a dividend or a split in that row is asked for by itself, and so is one that this process
has not served before, and each before its history is two weeks old (`night`).
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from services.ingest.model.market import (
    LISTED_LATE,
    Action,
    Answer,
    Bars,
    History,
    Listing,
    NoData,
    NoDataReason,
    Rename,
    Request,
    Unserved,
)
from services.ingest.providers.actions import check_actions, dividend, split
from services.ingest.providers.errors import ProviderError, SchemaChanged
from services.ingest.providers.network import Described, Fundamentals, Matches
from services.ingest.providers.normalise import (
    Row,
    bars,
    encode_path_segment,
    from_vendor,
    invalid_symbol,
    is_foreign_listing,
)
from services.ingest.providers.publication import is_fund, published_at, unpublished_sessions
from services.ingest.providers.tiingo.night import Day, ServedRows
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter, asking_about
from services.ingest.providers.transport.http import Bounds, ProviderHttp
from services.ingest.providers.transport.payload import Record, records, with_days
from services.ingest.providers.transport.refusals import VendorErrorRules
from services.ingest.providers.transport.rest import RestProvider
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

log = logging.getLogger(__name__)
BASE_URL = "https://api.tiingo.com"
# When a session's rows are out, in New York. Exchanges send corrections until 20:00; net asset values of funds come after midnight.
PUBLISHED_AT = time(17, 30)
# The list of everybody's newest row is asked for again after so long, if a symbol's row is not the one asked for.
LATEST_IS_FRESH = timedelta(minutes=10)
_ASSET_TYPES = {"stock": "stock", "etf": "etf", "mutual fund": "fund"}


def _refusal(body: Any) -> str | None:
    """Errors are `{"detail": …}`."""
    said = body.get("detail") if isinstance(body, dict) else None
    return str(said)[:300] if said else None


def _bare(body: bytes) -> str | None:
    """Limits of the free plan may be a bare sentence with status 200."""
    text = body[:300].decode("utf-8", "replace").strip()
    return text if text[:1].isalpha() else None


DIALECT = VendorErrorRules(
    name="tiingo",
    variable="LEADLINE_TIINGO_API_KEY",
    # Symbols beyond the month's are refused; those that were asked for this month are served on.
    plan_phrases=("symbol look up", "permission", "upgrade"),
    limit_phrases=("request allocation", "bandwidth"),
    refusal=_refusal,
    bare=_bare,
    retry_after=timedelta(hours=1),
)


class Tiingo(RestProvider):
    name = "tiingo"
    separator = "-"

    def __init__(
        self,
        api_key: str,
        calendar: Callable[[], Calendar],
        *,
        gate: RateLimiter | None = None,
        base_url: str = BASE_URL,
        allow_loopback: bool = False,
        bounds: Bounds | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        http = ProviderHttp(
            DIALECT, base_url, {"Authorization": f"Token {api_key}"}, gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback, bounds=bounds, now=now,
        )  # fmt: skip
        super().__init__(http, now)
        self._calendar = calendar
        self._lock = threading.Lock()
        self._served = ServedRows()
        self._latest: dict[str, Record] = {}
        self._latest_at: datetime | None = None
        self._refused_on: date | None = None
        """The day on which the list was refused; it is not asked for again before the next one."""

    def published_at(self, symbol: str, session: date) -> datetime:
        """When the symbol's row of a session is out (aware)."""
        return published_at(session, PUBLISHED_AT, fund=is_fund(symbol))

    def _late(self, request: Request, found: Bars) -> tuple[Unserved, ...]:
        """The newest sessions of a question that are missing because their hour has not come."""
        return unpublished_sessions(
            request, found, self._calendar(), self._now(), lambda session: self.published_at(request.symbol, session)
        )

    def calls(self, requests: Sequence[Request]) -> int:
        """One a symbol; one for all whose newest row is all that is asked for, none while that list is fresh."""
        nightly = self._nightly(requests)
        old = sum(self._is_old(request) for request in requests if request.symbol in nightly)
        return len(requests) - len(nightly) + old + (1 if nightly and not self._is_fresh() else 0)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        nightly = self._nightly(requests)
        if nightly:
            try:
                self._read_latest()
            except ProviderError as error:
                # Each is asked for by itself: if nobody may be asked now, the gate says so without a call.
                self._http.record_error(error)
                self._refused_on = self._today()
        for request in requests:
            name = self._vendor_symbol(request.symbol)
            if name is None:
                yield invalid_symbol(request.symbol)
            elif parse_occ(request.symbol) or name.startswith("^") or is_foreign_listing(name) or name[:1].isdigit():
                # Its symbols of digits are Chinese shares, priced in yuan.
                detail = "tiingo has US stocks, exchange-traded funds and mutual funds only"
                yield NoData(request.symbol, NoDataReason.NOT_FOUND, detail=detail)
            else:
                yield self._answer(request, name, from_latest=request.symbol in nightly)

    def _answer(self, request: Request, name: str, *, from_latest: bool) -> Answer:
        try:
            with asking_about(request.symbol):
                joined = self._join_rows(request, name) if from_latest else None
                if joined is None:
                    return self._history(request, name)
                return self._asked_anew(request, name) or joined if self._is_old(request) else joined
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._to_no_data(request.symbol, error)

    def _asked_anew(self, request: Request, name: str) -> Answer | None:
        """The history, for what was listed late; None if it cannot be had now: the night has its row, and the next one asks again."""
        try:
            return self._history(request, name)
        except ProviderError as error:
            self._http.record_error(error)
            return None

    def _is_old(self, request: Request) -> bool:
        calendar = self._calendar()
        return self._served.is_old(self._vendor_symbol(request.symbol) or "", calendar.last_due(self._now()), calendar)

    def _nightly(self, requests: Sequence[Request]) -> set[str]:
        """Symbols of which only the newest session is asked for, next to the one that was served last; none if it is one symbol."""
        calendar, found = self._calendar(), set()
        newest = calendar.last_due(self._now())
        for request in requests:
            before = self._served.newest(self._vendor_symbol(request.symbol) or "")
            if (
                before is not None
                and calendar.on_or_before(request.last) == newest
                and calendar.on_or_after(request.first) in {calendar.back(newest, 1), newest}
                and before.row.day == calendar.back(newest, 1)
            ):
                found.add(request.symbol)
        return found if self._refused_on != self._today() and (len(found) > 1 or self._is_fresh()) else set()

    def _is_fresh(self) -> bool:
        return self._latest_at is not None and self._now() - self._latest_at < LATEST_IS_FRESH

    def _read_latest(self) -> None:
        if self._is_fresh():
            return
        where = "/tiingo/daily/prices"
        document = self._http.get(where)
        if not isinstance(document, list):
            raise SchemaChanged(self.name, f"{where} should be an array")
        with self._lock:
            # Some ninety thousand rows: only those that may be asked for are kept.
            named = ((item, str(item.get("ticker", "")).upper()) for item in document if isinstance(item, dict))
            self._latest = {name: Record(self.name, where, item) for item, name in named if name in self._served}
            self._latest_at = self._now()

    def _join_rows(self, request: Request, name: str) -> History | None:
        """The row served last and the newest one; None if the symbol has to be asked for by itself."""
        record, before = self._latest.get(name), self._served.newest(name)
        if record is None or before is None:
            return None
        newest = self._day(record)
        if newest.has_action or newest.row.day > request.last or newest.leaps_from(before):
            return None
        rows = [before.row] + ([newest.row] if newest.row.day > before.row.day else [])
        found = bars(rows, request.first, request.last, self._calendar(), split_adjusted=False)
        self._served.record_joined(name, newest)
        own = tuple(self._actions_of([before]))
        return History(request.symbol, found, own, lists_splits=True, unserved=self._late(request, found))

    def _history(self, request: Request, name: str) -> Answer:
        path = f"/tiingo/daily/{encode_path_segment(name)}/prices"
        # To today, whatever is asked for: splits after the range are needed, because users' quantities are on the newest basis.
        start = request.first - LISTED_LATE
        asked = {"startDate": start.isoformat(), "endDate": max(self._today(), request.last).isoformat()}
        items = records(self.name, path, self._http.get(path, asked))
        days = [self._day(item) for day, item in with_days(self.name, name, items, "date") if day <= self._today()]
        days.sort(key=lambda day: day.row.day)
        found = bars((day.row for day in days), request.first, request.last, self._calendar(), split_adjusted=False)
        self._served.record_history(name, days[-1] if days else None, self._calendar().last_due(self._now()))
        listed_from = days[0].row.day if days and days[0].row.day > request.first else self._listed_from(name, days)
        actions = check_actions(self.name, tuple(self._actions_of(days)))
        late = self._late(request, found)
        return History(request.symbol, found, actions, lists_splits=True, listed_from=listed_from, unserved=late)

    def _listed_from(self, name: str, days: Sequence[Day]) -> date | None:
        """Of a symbol without a row in the range, when its rows begin. Raises `UnknownToProvider`."""
        if days:
            return None
        path = f"/tiingo/daily/{encode_path_segment(name)}"
        first = Record(self.name, path, self._http.get(path)).opt_day("startDate")
        return first if first is not None and first <= self._today() else None

    def _day(self, item: Record) -> Day:
        """A value that is no number costs itself, but for a close and what a close is divided by."""

        def number(key: str) -> float | None:
            try:
                return item.opt_number(key)
            except SchemaChanged as error:
                log.warning("tiingo: a value was left out: %s", error)
                return None

        close = item.opt_number("close")
        # An adjusted close of a day without a close says nothing of what anybody paid.
        adjusted = number("adjClose") if close else None
        row = Row(item.day("date"), number("open"), number("high"), number("low"), close, adjusted, number("volume"))
        ratio = item.opt_number("splitFactor")
        return Day(row, number("divCash") or 0.0, 1.0 if ratio is None else ratio)

    def _actions_of(self, days: Sequence[Day]) -> Iterator[Action]:
        """Dividends as paid, by ex-date; both are in the row of the day they take effect on. Of two rows of a day the last
        stands, as among bars."""
        for day in {day.row.day: day for day in days}.values():
            if day.dividend:
                yield dividend(self.name, day.row.day, day.dividend)
            if day.split != 1.0:
                yield split(self.name, day.row.day, day.split)

    def profiles(self, symbols: Sequence[str]) -> Iterator[Described | NoData]:
        """None: its description of a symbol has no sector, and would keep a vendor that has one from being asked."""
        return (NoData(symbol, NoDataReason.NOT_FOUND, detail="tiingo tells no sectors") for symbol in symbols)

    def fundamentals(self, symbols: Sequence[str]) -> Iterator[Fundamentals | NoData]:
        """None: statements are another product of the vendor's."""
        return (
            NoData(symbol, NoDataReason.NOT_FOUND, detail="tiingo's daily prices have no statements")
            for symbol in symbols
        )

    def search(self, text: str) -> Matches:
        where = "/tiingo/utilities/search"
        try:
            found = records(self.name, where, self._http.get(where, {"query": text[:100]}))
            return Matches(tuple(map(self._listing, found)))
        except ProviderError as error:
            return Matches(failed=self._to_no_data(text, error))

    def _listing(self, item: Record) -> Listing:
        kind = _ASSET_TYPES.get((item.opt_text("assetType") or "").lower(), "unknown")
        return Listing(from_vendor(item.text("ticker")), item.opt_text("name"), asset_type=kind)

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        return (None for _ in symbols)
