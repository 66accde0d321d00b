"""Provider chain: order, fallback, and the resulting no-data reason.

A provider that has bars serves; the next one is asked only for the sessions before its first and after its last bar. A hole
in between is left to the source that saw the neighbours: filling single days from another vendor costs a call a symbol and
mixes two vendors' closes in one return. A symbol is absent for good only when every provider has said so that can: one with a
refused key or an answer nobody understands stays so until a person acts, and asking the others again meanwhile helps nobody.

A symbol that may mean several securities is a question to the user: nobody further is asked, because whoever has bars of it
would have guessed. Nor after somebody knows it to be priced in another currency: another vendor's price might not say so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.ingest.model.market import (
    Answer,
    Bars,
    ChainResult,
    History,
    NoData,
    NoDataReason,
    ProviderSeries,
    Request,
)
from services.ingest.model.steps import may_hold_split
from services.ingest.providers.base import Provider
from services.ingest.providers.errors import unexpected_answer
from shared.market.calendar import Calendar

EXCHANGE_TIME = ZoneInfo("America/New_York")

# Of several authoritative answers the one that knows most about the symbol is told.
_TELLING = (
    NoDataReason.FOREIGN_CURRENCY,
    NoDataReason.DELISTED,
    NoDataReason.AMBIGUOUS,
    NoDataReason.NOT_YET_LISTED,
    NoDataReason.NO_TRADE,
    NoDataReason.PLAN_LIMIT,
    NoDataReason.NOT_FOUND,
)


class Chain:
    """Providers in the user's order.

    calendar : of the moment it is called at. A service that lives through two New Years must not keep the first one's.
    """

    def __init__(self, providers: Sequence[Provider], calendar: Callable[[], Calendar]) -> None:
        if not providers:
            raise ValueError("a chain needs at least one provider")
        self._providers = tuple(providers)
        self._calendar = calendar

    @property
    def name(self) -> str:
        """All who may be asked, in order; stored with an absence, so that a new provider is a reason to ask again."""
        return ",".join(provider.name for provider in self._providers)

    def published_at(self, session: date) -> datetime | None:
        """When all of them have published the session's bars; None if all have as soon as it is due. File and calendar know no hour."""
        hours: list[timedelta] = [
            hour for provider in self._providers if (hour := getattr(provider, "publishes", None)) is not None
        ]
        if not hours:
            return None
        opened, _ = self._calendar().hours(session)
        day = opened.astimezone(EXCHANGE_TIME).date()
        return max(datetime.combine(day, time(), EXCHANGE_TIME) + hour for hour in hours).astimezone(UTC)

    def fetch(self, requests: Sequence[Request]) -> list[ChainResult]:
        """One result a request, in order. Blocks; run it in a thread."""
        attempts = [_Attempt(request) for request in requests]
        open_: list[tuple[_Attempt, Request]] = list(zip(attempts, requests, strict=True))
        for provider in self._providers:
            if not open_:
                break
            still_open: list[tuple[_Attempt, Request]] = []
            answers = _fetch_safely(provider, [request for _, request in open_])
            for (attempt, request), answer in zip(open_, answers, strict=True):
                attempt.take(provider.name, request, answer)
                rest = [request] if isinstance(answer, NoData) else self._rest_of_request(request, answer)
                still_open += [(attempt, part) for part in rest]
            open_ = [(attempt, request) for attempt, request in still_open if not attempt.ended]
        self._find_refused_actions(attempts)
        self._ask_adjusted(attempts)
        unanswered = {id(attempt) for attempt, _ in open_}
        return [
            attempt.result(complete=id(attempt) not in unanswered and not attempt.bars_lost) for attempt in attempts
        ]

    def _find_refused_actions(self, attempts: "Sequence[_Attempt]") -> None:
        """For bars whose source has no lists of actions by its plan: those of the first other source that lists them."""
        for place, provider in enumerate(self._providers):
            without = [attempt for attempt in attempts if attempt.lacks_actions_of(provider.name)]
            for other in self._providers[place + 1 :]:
                if not without or source_of(other) == source_of(provider):
                    continue
                answers = _fetch_safely(other, [attempt.request for attempt in without])
                for attempt, answer in zip(without, answers, strict=True):
                    attempt.take_actions(provider.name, other.name, answer)
                without = [attempt for attempt in without if attempt.lacks_actions_of(provider.name)]

    def _ask_adjusted(self, attempts: "Sequence[_Attempt]") -> None:
        """Bars as traded that may hold a split nobody lists are asked for once more: nobody could tell one from a loss."""
        for provider in self._providers:
            unsure = [attempt for attempt in attempts if attempt.bars_that_may_split(provider.name)]
            if not unsure:
                continue
            requests = [
                replace(
                    attempt.request,
                    first=bars.sessions[0].item(),
                    last=bars.sessions[-1].item(),
                    split_adjusted=True,
                )
                for attempt in unsure
                if (bars := attempt.bars_that_may_split(provider.name))
            ]
            for attempt, answer in zip(unsure, _fetch_safely(provider, requests), strict=True):
                attempt.take_adjusted(provider.name, answer)

    @property
    def has_second(self) -> bool:
        return len({source_of(provider) for provider in self._providers}) > 1

    def second_opinion(self, request: Request, other_than: str) -> ProviderSeries | NoData | None:
        """Bars of the first provider of another source that has some; an `NoData` if one may have some later; None if nobody does.

        Two names of one source say the same, right or wrong.
        """
        later: NoData | None = None
        first = next((source_of(provider) for provider in self._providers if provider.name == other_than), other_than)
        for provider in self._providers:
            if source_of(provider) == first:
                continue
            (answer,) = _fetch_safely(provider, [request])
            if isinstance(answer, History):
                if len(answer.bars.sessions) > 1:
                    return ProviderSeries(provider.name, answer)
            elif answer.reason.transient:
                later = answer
        return later

    def _rest_of_request(self, request: Request, answer: History) -> list[Request]:
        """The sessions before the first and after the last bar, each with the bar next to them, so that returns join up."""
        sessions = answer.bars.sessions
        if not len(sessions):
            return [request]
        first, last = sessions[0].item(), sessions[-1].item()
        rest = []
        if first > self._calendar().on_or_after(request.first):
            rest.append(replace(request, last=first))
        if last < self._calendar().on_or_before(request.last):
            rest.append(replace(request, first=last))
        return rest


def _fetch_safely(provider: Provider, requests: Sequence[Request]) -> list[Answer]:
    """One answer a request. A provider that fails in a way nobody foresaw is as one that is down: the next one is asked."""
    try:
        return list(provider.fetch(requests))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        return [
            unexpected_answer(provider.name, request.symbol, error).to_no_data(request.symbol) for request in requests
        ]


def source_of(provider: Provider) -> str:
    """Whose data a provider has: its own, unless it says that it is another name for somebody's."""
    source: str = getattr(provider, "source", provider.name)
    return source


@dataclass
class _Attempt:
    """What the providers have said about one request so far."""

    request: Request
    parts: list[ProviderSeries] = field(default_factory=list)
    absences: list[tuple[str, NoData]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    ended: bool = False
    bars_lost: bool = False
    """Bars were not taken, because it is not known whether they hold a split."""

    def take(self, provider: str, request: Request, answer: Answer) -> None:
        if provider not in self.asked:
            self.asked.append(provider)
        if isinstance(answer, NoData):
            self.absences.append((provider, answer))
            self.ended = self.ended or _final(answer, request)
        else:
            self.parts.append(ProviderSeries(provider, answer))

    def lacks_actions_of(self, provider: str) -> bool:
        return any(
            part.provider == provider and part.history.actions_refused and len(part.history.bars.sessions)
            for part in self.parts
        )

    def bars_that_may_split(self, provider: str) -> Bars | None:
        for part in self.parts:
            bars = part.history.bars
            if part.provider == provider and part.history.actions_refused and not bars.split_adjusted:
                return bars if may_hold_split(bars) else None
        return None

    def take_adjusted(self, provider: str, answer: Answer) -> None:
        """Put a source's adjusted bars in the place of those as traded, which without them are none."""
        place = next(
            i for i, part in enumerate(self.parts) if part.provider == provider and part.history.actions_refused
        )
        if isinstance(answer, NoData):
            del self.parts[place]
            self.absences.append((provider, answer))
            self.bars_lost = True
        elif len(answer.bars.sessions):
            self.parts[place] = ProviderSeries(provider, replace(self.parts[place].history, bars=answer.bars))

    def take_actions(self, provider: str, other: str, answer: Answer) -> None:
        """Put what another source lists beside the bars of one that has no list; a source without bars knows nothing of the symbol."""
        if not isinstance(answer, History) or not answer.lists_splits or not len(answer.bars.sessions):
            return
        self.asked += [other] if other not in self.asked else []
        for place, part in enumerate(self.parts):
            if part.provider == provider and part.history.actions_refused:
                history = replace(
                    part.history,
                    actions=answer.actions,
                    left_out=answer.left_out,
                    lists_splits=True,
                    actions_refused=False,
                    actions_from=other,
                )
                self.parts[place] = ProviderSeries(provider, history)

    def result(self, *, complete: bool) -> ChainResult:
        """complete : every session was answered about, so that what others did not have is of no interest"""
        found = ChainResult(self.request, self.parts, asked=tuple(self.asked))
        return found if complete and not self.ended else _conclude(found, self.absences)


def _conclude(found: ChainResult, said: Sequence[tuple[str, NoData]]) -> ChainResult:
    """A reason that may pass wins over what others know: absence is not settled while somebody has not answered.

    What passes only when a person acts does not: it is told if nobody knows anything else.
    """
    absences = [absent for _, absent in said]
    told = [part.history.renamed for part in found.parts] + [absent.renamed for absent in absences]
    found = replace(found, renamed=next((rename for rename in told if rename), None))
    if any(_final(absent, found.request) for absent in absences) and not any(
        len(part.history.bars.sessions) for part in found.parts
    ):
        # Somebody knows the symbol and has no bars of it: that is no answer to what another one said.
        found = replace(found, parts=())
    if not found.parts:
        found = replace(found, candidates=next((absent.candidates for absent in absences if absent.candidates), ()))
    able = [absent for absent in absences if not _needs_action(absent)]
    if able or found.parts:
        broken = tuple(dict.fromkeys(name for name, absent in said if _needs_action(absent)))
        found, absences = replace(found, broken=broken), able
    transient = [absent for absent in absences if absent.reason.transient]
    if transient:
        retry_at = min((absent.retry_at for absent in transient if absent.retry_at), default=None)
        return replace(found, absent=transient[0].reason, retry_at=retry_at)
    if found.parts:
        return found
    reasons = {absent.reason for absent in absences}
    reason = next((reason for reason in _TELLING if reason in reasons), NoDataReason.NOT_FOUND)
    retry_at = min((absent.retry_at for absent in absences if absent.retry_at), default=None)
    return replace(found, absent=reason, retry_at=retry_at)


def _final(absent: NoData, request: Request) -> bool:
    """Whether nobody further is asked: only the user knows which security is meant, and no price in another currency is ours."""
    return absent.reason is NoDataReason.FOREIGN_CURRENCY or (
        absent.reason is NoDataReason.AMBIGUOUS and not request.chosen
    )


def _needs_action(absent: NoData) -> bool:
    """Nobody answered, and asking again changes nothing."""
    return absent.reason.transient and absent.fault is not None and absent.fault.permanent
