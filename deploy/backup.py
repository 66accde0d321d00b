"""`leadline backup` and `leadline restore`: PostgreSQL's own dump, and beside it what must be the same after it was restored.

Kafka holds nothing that the database does not, so the database is the whole of it. The dump and what is counted are one snapshot: services
may run meanwhile. Restored is only into an empty database, in one transaction, and it counts as restored once every table has the
same rows, by number and by digest, every phase as many units expected and completed, and no sequence is behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from deploy.embedded import postgres, state
from deploy.postgres_programs import run
from shared.db import ownership
from shared.db.address import connection
from shared.db.migrate import head
from shared.db.roles import OWNER, OWNERS
from shared.errors import ConfigurationError
from shared.settings import read_secret

DUMP, MANIFEST = "leadline.dump", "manifest.json"
ADMIN = "LEADLINE_ADMIN_DATABASE_URL"
# A read of everything: as long as the disk takes.
NO_LIMIT = "0"
# For PostgreSQL's programs, where who connects is no superuser and acts as the owner of everything.
AS_OWNER = f"--role={OWNER}"
_OURS = "n.nspname = ANY (CAST(:schemas AS text[])) OR (n.nspname = 'public' AND c.relname = 'alembic_version')"


@dataclass(frozen=True)
class Table:
    rows: int
    digest: str


@dataclass(frozen=True)
class Phase:
    """Units of one phase: how many the ledger requires, how many of them are complete, and how many of those partial."""

    expected: int
    completed: int
    partial: int


@dataclass(frozen=True)
class Manifest:
    """What a database holds, and what a restored one must hold."""

    schema: str
    taken_at: str
    roles: dict[str, bool]
    """Roles that are granted something, and whether they may sign in. Passwords are not in a backup."""
    tables: dict[str, Table]
    sequences: dict[str, int | None]
    phases: dict[str, Phase]

    def dump(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Raises `ConfigurationError` for a file that is none."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                schema=found["schema"],
                taken_at=found["taken_at"],
                roles=found["roles"],
                tables={name: Table(**table) for name, table in found["tables"].items()},
                sequences=found["sequences"],
                phases={name: Phase(**phase) for name, phase in found["phases"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{path} is not a manifest of a backup: {type(error).__name__}: {error}"
            ) from error

    def differences(self, other: Manifest) -> list[str]:
        """What another database has otherwise, a line each; the moment it was looked at does not count."""
        pairs: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
            ("table", self.tables, other.tables),
            ("sequence", self.sequences, self._sequences_behind(other)),
            ("phase", self.phases, other.phases),
            ("schema", {"revision": self.schema}, {"revision": other.schema}),
        ]
        return [
            f"{kind} {name}: {ours.get(name)} in the backup, {theirs.get(name)} here"
            for kind, ours, theirs in pairs
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]

    def _sequences_behind(self, other: Manifest) -> dict[str, int | None]:
        """The other's sequences, those that are as far as ours or further as ours. A sequence is in no snapshot, and is read before
        the dump is made: who draws meanwhile leaves the dump's ahead."""
        ours, found = self.sequences, other.sequences
        level = {name for name, value in found.items() if name in ours and (value or 0) >= (ours[name] or 0)}
        return {name: ours[name] if name in level else value for name, value in found.items()}

    def summary(self) -> str:
        rows = sum(table.rows for table in self.tables.values())
        units = ", ".join(f"{name} {phase.completed} of {phase.expected}" for name, phase in self.phases.items())
        return f"schema {self.schema}, {len(self.tables)} tables, {rows} rows; units: {units or 'none'}"


async def describe(conn: AsyncConnection) -> Manifest:
    """Read everything, in the transaction that is open. Digests do not depend on the order of rows."""
    # A value is text in one way only, whatever the server's settings say.
    for setting in ("TimeZone = 'UTC'", "DateStyle = 'ISO'", "IntervalStyle = 'postgres'", "extra_float_digits = 1",
                    f"statement_timeout = {NO_LIMIT}", "bytea_output = 'hex'"):  # fmt: skip
        await conn.execute(text(f"SET LOCAL {setting}"))
    schemas = {"schemas": list(OWNERS)}
    names = await conn.execute(
        text(f"""
            SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND ({_OURS}) ORDER BY 1
        """),
        schemas,
    )
    tables = {}
    for (name,) in names.all():
        row = (
            await conn.execute(
                text(f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {name} t")
            )
        ).one()
        tables[name] = Table(int(row[0]), str(row[1]))
    sequences = await conn.execute(
        text("""
            SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences
            WHERE schemaname = ANY (CAST(:schemas AS text[])) ORDER BY 1
        """),
        schemas,
    )
    phases = await conn.execute(
        text("""
            SELECT phase, count(*), count(*) FILTER (WHERE completed_revision >= required_revision),
                   count(*) FILTER (WHERE completed_revision >= required_revision AND quality = 'partial')
            FROM ledger.units GROUP BY phase ORDER BY phase
        """)
    )
    roles = await conn.execute(
        text("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'leadline\\_%' ORDER BY 1")
    )
    return Manifest(
        schema=str(await conn.scalar(text("SELECT version_num FROM public.alembic_version"))),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        roles={str(name): bool(login) for name, login in roles.all()},
        tables=tables,
        sequences={str(name): value for name, value in sequences.all()},
        phases={str(row[0]): Phase(*map(int, row[1:])) for row in phases.all()},
    )


async def backup(url: str, target: Path) -> Manifest:
    """Write dump and manifest into the directory `target`, which must not be there yet. `url` is a superuser's, or of who migrates.

    Raises `ConfigurationError` if it is there, or PostgreSQL's program fails; what was begun is removed then.
    """
    draft = _draft_of(target)
    engine = _engine(url)
    try:
        async with engine.connect() as conn:
            await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with conn.begin():
                # Nothing is cut off while the dump takes its time.
                await conn.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {NO_LIMIT}"))
                role = [AS_OWNER] if await ownership.become_owner(conn) else []
                snapshot = await conn.scalar(text("SELECT pg_export_snapshot()"))
                found = await describe(conn)
                options = ["--format=custom", f"--snapshot={snapshot}", f"--file={draft / DUMP}", *role]
                await asyncio.to_thread(run, "pg_dump", url, options)
        (draft / MANIFEST).write_text(found.dump(), encoding="utf-8")
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        await engine.dispose()
    return found


def _engine(url: str) -> AsyncEngine:
    """Connections that wait for as long as a read of everything takes; a service's own give up after two minutes."""
    parsed, arguments = connection(url)
    return create_async_engine(parsed, poolclass=NullPool, connect_args=arguments)


def _draft_of(target: Path) -> Path:
    if target.exists():
        raise ConfigurationError(f"{target} is there already: name a directory that is not")
    draft = target.with_name(f"{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    return draft


async def restore(url: str, source: Path) -> Manifest:
    """Fill an empty database from a backup, and prove that it holds what was backed up. `url` is a superuser's, or of who may create
    roles and owns the database.

    Raises `ConfigurationError` if the database is not empty, the backup is of a newer schema than this code knows, PostgreSQL's
    program fails (then the database is as empty as before), or anything differs afterwards.
    """
    wanted = Manifest.load(source / MANIFEST)
    if wanted.schema > head():
        raise ConfigurationError(
            f"{source} has schema {wanted.schema}, this Leadline knows {head()}: restore it with the version that made it, or a newer one"
        )
    engine = _engine(url)
    try:
        async with engine.begin() as conn:
            await _assert_empty(conn)
            for role, login in wanted.roles.items():
                if not await conn.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}):
                    await conn.execute(text(f'CREATE ROLE "{role}" {"LOGIN" if login else "NOLOGIN"}'))
            if not await conn.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER")):
                # The owner may make its schemas then, and who connects may act as it.
                await ownership.create_roles(conn, {})
                await ownership.give_to_owner(conn)
            as_owner = [AS_OWNER] if await ownership.become_owner(conn) else []
        options = ["--single-transaction", "--exit-on-error", *as_owner, str(source / DUMP)]
        await asyncio.to_thread(run, "pg_restore", url, options)
        async with engine.begin() as conn:
            await ownership.become_owner(conn)
            found = await describe(conn)
    finally:
        await engine.dispose()
    if differences := wanted.differences(found):
        raise ConfigurationError(
            "the restored database is not what was backed up; do not use it:\n  " + "\n  ".join(differences[:20])
        )
    return found


async def _assert_empty(conn: AsyncConnection) -> None:
    found = await conn.execute(
        text("SELECT nspname FROM pg_namespace WHERE nspname = ANY (CAST(:schemas AS text[])) ORDER BY 1"),
        {"schemas": list(OWNERS)},
    )
    if there := [str(name) for (name,) in found.all()]:
        said = f"the database is not empty: it has the schemas {', '.join(there)}"
        raise ConfigurationError(f"{said}. Restore into a new one: CREATE DATABASE leadline")


@contextlib.asynccontextmanager
async def open_administrator_url(directory: Path | None, *, empty: bool = False) -> AsyncIterator[str]:
    """An administrator's address: of `LEADLINE_ADMIN_DATABASE_URL` if no directory was chosen, else of the embedded database there,
    which is started if nothing runs on it.

    empty : it is to be filled; raises `ConfigurationError` if the directory has a database already.
    """
    url = read_secret(ADMIN)
    if directory is None and url:
        yield url
        return
    chosen = (directory or state.DEFAULT).resolve()
    if empty and (chosen / "postgres").exists():
        raise ConfigurationError(f"{chosen} has a database: choose another directory with --state, or move it away")
    if not empty and not (chosen / "postgres").exists():
        raise ConfigurationError(f"{chosen} has no database; set --state, or {ADMIN} for a server's")
    running = await asyncio.to_thread(state.await_running, chosen)
    if running is not None:
        there = make_url(str(running["database"]))
        password = (chosen / "postgres.password").read_text().strip()
        yield there.set(username=postgres.SUPERUSER, password=password).render_as_string(hide_password=False)
        return
    with _serve(chosen) as server:
        if empty:
            admin = await asyncpg.connect(server.url(postgres.SUPERUSER))
            await admin.execute(f"CREATE DATABASE {postgres.DATABASE}")
            await admin.close()
        yield server.url()


@contextlib.contextmanager
def _serve(directory: Path) -> Iterator[postgres.Postgres]:
    with state.lock_state(directory):
        server = postgres.serve(directory)
        try:
            yield server
        finally:
            server.stop()
