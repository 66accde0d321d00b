"""One engine builder, and the two kinds of transaction the design knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import PermanentError

# A statement that runs longer than this is a bug or a lock nobody will release; the handler's budget is longer.
STATEMENT_TIMEOUT_MS = 120_000
CONNECT_TIMEOUT_SECONDS = 10.0


def create_engine(url: str, *, application: str, pool_size: int = 8) -> AsyncEngine:
    """An engine on asyncpg. Connects lazily. `url` may be any `postgresql://` form.

    `pool_pre_ping` is on because a restarted server leaves dead connections in the pool; a connection that breaks inside
    a transaction surfaces as a transient error and the unit is tried again.
    """
    parsed = make_url(url).set(drivername="postgresql+asyncpg")
    return create_async_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=30,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            # A server that vanished without a word answers nothing: the client's own patience, a little above the server's.
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "command_timeout": STATEMENT_TIMEOUT_MS / 1000 + 10,
            "server_settings": {
                "application_name": application,
                "statement_timeout": str(STATEMENT_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "300000",
                # Plans of set-based queries over unnest are poor when made for unknown parameters, and JIT never pays here.
                "jit": "off",
            },
        },
    )


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One REPEATABLE READ, read-only view: revisions, inputs and price versions that belong together."""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            yield connection


async def order_lock(conn: AsyncConnection) -> None:
    """Take the global commit-order lock. First statement of a transaction that changes inputs, writes prices or adds units
    (bulk data is staged before it), so that revisions and change numbers commit in the order they were drawn."""
    await conn.execute(text("SELECT ledger.order_lock()"))


async def ordered(conn: AsyncConnection) -> None:
    """Refuse to go on without the commit-order lock, where no trigger sees that it is needed."""
    if await conn.scalar(text("SELECT current_setting('leadline.ordered', true)")) != "yes":
        raise PermanentError("this needs the commit-order lock: take it first in the transaction", code="unordered")


async def next_change(conn: AsyncConnection) -> int:
    """Draw a revision or price version. Only under `order_lock`."""
    value = await conn.scalar(text("SELECT nextval('ledger.change')"))
    assert isinstance(value, int)
    return value


def is_transient(error: BaseException) -> bool:
    """Whether a database error says "later", not "never": lost connections, restarts, deadlocks, serialisation, timeouts."""
    if isinstance(error, PoolTimeout | ConnectionError | OSError | TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        if error.connection_invalidated or state[:2] in {"08", "40", "53", "57"} or state == "55P03":
            return True
        # asyncpg raises its own InterfaceError, without a SQLSTATE, when the connection dies under it.
        return isinstance(error, InterfaceError | OperationalError) and not state
    if isinstance(error, asyncpg.PostgresError):
        # COPY goes to the driver directly, so its errors come unwrapped.
        return (error.sqlstate or "")[:2] in {"08", "40", "53", "57"} or error.sqlstate == "55P03"
    if isinstance(error, asyncpg.InterfaceError):
        # "connection is closed", but not "invalid input for query argument", which is a ValueError as well.
        return not isinstance(error, ValueError)
    return False
