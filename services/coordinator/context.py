"""What the HTTP handlers work with, those of the API and those of the page: made once by the application, kept in its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.coordinator.control.streams import Streams
from services.coordinator.errors import Busy, Conflict, NotFound
from services.coordinator.portfolios import admission
from services.coordinator.portfolios.limits import Limits
from services.coordinator.portfolios.lists import TenantLists
from services.coordinator.results import sessions
from services.coordinator.settings import CoordinatorSettings
from shared.clock import Clock
from shared.db import closures
from shared.db.engine import MOST_IDLE_SECONDS, acquire_commit_order_lock, limit_idle, snapshot
from shared.market.calendar import closures as current
from shared.market.calendar import set_calendar

# Longer than any change holds the commit-order lock; a request that waits longer keeps a connection from those that could go on.
LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Context:
    """Made once by the application and kept in its state."""

    engine: AsyncEngine
    """Of the requests alone: however many there are, the loops and the health of the service never wait for them."""
    clock: Clock
    settings: CoordinatorSettings
    wake_relay: Callable[[], None]
    """Send at once what was just committed."""
    wake_reconciler: Callable[[], None]
    stopping: asyncio.Event
    """Set when the process shuts down: streams end, so that it can."""
    measures: bool = True
    """Whether the loops that keep gauges current are in this process: elsewhere what is seen once would stand in them for good."""

    @cached_property
    def streams(self) -> Streams:
        return Streams(self.settings.max_streams, self.settings.stream_seconds, self.stopping)

    @cached_property
    def changes(self) -> asyncio.Semaphore:
        """Changes that are made at a time."""
        return asyncio.Semaphore(max(1, self.settings.api_pool_size // 2))

    @cached_property
    def lists(self) -> TenantLists:
        """Pages of the list of portfolios."""
        return TenantLists()

    @property
    def limits(self) -> Limits:
        """How large a portfolio may become."""
        given = self.settings
        return Limits(given.max_lots, given.max_symbols, given.max_sessions, given.max_lot_sessions)


def context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


async def _context_of(request: Request) -> Context:
    """A coroutine: a dependency that is a function is run in a thread, at each request."""
    return context_of(request)


Ctx = Annotated[Context, Depends(_context_of)]


HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
_BODIES = frozenset({"content-length", "transfer-encoding"})
_view: ContextVar[_View | None] = ContextVar("view", default=None)


@dataclass(slots=True)
class _View:
    """The snapshot in which it was looked whether a request may go on; left to its handler."""

    conn: AsyncConnection
    ends: AsyncExitStack


def reads_once(handler: HandlerT) -> HandlerT:
    """Of a handler that reads in `handler_snapshot` and before that in nothing: let it go on in the snapshot that its request was let
    in with. A transaction less, with all its messages."""
    handler.reads_once = True  # type: ignore[attr-defined]
    return handler


@asynccontextmanager
async def handler_snapshot(context: Context) -> AsyncIterator[AsyncConnection]:
    """The snapshot that a handler of `reads_once` reads in, or a new one. Its statements keep their plans (`snapshot`)."""
    found = _view.get()
    if found is None:
        async with snapshot(context.engine, keep_plans=True) as conn:
            yield conn
        return
    _view.set(None)
    async with found.ends:
        yield found.conn


async def on_trading_days(request: Request) -> AsyncIterator[None]:
    """What a request computes, it computes under the closures there are when it comes, and it tells of no session after today's.

    Raises `NotFound` for a portfolio in the address that is not the tenant's: before anything is looked at, so that no answer tells
    one that is another's from one that is not there.
    """
    context, named = context_of(request), _named_portfolios(request)
    async with AsyncExitStack() as stack:
        if once := _reads_once(request):
            conn = await stack.enter_async_context(snapshot(context.engine, keep_plans=True))
            await _look_at(conn, context, named)
            _view.set(_View(conn, stack.pop_all()))
        else:
            conn = await stack.enter_async_context(context.engine.connect())
            # What names nobody's rows needs no transaction that is told whose they are.
            await conn.execution_options(keep_plans=True, **({} if named else {"isolation_level": "AUTOCOMMIT"}))
            await _look_at(conn, context, named)
    if not once:
        yield
        return
    try:
        yield
    finally:
        # Where the handler was never reached.
        if (left := _view.get()) is not None:
            _view.set(None)
            await left.ends.aclose()


def _reads_once(request: Request) -> bool:
    """Who waits for a body that a client sends byte by byte has no connection in hand meanwhile."""
    marked = getattr(getattr(request.scope.get("route"), "endpoint", None), "reads_once", False)
    return bool(marked) and not any(name in request.headers for name in _BODIES)


async def _look_at(conn: AsyncConnection, context: Context, named: Sequence[UUID]) -> None:
    found, own = await admission.find_closures_and_own(conn, named)
    set_calendar(found)
    for portfolio in named:
        if portfolio not in own:
            raise NotFound(f"There is no portfolio {portfolio}. It may have been deleted.")
    sessions.newest.set(context.clock.last_due())


def _named_portfolios(request: Request) -> list[UUID]:
    """In the order in which they are named; what is no id is refused for what it is."""
    named = [request.path_params.get("portfolio_id")]
    if request.method in ("GET", "HEAD"):
        named += request.query_params.getlist("portfolio_id")
    found = []
    for each in named:
        with suppress(ValueError):
            found.append(UUID(str(each)))
    return found


@asynccontextmanager
async def _turn(context: Context) -> AsyncIterator[None]:
    """Changes wait for each other with a connection in hand: half of the connections are never theirs. Raises `Busy`."""
    try:
        async with asyncio.timeout(LOCK_SECONDS):
            await context.changes.acquire()
    except TimeoutError:
        raise Busy(
            "Other changes take long, and this one has waited for them in vain. Nothing was done; send it again."
        ) from None
    try:
        yield
    finally:
        context.changes.release()


Preparation = Callable[[AsyncConnection], Awaitable[None]]


@asynccontextmanager
async def ordered_change(context: Context, prepare: Preparation | None = None) -> AsyncIterator[AsyncConnection]:
    """A transaction that may change inputs: the commit-order lock first. Raises `Conflict` if the calendar moved meanwhile.

    A request waits `LOCK_SECONDS` for its turn and as long for a lock; then it is refused (503).

    prepare : what the change needs and nobody else has to wait for, bulk data above all; before the lock
    """
    async with _turn(context), context.engine.begin() as conn:
        await conn.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'"))
        if prepare is not None:
            # Nobody waits for what it does, and checking fifty thousand lots takes long on a busy machine.
            await limit_idle(conn, MOST_IDLE_SECONDS)
            await prepare(conn)
        await limit_idle(conn)
        await acquire_commit_order_lock(conn)
        if await closures.find_closures(conn) != current():
            # What was checked before the lock, entries that count on the next session among it, is of another calendar.
            raise Conflict(
                "The exchange calendar was changed while this was checked. Nothing was done: send it again.",
                code="calendar_moved",
            )
        yield conn
