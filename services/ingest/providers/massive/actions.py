"""Massive's splits and dividends: of fifty symbols in two calls, or of everybody since a day where a night asks about many."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from functools import partial
from typing import NamedTuple

import structlog

from services.ingest.model.market import CURRENCY, Action, LeftOut
from services.ingest.providers.actions import dividend, split
from services.ingest.providers.errors import ProviderError, SchemaChanged
from services.ingest.providers.massive.client import Client, Document
from services.ingest.providers.massive.night import KEPT
from services.ingest.providers.normalise import from_vendor, market_day
from services.ingest.providers.payments import Mark, Payments
from services.ingest.providers.transport.payload import Record

log = structlog.stdlib.get_logger(__name__)

ROWS_A_PAGE = 5000
# Of the whole market; a quarter's end has more.
DIVIDENDS_A_DAY = 200
# Portions of so many symbols have others after them: what is read of everybody once serves them all.
MANY = 40
# An older question's list of everybody has too many pages.
LONGEST_DAYS = 90

ItemsOf = Callable[[str, Document], Iterable[Record]]
"""(what they are, the first page's answer) -> the items of all pages"""


class Found(NamedTuple):
    """Actions by symbol, and the symbols of which something is listed that can not be, with the last such day: from before then
    they have no prices, the others do."""

    actions: dict[str, list[Action | LeftOut]]
    unreadable: dict[str, tuple[date, ProviderError]]


class ListedActions:
    """Of one thread."""

    def __init__(self, provider: str, client: Client, items: ItemsOf, now: Callable[[], datetime]) -> None:
        self._provider = provider
        self._client = client
        self._items = items
        self._now = now
        self._kept: tuple[datetime, date, Found] | None = None
        self._refused_on: date | None = None

    @property
    def refused(self) -> bool:
        """Whether the plan has no lists of actions. Asked again the next day: it may have been changed."""
        return self._refused_on == market_day(self._now())

    def refuse(self) -> None:
        self._refused_on = market_day(self._now())

    def cost(self, symbols: int, first: date, *, night: bool) -> int:
        if self.refused or self._at_hand(first) is not None:
            return 0
        return 2 + self._more_pages(first) if night and self._by_day(symbols, first) else 2

    def of(self, names: set[str], first: date, *, night: bool) -> Found:
        """Everything of the vendor's symbols from `first` on: later splits too, because users' quantities stand on the newest basis.

        night : the bars came as whole days. Raises `ProviderError`.
        """
        if (kept := self._at_hand(first)) is not None:
            return kept
        if not night or not self._by_day(len(names), first):
            return self._read(",".join(sorted(names)), first)
        found = self._read(None, first)
        self._kept = self._now(), first, found
        return found

    def _by_day(self, symbols: int, first: date) -> bool:
        return symbols >= MANY and (self._now().date() - first).days <= LONGEST_DAYS

    def _more_pages(self, first: date) -> int:
        return DIVIDENDS_A_DAY * max(0, (self._now().date() - first).days) // ROWS_A_PAGE

    def _at_hand(self, first: date) -> Found | None:
        if self._kept is None or self._now() - self._kept[0] >= KEPT or self._kept[1] > first:
            return None
        return self._kept[2]

    def _read(self, names: str | None, first: date) -> Found:
        reading, since = _Reading(self._provider), first.isoformat()
        answer = self._client.list_stocks_splits(
            ticker_any_of=names, execution_date_gte=since, limit=ROWS_A_PAGE, sort="execution_date.asc", raw=True
        )
        reading.take(self._items("splits", answer), "execution_date", partial(_split, self._provider))
        answer = self._client.list_stocks_dividends(
            ticker_any_of=names, ex_dividend_date_gte=since, limit=ROWS_A_PAGE, sort="ex_dividend_date.asc", raw=True
        )
        reading.take(self._items("dividends", answer), "ex_dividend_date", reading.payment)
        return reading.found


class _Reading:
    """One answer's lists. What is listed twice is one: under one id, or under two with the amount, kind and day of payment of one."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._ids: set[str] = set()
        self._payments: dict[str, Payments] = {}
        self.found = Found({}, {})

    def take(self, items: Iterable[Record], key: str, made: Callable[[Record], Action | LeftOut | None]) -> None:
        """Raises `SchemaChanged` where no row of several has a day."""
        undated: SchemaChanged | None = None
        dated = False
        for item in items:
            try:
                ticker = from_vendor(item.text("ticker"))
            except SchemaChanged as error:
                # In a list of everybody a row without a name is nobody's: it must not cost those who are asked for.
                log.warning("action_of_nobody", provider=self._provider, fault=str(error))
                continue
            try:
                day = item.day(key)
                dated = True
            except SchemaChanged as error:
                undated = error
                log.warning("action_without_day", provider=self._provider, symbol=ticker, fault=str(error))
                continue
            self._take_one(ticker, day, item, made)
        if undated is not None and not dated:
            raise undated

    def _take_one(
        self, ticker: str, day: date, item: Record, made: Callable[[Record], Action | LeftOut | None]
    ) -> None:
        try:
            if (id_ := item.opt_text("id")) is not None:
                if id_ in self._ids:
                    return
                self._ids.add(id_)
            action = made(item)
        except SchemaChanged as error:
            log.warning("action_unreadable", provider=self._provider, symbol=ticker, fault=str(error))
            known = self.found.unreadable.get(ticker)
            if known is None or known[0] < day:
                self.found.unreadable[ticker] = day, error
            return
        listed = self.found.actions.get(ticker, ())
        again = isinstance(action, Action) and action.type == "split" and action in listed
        if action is not None and not again:
            self.found.actions.setdefault(ticker, []).append(action)

    def payment(self, item: Record) -> Action | LeftOut | None:
        made = _dividend(self._provider, item)
        if made is None:
            return None
        of = self._payments.setdefault(from_vendor(item.text("ticker")), Payments())
        return made if of.is_new(made.ex_date, made.value, _mark(item)) else None


def _split(provider: str, item: Record) -> Action:
    return split(provider, item.day("execution_date"), item.number("split_to"), item.number("split_from"))


def _mark(item: Record) -> Mark:
    """What two rows of one payment have in common beside the amount. Where nothing is told but the id, that tells them apart."""
    told = tuple(item.opt_text(key) for key in ("pay_date", "distribution_type", "dividend_type"))
    currency = item.opt_text("currency")
    return (*told, currency and currency.upper(), None if any(told) else item.opt_text("id"))


def _dividend(provider: str, item: Record) -> Action | LeftOut | None:
    """None if nothing was paid. A number of another currency is no dividend of ours."""
    day, amount, currency = item.day("ex_dividend_date"), item.number("cash_amount"), item.opt_text("currency")
    if currency is not None and currency.upper() != CURRENCY:
        return LeftOut(day, amount, currency)
    return dividend(provider, day, amount) if amount else None
