"""Financial Modeling Prep, the `stable` API: prices adjusted for splits, with splits and dividends beside them.

One symbol a call, so a history costs three calls. The free plan has 250 a day, which is why a symbol without prices is not
asked for its actions, and why this provider stands last in the chain.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from services.ingest.model.market import Answer, History, NoData, NoDataReason, Rename, Request
from services.ingest.providers.errors import PlanLimited, SchemaChanged
from services.ingest.providers.fmp.reference import FmpReference
from services.ingest.providers.fmp.rows import listed_actions, price_row
from services.ingest.providers.normalise import (
    Row,
    assert_currency,
    bars,
    check_listing_date,
    from_vendor,
    invalid_symbol,
    is_foreign_listing,
)
from services.ingest.providers.publication import is_fund, published_at, unpublished_sessions
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter, asking_about
from services.ingest.providers.transport.http import Bounds, Parameters, ProviderHttp
from services.ingest.providers.transport.payload import Record, each_row, records
from services.ingest.providers.transport.refusals import VendorErrorRules
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

log = logging.getLogger(__name__)
BASE_URL = "https://financialmodelingprep.com/stable"
# One answer holds at most 5,000 rows; fifteen years are 3,780 sessions.
YEARS_A_CALL = 15
ENDED_EARLY = 5
# When a session's rows are out, in New York.
PUBLISHED_AT = time(18, 0)


def _refusal(body: Any) -> str | None:
    """Errors are `{"Error Message": …}`, some with status 200; plan limits may be a bare text."""
    if isinstance(body, dict):
        said = body.get("Error Message") or body.get("error") or body.get("message")
        return str(said)[:300] if said else None
    return body[:300] if isinstance(body, str) else None


def _bare(body: bytes) -> str | None:
    """The words of a refusal that is a sentence and no JSON, as those about plans are. A page or a document cut short is no sentence."""
    text = body[:800].decode("utf-8", "replace").strip()
    return text[:200] if text and text[0] not in "{[<" else None


ERROR_RULES = VendorErrorRules(
    name="fmp",
    variable="LEADLINE_FMP_API_KEY",
    plan_phrases=("exclusive endpoint", "restricted endpoint", "special endpoint"),
    plan_words=("plan", "plans", "premium", "subscribe", "subscription", "upgrade", "upgrading"),
    gone_phrases=("legacy endpoint",),
    bare=_bare,
    limit_phrases=("limit reach", "too many requests"),
    refusal=_refusal,
    # The limit is a day's, its end is not told; an hour costs at most 24 calls of the next day's 250.
    retry_after=timedelta(hours=1),
)


class Fmp(FmpReference):
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
            ERROR_RULES,
            base_url,
            {"apikey": api_key},
            gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback,
            bounds=bounds,
            now=now,
        )
        super().__init__(http, now)
        self._calendar = calendar

    def calls(self, requests: Sequence[Request]) -> int:
        """Three a symbol: prices, splits, dividends."""
        return sum(2 + len(_spans(request.first, request.last)) for request in requests)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for request in requests:
            name = self._vendor_symbol(request.symbol)
            if name is None or parse_occ(request.symbol):
                yield (
                    invalid_symbol(request.symbol)
                    if name is None
                    else NoData(request.symbol, NoDataReason.NOT_FOUND, detail="fmp has no options")
                )
                continue
            yield self._ask(request, name)

    def _ask(self, request: Request, name: str) -> Answer:
        try:
            with asking_about(request.symbol):
                self._plan.check(request.symbol)
                try:
                    return self._history(request, name)
                except PlanLimited as error:
                    self._plan.learn(request.symbol, error)
                    raise
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._to_no_data(request.symbol, error)

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        return self._each(symbols, lambda symbol, _name: self._find_rename(symbol))

    def _history(self, request: Request, name: str) -> Answer:
        if is_foreign_listing(name):
            # Its prices do not say in which currency they are; the profile does, for one call more.
            for company in self._companies(name):
                assert_currency(self.name, request.symbol, company.opt_text("currency"))
        rows = [row for first, last in _spans(request.first, request.last) for row in self._rows(name, first, last)]
        found = bars(rows, request.first, request.last, self._calendar(), split_adjusted=True)
        late = unpublished_sessions(
            request, found, self._calendar(), self._now(),
            lambda session: published_at(session, PUBLISHED_AT, fund=is_fund(request.symbol)),
        )  # fmt: skip
        if not len(found.sessions):
            why = self._why(request, name)
            return replace(why, unserved=late) if isinstance(why, History) else why
        due = self._calendar().on_or_before(request.last)
        ended = found.sessions[-1].item() < self._calendar().back(due, ENDED_EARLY)
        delisted = self._delisted_on(request.symbol, name) if ended else None
        history = History(request.symbol, found, delisted_on=delisted, unserved=late)
        try:
            splits = self._rows_of_symbol("/splits", name)
        except PlanLimited as error:
            self._http.record_error(error)
            return replace(history, actions_refused=True)
        refused = False
        dividends: Iterable[Record] = ()
        try:
            dividends = self._rows_of_symbol("/dividends", name)
        except PlanLimited as error:
            self._http.record_error(error)
            refused = True
        actions = listed_actions(
            self.name, name, splits, dividends,
            # One that is only announced is in no price yet; converted with it, every close would be wrong by its ratio.
            # The session decides, not the date: at eight in the evening of New York it is the next day in UTC.
            since=request.first, until=self._calendar().last_due(self._now()),
        )  # fmt: skip
        return replace(history, actions=actions, lists_splits=True, actions_refused=refused)

    def _rows_of_symbol(self, path: str, name: str) -> list[Record]:
        """A list's rows without those that are said to be another symbol's."""
        found = []
        for item in self._list(path, {"symbol": name}):
            try:
                self._same(name, item)
            except SchemaChanged as error:
                log.warning("fmp: a row of %s was left out: %s", path, error)
            else:
                found.append(item)
        return found

    def _why(self, request: Request, name: str) -> Answer:
        """No prices: unknown, renamed, delisted, or just not traded. One call for the profile, two more for one that is gone."""
        known = self._companies(name)
        if len({company.opt_text("exchange") for company in known}) > 1:
            candidates = tuple(map(self._candidate, known))
            return NoData(
                request.symbol,
                NoDataReason.AMBIGUOUS,
                candidates=candidates,
                detail="several securities have this symbol",
            )
        if not known or not known[0].flag("isActivelyTrading"):
            renamed = self._find_rename(request.symbol)
            if renamed is not None:
                detail = f"trades as {renamed.new} since {renamed.on}"
                return NoData(request.symbol, NoDataReason.NOT_FOUND, renamed=renamed, detail=detail)
        delisted = self._delisted_on(request.symbol, name, known)
        if not known and delisted is None:
            return NoData(request.symbol, NoDataReason.NOT_FOUND)
        empty = bars((), request.first, request.last, self._calendar(), split_adjusted=True)
        first = known[0].opt_day("ipoDate") if known else None
        return History(
            request.symbol,
            empty,
            lists_splits=True,
            delisted_on=delisted,
            listed_from=check_listing_date(self.name, first, self._today()) if first else None,
        )

    def _rows(self, name: str, first: date, last: date) -> list[Row]:
        asked = {"symbol": name, "from": first.isoformat(), "to": last.isoformat()}

        def row(item: Record) -> Row | None:
            self._same(name, item)
            return price_row(self.name, name, item)

        return each_row(self.name, name, self._list("/historical-price-eod/full", asked), row)

    def _same(self, name: str, item: Record) -> None:
        answered = item.opt_text("symbol")
        if answered is not None and from_vendor(answered) != from_vendor(name):
            raise SchemaChanged(self.name, f"asked for {name}, answered for {answered}")

    def _list(self, path: str, asked: Parameters) -> Iterator[Record]:
        return records(self.name, path, self._http.get(path, asked))


def _spans(first: date, last: date) -> list[tuple[date, date]]:
    """[first, last] in pieces that one answer holds."""
    pieces = []
    step = timedelta(days=365 * YEARS_A_CALL)
    while first <= last:
        pieces.append((first, min(first + step, last)))
        first += step + timedelta(days=1)
    return pieces
