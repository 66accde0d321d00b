"""One rule of returns whatever the order in which closes and actions are told, and what is said beside them follows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from services.ingest.model.market import Action
from shared.market.calendar import NO_CLOSURES, set_calendar
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_closures import enter, take_back
from tests.store.ingest.test_refresh import rerun

EX = DAYS.back(LAST, 5)
BEFORE = DAYS.previous(EX)
AFTER = DAYS.forward(EX, 1)
ENTRY = DAYS.back(EX, 6)
OTHER = Action(date(2018, 1, 2), "dividend", 0.1)


@pytest.fixture(autouse=True)
async def _none_left_behind() -> AsyncIterator[None]:
    yield
    set_calendar(NO_CLOSURES)


def fund(ingest: Ingest, *, lists: bool, times: float = 2.0, paid: float = 6.0) -> float:
    """AAA pays on EX, and its adjusted closes hold that `times` as often; the true return of that day."""
    ingest.market.quote("AAA")
    closes = ingest.market.closes["AAA"]
    for day in [day for day in closes if day >= EX]:
        closes[day] -= paid
    factor = 1 - times * paid / closes[BEFORE]
    ingest.market.adjusted["AAA"] = {day: close * (factor if day < EX else 1.0) for day, close in closes.items()}
    ingest.market.actions["AAA"] = (OTHER, Action(EX, "dividend", paid)) if lists else (OTHER,)
    return (closes[EX] + paid) / closes[BEFORE] - 1


async def stored(ingest: Ingest) -> dict[date, tuple[Any, ...]]:
    found = await ingest.prices("AAA")
    return {day: (row.total_return, row.return_basis, row.return_remark) for day, row in found.items()}


@pytest.mark.parametrize("times", [1.0, 2.0])
async def test_an_action_that_is_listed_late_gives_what_it_gives_at_once(ingest: Ingest, times: float) -> None:
    truth = fund(ingest, lists=True, times=times)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    at_once = await stored(ingest)
    remark = "adj_close_disagrees" if times > 1 else None
    assert at_once[EX] == (pytest.approx(truth, abs=1e-12), "actions", remark)
    for table in ("ingest.prices", "ingest.actions"):
        await ingest.execute(
            f"DELETE FROM {table} WHERE symbol_id = (SELECT id FROM ingest.symbols WHERE symbol = 'AAA')"
        )
    await ingest.execute("UPDATE ingest.symbols SET covered_from = NULL, covered_to = NULL WHERE symbol = 'AAA'")

    fund(ingest, lists=False, times=times)
    another = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(another)
    assert (await stored(ingest))[EX][1:] == ("adjusted", "dividend_not_listed")
    fund(ingest, lists=True, times=times)
    await rerun(ingest, another)
    await ingest.run(another)
    late = await stored(ingest)
    assert late[EX][2] == remark
    for day in late:
        if late[day][0] is not None:
            assert late[day][0] == pytest.approx(at_once[day][0], abs=2e-5), day


async def test_a_closure_takes_returns_by_the_same_rule(ingest: Ingest) -> None:
    """The session after the payment closes and opens again; then the one of the payment itself closes."""
    truth = fund(ingest, lists=True)
    portfolio = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(portfolio)
    before = await stored(ingest)
    await enter(ingest, EX)
    closes = ingest.market.closes["AAA"]
    over = (closes[AFTER] + 6.0) / closes[BEFORE] - 1
    assert (await stored(ingest))[AFTER] == (pytest.approx(over, abs=1e-12), "actions", "adj_close_disagrees")
    await take_back(ingest, EX)
    after = await stored(ingest)
    assert after[EX] == (pytest.approx(truth, abs=1e-12), "actions", "adj_close_disagrees")
    assert {day: row[1:] for day, row in after.items()} == {day: row[1:] for day, row in before.items()}
