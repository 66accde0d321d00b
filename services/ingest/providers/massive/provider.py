"""Massive (formerly Polygon.io): prices as traded, splits, dividends, and what became of a symbol.

The vendor's package knows its endpoints (`client`); how they are asked and what counts as an answer is ours.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.ingest.model.market import (
    LISTED_LATE,
    Action,
    Answer,
    History,
    LeftOut,
    NoData,
    NoDataReason,
    Rename,
    Request,
)
from services.ingest.providers.actions import check_actions, in_effect
from services.ingest.providers.errors import (
    PlanLimited,
    ProviderError,
    SchemaChanged,
    TimeframeRefused,
    TodayRefused,
)
from services.ingest.providers.massive.actions import Found, ListedActions
from services.ingest.providers.massive.bars import MassiveBars, Priced, segments
from services.ingest.providers.massive.plan import LocalPlan
from services.ingest.providers.normalise import assert_currency, from_vendor
from services.ingest.providers.quota.limits import PlanMemory
from services.ingest.providers.transport.gate import LocalRateLimiter, RateLimiter, asking_about
from services.ingest.providers.transport.http import Bounds, ProviderHttp
from services.ingest.providers.transport.refusals import VendorErrorRules
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
    if not isinstance(body, dict) or body.get("status") in _STATUSES:
        return None
    if body.get("status") is None:
        told = body.get("error") or body.get("message")
        return told[:300] if isinstance(told, str) and "results" not in body else None
    status = str(body["status"])
    said = str(body.get("error") or body.get("message") or status)[:300]
    # Of a plan it says that status whatever its sentence; of a key it does not know, another one.
    return f"{said} ({status})" if status == "NOT_AUTHORIZED" and "api key" not in said.lower() else said


ERROR_RULES = VendorErrorRules(
    name="massive",
    variable="LEADLINE_MASSIVE_API_KEY",
    plans=(
        ("today's data", TodayRefused),
        ("before end of day", TodayRefused),
        ("before the end of the day", TodayRefused),
        ("current day", TodayRefused),
        ("same-day", TodayRefused),
        ("same day", TodayRefused),
        ("timeframe", TimeframeRefused),
        ("time frame", TimeframeRefused),
        ("historical data", TimeframeRefused),
    ),
    plan_phrases=("not_authorized",),
    plan_words=("entitled", "entitlement", "plan", "plans", "subscription", "upgrade", "upgrading"),
    limit_phrases=("exceeded the maximum requests",),
    refusal=_refusal,
)


class Massive(MassiveBars):
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
        plan: PlanMemory | None = None,
    ) -> None:
        http = ProviderHttp(
            ERROR_RULES, base_url, {"Authorization": f"Bearer {api_key}"}, gate or LocalRateLimiter(now=now),
            allow_loopback=allow_loopback, bounds=bounds, now=now,
        )  # fmt: skip
        super().__init__(http, now, calendar, plan or LocalPlan())
        self._listed = ListedActions(self.name, self._client, self._results, now)

    def calls(self, requests: Sequence[Request]) -> int:
        """One for each name of a symbol, and two for each fifty; of a night one a day and what the actions of all cost."""
        chosen = self._night.choose_requests(requests)
        named = sum(len(segments(request)) for index, request in enumerate(requests) if index not in chosen)
        calls = named + self._night.cost(requests, chosen)
        for start in range(0, len(requests), SYMBOLS_A_CALL):
            batch = requests[start : start + SYMBOLS_A_CALL]
            first = min(request.first for request in batch) - LISTED_LATE
            night = not chosen.isdisjoint(range(start, start + len(batch)))
            calls += self._listed.cost(len(batch), first, night=night)
        return max(1, calls)

    def fetch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        for start in range(0, len(requests), SYMBOLS_A_CALL):
            batch = requests[start : start + SYMBOLS_A_CALL]
            found = iter(list(self._batch([request for request in batch if not request.split_adjusted])))
            yield from (self._fetch_adjusted(request) if request.split_adjusted else next(found) for request in batch)

    def _batch(self, requests: Sequence[Request]) -> Iterator[Answer]:
        """Bars first: a symbol without any costs no call for its actions."""
        answers, night = self._answers_and_night(requests)
        known = [
            request
            for request, answer in zip(requests, answers, strict=True)
            if isinstance(answer, History) and len(answer.bars.sessions)
        ]
        if known and self._listed.refused:
            answers = self._without_actions(answers)
        elif known:
            first = min(request.first for request in requests) - LISTED_LATE
            names = {
                name for request in known for symbol, _, _ in segments(request) if (name := self._vendor_symbol(symbol))
            }
            try:
                with self._http.with_accepted_key():  # which has been served the bars
                    actions, unreadable = self._actions_of(names, first, night=night)
            except PlanLimited as error:
                self._http.record_error(error)
                self._listed.refuse()
                answers = self._without_actions(answers)
            except Exception as error:  # noqa: BLE001 - of these symbols, not of the batches to come
                # Prices without their splits would be taken for a loss; all wait for the next time.
                answers = [self._to_no_data(a.symbol, error) if isinstance(a, History) else a for a in answers]
            else:
                answers = [
                    self._with(answer, request, actions, unreadable) if isinstance(answer, History) else answer
                    for request, answer in zip(requests, answers, strict=True)
                ]
        yield from answers

    def _answers_and_night(self, requests: Sequence[Request]) -> tuple[list[Answer], bool]:
        """Answers without their actions, and whether some came of whole days."""
        priced, night = self._priced_all(requests)
        late = [
            isinstance(found, Priced)
            and len(found.bars.sessions) > 0
            and found.bars.sessions[-1].item() < self._due(found)
            for found in priced
        ]
        patience = ENDED_EARLY if sum(late) > STRAGGLERS else 0
        return [
            found if isinstance(found, NoData) else self._answer_or_refusal(request, found, patience)
            for request, found in zip(requests, priced, strict=True)
        ], night

    def _without_actions(self, answers: Sequence[Answer]) -> list[Answer]:
        """The bars alone, as traded. Of one that may have split meanwhile, adjusted ones are asked for if nobody else lists splits."""
        return [
            replace(answer, lists_splits=False, actions_refused=True)
            if isinstance(answer, History) and len(answer.bars.sessions)
            else answer
            for answer in answers
        ]

    def _fetch_adjusted(self, request: Request) -> Answer:
        found = self._adjusted_for_splits(request)
        if isinstance(found, NoData):
            return found
        return History(request.symbol, found.bars, unserved=found.unserved, actions_refused=True)

    def _actions_of(self, names: set[str], first: date, *, night: bool) -> Found:
        """From as early a day as the plan has them. Raises `PlanLimited` if it has none."""
        *others, last = self._plan.begins(first)
        for begin in others:
            try:
                return self._listed.of(names, begin, night=night)
            except TimeframeRefused:
                continue
        return self._listed.of(names, last, night=night)

    def _due(self, found: Priced) -> date:
        return self._calendar().on_or_before(found.last)

    def _answer_or_refusal(self, request: Request, found: Priced, patience: int) -> Answer:
        name = self._vendor_symbol(request.symbol)
        assert name is not None
        try:
            with asking_about(request.symbol):
                answer = self._judge(request, name, found, patience)
                return replace(answer, unserved=found.unserved) if isinstance(answer, History) else answer
        except Exception as error:  # noqa: BLE001 - as above
            return self._to_no_data(request.symbol, error)

    def _judge(self, request: Request, name: str, priced: Priced, patience: int) -> Answer:
        """A series that is there to the end speaks for itself. Of one that is not, the vendor's list of tickers tells why."""
        found, due = priced.bars, self._due(priced)
        history = History(request.symbol, found, lists_splits=True)
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

    def _with(
        self,
        history: History,
        request: Request,
        actions: Mapping[str, list[Action | LeftOut]],
        unreadable: Mapping[str, tuple[date, ProviderError]],
    ) -> Answer:
        """A history with the actions of its symbols, each on the days on which it had that symbol."""
        own = []
        for symbol, low, high in segments(request):
            day, error = unreadable.get(from_vendor(symbol), (date.min, None))
            # Before the range it changes none of its closes, and costs itself.
            if error is not None and day >= request.first:
                return self._to_no_data(request.symbol, error)
            own += [action for action in actions.get(from_vendor(symbol), ()) if low <= action.ex_date <= high]
        try:
            listed = in_effect((action for action in own if isinstance(action, Action)), self._today())
            left_out = tuple(gone for gone in own if isinstance(gone, LeftOut))
            for gone in left_out:
                log.warning(
                    "massive: a dividend of %s on %s was left out: it is in %s, and nothing is converted",
                    request.symbol, gone.ex_date, gone.currency,
                )  # fmt: skip
            ordered = check_actions(self.name, tuple(sorted(listed, key=lambda action: (action.ex_date, action.type))))
        except SchemaChanged as error:
            return self._to_no_data(request.symbol, error)
        return replace(history, actions=ordered, left_out=left_out)

    def renames(self, symbols: Sequence[str]) -> Iterator[Rename | NoData | None]:
        return self._each(symbols, lambda symbol, name: self._status(symbol, name).renamed)
