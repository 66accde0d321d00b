"""Every rule about an answer, without a database and without a provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from services.ingest.compute.price_basis import widen_request
from services.ingest.compute.splits import unadjusted_splits
from services.ingest.compute.verdicts import (
    AskSecond,
    Evidence,
    Fits,
    HoldBack,
    Opinion,
    Question,
    Verdict,
    Widen,
    judge,
)
from services.ingest.model.market import Action, ChainResult, History, NoData, NoDataReason, ProviderSeries, Request
from services.ingest.model.stored import Alias, OutlierDecision, StoredAction, StoredClose, StoredEvidence
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.normalise import Row, bars
from shared.market.calendar import calendar

DAYS = calendar()
LAST = date(2020, 11, 20)
FIRST = DAYS.back(LAST, 30)
EX = DAYS.back(LAST, 3)
KNOWN = (FIRST, DAYS.previous(LAST))
# About 1 % a day, so that a fall by four stands out.
LEVELS = {day: 100.0 * (1.01 if at % 2 else 1.0) for at, day in enumerate(DAYS.between(FIRST, LAST))}
SPLIT = Action(EX, "split", 4.0)
PAID = StoredAction(EX, "dividend", 0.5, "first")


def series(provider: str, *actions: Action, adjusts: bool = False, since: date = FIRST) -> ProviderSeries:
    """Closes of a symbol that falls to a quarter on EX; `adjusts`: brought to the basis after it."""
    traded = {day: level / (4.0 if day >= EX else 1.0) for day, level in LEVELS.items()}
    shown = {day: level / 4.0 for day, level in LEVELS.items()} if adjusts else traded
    rows = [Row(day, close, close, close, close, close, 1.0) for day, close in shown.items() if day >= since]
    delivered = bars(rows, FIRST, LAST, DAYS, split_adjusted=True)
    return ProviderSeries(provider, History("AAA", delivered, actions, lists_splits=bool(actions)))


def level(provider: str, *actions: Action, last: float = 1.0, since: date = FIRST) -> ProviderSeries:
    """Closes of a symbol that does not split; the newest one times `last`."""
    rows = [
        Row(day, close, close, close, close, close, 1.0)
        for day, close in ((day, value * (last if day == LAST else 1.0)) for day, value in LEVELS.items())
        if day >= since
    ]
    return ProviderSeries(provider, History("AAA", bars(rows, FIRST, LAST, DAYS, split_adjusted=True), actions, True))


def night(known: tuple[date, date] | None = KNOWN) -> FetchRequest:
    at = DAYS.ordinal(LAST)
    return FetchRequest(1, "AAA", DAYS.previous(LAST) if known else FIRST, LAST, ((at, at),), known)


def wide() -> FetchRequest:
    return widen_request([night()], (), DAYS)


def looked_at(
    request: FetchRequest,
    part: ProviderSeries,
    stored: StoredEvidence,
    *said: tuple[Question, ProviderSeries | NoData | None],
) -> Verdict:
    opinions = {
        question: Opinion(other, unadjusted_splits(other.history, DAYS) if isinstance(other, ProviderSeries) else ())
        for question, other in said
    }
    answer = ChainResult(request.request, [part], asked=(part.provider,))
    return judge(request, answer, Evidence(stored, unadjusted_splits(part.history, DAYS), opinions), DAYS)


def closes(of: ProviderSeries, until: date = KNOWN[1]) -> tuple[StoredClose, ...]:
    days, values = of.history.bars.sessions.tolist(), of.history.bars.close.tolist()
    return tuple(StoredClose(day, close, "first") for day, close in zip(days, values, strict=True) if day <= until)


PLAIN = StoredEvidence(closes=closes(level("first")), sigma=0.01)
OF_ANOTHER = replace(PLAIN, closes=tuple(one._replace(provider="other") for one in PLAIN.closes))
OFF_BY_FOUR = replace(PLAIN, closes=tuple(one._replace(close=one.close * 4) for one in PLAIN.closes))


def test_what_continues_the_stored_closes_fits() -> None:
    verdict = looked_at(night(), level("first", since=KNOWN[1]), PLAIN)
    assert isinstance(verdict, Fits)
    assert (len(verdict.answer.parts), list(verdict.outliers)) == (1, [])


@pytest.mark.parametrize(
    ("actions", "stored", "fits"),
    [
        ((SPLIT,), PLAIN, False),
        ((Action(EX, "dividend", 0.5),), PLAIN, False),
        ((Action(EX, "dividend", 0.5),), OF_ANOTHER, True),
        ((Action(EX, "dividend", 0.5),), replace(PLAIN, actions=(PAID,)), True),
        ((Action(EX, "dividend", 0.6),), replace(PLAIN, actions=(PAID,)), False),
        ((Action(EX, "dividend", 0.5),), replace(PLAIN, actions=(PAID, PAID._replace(ex_session=KNOWN[1]))), False),
        ((), replace(PLAIN, unadjusted_split=True), False),
        ((), OFF_BY_FOUR, False),
        ((), replace(OFF_BY_FOUR, decisions={LAST: OutlierDecision(True, 7)}), True),
    ],
    ids=[
        "a split that is not stored",
        "a dividend that is not stored",
        "a dividend that another provider lists",
        "a dividend that is stored",
        "a dividend of another value",
        "an action that is listed no more",
        "stored closes that fall at a split",
        "closes on another basis",
        "closes that an operator confirmed",
    ],
)
def test_what_contradicts_the_stored_is_asked_for_over_all_that_is_known(
    actions: Sequence[Action], stored: StoredEvidence, *, fits: bool
) -> None:
    verdict = looked_at(night(), level("first", *actions, since=KNOWN[1]), stored)
    assert isinstance(verdict, Fits if fits else Widen)


def test_closes_that_are_not_adjusted_for_a_listed_split_are_asked_for_again_and_then_compared() -> None:
    early = series("first", SPLIT)
    stored = StoredEvidence(closes=closes(early, DAYS.previous(EX)))
    assert isinstance(looked_at(night(), early, stored), Widen)
    question = Question(Request("AAA", FIRST, LAST), "first")
    assert looked_at(wide(), early, stored) == AskSecond(question)
    assert looked_at(night(known=None), early, StoredEvidence()) == AskSecond(question)

    verdict = looked_at(wide(), early, stored, (question, series("second", SPLIT, adjusts=True)))
    assert isinstance(verdict, Fits)
    assert [part.provider for part in verdict.answer.parts] == ["second"]
    assert verdict.answer.asked == ("first", "second")


@pytest.mark.parametrize(
    ("said", "undecided", "who"),
    [
        (series("second", SPLIT), False, "second"),
        (NoData("AAA", NoDataReason.PROVIDER_DOWN), True, None),
        (None, False, None),
    ],
    ids=["not adjusted either", "may answer later", "nobody else has it"],
)
@pytest.mark.parametrize("request_", [wide(), night(known=None)], ids=["known", "new"])
def test_a_basis_that_nobody_explains_is_held_back_as_a_whole(
    request_: FetchRequest, said: ProviderSeries | NoData | None, *, undecided: bool, who: str | None
) -> None:
    early = series("first", SPLIT)
    stored = StoredEvidence(closes=closes(early, DAYS.previous(EX)) if request_.known else ())
    verdict = looked_at(request_, early, stored, (Question(Request("AAA", FIRST, LAST), "first"), said))
    assert isinstance(verdict, HoldBack)
    assert (verdict.answer.parts, verdict.answer.absent) == ([], NoDataReason.QUARANTINED)
    assert (verdict.answer.undecided, verdict.unexplained, verdict.since) == (undecided, "first", EX)
    [outlier] = verdict.outliers
    assert (outlier.session, outlier.second, outlier.confirmed) == (EX, who, False)
    assert outlier.jump == pytest.approx(LEVELS[EX] / 4 / LEVELS[DAYS.previous(EX)] - 1)


def test_a_split_that_an_operator_confirmed_is_taken_as_it_stands() -> None:
    stored = StoredEvidence(decisions={EX: OutlierDecision(True, 7)})
    assert isinstance(looked_at(night(known=None), series("first", SPLIT), stored), Fits)


def test_a_second_source_is_asked_under_the_name_that_is_valid() -> None:
    stored = StoredEvidence(aliases=(Alias("BBB", date.min, date.max, None, by_user=True),))
    verdict = looked_at(night(known=None), series("first", SPLIT), stored)
    assert isinstance(verdict, AskSecond)
    assert (verdict.question.request.symbol, verdict.question.request.chosen) == ("BBB", True)


FALLS = level("first", last=0.5, since=KNOWN[1])
ABOUT_IT = Question(Request("AAA", KNOWN[1], LAST), "first")


@pytest.mark.parametrize(
    ("said", "kept", "undecided"),
    [
        (level("second", last=0.5), True, False),
        (level("second", last=0.9), False, False),
        (NoData("AAA", NoDataReason.RATE_LIMITED), False, True),
        (None, True, False),
    ],
    ids=["confirms", "says otherwise", "may answer later", "nobody else has it"],
)
def test_a_jump_is_taken_if_a_second_source_confirms_it(
    said: ProviderSeries | NoData | None, *, kept: bool, undecided: bool
) -> None:
    assert looked_at(night(), FALLS, PLAIN) == AskSecond(ABOUT_IT)
    verdict = looked_at(night(), FALLS, PLAIN, (ABOUT_IT, said))
    assert isinstance(verdict, Fits if kept else HoldBack)
    assert isinstance(verdict, (Fits, HoldBack))
    assert (verdict.answer.absent, verdict.answer.undecided) == (None if kept else NoDataReason.QUARANTINED, undecided)
    assert verdict.answer.parts[0].history.bars.sessions.tolist() == [KNOWN[1], LAST][: 1 + kept]
    assert [(one.session, one.confirmed) for one in verdict.outliers] == [(LAST, kept)]


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_an_operator_decided_about_a_jump_is_asked_of_nobody(*, confirmed: bool) -> None:
    stored = replace(PLAIN, decisions={LAST: OutlierDecision(confirmed, 7)})
    verdict = looked_at(night(), FALLS, stored)
    assert isinstance(verdict, Fits if confirmed else HoldBack)
    assert isinstance(verdict, (Fits, HoldBack))
    assert verdict.answer.parts[0].history.bars.sessions.tolist() == [KNOWN[1], LAST][: 1 + confirmed]
    assert list(verdict.outliers) == []
    assert stored.decisions_within(KNOWN[1], LAST) == {LAST: 7}
    assert stored.decisions_within(FIRST, KNOWN[1]) == {}


@pytest.mark.parametrize("symbol", ["AAA", "AAA201218C00100000"])
def test_without_a_usual_day_and_for_options_no_jump_is_looked_at(symbol: str) -> None:
    stored = replace(PLAIN, sigma=None if symbol == "AAA" else PLAIN.sigma)
    assert isinstance(looked_at(replace(night(), symbol=symbol), FALLS, stored), Fits)
