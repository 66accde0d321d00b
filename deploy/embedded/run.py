"""Everything in one process tree: PostgreSQL and a broker from wheels, migrations, the coordinator, and beside it the services that
compute."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from deploy.embedded import broker, computation, postgres, priority, state
from deploy.embedded.choices import settings_of
from deploy.embedded.progress import progress
from deploy.embedded.rotating_log import RotatingLog
from deploy.embedded.servers import Starting, create_database
from deploy.embedded.state import LOOPBACK
from deploy.embedded.stopping import stop_on_signals, unless_stopped
from deploy.embedded.supervisor import Supervisor
from services.coordinator.settings import CoordinatorSettings
from services.ingest.settings import IngestSettings
from shared.collection import collect_from_now_on
from shared.db.roles import API, LOGINS, MIGRATOR, role_of
from shared.errors import ConfigurationError
from shared.settings import ServiceSettings

# What serves is loaded once the servers start, which need it for nothing.
if TYPE_CHECKING:
    from deploy.embedded.composition import Composition

LOG_LIMIT_MB = 50


@dataclass(frozen=True)
class Options:
    """What `leadline up` was asked for."""

    state: Path = state.DEFAULT
    port: int = 8000
    bind: str = LOOPBACK
    data: Path | None = None
    as_of: date | None = None


@dataclass(frozen=True)
class Embedded:
    """A running embedded Leadline."""

    services: Composition
    admin_url: str
    log: Path
    supervisor: Supervisor
    token: str
    """An operator's: LEADLINE_TOKEN, or the one drawn for the state directory."""

    @property
    def url(self) -> str:
        return self.services.url

    def sign_in_link(self) -> str:
        """An address that signs one browser in, once, within two minutes."""
        return f"{self.url}/sign-in?code={self.services.apps['coordinator'].state.page_sessions.issue_code()}"


@contextlib.asynccontextmanager
async def run_embedded(
    options: Options, supervisor: Supervisor | None = None, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Embedded]:
    """Run everything until the block ends, then stop it in the order that loses nothing: services, database, broker.

    say : is told what begins

    A server that dies meanwhile is started again by the supervisor, which says so when it cannot.
    Raises `ConfigurationError` if the port or the state directory is in use, prices cannot be read, or a part does not start.
    """
    directory, values = options.state.resolve(), _values(options)
    own_token = _chosen_token()
    assert_prices_named(settings_of("ingest", **values))
    supervisor = supervisor or Supervisor(directory)
    if options.data is not None and not options.data.is_file():
        raise ConfigurationError(f"there is no price file {options.data}")
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(state.lock_state(directory))
        listener = stack.enter_context(state.bind(options.port, options.bind))
        log = stack.enter_context(_log_of(directory))
        early = computation.start_early(directory, values)
        stack.callback(early.stop)
        say("the broker")
        bus_starts = Starting(stack, supervisor, lambda port, _: broker.serve(directory, port=port))
        if not postgres.exists(directory):
            # A start that is refused leaves no database behind.
            await computation.assert_prices_readable(early, directory)
        say("PostgreSQL")
        database_starts = Starting(
            stack, supervisor, lambda port, give_up: postgres.serve(directory, port=port, give_up=give_up)
        )
        from deploy.embedded.composition import create_topics
        from deploy.embedded.groups import opening_groups

        bus = await bus_starts.wait()
        # One process reads every topic: a night that is shared would only be more messages.
        values |= {"kafka": bus.bootstrap, "kafka_idempotence": False, "kafka_partitions": 1}
        passwords = state.passwords(directory)
        token = own_token or state.token(directory)
        loading = asyncio.create_task(asyncio.to_thread(importlib.import_module, "services.coordinator.app"))
        async with opening_groups(settings_of("coordinator", **values), log):
            database = await database_starts.wait()
            say("the schema")
            await _prepare_schema(database, passwords)
        await loading
        await computation.assert_prices_readable(early, directory)
        urls = {service: database.url(role=role_of(service), password=passwords[service]) for service in LOGINS}
        say("the five services")
        # The terminal is for the one line that says ready, and for progress; what the services log goes to a file.
        with contextlib.redirect_stderr(log):
            values |= {"token": SecretStr(token), "api_database_url": urls.pop(API)}
            services, computing = await _start_services(
                stack, supervisor, listener, early, directory=directory, urls=urls, values=values
            )
        stack.enter_context(_announce(directory, services, computing, urls, values))
        if own_token is None:
            stack.enter_context(state.register_server(directory, services.port))
        supervisor.after_restart(bus, lambda: create_topics(services.apps["coordinator"].state.service.settings))
        await stack.enter_async_context(supervisor.keep_watch())
        await stack.enter_async_context(priority.keep_lowered(lambda: supervisor.current(database).child.process.pid))
        yield Embedded(services, database.url(), Path(log.name), supervisor, token)


def _announce(
    directory: Path,
    services: Composition,
    computing: computation.Computation,
    urls: Mapping[str, str],
    values: Mapping[str, Any],
) -> contextlib.AbstractContextManager[None]:
    return state.announce_addresses(
        directory,
        url=services.url,
        database=urls["coordinator"],
        ingest_database=urls["ingest"],
        kafka=values["kafka"],
        computation=f"http://127.0.0.1:{computing.port}",
        **_choices(values),
    )


async def _prepare_schema(database: postgres.Postgres, passwords: dict[str, str]) -> None:
    from shared.db.bootstrap import bootstrap
    from shared.db.migrate import upgrade

    await create_database(database)
    migrator = passwords.pop("migrator")
    await bootstrap(database.url(), migrator)
    await upgrade(database.url(role=MIGRATOR, password=migrator), passwords)


async def _start_services(
    stack: contextlib.AsyncExitStack,
    supervisor: Supervisor,
    listener: socket.socket,
    early: computation.Computation,
    *,
    directory: Path,
    urls: Mapping[str, str],
    values: Mapping[str, Any],
) -> tuple[Composition, computation.Computation]:
    """Start the coordinator here and the services that compute in a process of their own, both at once."""
    from deploy.embedded.composition import composition

    limit = _log_limit()

    def serve(port: int | None, give_up: threading.Event) -> computation.Computation:
        # Started again it has its port already.
        first = early if port is None else None
        return computation.serve(directory, urls, values, limit, port=port, give_up=give_up, early=first)

    starting = Starting(stack, supervisor, serve, pauses=computation.PAUSES_SECONDS)
    services = await stack.enter_async_context(composition(urls, listener, values=values, services=("coordinator",)))
    return services, await starting.wait()


def up(options: Options) -> None:
    """Run until SIGINT or SIGTERM. Prints the line `ready http://127.0.0.1:PORT` when everything is healthy, and then one with a
    link that signs a browser in. What begins meanwhile, and what can be done next, stands on standard error."""
    if (notice := precedence(options, os.environ)) is not None:
        print(notice, file=sys.stderr, flush=True)
    # What is made while everything starts stays: to look through it again and again is a tenth of a start.
    gc.disable()
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    supervisor = Supervisor(options.state.resolve())
    asked_to_stop = stop_on_signals(supervisor.begin_stop)
    say = progress(sys.stderr)
    async with contextlib.AsyncExitStack() as stack:
        starting = run_embedded(options, supervisor, lambda part: say(f"starting {part} …"))
        running = await unless_stopped(stack.enter_async_context(starting), asked_to_stop)
        if running is not None:
            collect_from_now_on()
            print(f"ready {running.url}", flush=True)
            print(f"sign in with a browser, once, within two minutes: {running.sign_in_link()}", flush=True)
            say(f"next: leadline import FILE.csv --name NAME --equity AMOUNT; the log is {running.log}; Ctrl-C stops")
            await until_stopped(running, asked_to_stop)
        say("stopping the services, PostgreSQL, the broker …")


async def until_stopped(running: Embedded, asked_to_stop: asyncio.Event) -> None:
    """Wait for a signal; raise `ConfigurationError` if a service or a server ends without one."""
    failed = running.supervisor.failed
    waits = [asyncio.create_task(event.wait()) for event in (asked_to_stop, running.services.stopped, failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    if not asked_to_stop.is_set():
        error = running.supervisor.failure or f"a service ended by itself; {running.log} says why"
        running.supervisor.begin_stop(code=1, words=error)
        raise ConfigurationError(error)


def _chosen_token() -> str | None:
    """The user's own, as the coordinator reads it. Raises `ConfigurationError` for one that is too weak."""
    settings = settings_of("coordinator")
    assert isinstance(settings, CoordinatorSettings)
    return None if settings.token is None else settings.token.get_secret_value()


def _choices(values: Mapping[str, Any]) -> dict[str, str | None]:
    """What the run was started with, wherever that came from: the shell of `leadline doctor` may say otherwise."""
    settings = settings_of("ingest", **values)
    assert isinstance(settings, IngestSettings)
    return {
        "kafka_namespace": settings.kafka_namespace,
        "as_of": None if settings.as_of is None else settings.as_of.isoformat(),
        "providers": ",".join(settings.providers),
        "reference_providers": ",".join(settings.curve_sources) or "none",
        "data": None if settings.data is None else str(settings.data.resolve()),
    }


def assert_prices_named(settings: ServiceSettings) -> None:
    """Raises `ConfigurationError` where nothing says whose prices are used."""
    assert isinstance(settings, IngestSettings)
    if settings.providers == ("file",) and settings.data is None:
        raise ConfigurationError(
            "nothing says where prices come from. Without a key: LEADLINE_PROVIDERS=yahoo leadline up; "
            "from a file of your own: leadline up --data FILE. Other vendors and their keys: docs/providers.md"
        )


def precedence(options: Options, environment: Mapping[str, str]) -> str | None:
    """What `--data` puts aside of the environment, as a line for the user; None if nothing."""
    named = environment.get("LEADLINE_PROVIDERS", "").replace(" ", "").lower()
    if options.data is None or named in {"", "file"}:
        return None
    return f"--data is given: prices come from {options.data} alone, and LEADLINE_PROVIDERS={named} is not used"


def _values(options: Options) -> dict[str, Any]:
    values: dict[str, Any] = {}
    # What is not given is left to the environment: LEADLINE_AS_OF, LEADLINE_PROVIDERS, LEADLINE_DATA.
    if options.as_of is not None:
        values["as_of"] = options.as_of
    if options.data is not None:
        values["data"] = options.data.resolve()
        values["providers"] = "file"
    return values


@contextlib.contextmanager
def _log_of(directory: Path) -> Iterator[RotatingLog]:
    with RotatingLog(directory / "leadline.log", _log_limit()) as stream:
        yield stream


def _log_limit() -> int:
    """Bytes of `leadline.log` before it is moved aside. Raises `ConfigurationError` for what is no such number."""
    given = os.environ.get("LEADLINE_LOG_MB", "") or str(LOG_LIMIT_MB)
    try:
        megabytes = int(given)
    except ValueError:
        megabytes = 0
    if megabytes < 1:
        raise ConfigurationError(f"LEADLINE_LOG_MB is {given!r}: give a whole number of megabytes, at least 1")
    return megabytes * 1_000_000
