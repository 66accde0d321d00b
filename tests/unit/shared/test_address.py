"""Database addresses as providers hand them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asyncpg import connect_utils

from shared.db.address import connection
from shared.errors import ConfigurationError
from tests.support import certificates
from tests.support.certificates import Authority, Certificate


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Certificate]:
    if (reason := certificates.missing()) is not None:
        pytest.skip(reason)
    authority = Authority.create(tmp_path_factory.mktemp("authority"))
    return authority, authority.issue("leadline_risk")


def driver(url: str) -> Any:
    """What the driver makes of what it is given."""
    parsed, arguments = connection(url)
    _, parameters = connect_utils._parse_connect_dsn_and_args(
        dsn=arguments.get("dsn"),
        host=parsed.host,
        port=parsed.port or 5432,
        user=parsed.username,
        password=parsed.password,
        database=parsed.database,
        **dict.fromkeys(
            [
                *("passfile", "ssl", "direct_tls", "target_session_attrs"),
                *("krbsrvname", "gsslib", "service", "servicefile"),
            ]
        ),
        server_settings=arguments["server_settings"],
    )
    return parameters


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_sslmode_reaches_the_driver(mode: str) -> None:
    assert driver(f"postgresql://u:p@h/d?sslmode={mode}").sslmode.name == mode
    assert driver(f"postgresql://u:p@h/d?ssl={mode}").sslmode.name == mode


def test_certificates_reach_the_driver(signed: tuple[Authority, Certificate]) -> None:
    authority, mine = signed
    found = driver(
        f"postgresql://u:p@h/d?sslmode=verify-full&sslrootcert={authority.certificate}"
        f"&sslcert={mine.certificate}&sslkey={mine.key}"
    )
    assert found.sslmode.name == "verify_full"
    assert found.ssl.check_hostname
    assert len(found.ssl.get_ca_certs()) == 1


def test_the_address_that_is_left_has_no_parameters() -> None:
    parsed, arguments = connection("postgresql://u:p%40@h:5433/d?sslmode=require&connect_timeout=10&keepalives=1")
    assert parsed.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p%40@h:5433/d"
    assert arguments == {"server_settings": {}, "dsn": "postgresql:///?sslmode=require"}


def test_poolers_and_options_are_served() -> None:
    parsed, arguments = connection(
        "postgres://u@h/d?prepared_statement_cache_size=0&statement_cache_size=0&options=-c%20geqo%3Doff"
    )
    assert dict(parsed.query) == {}
    assert arguments == {
        "server_settings": {"options": "-c geqo=off"},
        "prepared_statement_cache_size": 0,
        "statement_cache_size": 0,
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmod=require", "has sslmod, which nobody knows"),
        ("sslmode=full", "sslmode=full; it may be disable"),
        ("channel_binding=require", "demands channel_binding=require, which the driver cannot do"),
        ("require_auth=scram-sha-256", "demands require_auth"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert=/nowhere/ca.pem: there is no such file"),
        ("statement_cache_size=none", "statement_cache_size=none, which is not a number"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(query: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        connection(f"postgresql://u:hidden@h/d?{query}")
    assert said in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_who_verifies_says_against_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    with pytest.raises(ConfigurationError, match="sslrootcert=system"):
        connection("postgresql://u@h/d?sslmode=verify-full")


def test_no_address_is_said_without_repeating_it() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as refused:
        connection("host=h password=hidden")
    assert "hidden" not in str(refused.value)
