"""PostgreSQL that lets nobody in without TLS and a certificate of the role's own name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.db.engine import create_engine
from shared.db.roles import SERVICES, role_of
from tests.support import databases
from tests.support.databases import Database, Server


@pytest.fixture
async def guarded(secured_postgres: Server) -> AsyncIterator[Database]:
    made = await databases.create(secured_postgres)
    yield made
    await databases.drop(made)


async def _who(url: str) -> tuple[str, bool, str]:
    """Role, whether the connection is encrypted, and the name in the certificate that was shown."""
    engine = create_engine(url, application="test", pool_size=1)
    try:
        async with engine.connect() as conn:
            row = (
                await conn.execute(
                    text("SELECT current_user, ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                )
            ).one()
            return str(row[0]), bool(row[1]), str(row[2])
    finally:
        await engine.dispose()


@pytest.mark.parametrize("service", SERVICES)
async def test_each_role_comes_in_with_its_own_certificate(guarded: Database, service: str) -> None:
    role = role_of(service)
    assert await _who(guarded.url(service)) == (role, True, f"/CN={role}")


async def test_nobody_else_comes_in(guarded: Database) -> None:
    url = make_url(guarded.url("risk"))
    stolen = guarded.server.query(role_of("ingest"))
    refused: dict[str, Mapping[str, Any]] = {
        "another's certificate": {**url.query, "sslcert": stolen["sslcert"], "sslkey": stolen["sslkey"]},
        "no certificate": {"sslmode": "verify-full", "sslrootcert": stolen["sslrootcert"]},
        "no TLS": {"sslmode": "disable"},
    }
    for why, query in refused.items():
        with pytest.raises((DBAPIError, OSError)):
            assert await _who(url.set(query=query).render_as_string(hide_password=False)), why


async def test_a_server_of_another_authority_is_not_trusted(guarded: Database) -> None:
    url = make_url(guarded.url("risk"))
    query = {**url.query, "sslrootcert": str(url.query["sslcert"])}
    with pytest.raises((DBAPIError, OSError)):
        await _who(url.set(query=query).render_as_string(hide_password=False))
