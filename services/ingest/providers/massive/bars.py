"""Massive's bars: one question a symbol, as far as the plan reaches, or one a day for a night's symbols."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.ingest.model.market import Bars, NoData, NoDataReason, Request, Unserved
from services.ingest.providers.errors import (
    NotPublished,
    PlanLimited,
    ProviderError,
    SchemaChanged,
    TodayRefused,
    UnknownToProvider,
)
from services.ingest.providers.massive.night import Day, Night
from services.ingest.providers.massive.plan import Plan, Served
from services.ingest.providers.massive.reference import MassiveReference
from services.ingest.providers.normalise import Row, bars, encode_path_segment, invalid_symbol
from services.ingest.providers.publication import published_at, unpublished_sessions
from services.ingest.providers.quota.limits import PlanMemory
from services.ingest.providers.transport.gate import asking_about
from services.ingest.providers.transport.http import ProviderHttp
from services.ingest.providers.transport.payload import Record, each_row
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ

# A session's bar may still come or change until trading after hours has ended and its delay is over, in New York.
PUBLISHED_AT = time(20, 15)
_NEW_YORK = ZoneInfo("America/New_York")


class Priced(NamedTuple):
    """Bars up to `last`, which is earlier than what was asked for where that is not served yet."""

    bars: Bars
    last: date
    unserved: tuple[Unserved, ...] = ()


class MassiveBars(MassiveReference):
    def __init__(
        self, http: ProviderHttp, now: Callable[[], datetime], calendar: Callable[[], Calendar], plan: PlanMemory
    ) -> None:
        super().__init__(http, now)
        self._calendar = calendar
        self._plan = Plan(plan, calendar, now)
        self._night = Night(calendar, now)
        self._as_traded = True
        self._asks_adjusted = False
        """Whether bars are asked for adjusted for splits."""

    def _adjusted_for_splits(self, request: Request) -> Priced | NoData:
        """One more question of a symbol whose splits are not told: as traded, nobody could tell one from a loss."""
        self._asks_adjusted = True
        try:
            return self._bars_of(request)
        finally:
            self._asks_adjusted = False

    def _priced_all(self, requests: Sequence[Request]) -> tuple[list[Priced | NoData], bool]:
        """And whether some came of whole days."""
        chosen = {index for index in self._night.choose_requests(requests) if not parse_occ(requests[index].symbol)}
        days: dict[date, Day] = {}
        refused: set[date] = set()
        failed: Exception | None = None
        try:
            for day in sorted({day for index in chosen for day in self._night.sessions(requests[index])}):
                if self._plan.last_served(day) < day:
                    refused.add(day)
                    continue
                try:
                    days[day] = self._night.day(day, self._whole_day)
                except TodayRefused:
                    self._plan.refuse(day)
                    refused.add(day)
        except (PlanLimited, UnknownToProvider):
            self._night.forgo()  # the plan or a mirror has no whole days
            chosen = set()
        except Exception as error:  # noqa: BLE001 - of this night's symbols, not of the others
            failed = error

        def one(index: int, request: Request) -> Priced | NoData:
            if index not in chosen:
                return self._bars_of(request)
            return self._to_no_data(request.symbol, failed) if failed else self._of_days(request, days, refused)

        return [one(index, request) for index, request in enumerate(requests)], bool(chosen)

    def _of_days(self, request: Request, days: dict[date, Day], refused: set[date]) -> Priced | NoData:
        """A symbol's bars of whole days; of one that none of them has (the days leave some markets out), by its own question."""
        name = self._vendor_symbol(request.symbol)
        if name is None:
            return invalid_symbol(request.symbol)
        asked = [day for day in self._night.sessions(request) if day not in refused]
        if not asked:
            until = self._plan.morning()
            return NotPublished(
                self.name, f"{request.last} is served when the day has ended", retry_at=until
            ).to_no_data(request.symbol)
        rows = [days[day][name] for day in asked if name in days[day]]
        if not rows and any(days[day] for day in asked):
            return self._bars_of(request)
        last = request.last if len(asked) == len(self._night.sessions(request)) else asked[-1]
        return self._to_bars(request, rows, last, self._plan.late(last, request.last))

    def _to_bars(self, request: Request, rows: list[Row], last: date, unserved: tuple[Unserved, ...]) -> Priced:
        """The rows as bars. A newest session that is missing before its hour is late, and does not make a series end early."""
        adjusted = self._asks_adjusted and not self._as_traded
        found = bars(rows, request.first, request.last, self._calendar(), split_adjusted=adjusted)
        late = unpublished_sessions(
            replace(request, last=last), found, self._calendar(), self._now(),
            lambda session: published_at(session, PUBLISHED_AT, fund=False),
        )  # fmt: skip
        if late:
            last = self._calendar().previous(late[0].first)
        return Priced(found, last, unserved + late)

    def _whole_day(self, day: date) -> Day:
        """Every ticker's row. One that cannot be read is its ticker's affair: it is asked about by itself."""
        answer = self._client.get_grouped_daily_aggs(day, adjusted=False, raw=True)
        found: dict[str, Row] = {}
        for page in self._pages("grouped aggregates", answer):
            for item in self._check_rows(page):
                try:
                    found[item.text("T")] = self._row(item, day)
                except SchemaChanged:
                    continue
        return found

    def _bars_of(self, request: Request) -> Priced | NoData:
        """A security's bars under the symbols it had: Massive files them by the symbol of the day, and by META before 2022-06-09
        it means another security."""
        try:
            served: list[Served] = []
            unserved: list[Unserved] = []
            gone: ProviderError | None = None
            for symbol, low, high in segments(request):
                name = self._vendor_symbol(symbol)
                if name is None:
                    return invalid_symbol(request.symbol)
                first, last = max(low, request.first), min(high, request.last)
                if first > last:
                    continue
                with asking_about(request.symbol):
                    try:
                        served.append(self._ask(name, first, last))
                    except PlanLimited as error:
                        gone = error
                        unserved.append(Unserved(first, last, NoDataReason.PLAN_LIMIT))
                    except NotPublished as error:
                        gone = error
                        unserved.append(Unserved(first, last, NoDataReason.LATE, error.retry_at))
            if gone is not None and not served:
                raise gone
            rows = [row for one in served for row in one.rows]
            unserved += [span for one in served for span in one.unserved]
            last = max((one.last for one in served), default=request.last)
            return self._to_bars(request, rows, min(last, request.last), tuple(unserved))
        except Exception as error:  # noqa: BLE001 - one symbol's answer, whatever is in it, never stops the others
            return self._to_no_data(request.symbol, error)

    def _ask(self, name: str, first: date, last: date) -> Served:
        return self._plan.ask(self.name, lambda low, high: list(self._rows(name, low, high)), first, last)

    def _rows(self, name: str, first: date, last: date) -> Iterator[Row]:
        answer = self._client.list_aggs(
            encode_path_segment(name),
            1,
            "day",
            first,
            last,
            adjusted=self._asks_adjusted,
            sort="asc",
            limit=50_000,
            raw=True,
        )
        for page in self._pages("aggregates", answer):
            # Another ticker's prices are nobody's.
            if answered := page.opt_text("ticker"):
                self._same(name, answered)
            yield from each_row(self.name, name, self._check_rows(page), self._dated_row)

    def _check_rows(self, page: Record) -> Iterator[Record]:
        # Adjusted prices under an unadjusted label would be converted twice.
        if page.has("adjusted") and page.flag("adjusted") and not self._asks_adjusted:
            raise SchemaChanged(self.name, "aggregates are adjusted for splits though we asked for as traded")
        # A mirror may know as traded alone.
        self._as_traded = page.has("adjusted") and not page.flag("adjusted")
        # A range without a trade has `resultsCount` 0 and no `results`.
        return page.records("results", missing_is_empty=page.opt_number("resultsCount") == 0)

    def _dated_row(self, item: Record) -> Row:
        return self._row(item, item.epoch("t", per_second=1000).astimezone(_NEW_YORK).date())

    def _row(self, item: Record, day: date) -> Row:
        return Row(
            day, item.opt_number("o"), item.opt_number("h"), item.opt_number("l"), item.number("c"), None, item.opt_number("v")
        )  # fmt: skip


def segments(request: Request) -> list[tuple[str, date, date]]:
    """The symbols a security had within the request, each with its days [first, last]; the newest always, it may be asked about."""
    found = []
    low = date.min
    for rename in request.formerly:
        if rename.on > request.first:
            found.append((rename.old, low, rename.on - timedelta(days=1)))
        low = rename.on
    return [*found, (request.symbol, low, date.max)]
