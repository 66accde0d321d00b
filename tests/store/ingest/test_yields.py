"""Yield curves in the database: a year a question, the second source, corrections, and what is demanded anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from services.ingest.providers.errors import ProviderDown, RateLimited
from services.ingest.providers.registry import curve_sources
from services.ingest.settings import IngestSettings
from services.ingest.workflow.yields import YieldCurves
from shared.clock import Clock
from shared.market.curve import Curve
from shared.market.registry import CURVE_PROXY, FACTOR_NAMES, LOOKBACK
from shared.work import Phase
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.support import vendors
from tests.support.curves import walk
from tests.support.vendors import serving

NOW = datetime(2020, 12, 30, 23, 30, tzinfo=UTC)
ALL = walk(DAYS.between(date(2017, 1, 3), date(2021, 1, 8)))


@dataclass
class Source:
    """A source under the test's control."""

    name: str = "treasury"
    known: Sequence[Curve] = tuple(of for of in ALL if of.date <= LAST)
    failing: Exception | None = None
    asked: list[int] = field(default_factory=list)

    def curves(self, year: int) -> list[Curve]:
        self.asked.append(year)
        if self.failing is not None:
            raise self.failing
        return [of for of in self.known if of.date.year == year]

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """The worker on a clock that can be moved."""

    ingest: Ingest
    sources: list[Source]
    now: datetime = NOW

    def worker(self) -> YieldCurves:
        return YieldCurves(self.ingest.worker._engine, self.sources, Clock(LAST), lambda: self.now)

    async def all_due(self) -> list[bool]:
        worker = self.worker()
        answers: list[bool] = []
        while len(answers) < 20 and (asked := await worker.refresh_one()):
            answers.append(asked)
        return answers

    async def dates(self) -> list[date]:
        return [row.date for row in await self.ingest.rows("SELECT date FROM ingest.yields ORDER BY date")]


@pytest.fixture
async def world(ingest: Ingest) -> World:
    for table in ("yields", "yields_history", "yield_years"):
        await ingest.execute(f"DELETE FROM ingest.{table}")
    await ingest.execute("DELETE FROM factors.proxies")
    return World(ingest, [Source()])


async def settled(world: World, first: date, *, fund: str | None = "TLT") -> UUID:
    """A portfolio whose units are all complete, its factors computed with `fund` for rates."""
    portfolio = await world.ingest.portfolio(("AAPL", first))
    await world.ingest.execute("UPDATE ledger.units SET completed_revision = required_revision")
    names: list[str | None] = [None] * len(FACTOR_NAMES)
    names[-1] = fund
    for session in DAYS.between(first, LAST):
        await world.ingest.execute(
            """INSERT INTO factors.proxies (session, model_version, price_version, proxies, slopes, sigmas)
               VALUES (:session, '1', 1, :names, :nothing, :nothing)""",
            session=session, names=names, nothing=[0.0] * len(FACTOR_NAMES),
        )  # fmt: skip
    return portfolio


async def test_without_portfolios_nobody_is_asked(world: World) -> None:
    assert await world.all_due() == []
    assert world.sources[0].asked == []


async def test_a_year_is_one_call_the_newest_first_back_to_the_longest_window(world: World) -> None:
    await world.ingest.portfolio(("AAPL", DAYS.back(LAST, 3)))
    first = DAYS.back(LAST, LOOKBACK + 3)
    assert len(await world.all_due()) == 3
    assert world.sources[0].asked == [2020, 2019, 2018]
    assert first.year == 2018
    found = await world.dates()
    assert (found[0], found[-1]) == (date(2018, 1, 2), LAST)
    assert await world.all_due() == [], "past years are settled, and the newest curve is there"
    rows = await world.ingest.rows("SELECT year, next_at, fault FROM ingest.yield_years ORDER BY year")
    assert [tuple(row) for row in rows] == [
        (2018, None, None), (2019, None, None), (2020, datetime(2020, 12, 31, 23, tzinfo=UTC), None),
    ]  # fmt: skip


async def test_a_curve_that_is_late_is_asked_for_every_half_hour(world: World) -> None:
    await world.ingest.portfolio(("AAPL", DAYS.back(LAST, 3)))
    source = world.sources[0]
    source.known = [of for of in ALL if of.date < LAST]
    await world.all_due()
    source.asked.clear()
    world.now += timedelta(minutes=29)
    assert await world.all_due() == []
    world.now += timedelta(minutes=2)
    source.known = [of for of in ALL if of.date <= LAST]
    assert len(await world.all_due()) == 1
    assert source.asked == [2020]
    assert (await world.dates())[-1] == LAST


@pytest.mark.parametrize(
    ("failing", "wait"),
    [
        (ProviderDown("treasury", "answered 503"), timedelta(minutes=30)),
        (RateLimited("treasury", "limit", retry_at=NOW + timedelta(hours=2)), timedelta(hours=2)),
        (ZeroDivisionError("nobody foresaw it"), timedelta(minutes=30)),
    ],
)
async def test_the_second_source_is_asked_where_the_first_fails_and_why_is_kept_where_both_do(
    world: World, failing: Exception, wait: timedelta
) -> None:
    await world.ingest.portfolio(("AAPL", DAYS.back(LAST, 3)))
    world.sources = [Source(failing=failing), Source("fred")]
    await world.all_due()
    assert {row.provider for row in await world.ingest.rows("SELECT provider FROM ingest.yields")} == {"fred"}
    for table in ("yields", "yield_years"):
        await world.ingest.execute(f"DELETE FROM ingest.{table}")
    world.sources[1].known = []
    await world.worker().refresh_one()
    [row] = await world.ingest.rows("SELECT next_at, fault FROM ingest.yield_years WHERE year = 2020")
    assert row.next_at == NOW + wait
    assert "treasury: " in row.fault
    assert "fred: no curve of 2020" in row.fault


async def test_where_the_clock_stands_still_no_later_curve_is_known(world: World) -> None:
    await world.ingest.portfolio(("AAPL", DAYS.back(LAST, 3)))
    world.sources[0].known = ALL
    await world.all_due()
    assert (await world.dates())[-1] == LAST


async def test_what_looked_at_a_new_curve_is_demanded_anew_and_nothing_else(world: World) -> None:
    first = DAYS.back(LAST, 20)
    portfolio = await settled(world, first)
    await world.all_due()
    for phase in (Phase.INGEST, Phase.FACTORS, Phase.SNAPSHOTS):
        assert await world.ingest.missing(portfolio, phase) == [], phase
    assert await world.ingest.missing(portfolio, Phase.RISK) == DAYS.between(first, LAST)
    await world.ingest.execute("UPDATE ledger.units SET completed_revision = required_revision")
    await world.all_due()
    # A correction of one day: the sessions after it, up to the one whose newest curve is the next.
    day = DAYS.back(LAST, 5)
    old = next(of for of in ALL if of.date == day)
    source = world.sources[0]
    source.known = [
        replace(of, yields=tuple(value + 0.001 for value in of.yields)) if of.date == day else of
        for of in source.known
    ]  # fmt: skip
    world.now += timedelta(days=1)
    await world.all_due()
    assert await world.ingest.missing(portfolio, Phase.RISK) == [DAYS.back(LAST, 4)]
    [kept] = await world.ingest.rows("SELECT date, yields FROM ingest.yields_history")
    assert (kept.date, tuple(kept.yields)) == (day, old.yields)


async def test_the_same_curves_again_demand_nothing(world: World) -> None:
    portfolio = await settled(world, DAYS.back(LAST, 20))
    await world.all_due()
    await world.ingest.execute("UPDATE ledger.units SET completed_revision = required_revision")
    world.now += timedelta(days=1)
    assert len(await world.all_due()) == 1
    assert await world.ingest.missing(portfolio, Phase.RISK) == []
    assert await world.ingest.rows("SELECT * FROM ingest.yields_history") == []


@pytest.mark.parametrize("fund", [None, CURVE_PROXY])
async def test_where_the_curve_stands_for_rates_the_factors_of_its_window_are_demanded(
    world: World, fund: str | None
) -> None:
    portfolio = await settled(world, DAYS.back(LAST, 20), fund=fund)
    source = world.sources[0]
    source.known = [of for of in ALL if of.date < LAST]
    await world.all_due()
    await world.ingest.execute("UPDATE ledger.units SET completed_revision = required_revision")
    source.known = [of for of in ALL if of.date <= LAST]
    world.now += timedelta(hours=1)
    await world.all_due()
    # Five sessions back: a later curve may tell that none of them has one of its own.
    assert await world.ingest.missing(portfolio, Phase.FACTORS) == DAYS.between(DAYS.back(LAST, 5), LAST)
    assert await world.ingest.missing(portfolio, Phase.SNAPSHOTS) == []


async def test_two_replicas_ask_for_a_year_once(world: World) -> None:
    await world.ingest.portfolio(("AAPL", DAYS.back(LAST, 3)))
    one, other = world.worker(), world.worker()
    assert await one.refresh_one()
    assert await other.refresh_one()
    assert world.sources[0].asked == [2020, 2019]


async def test_the_sources_of_a_configuration_against_a_server(world: World) -> None:
    """From CSV to the table, as the service has it."""
    await world.ingest.portfolio(("AAPL", date(2016, 12, 30)))
    with serving(vendors.curves) as server:
        settings = IngestSettings(
            providers=("yahoo",), treasury_url=server.url, fred_url=server.url, provider_loopback=True
        )
        worker = YieldCurves(
            world.ingest.worker._engine, curve_sources(settings), Clock(date(2016, 12, 30)), lambda: NOW
        )
        while await worker.refresh_one():
            pass
    rows = await world.ingest.rows("SELECT date, provider, tenors, yields FROM ingest.yields ORDER BY date")
    assert [(row.date, row.provider) for row in rows] == [
        (date(2016, 12, 29), "treasury"),
        (date(2016, 12, 30), "treasury"),
    ]
    assert rows[1].yields[-1] == pytest.approx(0.0306)


def test_who_is_asked_for_curves() -> None:
    assert IngestSettings(providers=("file",)).curve_sources == ()
    assert IngestSettings(providers=("file", "yahoo")).curve_sources == ("treasury", "fred")
    assert IngestSettings(providers=("yahoo",), reference_providers=("fred",)).curve_sources == ("fred",)
    assert IngestSettings(providers=("file",), reference_providers=("treasury",)).curve_sources == ("treasury",)
    assert IngestSettings(providers=("yahoo",), reference_providers="none").curve_sources == ()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="LEADLINE_REFERENCE_PROVIDERS must name some of treasury, fred"):
        IngestSettings(reference_providers="ecb")  # type: ignore[arg-type]


async def test_a_curve_that_can_not_be_is_refused_by_the_database_too(world: World) -> None:
    for values in ("'{0.25}', '{NaN}'", "'{0.25, 1}', '{0.03}'", "'{}', '{}'"):
        with pytest.raises(Exception, match=r"yields_.*check"):
            await world.ingest.execute(
                f"INSERT INTO ingest.yields (date, tenors, yields, provider, change) VALUES ('2020-01-02', {values}, 'x', 1)"
            )
