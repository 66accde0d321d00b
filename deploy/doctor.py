"""`leadline doctor`: is everything there that the services need? One line a check, with what to do where something is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.markup import escape
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.embedded import prices, state
from leadline.run import console_for
from services.coordinator.results.providers import curve
from services.ingest.providers.base import Provider
from services.ingest.providers.quota.limits import Window
from services.ingest.providers.quota.rate_limited import RateLimitedProvider
from services.ingest.providers.registry import create_providers
from services.ingest.settings import IngestSettings
from services.ingest.workflow.quotas import (
    DatabaseQuota,
    Loop,
    ProviderCheck,
    account_of,
    check_provider,
    check_running,
    nothing_priced,
)
from shared.clock import Clock
from shared.db.closures import load_closures
from shared.db.engine import create_engine
from shared.db.migrate import at_head, head
from shared.errors import ConfigurationError, LeadlineError
from shared.events.topics import TOPICS
from shared.market.calendar import ANNOUNCED_UNTIL, HORIZON_ALARM_DAYS, HORIZON_REMEDY, exchange_calendar
from shared.market.curve import CURVE_MOST_DAYS
from shared.messaging.security import client_options
from shared.settings import ServiceSettings

# A provider that does not answer is given its tries.
CHECK_SECONDS = 30.0
# A new year of sessions is published long before; what is left then is enough for a release and its roll-out.
CLOCK_SKEW = timedelta(seconds=30)


class CheckFailed(Exception):
    """A check that failed; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """What is examined: a running embedded Leadline, or what the environment names."""

    settings: IngestSettings
    source: str
    ingest: str | None = None
    """The database as the ingest service, whose the quotas are."""


def find(chosen: Path | None) -> Target:
    """The embedded run of `chosen`, with what it was started with; without a choice the default's if it runs, else the environment.

    Raises `ConfigurationError` if nothing runs on a directory that was chosen.
    """
    directory = chosen or state.DEFAULT
    running = state.find_running(directory)
    if running is None:
        if chosen is not None:
            raise ConfigurationError(
                f"no embedded Leadline runs on {chosen} (or it has not started yet); "
                "without --state and LEADLINE_STATE the environment is examined"
            )
        return Target(IngestSettings(), "LEADLINE_DATABASE_URL and LEADLINE_KAFKA")
    choices: dict[str, Any] = {
        name: running[name]
        for name in ("kafka", "kafka_namespace", "as_of", "providers", "reference_providers", "data")
        if name in running
    }
    settings = IngestSettings(database_url=str(running["database"]), **choices)
    return Target(settings, f"the embedded Leadline of {directory}, {running['url']}", running["ingest_database"])


async def run_checks(chosen: Path | None, console: Console | None = None) -> bool:
    """Run all checks, print a line each; true if nothing is wrong."""
    out = console or console_for()
    patient = find(chosen)
    out.print(f"examining {escape(patient.source)}", soft_wrap=True)
    checks: list[tuple[str, Callable[[IngestSettings], Awaitable[str]]]] = [
        ("database", _database),
        ("migrations", _migrations),
        ("clock", _clock),
        ("broker", _broker),
        ("topics", _topics),
        ("providers", partial(_providers, ingest=patient.ingest)),
        ("prices", partial(_prices, ingest=patient.ingest)),
        ("yields", partial(_yields, ingest=patient.ingest)),
        ("calendar", _calendar),
    ]
    healthy = True
    for name, check in checks:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                said = await check(patient.settings)
            _say(out, "[green]ok[/]     ", name, said)
        except CheckFailed as wrong:
            healthy = False
            _say(out, "[red]wrong[/]  ", name, str(wrong))
        except Exception as error:  # noqa: BLE001 - whatever a client raises is the finding
            healthy = False
            _say(out, "[red]wrong[/]  ", name, f"{type(error).__name__}: {str(error)[:300]}")
    return healthy


def _say(out: Console, mark: str, name: str, said: str) -> None:
    """One line a check, whatever its words and the width are: that is what is searched for in a log."""
    out.print(f"  {mark}{name}: {escape(' '.join(said.split()))}", highlight=False, soft_wrap=True)


async def _database(settings: ServiceSettings) -> str:
    return str(await _ask(settings, "SELECT split_part(version(), ' on ', 1) || ' as ' || current_user"))


async def _migrations(settings: ServiceSettings) -> str:
    engine = create_engine(settings.database_address, application="leadline-doctor", pool_size=1)
    try:
        if not await at_head(engine):
            raise CheckFailed(f"the schema is not at {head()}: run `make migrate`")
    finally:
        await engine.dispose()
    return f"at {head()}"


async def _clock(settings: ServiceSettings) -> str:
    there = await _ask(settings, "SELECT clock_timestamp()")
    assert isinstance(there, datetime)
    skew = abs(there - datetime.now(UTC))
    if skew > CLOCK_SKEW:
        raise CheckFailed(
            f"this machine and the database differ by {skew.total_seconds():.0f} s: check both clocks (NTP)"
        )
    stands = f", standing at {settings.as_of}" if settings.as_of else ""
    due = exchange_calendar().last_due(Clock(settings.as_of).now())
    return f"{skew.total_seconds() * 1000:.0f} ms from the database's; last session due {due}{stands}"


async def _broker(settings: ServiceSettings) -> str:
    return f"{settings.kafka} answers, {len(await _topics_there(settings))} topics"


async def _topics(settings: ServiceSettings) -> str:
    wanted = {f"{settings.kafka_namespace}{topic}" for topic in TOPICS}
    missing = sorted(wanted - await _topics_there(settings))
    if missing:
        raise CheckFailed(f"missing: {', '.join(missing)}; create them with `python -m deploy.topics`")
    return f"all {len(TOPICS)} are there"


async def _providers(settings: IngestSettings, *, ingest: str | None = None) -> str:
    """Of a run that is there: what it recorded, whose keys this command does not have. Else each is asked one question of its quota."""
    engine = create_engine(ingest or settings.database_address, application="leadline-doctor", pool_size=2)
    try:
        if ingest is None or set(settings.providers) == {"file"}:
            found = await check_providers(settings, engine)
        else:
            found = await check_running(engine)
    except LeadlineError as error:
        raise CheckFailed(str(error)) from error
    finally:
        await engine.dispose()
    told = "; ".join(map(_format, found))
    if not all(one.answers for one in found):
        raise CheckFailed(told)
    return told


async def _prices(settings: IngestSettings, *, ingest: str | None = None) -> str:
    engine = create_engine(ingest or settings.database_address, application="leadline-doctor", pool_size=1)
    try:
        wrong = await nothing_priced(engine)
    finally:
        await engine.dispose()
    if wrong is not None:
        raise CheckFailed(wrong)
    return "what was asked for is priced, or nothing was asked for yet"


async def _yields(settings: IngestSettings, *, ingest: str | None = None) -> str:
    """How old the newest yield curve is; rates are stressed with one of a month at most."""
    if not settings.curve_sources:
        return "no curve is asked for: nobody on the network is among the providers"
    engine = create_engine(ingest or settings.database_address, application="leadline-doctor", pool_size=1)
    try:
        async with engine.connect() as conn:
            await load_closures(conn)
            found = await curve(conn)
    finally:
        await engine.dispose()
    last = Clock(settings.as_of).last_due()
    return describe_curve(found, last)


def describe_curve(found: Mapping[str, Any] | None, last: date) -> str:
    """found : as `results.providers.curve` tells it. Raises `CheckFailed` for a curve that is too old, or stays away."""
    if found is None:
        return "no curve was asked for yet"
    fault = f": {found['fault']}" if found["fault"] else ""
    remedy = (
        "Check the way to home.treasury.gov and fred.stlouisfed.org, or name another in LEADLINE_REFERENCE_PROVIDERS"
    )
    if found["date"] is None:
        raise CheckFailed(f"no curve has come since {found['asked_at']}{fault}. {remedy}")
    age = (last - date.fromisoformat(found["date"])).days
    if age > CURVE_MOST_DAYS:
        raise CheckFailed(f"the newest curve is of {found['date']}, {age} days before {last}{fault}. {remedy}")
    return f"the newest curve is of {found['date']} ({found['provider']})"


async def check_providers(settings: IngestSettings, engine: AsyncEngine) -> list[ProviderCheck]:
    """How each enabled provider is doing, all asked at once. Needs the ingest service's role, whose quota it is."""
    loop = Loop()

    def quota(provider: str, counted: str, key: str, windows: tuple[Window, ...]) -> DatabaseQuota:
        return DatabaseQuota(engine, loop, provider, account_of(counted, key), windows)

    async def one(provider: Provider) -> ProviderCheck:
        if isinstance(provider, RateLimitedProvider):
            assert isinstance(provider.quota, DatabaseQuota)
            return await check_provider(provider, provider.quota)
        try:
            answers, said = True, f"reads {await asyncio.to_thread(prices.check, settings)}"
        except LeadlineError as error:
            answers, said = False, f"cannot be read: {error}"
        return ProviderCheck(provider.name, answers, said, ())

    providers = create_providers(settings, exchange_calendar, quota, lambda: exchange_calendar().horizon)
    return list(await asyncio.gather(*map(one, providers)))


def _format(found: ProviderCheck) -> str:
    left = ", ".join(f"{calls} of {window.calls} calls in {window.seconds:g} s left" for window, calls in found.left)
    return f"{found.provider} {found.said}" + (f" ({left})" if left else "")


async def _calendar(_: ServiceSettings) -> str:
    if exchange_calendar().days_to_horizon(datetime.now(UTC)) < HORIZON_ALARM_DAYS:
        raise CheckFailed(f"what the exchange announced is known to {ANNOUNCED_UNTIL} only: {HORIZON_REMEDY}")
    return f"XNYS sessions known as announced to {ANNOUNCED_UNTIL}"


async def _ask(settings: ServiceSettings, query: str) -> object:
    engine = create_engine(settings.database_address, application="leadline-doctor", pool_size=1)
    try:
        async with engine.connect() as conn:
            return await conn.scalar(text(query))
    finally:
        await engine.dispose()


async def _topics_there(settings: ServiceSettings) -> set[str]:
    admin = AIOKafkaAdminClient(**client_options(settings), client_id="leadline-doctor")
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()
