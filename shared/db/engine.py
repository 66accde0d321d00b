"""One engine builder, and the two kinds of transaction the design knows."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from shared.db.address import connection
from shared.db.begin import Connection
from shared.errors import PermanentError, TransientError

# A statement that runs longer than this is a bug or a lock nobody will release; the handler's budget is longer.
STATEMENT_TIMEOUT_MS = 120_000
CONNECT_TIMEOUT_SECONDS = 10.0
# A connection that was used so recently is used again without asking whether it still works.
RESTED_SECONDS = 1.0
_USED_AT = "used_at"
# SQLSTATEs that say "later": classes 08 (connection), 40 (deadlock, serialisation), 53 (out of disk, memory, connections) and
# 57 (shutdown, cancelled); a lock that was not to be had; a server that is read-only while it fails over; a disk that did not
# answer. Not XX000, the server's "internal error": that is as often a bug, which fails the same way for ever.
TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57"})
TRANSIENT_STATES = frozenset({"55P03", "25006", "58030"})


# How long a process that no longer runs may hold what it holds: rows it was sending, the commit-order lock of a request. Phases compute
# in between, and take longer.
IDLE_SECONDS = 30
MOST_IDLE_SECONDS = 300
UNHURRIED = "(SELECT set_config('synchronous_commit', 'off', true))"
"""A column of a statement whose transaction is committed without waiting for the disk: a server that dies within the second forgets it.
What commits later carries it along (docs/decisions/0083-what-waits-for-the-disk.md)."""


def create_engine(
    url: str,
    *,
    application: str,
    pool_size: int = 8,
    idle_seconds: int = MOST_IDLE_SECONDS,
    read_only: bool = False,
) -> AsyncEngine:
    """An engine on asyncpg. Connects lazily. `url` may be any `postgresql://` form, with libpq's parameters. A transaction of which
    nothing is heard for `idle_seconds` is ended by the server. Raises `ConfigurationError` for an address that cannot be used.

    read_only : the server refuses every write of it, whatever the role may do

    A restarted server leaves dead connections in the pool: they are tried before they are used. A connection that breaks inside
    a transaction surfaces as a transient error and the unit is tried again.
    """
    parsed, arguments = connection(url)
    engine = create_async_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=30,
        pool_recycle=1800,
        # What is in a statement's parameters is the users', and errors are logged and shown.
        hide_parameters=True,
        connect_args={
            **arguments,
            "connection_class": Connection,
            # A server that vanished without a word answers nothing: the client's own patience, a little above the server's.
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": STATEMENT_TIMEOUT_MS / 1000 + 10,
            "server_settings": {
                **arguments["server_settings"],
                "application_name": application,
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(idle_seconds * 1000),
                # Plans of set-based queries over unnest are poor when made for unknown parameters, and JIT never pays here.
                "jit": "off",
                **({"default_transaction_read_only": "on"} if read_only else {}),
            },
        },
    )
    _try_rested_connections(engine)
    return engine


def _try_rested_connections(engine: AsyncEngine) -> None:
    """Ask the server whether a connection of the pool still works, unless it did a moment ago.

    As `pool_pre_ping` does, which asks before each transaction: three messages more, as many as a short one has. One whose server
    closed it is known to be closed without asking.
    """

    dialect = engine.dialect

    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    def try_rested(given: Any, record: ConnectionPoolEntry, _: Any) -> None:
        if given.driver_connection.is_closed():
            raise InvalidatePoolError  # which takes a new one, and for all that were there
        if time.monotonic() - record.info.get(_USED_AT, -math.inf) < RESTED_SECONDS:
            return
        try:
            dialect.do_ping(given)
        except dialect.loaded_dbapi.Error as error:
            if dialect.is_disconnect(error, given, None):
                raise InvalidatePoolError from error
            raise

    event.listen(engine.sync_engine, "connect", note)
    event.listen(engine.sync_engine, "checkin", note)
    event.listen(engine.sync_engine, "checkout", try_rested)


@asynccontextmanager
async def snapshot(engine: AsyncEngine, *, keep_plans: bool = False) -> AsyncIterator[AsyncConnection]:
    """One REPEATABLE READ, read-only view: revisions, inputs and price versions that belong together.

    keep_plans : of a request (`tenancy.confine`), whose statements read a few rows by their keys, whatever the parameters: the server
        plans each once a connection, and not at every call
    """
    async with engine.connect() as connection:
        await connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True, keep_plans=keep_plans
        )
        async with connection.begin():
            yield connection


async def acquire_commit_order_lock(conn: AsyncConnection) -> None:
    """Take the global commit-order lock. First statement of a transaction that changes inputs, writes prices or adds units
    (bulk data is staged before it), so that revisions and change numbers commit in the order they were drawn."""
    await conn.execute(text("SELECT ledger.order_lock()"))


async def limit_idle(conn: AsyncConnection, seconds: float | None = None) -> None:
    """Let the server end this transaction once nothing was asked of it for so long: a frozen process, a machine that is gone."""
    limit = IDLE_SECONDS if seconds is None else seconds
    await conn.execute(
        text("SELECT set_config('idle_in_transaction_session_timeout', :limit, true)"),
        {"limit": str(int(limit * 1000))},
    )


async def assert_commit_order_lock(conn: AsyncConnection) -> None:
    """Refuse to go on without the commit-order lock, where no trigger sees that it is needed."""
    if await conn.scalar(text("SELECT current_setting('leadline.ordered', true)")) != "yes":
        raise PermanentError(
            "commit-order lock required: call acquire_commit_order_lock() first in the transaction", code="unordered"
        )


async def next_change_seq(conn: AsyncConnection) -> int:
    """Draw a revision or price version. Only under `acquire_commit_order_lock`."""
    value = await conn.scalar(text("SELECT nextval('ledger.change')"))
    assert isinstance(value, int)
    return value


def is_transient(error: BaseException) -> bool:
    """Whether an error says "later", not "never": lost connections, restarts, deadlocks, time-outs, a read-only server, an
    exhausted pool (whose `TimeoutError` is SQLAlchemy's own, not the built-in), and whatever we raised as `TransientError`.

    The one place that decides it, for handlers, loops and requests alike.
    """
    if isinstance(error, TransientError | PoolTimeout | ConnectionError | OSError | TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or _is_transient_state(state):
            return True
        # asyncpg raises its own InterfaceError, without a SQLSTATE, when the connection dies under it.
        return isinstance(error, InterfaceError | OperationalError) and not state
    if isinstance(error, asyncpg.PostgresError):
        # COPY goes to the driver directly, so its errors come unwrapped.
        return _is_transient_state(error.sqlstate or "")
    if isinstance(error, asyncpg.InterfaceError):
        # "connection is closed", but not "invalid input for query argument", which is a ValueError as well.
        return not isinstance(error, ValueError)
    return False


def is_retried_by_loops(error: BaseException) -> bool:
    """Whether a background loop logs an error and tries again at its next turn: all that is transient, and whatever else the
    database says. A table that a migration has yet to make is there later, and a restart would not bring it sooner.

    Not while the loop is being cancelled: what a statement raises that was cut off may hide the cancellation, and the loop would
    go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return False
    return is_transient(error) or isinstance(error, DBAPIError | asyncpg.PostgresError)


def _is_transient_state(state: str) -> bool:
    return state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES


_ARGUMENT = re.compile(r"(invalid input for query argument \$\d+).*")


def describe_error(error: BaseException, most: int = 200) -> str:
    """The error in a line, for people: its kind and the first line of what it says. SQL and its values belong to the log."""
    cause: BaseException = error
    if isinstance(error, StatementError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    said = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    said = _ARGUMENT.sub(r"\1", said)
    line = f"{type(cause).__name__}: {said}" if said else type(cause).__name__
    return line if len(line) <= most else f"{line[: most - 1]}…"
