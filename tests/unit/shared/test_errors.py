"""Which database errors say "later" and which say "never"."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.engine import is_transient
from shared.errors import ConfigurationError, LeadlineError, PermanentError, TransientError, UnreadableMessage


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    "error",
    [
        *(
            DBAPIError("s", {}, DriverError(state))
            for state in ("08006", "40001", "40P01", "53300", "57P01", "55P03", "25006", "58030", "53100")
        ),
        DBAPIError("s", {}, DriverError("XX000"), connection_invalidated=True),
        OperationalError("s", {}, DriverError(None)),
        PoolTimeout(),
        ConnectionRefusedError(),
        OSError("network is unreachable"),
        TimeoutError(),
        # COPY goes past SQLAlchemy, so these arrive as the driver made them.
        asyncpg.DeadlockDetectedError("copy"),
        asyncpg.ConnectionDoesNotExistError("copy"),
        asyncpg.AdminShutdownError("copy"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.InterfaceError("connection is closed"),
    ],
    ids=repr,
)
def test_later(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        *(DBAPIError("s", {}, DriverError(state)) for state in ("22003", "42501", "23514", "XX000")),
        IntegrityError("s", {}, DriverError("23505")),
        asyncpg.UniqueViolationError("copy"),
        asyncpg.CheckViolationError("copy"),
        asyncpg.DataError("invalid input for query argument"),
        ValueError("x"),
        PermanentError("x"),
        AssertionError(),
    ],
    ids=repr,
)
def test_never(error: Exception) -> None:
    assert not is_transient(error)


def test_errors_carry_a_code_for_machines() -> None:
    assert {kind.code for kind in (LeadlineError, TransientError, PermanentError, ConfigurationError)} == {
        "error",
        "transient",
        "permanent",
        "configuration",
    }
    assert UnreadableMessage("x", code="not_json").code == "not_json"
    assert UnreadableMessage("x").code == "unreadable_message"
    assert not issubclass(TransientError, PermanentError)
    assert not issubclass(PermanentError, TransientError)
