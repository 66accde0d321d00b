"""What a price moved beyond its actions, against a plain computation in traded closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

import pytest

from services.ingest.compute.verdicts import AskSecond, Evidence, Fits, HoldBack, Opinion, _judge_jumps
from services.ingest.model.market import Action, ChainResult, History, NoData, NoDataReason, ProviderSeries, Request
from services.ingest.model.stored import PriceOutlier, StoredClose, StoredEvidence
from services.ingest.model.write_set import FetchRequest
from services.ingest.providers.normalise import Row, bars
from shared.market.calendar import calendar

DAYS = calendar()
D0 = date(2020, 11, 17)
D1, D2 = DAYS.next(D0), DAYS.forward(D0, 2)
SIGMA = 0.02


def found(
    closes: Mapping[date, float],
    *actions: Action,
    adjusted: bool = True,
    other: Mapping[date, float] | None = None,
    stored: Sequence[StoredClose] = (),
    known: tuple[date, date] = (date(2020, 1, 2), D0),
) -> tuple[list[PriceOutlier], list[date], list[Request]]:
    """(jumps, sessions kept, questions to the second provider), of closes as delivered."""

    def history(of: Mapping[date, float]) -> History:
        rows = [Row(day, close, close, close, close, None, 1.0) for day, close in of.items()]
        made = bars(rows, D0, D2, DAYS, split_adjusted=adjusted)
        return History("AAA", made, actions, lists_splits=True)

    ask = FetchRequest(1, "AAA", D0, max(closes), ((DAYS.ordinal(D1), DAYS.ordinal(D2)),), known)
    answer = ChainResult(ask.request, [ProviderSeries("first", history(closes))])
    asked: list[Request] = []

    def second(request: Request, _: str) -> ProviderSeries | NoData:
        asked.append(request)
        return ProviderSeries("second", history(other)) if other else NoData("AAA", NoDataReason.PROVIDER_DOWN)

    evidence = Evidence(StoredEvidence(closes=tuple(stored), sigma=SIGMA))
    while isinstance(verdict := _judge_jumps(ask, answer, evidence, DAYS), AskSecond):
        opinion = Opinion(second(*verdict.question))
        evidence = replace(evidence, opinions={**evidence.opinions, verdict.question: opinion})
    assert isinstance(verdict, (Fits, HoldBack))
    return list(verdict.outliers), verdict.answer.parts[0].history.bars.sessions.tolist(), asked


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize(
    ("action", "close", "move"),
    [
        (Action(D1, "dividend", 0.01), 10.0, 10.01 / 100 - 1),
        (Action(D1, "split", 1.0001), 0.01, 1.0001 * 0.01 / 100 - 1),
        (Action(D1, "dividend", 30.0), 69.0, None),
        (Action(D1, "split", 4.0), 25.2, None),
        (Action(D1, "split", 4.0), 100.0, 3.0),
    ],
    ids=["a cent", "hardly a split", "a special dividend", "a split", "a split that did not happen"],
)
def test_an_action_explains_what_it_explains_and_no_more(
    action: Action, close: float, move: float | None, adjusted: bool
) -> None:
    """Closes as traded, 100 before; delivered on the new basis or as they were."""
    ratio = action.value if action.type == "split" and adjusted else 1.0
    jumps, kept, _ = found({D0: 100.0 / ratio, D1: close}, action, adjusted=adjusted)
    if move is None:
        assert (jumps, kept) == ([], [D0, D1])
    else:
        assert [jump.jump for jump in jumps] == pytest.approx([move])
        assert kept == [D0]


def test_a_bar_after_a_hole_is_compared_over_it() -> None:
    jumps, kept, [asked] = found({D0: 100.0, D2: 10.0})
    assert ([jump.session for jump in jumps], kept) == ([D2], [D0])
    assert jumps[0].sigma == pytest.approx(SIGMA * 2**0.5)
    assert (asked.first, asked.last) == (D0, D2)
    # 5 σ of one session is 10 %, of two 14.1 %.
    assert found({D0: 100.0, D2: 113.0})[0] == []
    assert len(found({D0: 100.0, D2: 115.0})[0]) == 1
    assert len(found({D0: 100.0, D1: 113.0})[0]) == 1


def test_a_second_provider_confirms_the_move_over_the_hole() -> None:
    [jump], kept, _ = found({D0: 100.0, D2: 10.0}, other={D0: 101.0, D1: 40.0, D2: 10.2})
    assert (jump.confirmed, kept) == (True, [D0, D2])
    assert jump.second_return == pytest.approx(10.2 / 101.0 - 1)


def test_a_bar_that_comes_alone_is_compared_with_the_stored_close() -> None:
    jumps, kept, _ = found({D1: 10.0}, stored=[StoredClose(D0, 100.0, "first")])
    assert [jump.jump for jump in jumps] == pytest.approx([-0.9])
    assert kept == []
    assert found({D1: 101.0}, stored=[StoredClose(D0, 100.0, "first")])[0] == []
    # On the basis of a later split: 202 as traded.
    assert found({D1: 50.5}, Action(D2, "split", 4.0), stored=[StoredClose(D0, 200.0, "first")])[0] == []
