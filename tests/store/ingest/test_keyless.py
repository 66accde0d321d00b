"""A stretch of nights without a key: Yahoo in the moods it is known for, and every night complete by morning. `make keyless` has a
year of them, and writes docs/keyless-year.md.

Hours pass by setting back what the database and the adapter remember; nothing is slept through.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from time import monotonic

import pytest
from yfinance.data import YfData

from services.ingest.providers.chain import Chain
from services.ingest.providers.quota.limits import windows
from services.ingest.providers.quota.rate_limited import RateLimitedProvider, SharedRateLimiter
from services.ingest.providers.transport.http import Bounds
from services.ingest.providers.yahoo.yfinance import Yahoo
from services.ingest.settings import IngestSettings
from services.ingest.workflow import IngestWorker
from services.ingest.workflow.profiles import Profiles
from services.ingest.workflow.quotas import DatabaseQuota, Loop, account_of
from shared.clock import Clock
from shared.market.calendar import exchange_calendar
from shared.market.registry import LOOKBACK
from tests.store.ingest.conftest import DAYS, LAST, Ingest
from tests.store.ingest.test_vendors import COMMON, quote
from tests.support import markdown, vendors
from tests.support.markets import World
from tests.support.vendors import Call, Reply, VendorServer, reply, serving

HELD = ["AAA", "BBB", "CCC", "BRK.B"]
MORNING_HOURS = 14
# Long enough for a stand-in on a machine that does much else: a call that is cut off is none of its moods.
PATIENT = Bounds(connect=30.0, read=60.0, deadline=60.0, attempts=2, wait_initial=0.1, wait_max=0.2)
LIMITED = Reply(b"Too Many Requests\r\n", 429, content_type="text/plain")
BAD_CRUMB = reply({"finance": {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}, 401)
CONSENT = Reply(b"", 302, {"Location": "https://consent.yahoo.com/v2/collectConsent?sessionId=s"})
PAGE = Reply(b"<html><form>no token</form></html>", content_type="text/html")


@dataclass(frozen=True)
class Mood:
    """hours : for how long charts are answered with `charts`, from the `after`th of an hour on; the rest lasts all night."""

    name: str
    charts: Reply | None = None
    hours: int = 0
    after: int = 0
    crumb: Reply | None = None
    profiles: Reply | None = None
    cookies: Reply | None = None


MOODS = (
    Mood("calm"),
    Mood("no crumb, no profiles", crumb=LIMITED, profiles=BAD_CRUMB),
    Mood("three hours of 429", charts=LIMITED, hours=3, crumb=LIMITED, profiles=LIMITED),
    Mood("consent that is never given", cookies=CONSENT, crumb=PAGE, profiles=BAD_CRUMB),
    Mood("429 after ten charts, two hours long", charts=LIMITED, hours=2, after=10),
    Mood("barred for two hours", charts=BAD_CRUMB, hours=2),
    Mood("profiles limited", profiles=LIMITED),
    Mood("calm again"),
)


# Each mood once by default.
NIGHTS = int(os.environ.get("LEADLINE_TEST_NIGHTS", len(MOODS)))
DOCUMENT = Path(__file__).parents[3] / "docs" / "keyless-year.md"
HEAD = """# A year without a key

Written by the run that it reports: `make keyless` on {date}, {cores} cores, {minutes:.0f} minutes.

{nights} nights on a stand-in Yahoo, one after the other in the moods it is known for; {symbols} symbols, held ones and proxies. Its
default quota, its own pauses; hours are set back in what database and adapter remember, and nothing is slept through. Every night was
complete, as the stand-in's market was, at the hour told under *complete after*; charts are refused for so many hours as the mood lasts.
A symbol's night costs one call of charts; what is above {symbols} was refused, or asked to find out whether it still is (the first
night of all fetches the histories). Other calls are cookies, crumbs, profiles and statements. The columns have the most of any night.

| mood | nights | complete after, hours | charts a night | of them refused | other calls a night |
|---|---:|---:|---:|---:|---:|
"""


@dataclass
class Tally:
    """What the nights of a mood took: hours waited, charts asked for, of them refused, other calls."""

    nights: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=dict)

    def rows(self) -> str:
        """The most of each, by mood."""
        return "".join(
            f"| {name} | {len(of)} | " + " | ".join(str(max(column)) for column in zip(*of, strict=True)) + " |\n"
            for name, of in self.nights.items()
        )

    @property
    def calls(self) -> int:
        return sum(charts + others for of in self.nights.values() for _, charts, _, others in of)


@dataclass
class Night:
    """The stand-in: one world, one mood, one hour after the other."""

    world: World
    mood: Mood = MOODS[0]
    hour: int = 0
    charts: int = 0
    refused: int = 0
    paths: list[str] = field(default_factory=list)

    def __call__(self, call: Call) -> Reply:
        self.paths.append(call.path)
        mood = self.mood
        if call.path.startswith("/v8/finance/chart/"):
            self.charts += 1
            if mood.charts is not None and self.hour < mood.hours and self.charts > mood.after:
                self.refused += 1
                return mood.charts
            return self.world.yahoo(call)
        if call.path == "/v1/test/getcrumb":
            return mood.crumb or vendors.yahoo(call)
        if call.path.startswith(("/v10/", "/v7/", "/ws/", "/v1/finance/search")):
            if mood.profiles is not None:
                return mood.profiles
            return self._profile(call)
        if call.path == "/v2/collectConsent":
            return PAGE
        return mood.cookies or vendors.yahoo(call)

    def _profile(self, call: Call) -> Reply:
        """AAPL's, of whomever is asked about."""
        name = call.path.rsplit("/", 1)[1]
        if "/quoteSummary/" not in call.path:
            return vendors.yahoo(call)
        body = json.loads(vendors.yahoo(Call(call.path.replace(name, "AAPL"), call.query, call.headers)).body)
        body["quoteSummary"]["result"][0]["quoteType"]["symbol"] = name
        return reply(body)

    def begin(self, mood: Mood, session: date) -> None:
        self.mood, self.world.today, self.hour, self.charts, self.refused = mood, session, 0, 0, 0
        self.paths.clear()

    def hour_passes(self) -> None:
        self.hour += 1
        self.charts = 0


@dataclass
class Keyless:
    ingest: Ingest
    night: Night
    server: VendorServer
    vendor: Yahoo
    profiles: Profiles

    async def hour_passes(self) -> None:
        """And ten minutes of the next: who waited for another's trial question asks a few minutes after it, not an hour."""
        self.night.hour_passes()
        for time in (timedelta(hours=1), timedelta(minutes=10)):
            await self._passes(time)
            while await self.ingest.worker.retry_due():
                pass

    async def _passes(self, time: timedelta) -> None:
        for statement in (
            "UPDATE ingest.providers SET closed_until = closed_until - CAST(:time AS interval), probe_until = NULL",
            "UPDATE ingest.gaps SET retry_at = retry_at - CAST(:time AS interval)",
            "UPDATE ingest.quota_uses SET at = at - CAST(:time AS interval)",
            "UPDATE ingest.profile_schedule SET next_at = next_at - CAST(:time AS interval)",
        ):
            await self.ingest.execute(statement, time=time)
        session = self.vendor._session
        if session._profiles._until is not None:
            session._profiles._until -= time
        if session._crumbs._kept is not None:
            session._crumbs._kept = (session._crumbs._kept[0] - time, session._crumbs._kept[1])


@pytest.fixture
async def keyless(ingest: Ingest) -> AsyncIterator[Keyless]:
    for table in ("quota_uses", "providers", "chain"):
        await ingest.execute(f"DELETE FROM ingest.{table}")
    YfData._instances.clear()
    world = World()
    # The window of the first night, and a month more.
    quote(world, *COMMON, *HELD, first=DAYS.back(LAST, NIGHTS + LOOKBACK + 21))
    world.closes["BRK-B"] = world.closes["BRK.B"]
    night = Night(world)
    engine, loop = ingest.worker._engine, Loop()
    # The documented quota: it must be enough.
    quota = DatabaseQuota(
        engine, loop, "yahoo", account_of("yahoo", ""), windows(IngestSettings(database_url="x").yahoo_quota)
    )
    gate = SharedRateLimiter(quota)
    with serving(night) as server:
        vendor = Yahoo(exchange_calendar, gate=gate, endpoint=server.url, allow_loopback=True, bounds=PATIENT)
        provider = RateLimitedProvider(
            vendor, gate, quota, lambda request: (request.last - request.first).days < 14, "yahoo"
        )
        ingest.worker = IngestWorker(engine, Chain([provider], exchange_calendar), Clock(LAST), bind=loop.bind)
        yield Keyless(ingest, night, server, vendor, Profiles(engine, [provider], loop.bind))
        vendor.close()


async def test_every_night_is_complete_by_morning_whatever_mood_yahoo_is_in(keyless: Keyless) -> None:
    ingest, night = keyless.ingest, keyless.night
    sessions = DAYS.between(DAYS.back(LAST, NIGHTS - 1), LAST)
    night.begin(MOODS[0], sessions[0])
    portfolio = await ingest.portfolio(*((symbol, sessions[0]) for symbol in HELD))
    symbols = len(HELD) + len(COMMON)
    described, tally, began = 0, Tally(), monotonic()
    for session, mood in zip(sessions, cycle(MOODS), strict=False):
        night.begin(mood, session)
        waited = 0
        await ingest.run(portfolio, last=session)
        while session in await ingest.missing(portfolio):
            assert waited < MORNING_HOURS, f"{mood.name}: not complete by morning"
            await keyless.hour_passes()
            waited += 1
            while await ingest.worker.retry_due():
                pass
        # A minute later: the night's charts have used more than the share that profiles may have of one.
        await ingest.execute("UPDATE ingest.quota_uses SET at = at - interval '2 minutes'")
        for _ in range(3):
            described += await keyless.profiles.refresh_one(session)
        # Charts are refused for `hours`; the hour after, they are served.
        assert waited <= mood.hours, mood.name
        charts = sum(path.startswith("/v8/") for path in night.paths)
        assert charts - night.refused - waited <= symbols, f"{mood.name}: a symbol costs one call a night"
        assert night.refused <= 4 * 2 * max(1, mood.hours), (
            f"{mood.name}: four at a time meet a refusal, and then nobody asks"
        )
        others = [path for path in night.paths if not path.startswith("/v8/")]
        # A refused trial question asks for cookies and a crumb once more.
        assert len(others) <= 2 + 4 * (1 + waited) + 3 * keyless.vendor.statement_calls, (mood.name, others)
        tally.nights.setdefault(mood.name, []).append((waited, charts, night.refused, len(others)))
        for symbol in HELD:
            truth = night.world.closes[symbol]
            assert (await ingest.prices(symbol))[session].close == pytest.approx(truth[session]), (mood.name, symbol)
        await ingest.execute("UPDATE ingest.quota_uses SET at = at - interval '1 day'")
        await ingest.execute("UPDATE ingest.providers SET closed_until = NULL")
    assert await ingest.missing(portfolio) == []
    assert {unit.quality for unit in (await ingest.units(portfolio)).values()} == {"complete"}
    assert described, "profiles came in the calm"
    if len(MOODS) < NIGHTS:
        minutes, today = (monotonic() - began) / 60, datetime.now(UTC).date()
        head = HEAD.format(date=today, cores=os.cpu_count(), minutes=minutes, nights=len(sessions), symbols=symbols)
        DOCUMENT.write_text(markdown.wrap(f"{head}{tally.rows()}\n{tally.calls:,} calls in all.\n"), encoding="utf-8")
