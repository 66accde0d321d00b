"""Massive (formerly Polygon.io): prices as traded, splits, dividends, and what became of a symbol.

A thin adapter on our own client, not the vendor's `massive` package: that one can be pointed at a local server, but it reads
a page it cannot parse, or whose `results` are missing, as the end of the list (missing prices would look like no trade),
raises one error without status or headers for everything else (no Retry-After, no difference between 401 and 500), sleeps
on 429 in place, follows redirects, and bounds neither a body nor a call.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from services.ingest.model.market import (
    CURRENCY,
    LISTED_LATE,
    Action,
    Answer,
    Bars,
    History,
    LeftOut,
    NoData,
    NoDataReason,
    Rename,
    Request,
)
from services.ingest.providers.actions import check_actions, dividend, split
from services.ingest.providers.errors import ProviderError, SchemaChanged
from services.ingest.providers.massive.reference import MassiveReference
from services.ingest.providers.normalise import Row, assert_currency, bars, encoded, from_vendor, invalid_symbol
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter, asking_about
from services.ingest.providers.transport.http import Bounds, Parameters, ProviderHttp, VendorErrorRules
from services.ingest.providers.transport.payload import Record
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

BASE_URL = "https://api.massive.com"
# `ticker.any_of` takes a comma-separated list. Fifty keep the URL under 1 KB, whatever stands between us and the vendor.
SYMBOLS_A_CALL = 50
# A series that ends this many sessions before the last one asked for has perhaps ended for good: one call tells.
ENDED_EARLY = 5
# Where no more than so many symbols of a batch lack their newest bars it is not the vendor that is late, and they are asked about at once.
STRAGGLERS = 3
_NEW_YORK = ZoneInfo("America/New_York")
log = logging.getLogger(__name__)
_STATUSES = ("OK", "DELAYED")


def _refusal(body: Any) -> str | None:
    if not isinstance(body, dict) or body.get("status") in (*_STATUSES, None):
        return None
    return str(body.get("error") or body.get("message") or body["status"])[:300]


ERROR_RULES = VendorErrorRules(
    name="massive",
    variable="LEADLINE_MASSIVE_API_KEY",
    plan_phrases=("upgrade your plan", "not entitled", "your plan doesn't include"),
    limit_phrases=("exceeded the maximum requests",),
    refusal=_refusal,
)


class Massive(MassiveReference):
    """Bars are asked for unadjusted, so they need no conversion; the actions come with them for returns and restatements."""

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
            ERROR_RULES, base_url, {"Authorization": f"Bearer {api_key}"}, gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback, bounds=bounds, now=now,
        )  # fmt: skip
        super().__init__(http, now)
        self._calendar = calendar

    def calls(self, requests: Sequence[Request]) -> int:
        """One for each name of a symbol, and two for each fifty."""
        named = sum(len(segments(request)) for request in requests)
        return named + 2 * -(-len(requests) // SYMBOLS_A_CALL)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for start in range(0, len(requests), SYMBOLS_A_CALL):
            yield from self._batch(requests[start : start + SYMBOLS_A_CALL])

    def _batch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Bars first: a symbol without any costs no call for its actions."""
        priced = [self._priced(request) for request in requests]
        late = [
            isinstance(found, Bars) and len(found.sessions) > 0 and found.sessions[-1].item() < self._due(request)
            for request, found in zip(requests, priced, strict=True)
        ]
        patience = ENDED_EARLY if sum(late) > STRAGGLERS else 0
        answers = [
            found if isinstance(found, NoData) else self._guarded(request, found, patience)
            for request, found in zip(requests, priced, strict=True)
        ]
        known = [
            request
            for request, answer in zip(requests, answers, strict=True)
            if isinstance(answer, History) and len(answer.bars.sessions)
        ]
        if known:
            first = min(request.first for request in requests) - LISTED_LATE
            names = {name for request in known for name, _, _ in segments(request)}
            try:
                actions, unreadable = self._actions(names, first)
            except Exception as error:  # noqa: BLE001 - of these symbols, not of the batches to come
                # Prices without their splits would be taken for a loss; all wait for the next time.
                answers = [self._failed(a.symbol, error) if isinstance(a, History) else a for a in answers]
            else:
                answers = [
                    self._with(answer, request, actions, unreadable) if isinstance(answer, History) else answer
                    for request, answer in zip(requests, answers, strict=True)
                ]
        yield from answers

    def _due(self, request: Request) -> date:
        return self._calendar().on_or_before(request.last)

    def _priced(self, request: Request) -> Bars | NoData:
        """A security's bars under the symbols it had: Massive files them by the symbol of the day, and by META before 2022-06-09
        it means another security."""
        try:
            rows: list[Row] = []
            for symbol, low, high in segments(request):
                name = self._spelled(symbol)
                if name is None:
                    return invalid_symbol(request.symbol)
                first, last = max(low, request.first), min(high, request.last)
                if first <= last:
                    with asking_about(request.symbol):
                        rows += self._rows(name, first, last)
            return bars(rows, request.first, request.last, self._calendar(), split_adjusted=False)
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._failed(request.symbol, error)

    def _guarded(self, request: Request, found: Bars, patience: int) -> Answer:
        name = self._spelled(request.symbol)
        assert name is not None
        try:
            with asking_about(request.symbol):
                return self._judged(request, name, found, patience)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(request.symbol, error)

    def _judged(self, request: Request, name: str, found: Bars, patience: int) -> Answer:
        """A series that is there to the end speaks for itself. Of one that is not, the vendor's list of tickers tells why."""
        history = History(request.symbol, found, lists_splits=True)
        due = self._due(request)
        if len(found.sessions) and found.sessions[-1].item() >= self._calendar().back(due, patience):
            return history
        if parse_occ(request.symbol):
            return (
                history
                if len(found.sessions)
                else NoData(request.symbol, NoDataReason.NOT_FOUND, detail="no trades of it")
            )
        status = self._status(request.symbol, name)
        if status.candidates:
            return NoData(
                request.symbol,
                NoDataReason.AMBIGUOUS,
                candidates=status.candidates,
                detail="several securities have this symbol",
            )
        for currency in status.currencies:
            assert_currency(self.name, request.symbol, currency)
        if status.renamed is not None and not len(found.sessions):
            return NoData(
                request.symbol, NoDataReason.NOT_FOUND, renamed=status.renamed,
                detail=f"trades as {status.renamed.new} since {status.renamed.on}",
            )  # fmt: skip
        if not status.known and not len(found.sessions):
            return NoData(request.symbol, NoDataReason.NOT_FOUND)
        delisted = None if status.renamed else status.delisted_on
        return History(
            request.symbol, found, lists_splits=True, delisted_on=delisted, listed_from=status.listed_from, renamed=status.renamed
        )  # fmt: skip

    def _rows(self, name: str, first: date, last: date) -> Iterator[Row]:
        path = f"/v2/aggs/ticker/{encoded(name)}/range/1/day/{first}/{last}"
        pages = self._pages(path, {"adjusted": "false", "sort": "asc", "limit": 50_000}, "aggregates")
        for page in pages:
            # Another ticker's prices are nobody's; adjusted prices under an unadjusted label would be converted twice.
            if answered := page.opt_text("ticker"):
                self._same(name, answered)
            if page.has("adjusted") and page.flag("adjusted"):
                raise SchemaChanged(self.name, "aggregates are adjusted for splits though we asked for as traded")
            # A range without a trade has `resultsCount` 0 and no `results`.
            empty = page.opt_number("resultsCount") == 0
            for item in page.records("results", missing_is_empty=empty):
                day = item.epoch("t", per_second=1000).astimezone(_NEW_YORK).date()
                yield Row(
                    day, item.opt_number("o"), item.opt_number("h"), item.opt_number("l"), item.number("c"), None, item.opt_number("v")
                )  # fmt: skip

    def _actions(
        self, symbols: set[str], first: date
    ) -> tuple[dict[str, list[Action | LeftOut]], dict[str, ProviderError]]:
        """Everything from `first` on, by symbol, for all at once: later splits too, because users' quantities stand on the newest basis.
        What is listed twice under one id is one.

        And the symbols of which something is listed that can not be: they have no prices, the others of the batch do.
        """
        names = ",".join(sorted(filter(None, map(self._spelled, symbols))))
        found: dict[str, list[Action | LeftOut]] = {}
        unreadable: dict[str, ProviderError] = {}
        seen: set[str] = set()

        def take(item: Record, made: Callable[[], Action | LeftOut | None]) -> None:
            ticker = from_vendor(item.text("ticker"))
            try:
                if (id_ := item.opt_text("id")) is not None:
                    if id_ in seen:
                        return
                    seen.add(id_)
                action = made()
            except SchemaChanged as error:
                unreadable.setdefault(ticker, error)
            else:
                if action is not None:
                    found.setdefault(ticker, []).append(action)

        splits: Parameters = {
            "ticker.any_of": names,
            "execution_date.gte": first.isoformat(),
            "limit": 5000,
            "sort": "execution_date.asc",
        }
        for item in self._results("/stocks/v1/splits", splits, "splits"):
            take(item, partial(self._split, item))
        dividends: Parameters = {
            "ticker.any_of": names,
            "ex_dividend_date.gte": first.isoformat(),
            "limit": 5000,
            "sort": "ex_dividend_date.asc",
        }
        for item in self._results("/stocks/v1/dividends", dividends, "dividends"):
            take(item, partial(self._dividend, item))
        return found, unreadable

    def _split(self, item: Record) -> Action:
        return split(self.name, item.day("execution_date"), item.number("split_to"), item.number("split_from"))

    def _dividend(self, item: Record) -> Action | LeftOut | None:
        """None if nothing was paid. A number of another currency is no dividend of ours."""
        day, amount, currency = item.day("ex_dividend_date"), item.number("cash_amount"), item.opt_text("currency")
        if currency is not None and currency.upper() != CURRENCY:
            log.warning(
                "massive: a dividend of %s on %s was left out: it is in %s, and nothing is converted",
                item.text("ticker"), day, currency,
            )  # fmt: skip
            return LeftOut(day, amount, currency)
        return dividend(self.name, day, amount) if amount else None

    def _with(
        self,
        history: History,
        request: Request,
        actions: Mapping[str, list[Action | LeftOut]],
        unreadable: Mapping[str, ProviderError],
    ) -> Answer:
        """A history with the actions of its symbols, each on the days on which it had that symbol."""
        own = []
        for symbol, low, high in segments(request):
            if error := unreadable.get(from_vendor(symbol)):
                return self._failed(request.symbol, error)
            own += [action for action in actions.get(from_vendor(symbol), ()) if low <= action.ex_date <= high]
        try:
            listed = [action for action in own if isinstance(action, Action)]
            ordered = check_actions(self.name, tuple(sorted(listed, key=lambda action: (action.ex_date, action.type))))
        except SchemaChanged as error:
            return self._failed(request.symbol, error)
        return replace(history, actions=ordered, left_out=tuple(gone for gone in own if isinstance(gone, LeftOut)))

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        return self._each(symbols, lambda symbol, name: self._status(symbol, name).renamed)


def segments(request: Request) -> list[tuple[str, date, date]]:
    """The symbols a security had within the request, each with its days [first, last]; the newest always, it may be asked about."""
    found = []
    low = date.min
    for rename in request.formerly:
        if rename.on > request.first:
            found.append((rename.old, low, rename.on - timedelta(days=1)))
        low = rename.on
    return [*found, (request.symbol, low, date.max)]
