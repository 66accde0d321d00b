"""What is done with an answer: it is taken, asked for more widely, compared with a second source, or held back. Pure.

Judged again after each second source's answer, with that among the evidence, until nothing further has to be asked.

A new price that jumps beyond five standard deviations is not accepted from one source alone. What an action of the day explains
is no jump; what it leaves unexplained is one, however large the action is said to be. Only of sessions that are decided now and
lie after the first known one: a backfill's own history is its evidence, and asking twice for it would double every onboarding.
With one provider there is nobody to ask, and its word stands. What an operator decided (`leadline symbols release` or `reject`)
is followed whoever is enabled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from math import expm1, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np

from services.ingest.compute.aliases import request_of
from services.ingest.compute.bars import with_rows
from services.ingest.compute.outliers import (
    AGREE,
    SIGMAS,
    Move,
    last_close,
    needs_confirmation,
    price_jumps,
    price_move,
)
from services.ingest.compute.price_basis import basis_mismatch, contradicts_stored, next_session
from services.ingest.compute.splits import Crossing
from services.ingest.model.market import ChainResult, NoData, NoDataReason, ProviderSeries, Request
from services.ingest.model.stored import PriceOutlier, StoredEvidence
from services.ingest.model.write_set import FetchRequest
from shared.market.calendar import Calendar
from shared.market.symbols import parse_occ


class Question(NamedTuple):
    """What another source than the provider is asked."""

    request: Request
    provider: str


class Opinion(NamedTuple):
    """What another source said: a series, `NoData` if it may have one later, None if nobody else has the symbol.

    unadjusted : splits that the series lists and is not adjusted for
    """

    answer: ProviderSeries | NoData | None
    unadjusted: Sequence[Crossing] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer is judged by: what is stored, what its own closes show, and what other sources said.

    unadjusted : splits that the answer lists and its closes are not adjusted for
    """

    stored: StoredEvidence
    unadjusted: Sequence[Crossing] = ()
    opinions: Mapping[Question, Opinion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fits:
    """The answer is taken. outliers: jumps that a second source confirmed."""

    answer: ChainResult
    outliers: Sequence[PriceOutlier] = ()


@dataclass(frozen=True, slots=True)
class HoldBack:
    """What is left of the answer is taken; what is not waits as `quarantined`.

    unexplained : whose basis nobody explains, so that nothing of the answer is left
    since       : the first session that waits for that, if there is one
    """

    answer: ChainResult
    outliers: Sequence[PriceOutlier]
    unexplained: str | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Widen:
    """The symbol is asked for over all that is known of it."""


@dataclass(frozen=True, slots=True)
class AskSecond:
    """Another source is asked, and the answer judged again."""

    question: Question


Verdict: TypeAlias = Fits | HoldBack | Widen | AskSecond


def judge(request: FetchRequest, answer: ChainResult, evidence: Evidence, calendar: Calendar) -> Verdict:
    """The verdict on one answer, whose bars lie on sessions."""
    stored = evidence.stored
    early = _without_confirmed(evidence.unadjusted, stored)
    if request.known is not None and not request.wide:
        if early or contradicts_stored(request, answer, stored, calendar):
            return Widen()
        return _judge_jumps(request, answer, evidence, calendar)
    off = bool(early) or (request.wide and basis_mismatch(answer, stored.closes, calendar, stored.splits))
    if not off or not answer.parts:
        return _judge_jumps(request, answer, evidence, calendar)
    question = Question(request_of(request, stored.aliases), answer.parts[0].provider)
    opinion = evidence.opinions.get(question)
    if opinion is None:
        return AskSecond(question)
    if isinstance(opinion.answer, ProviderSeries) and not _without_confirmed(opinion.unadjusted, stored):
        asked = (*answer.asked, opinion.answer.provider)
        second = replace(answer, parts=[opinion.answer], absent=None, asked=asked)
        if not basis_mismatch(second, stored.closes, calendar, stored.splits):
            return _judge_jumps(request, second, evidence, calendar)
    return _hold_back(request, answer, stored, early, opinion)


def _without_confirmed(splits: Sequence[Crossing], stored: StoredEvidence) -> list[Crossing]:
    """Less those of days that an operator said are true as they stand."""
    return [
        split for split in splits if not ((known := stored.decisions.get(split.session)) and known.confirmed is True)
    ]


def _hold_back(
    request: FetchRequest, answer: ChainResult, stored: StoredEvidence, early: Sequence[Crossing], opinion: Opinion
) -> HoldBack:
    """Take nothing of it: what is stored stands, and what was to be decided waits."""
    first = answer.parts[0]
    session = early[0].session if early else next_session(answer, stored.closes)
    outliers = []
    if session is not None:
        bars = first.history.bars
        closes = dict(zip(bars.sessions.tolist(), bars.close.tolist(), strict=True))
        jump = expm1(early[0].move) if early else closes[session] / stored.closes[-1].close - 1.0
        who = opinion.answer.provider if isinstance(opinion.answer, ProviderSeries) else None
        outliers.append(
            PriceOutlier(
                request.symbol_id, session, first.provider, jump, stored.sigma or 0.0, who, None, confirmed=False
            )
        )
    undecided = isinstance(opinion.answer, NoData)
    left = replace(answer, parts=(), absent=NoDataReason.QUARANTINED, retry_at=None, undecided=undecided)
    return HoldBack(left, outliers, first.provider, session)


def _judge_jumps(request: FetchRequest, answer: ChainResult, evidence: Evidence, calendar: Calendar) -> Verdict:
    """Bars from an unconfirmed jump on are held back; of a jump that an operator rejected only its own bar."""
    sigma = evidence.stored.sigma
    # An option moves by multiples of its price on any day.
    if sigma is None or request.known is None or parse_occ(request.symbol):
        return Fits(answer)
    outliers: list[PriceOutlier] = []
    left = answer
    for index, original in enumerate(answer.parts):
        limit, last = SIGMAS * sigma, last_close(evidence.stored.closes, original.history)
        part = _without_rejected(
            original, evidence.stored, [jump.session for jump in price_jumps(original.history, limit, calendar, last)]
        )
        for jump in price_jumps(part.history, limit, calendar, last):
            if not needs_confirmation(request, jump.session, evidence.stored.decisions.get(jump.session), calendar):
                continue
            # Under the name the first was asked for: an alias is the same security for the second.
            question = Question(Request(part.history.symbol, jump.before, jump.session), part.provider)
            opinion = evidence.opinions.get(question)
            if opinion is None:
                return AskSecond(question)
            outliers.append(_outlier(request, part, jump, sigma, opinion, calendar))
            if not outliers[-1].confirmed:
                part = ProviderSeries(
                    part.provider, with_rows(part.history, part.history.bars.sessions < np.datetime64(jump.session))
                )
                # Whoever has answered otherwise will hardly say anything else: only who has not yet is waited for.
                left = replace(left, undecided=isinstance(opinion.answer, NoData))
                break
        if part is not original:
            parts = [*left.parts[:index], part, *left.parts[index + 1 :]]
            left = replace(left, parts=parts, absent=NoDataReason.QUARANTINED)
    return Fits(left, outliers) if left is answer else HoldBack(left, outliers)


def _without_rejected(part: ProviderSeries, stored: StoredEvidence, sessions: Sequence[date]) -> ProviderSeries:
    for session in sessions:
        if (known := stored.decisions.get(session)) and known.confirmed is False:
            kept = part.history.bars.sessions != np.datetime64(session)
            part = ProviderSeries(part.provider, with_rows(part.history, kept))
    return part


def _outlier(
    request: FetchRequest, part: ProviderSeries, jump: Move, sigma: float, opinion: Opinion, calendar: Calendar
) -> PriceOutlier:
    """The jump, and what another source says of it."""
    other = opinion.answer
    who = said = None
    if isinstance(other, ProviderSeries):
        who, said = other.provider, price_move(other.history, jump.before, jump.session, calendar)
    # Nobody else has the symbol at all: then there is nobody to ask.
    confirmed = other is None or (said is not None and abs(said - jump.move) <= AGREE * (1 + abs(jump.move)))
    return PriceOutlier(
        request.symbol_id, jump.session, part.provider, jump.move, sigma * sqrt(jump.sessions), who, said, confirmed
    )
