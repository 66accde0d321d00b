"""A vendor adjusts its closes and lists the split at two times, in either order. What was stored in between is set right by itself,
for exactly that symbol, and a basis that nobody explains is not taken for a loss."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

import pytest

from services.ingest.model.market import Action
from services.ingest.providers.chain import Chain
from services.ingest.workflow import IngestWorker
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import PROXY_SYMBOLS, REFERENCE_ETFS
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest, Market
from tests.store.ingest.test_refresh import rerun, settle

EX = DAYS.back(LAST, 5)
ENTRY = DAYS.back(EX, 6)
BEFORE = DAYS.previous(EX)
LISTED = Action(date(2018, 1, 2), "dividend", 0.1)


@dataclass
class Split:
    """AAA splits on EX; the vendor's closes and its list of splits are two switches."""

    ingest: Ingest
    ratio: float
    base: dict[date, float]

    @property
    def traded(self) -> dict[date, float]:
        return {day: close / (self.ratio if day >= EX else 1.0) for day, close in self.base.items()}

    def vendor(self, market: Market, *, adjusts: bool, lists: bool) -> None:
        closes = {day: close / self.ratio for day, close in self.base.items()} if adjusts else self.traded
        market.closes["AAA"], market.adjusted["AAA"] = dict(closes), dict(closes)
        market.actions["AAA"] = (LISTED, Action(EX, "split", self.ratio)) if lists else (LISTED,)

    async def stored_right(self) -> None:
        found = await self.ingest.prices("AAA")
        for day, row in found.items():
            assert row.close == pytest.approx(self.traded[day], rel=1e-12), day
            if day > min(found):
                assert row.total_return == pytest.approx(self.base[day] / self.base[DAYS.previous(day)] - 1, abs=1e-12)
        assert await self.ingest.gaps("AAA") == []
        splits = await self.ingest.rows("SELECT ex_session, value FROM ingest.actions WHERE type = 'split'")
        assert [tuple(row) for row in splits] == [(EX, self.ratio)]


@pytest.fixture(params=[4.0, 0.125], ids=["forward", "reverse"])
def split(ingest: Ingest, request: pytest.FixtureRequest) -> Split:
    ingest.market.quote("AAA", "BBB")
    made = Split(ingest, request.param, dict(ingest.market.closes["AAA"]))
    made.vendor(ingest.market, adjusts=False, lists=False)
    return made


async def night(ingest: Ingest, session: date, *portfolios: UUID) -> None:
    await ingest.run(*portfolios, first=session, last=session)
    await settle(ingest)


async def to_the_eve(ingest: Ingest) -> tuple[UUID, UUID]:
    mine, other = await ingest.portfolio(("AAA", ENTRY)), await ingest.portfolio(("BBB", ENTRY))
    await ingest.run(mine, other, last=BEFORE)
    await settle(ingest)
    ingest.market.asked.clear()
    return mine, other


async def raised(ingest: Ingest, portfolio: UUID) -> dict[str, set[date]]:
    return {phase.value: set(await ingest.missing(portfolio, phase)) for phase in Phase}


async def test_adjusted_before_it_is_listed_nothing_is_taken_for_a_loss(split: Split, ingest: Ingest) -> None:
    mine, other = await to_the_eve(ingest)
    before = await ingest.prices("AAA")
    split.vendor(ingest.market, adjusts=True, lists=False)
    for session in (EX, DAYS.next(EX)):
        await night(ingest, session, mine, other)
        assert await ingest.prices("AAA") == before, "neither a new price on another basis, nor an old one moved to it"
    gaps = await ingest.gaps("AAA")
    assert (gaps[0][0], gaps[-1][1], {gap[2] for gap in gaps}) == (EX, DAYS.next(EX), {"quarantined"})
    held = await ingest.rows("SELECT session, released_at, return FROM ingest.quarantine ORDER BY session")
    assert (held[0].session, held[0].released_at) == (EX, None)
    assert held[0]._mapping["return"] == pytest.approx(split.base[EX] / split.ratio / split.base[BEFORE] - 1)

    ingest.market.asked.clear()
    split.vendor(ingest.market, adjusts=True, lists=True)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    await split.stored_right()
    assert {request.symbol for request in ingest.market.asked} == {"AAA"}
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == [], "what was known was right all the time"
    after = await raised(ingest, mine)
    assert after["factors"] | after["snapshots"] <= set(DAYS.between(EX, LAST)), "nothing before the split"
    ingest.market.asked.clear()
    for session in DAYS.between(DAYS.forward(EX, 2), LAST):
        await night(ingest, session, mine, other)
    await split.stored_right()
    wide = [r for r in ingest.market.asked if r.symbol == "AAA" and (r.last - r.first).days > 30]
    assert wide == [], "what fits is asked for as every night"


async def test_listed_days_later_the_days_between_are_restated_and_nothing_else(split: Split, ingest: Ingest) -> None:
    mine, other = await to_the_eve(ingest)
    third = DAYS.forward(EX, 3)
    for session in DAYS.between(EX, DAYS.previous(third)):
        await night(ingest, session, mine, other)
    assert (await ingest.prices("AAA"))[EX].total_return == pytest.approx(
        split.base[EX] / split.ratio / split.base[BEFORE] - 1
    ), "with one provider its word stands"

    ingest.market.asked.clear()
    split.vendor(ingest.market, adjusts=True, lists=True)
    await ingest.run(mine, other, first=third, last=third)
    await split.stored_right()
    asked = [(request.first, request.last) for request in ingest.market.asked if request.symbol == "AAA"]
    assert len(asked) == 2, "as every night, and once more over all that is known"
    assert asked[1] == (min(await ingest.prices("AAA")), third)
    assert len([request for request in ingest.market.asked if request.symbol == "BBB"]) == 1
    again, others = await raised(ingest, mine), await raised(ingest, other)
    concerned = set(DAYS.between(EX, DAYS.previous(third)))
    for phase in ("factors", "snapshots", "risk"):
        assert {day for day in again[phase] if day < third} == concerned
        assert others[phase] == set()
    ingest.market.asked.clear()
    await settle(ingest)
    await night(ingest, DAYS.next(third), mine, other)
    assert [request.symbol for request in ingest.market.asked].count("AAA") == 1


async def test_a_history_fetched_between_the_two_is_restated_to_what_was_traded(split: Split, ingest: Ingest) -> None:
    split.vendor(ingest.market, adjusts=True, lists=False)
    mine = await ingest.portfolio(("AAA", ENTRY))
    second = DAYS.next(EX)
    await ingest.run(mine, last=second)
    assert (await ingest.prices("AAA"))[BEFORE].close == split.base[BEFORE] / split.ratio, "nobody could know"
    await settle(ingest)
    split.vendor(ingest.market, adjusts=True, lists=True)
    third = DAYS.next(second)
    await ingest.run(mine, first=third, last=third)
    await split.stored_right()
    [kept] = await ingest.rows(
        "SELECT count(*) FROM ingest.prices_history WHERE session < :ex AND close IS NOT NULL", ex=EX
    )
    assert kept[0] == len([day for day in await ingest.prices("AAA") if day < EX])
    assert {day for day in await ingest.missing(mine, Phase.SNAPSHOTS) if day <= third} == set(
        DAYS.between(ENTRY, third)
    )


async def test_a_second_provider_that_lists_it_serves_meanwhile(split: Split, ingest: Ingest) -> None:
    ingest.market.name = "first"
    other = Market("second")
    other.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS, "BBB")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([ingest.market, other], exchange_calendar), Clock(LAST))
    mine, _ = await to_the_eve(ingest)
    split.vendor(ingest.market, adjusts=True, lists=False)
    split.vendor(other, adjusts=True, lists=True)
    await night(ingest, EX, mine)
    await split.stored_right()
    assert (await ingest.prices("AAA"))[EX].provider == "second"
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []


async def test_a_corrected_close_is_not_taken_for_another_basis(split: Split, ingest: Ingest) -> None:
    mine, _ = await to_the_eve(ingest)
    for levels in (ingest.market.closes["AAA"], ingest.market.adjusted["AAA"]):
        levels[BEFORE] *= 1.03
    await ingest.run(mine, first=EX, last=EX)
    assert (await ingest.prices("AAA"))[BEFORE].close == pytest.approx(split.base[BEFORE] * 1.03)
    [kept] = await ingest.rows("SELECT session FROM ingest.prices_history WHERE close IS NOT NULL")
    assert kept.session == BEFORE
    assert {day for day in await ingest.missing(mine, Phase.SNAPSHOTS) if day < EX} == {BEFORE}


async def test_a_rerun_between_the_two_does_not_move_the_history(split: Split, ingest: Ingest) -> None:
    mine, _ = await to_the_eve(ingest)
    before = await ingest.prices("AAA")
    split.vendor(ingest.market, adjusts=True, lists=False)
    await rerun(ingest, mine, first=ENTRY)
    await ingest.worker.refresh()
    assert await ingest.prices("AAA") == before
    assert await ingest.gaps("AAA") == []


async def test_listed_before_it_is_adjusted_nothing_is_rewritten_and_the_next_day_is_right(
    split: Split, ingest: Ingest
) -> None:
    mine, other = await to_the_eve(ingest)
    before = await ingest.prices("AAA")
    split.vendor(ingest.market, adjusts=False, lists=True)
    await night(ingest, EX, mine, other)
    assert await ingest.prices("AAA") == before, "no history times the ratio, and no loss on the day"
    assert await ingest.gaps("AAA") == [(EX, EX, "quarantined", True)]
    [held] = await ingest.rows("SELECT session, return, released_at FROM ingest.quarantine")
    assert (held.session, held.released_at) == (EX, None)
    assert held._mapping["return"] == pytest.approx(split.base[EX] / split.ratio / split.base[BEFORE] - 1)

    split.vendor(ingest.market, adjusts=True, lists=True)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    await split.stored_right()
    await night(ingest, DAYS.next(EX), mine, other)
    await split.stored_right()
    assert await ingest.rows("SELECT 1 FROM ingest.prices_history") == []


async def test_a_new_symbol_listed_before_it_is_adjusted_waits(split: Split, ingest: Ingest) -> None:
    split.vendor(ingest.market, adjusts=False, lists=True)
    mine = await ingest.portfolio(("AAA", ENTRY))
    await ingest.run(mine, last=EX)
    await settle(ingest)
    assert await ingest.prices("AAA") == {}
    assert {gap[2] for gap in await ingest.gaps("AAA")} == {"quarantined"}
    split.vendor(ingest.market, adjusts=True, lists=True)
    await ingest.execute("UPDATE ingest.gaps SET retry_at = now()")
    await ingest.worker.retry_due()
    await split.stored_right()
    assert EX in await ingest.prices("AAA")


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
async def test_a_second_provider_that_has_adjusted_serves_meanwhile(split: Split, ingest: Ingest, known: bool) -> None:
    ingest.market.name = "first"
    other = Market("second")
    other.quote(*PROXY_SYMBOLS, *REFERENCE_ETFS, "BBB")
    ingest.worker = IngestWorker(ingest.worker._engine, Chain([ingest.market, other], exchange_calendar), Clock(LAST))
    mine = (await to_the_eve(ingest))[0] if known else await ingest.portfolio(("AAA", ENTRY))
    split.vendor(ingest.market, adjusts=False, lists=True)
    split.vendor(other, adjusts=True, lists=True)
    await ingest.run(mine, last=EX)
    await split.stored_right()
    assert (await ingest.prices("AAA"))[EX].provider == "second"


async def test_a_history_that_was_multiplied_once_heals_when_the_vendor_is_right(
    split: Split, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored by a version that took the listed split for the explanation."""
    mine, other = await to_the_eve(ingest)
    split.vendor(ingest.market, adjusts=False, lists=True)
    with monkeypatch.context() as patch:
        patch.setattr("services.ingest.workflow.fetching.unadjusted_splits", lambda *_: [])
        await night(ingest, EX, mine, other)
    assert (await ingest.prices("AAA"))[BEFORE].close == pytest.approx(split.traded[BEFORE] * split.ratio)
    split.vendor(ingest.market, adjusts=True, lists=True)
    await night(ingest, DAYS.next(EX), mine, other)
    await split.stored_right()
    ingest.market.asked.clear()
    await night(ingest, DAYS.forward(EX, 2), mine, other)
    assert [request.symbol for request in ingest.market.asked].count("AAA") == 1, "and is asked for as every night"


async def test_a_multiplied_history_is_restated_over_its_own_range_too(
    split: Split, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored split is listed as before; the answer's own closes prove that they are adjusted for it."""
    mine, other = await to_the_eve(ingest)
    split.vendor(ingest.market, adjusts=False, lists=True)
    with monkeypatch.context() as patch:
        patch.setattr("services.ingest.workflow.fetching.unadjusted_splits", lambda *_: [])
        await night(ingest, EX, mine, other)
    split.vendor(ingest.market, adjusts=True, lists=True)
    await rerun(ingest, mine, first=ENTRY)
    await ingest.worker.refresh()
    await split.stored_right()
