"""Whose rows the transactions of a request are about: said once a request, and told to the database as each transaction begins.

The database's policies for the API's role go by what it is told (migration 0045). Statements that loops and requests share go by
`tenant_filter`, whatever role runs them: two walls, neither of which stands on the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db.begin import say_at_begin

HOUSE: Final = UUID("00000000-0000-4000-8000-000000000001")
"""The first tenant, which every installation has. Its operators operate the installation."""
SETTING: Final = "leadline.tenant"
EVERYTHING: Final = "*"
# With policies a statement of one row takes longer to plan than to run, and the server, which compares costs, never keeps its plan.
_KEEP: Final = "SET LOCAL plan_cache_mode = 'force_generic_plan';"


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a tenant may have and do at most; None for what the server allows everybody."""

    portfolios: int | None = None
    lots: int | None = None
    streams: int | None = None
    calls_per_second: float | None = None


NO_QUOTAS: Final = Quotas()


@dataclass(frozen=True, slots=True)
class Deed:
    """A request that changes something, as the audit log tells of it: ids alone.

    path : asked as it is written down, because what part of a path is a name is known once its route is found
    """

    request: UUID
    user: UUID | None
    token: UUID | None
    method: str
    path: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Sight:
    """Of one request. `everything`: it concerns the whole installation, as only its operator may ask."""

    tenant: UUID
    everything: bool = False
    quotas: Quotas = NO_QUOTAS
    deed: Deed | None = None

    def of(self, tenant: UUID) -> Sight:
        """The same, of another tenant."""
        return replace(self, tenant=tenant)


WHOLE_INSTALLATION: Final = Sight(HOUSE, everything=True)
"""Of what the server itself looks up before it knows for whom."""

_sight: ContextVar[Sight | None] = ContextVar("sight", default=None)


def see(sight: Sight) -> None:
    """From here on, in this task and those that it starts."""
    _sight.set(sight)


@contextmanager
def use_sight(sight: Sight | None) -> Iterator[None]:
    token = _sight.set(sight)
    try:
        yield
    finally:
        _sight.reset(token)


def tenant_filter() -> UUID | None:
    """The tenant that a statement is confined to; None in the loops, and for what concerns the whole installation."""
    sight = _sight.get()
    return None if sight is None or sight.everything else sight.tenant


def own_tenant() -> UUID:
    """Whose what is created now is."""
    sight = _sight.get()
    return HOUSE if sight is None else sight.tenant


def quotas() -> Quotas:
    """Of the tenant that asks."""
    sight = _sight.get()
    return NO_QUOTAS if sight is None else sight.quotas


def only_own(alias: str = "") -> str:
    """A condition of SQL, with the parameter `tenant`: of the tenant that `tenant_filter` says, or of any."""
    column = f"{alias}.tenant_id" if alias else "tenant_id"
    return f"(CAST(:tenant AS uuid) IS NULL OR {column} = CAST(:tenant AS uuid))"


def confine(engine: AsyncEngine) -> None:
    """Tell the database at the beginning of each transaction of the engine whose rows it is about, for that transaction alone; and
    note, before each is committed that a change asked for, who asked.

    A transaction of which nothing was said is told nothing: as the API's role it finds no portfolio.
    """
    if not event.contains(engine.sync_engine, "begin", _tell):
        event.listen(engine.sync_engine, "begin", _tell)
        event.listen(engine.sync_engine, "commit", _record)


def _tell(connection: Connection) -> None:
    sight = _sight.get()
    if sight is None:
        say_at_begin(connection, "")
        return
    kept = connection.get_execution_options().get("keep_plans")
    say_at_begin(connection, _whose_sql(EVERYTHING if sight.everything else sight.tenant) + (_KEEP if kept else ""))


def _whose_sql(whose: UUID | str) -> str:
    """An id or the mark of everything stands in the text itself: neither can hold a quote."""
    return f"SET LOCAL {SETTING} = '{EVERYTHING if whose == EVERYTHING else UUID(str(whose))}';"


@asynccontextmanager
async def omit_from_audit(conn: AsyncConnection) -> AsyncIterator[None]:
    """A transaction that writes nothing of the tenant's, such as a question about the market: the audit log does not tell of it."""
    await conn.execution_options(changes_nothing=True)
    async with conn.begin():
        yield


def _record(connection: Connection) -> None:
    """Who did what, in the transaction that does it: both are committed, or neither."""
    sight, options = _sight.get(), connection.get_execution_options()
    if sight is None or sight.deed is None or options.get("postgresql_readonly") or options.get("changes_nothing"):
        return
    deed = sight.deed
    connection.exec_driver_sql(
        "INSERT INTO coordinator.audit_log (tenant_id, user_id, token_id, request_id, method, path) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (request_id) DO NOTHING",
        (sight.tenant, deed.user, deed.token, deed.request, deed.method, deed.path()),
    ).close()
