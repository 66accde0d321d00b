"""Database addresses as libpq and every provider of PostgreSQL write them: `?sslmode=verify-full&sslrootcert=/certs/ca.pem`.

The driver reads these parameters in an address of its own, and SQLAlchemy hands it none. They are taken out of ours and handed on in
one that holds nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from shared.errors import ConfigurationError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What the driver does as libpq does.
_HANDED_ON = frozenset(
    {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version"),
        *("passfile", "target_session_attrs", "krbsrvname"),
    }
)
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
# Read by SQLAlchemy: what poolers in transaction mode need (0).
_CACHES = frozenset({"prepared_statement_cache_size", "statement_cache_size"})
# Tuning of libpq's own, and names we set ourselves. Nothing is less safe without.
_WITHOUT_EFFECT = frozenset(
    {
        *("application_name", "fallback_application_name", "client_encoding", "connect_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("sslcompression", "sslsni", "sslcertmode", "load_balance_hosts"),
    }
)
# Demands that the driver cannot meet; the values that demand nothing are fine.
_DEMANDS = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "require_auth": ("",),
    "requirepeer": ("",),
    "requiressl": ("0", ""),
}


def connection(url: str) -> tuple[URL, dict[str, Any]]:
    """The address for SQLAlchemy, and what the driver is connected with beside it.

    Raises `ConfigurationError` for an address that cannot be read, a parameter nobody knows or that cannot be honoured, and a file
    that is not there: at the start, by name, rather than at the first query.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "the database's address cannot be read: write postgresql://ROLE@HOST:PORT/DATABASE"
        ) from error
    query = {name: value if isinstance(value, str) else value[-1] for name, value in parsed.query.items()}
    # The driver's own word for it.
    if "ssl" in query:
        query.setdefault("sslmode", query.pop("ssl"))
    _check(query)
    if query.get("sslrootcert") == "system":
        query["sslrootcert"] = _system_authorities()
        query.setdefault("sslmode", "verify-full")
    _check_files(query)
    handed = {name: value for name, value in query.items() if name in _HANDED_ON}
    settings = {"options": query["options"]} if "options" in query else {}
    kept = {name: value for name, value in parsed.query.items() if name in _CACHES or name in ("host", "port")}
    arguments: dict[str, Any] = {"server_settings": settings}
    if handed:
        arguments["dsn"] = f"postgresql:///?{urlencode(handed)}"
    for name in _CACHES & kept.keys():
        arguments[name] = int(query[name])
        del kept[name]
    return parsed.set(drivername="postgresql+asyncpg", query=kept), arguments


def _check(query: Mapping[str, str]) -> None:
    known = _HANDED_ON | _CACHES | _WITHOUT_EFFECT | _DEMANDS.keys() | {"options", "host", "port"}
    unknown = sorted(query.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"the database's address has {', '.join(unknown)}, which nobody knows; known are {', '.join(sorted(known))}"
        )
    for name, harmless in _DEMANDS.items():
        if query.get(name, harmless[0]) not in harmless:
            raise ConfigurationError(
                f"the database's address demands {name}={query[name]}, which the driver cannot do: leave it out; "
                "sslmode=verify-full makes sure who answers"
            )
    mode = query.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise ConfigurationError(f"the database's address has sslmode={mode}; it may be {', '.join(SSL_MODES)}")
    for name in _CACHES & query.keys():
        if not query[name].isdigit():
            raise ConfigurationError(
                f"the database's address has {name}={query[name]}, which is not a number of statements"
            )


def _check_files(query: Mapping[str, str]) -> None:
    for name in _FILES:
        if name in query and not (Path(query[name]).is_file() and os.access(query[name], os.R_OK)):
            raise ConfigurationError(f"the database's address has {name}={query[name]}: there is no such file to read")
    if query.get("sslmode") in ("verify-ca", "verify-full") and "sslrootcert" not in query:
        default = Path.home() / ".postgresql" / "root.crt"
        if not os.environ.get("PGSSLROOTCERT") and not default.is_file():
            raise ConfigurationError(
                f"the database's address has sslmode={query['sslmode']} and no sslrootcert: name the file of the authority, "
                "or `sslrootcert=system` for a certificate that the system trusts"
            )


def _system_authorities() -> str:
    """The file of the authorities that this system trusts. Raises `ConfigurationError` if it has none."""
    import ssl

    found = ssl.get_default_verify_paths()
    for path in (found.cafile, found.openssl_cafile):
        if path and Path(path).is_file():
            return path
    raise ConfigurationError("sslrootcert=system: this system has no file of authorities; install ca-certificates")
