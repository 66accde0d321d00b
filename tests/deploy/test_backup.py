"""A backup is the whole of it: restored into an empty server it is the same, and where it is not, that is said."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from deploy import backup, postgres_programs
from deploy.embedded import postgres
from shared.db.bootstrap import bootstrap
from shared.db.engine import create_engine
from shared.db.migrate import head, upgrade
from shared.db.roles import MIGRATOR
from shared.errors import ConfigurationError
from tests.support import databases
from tests.support.databases import Database, Server


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[str]:
    """The address of a database with nothing in it."""
    name = databases.fresh_name()
    await databases.execute(server.admin_url, f"CREATE DATABASE {name}")
    yield server.url(name)
    await databases.execute(server.admin_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _do(url: str, *statements: str) -> None:
    await databases.execute(url, *statements)


async def _fill(database: Database) -> None:
    """A few rows of what is hard to carry over: partitions, arrays, numbers with all their digits, a sequence that went on."""
    await _do(
        database.admin_url,
        "INSERT INTO ingest.symbols (symbol) VALUES ('AAPL')",
        "INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)"
        " SELECT id, '2020-12-31', 0.1::float8 + 0.2::float8, 'as_traded', 'test', now(), 1 FROM ingest.symbols",
        "SELECT nextval('ledger.change')",
    )


async def test_what_was_backed_up_is_restored_into_an_empty_database(
    database: Database, empty: str, tmp_path: Path
) -> None:
    await _fill(database)
    taken = await backup.backup(database.admin_url, tmp_path / "backup")
    assert taken.tables["ingest.prices"].rows == 1
    restored = await backup.restore(empty, tmp_path / "backup")
    assert taken.differences(restored) == []
    # Rights came too: a service reads its own and writes nobody else's.
    engine = create_engine(empty, application="test", pool_size=1)
    async with engine.connect() as conn:
        await databases.act_as(conn, "risk")
        assert await conn.scalar(text("SELECT close FROM ingest.prices")) == 0.1 + 0.2
        assert await conn.scalar(text("SELECT has_table_privilege('ingest.prices', 'INSERT')")) is False
    await engine.dispose()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_services_draw_numbers_while_the_dump_is_made(
    database: Database, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Sequences are outside any snapshot: what is drawn meanwhile stands in the dump or does not, and neither makes it useless."""
    await _fill(database)

    def draw() -> None:
        asyncio.run(_do(database.admin_url, "SELECT nextval('ledger.change')"))

    def dump(program: str, url: str, options: list[str]) -> None:
        if when == "before":
            draw()
        postgres_programs.run(program, url, options)
        if when == "after":
            draw()

    with monkeypatch.context() as patched:
        patched.setattr("deploy.backup.run", dump)
        taken = await backup.backup(database.admin_url, tmp_path / "backup")
    restored = await backup.restore(empty, tmp_path / "backup")
    further = 1 if when == "before" else 0
    assert restored.sequences["ledger.change"] == (taken.sequences["ledger.change"] or 0) + further


async def test_a_sequence_that_is_behind_is_found(database: Database) -> None:
    """It would give out numbers that rows have."""
    await _fill(database)
    before = await _describe(database)
    await _do(database.admin_url, "SELECT setval('ledger.change', 100)")
    ahead = await _describe(database)
    assert before.differences(ahead) == []
    assert ahead.differences(before) == [
        f"sequence ledger.change: 100 in the backup, {before.sequences['ledger.change']} here"
    ]
    await _do(database.admin_url, "CREATE SEQUENCE ledger.unknown")
    assert ahead.differences(await _describe(database)) == []
    await _do(database.admin_url, "SELECT setval('ledger.unknown', 7)")
    assert ahead.differences(await _describe(database)) == ["sequence ledger.unknown: None in the backup, 7 here"]


async def test_a_server_without_our_roles_gets_them_and_the_services_sign_in_after_migrate(
    database: Database, tmp_path: Path, scratch_directory: Path
) -> None:
    """What a lost machine leaves: the backup, and a server that never heard of us."""
    await _fill(database)
    taken = await backup.backup(database.admin_url, tmp_path / "backup")
    other = await asyncio.to_thread(postgres.serve, scratch_directory / "empty-server", throw_away=True)
    try:
        new = Server(other.url("postgres"), "another", other.stop)
        await _do(new.admin_url, "CREATE DATABASE leadline")
        restored = await backup.restore(new.url("leadline"), tmp_path / "backup")
        assert taken.differences(restored) == []
        assert await upgrade(new.url("leadline"), databases.PASSWORDS) == head()
        engine = create_engine(new.url("leadline", service="risk"), application="test", pool_size=1)
        async with engine.connect() as conn:
            assert await conn.scalar(text("SELECT close FROM ingest.prices")) == 0.1 + 0.2
        await engine.dispose()
    finally:
        await asyncio.to_thread(other.stop)


async def test_who_migrates_backs_up_and_restores_without_being_a_superuser(
    database: Database, empty: str, tmp_path: Path
) -> None:
    """It has no rights of its own to any table, and row policies hide the outbox from who does not own it."""

    async def as_migrator(admin_url: str) -> str:
        await bootstrap(admin_url, "test-migrator")
        url = make_url(admin_url).set(username=MIGRATOR, password="test-migrator")
        return url.render_as_string(hide_password=False)

    await _fill(database)
    await _do(database.admin_url, "INSERT INTO bus.outbox (event_id, topic, type, payload, headers)"
                                  " VALUES (gen_random_uuid(), 'leadline.test', 'test', '{}', '{}')")  # fmt: skip
    taken = await backup.backup(await as_migrator(database.admin_url), tmp_path / "backup")
    assert (taken.tables["ingest.prices"].rows, taken.tables["bus.outbox"].rows) == (1, 1)
    restored = await backup.restore(await as_migrator(empty), tmp_path / "backup")
    assert taken.differences(restored) == []
    assert await upgrade(await as_migrator(empty)) == head()


async def test_what_is_not_empty_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    await backup.backup(database.admin_url, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="the database is not empty: it has the schemas bus, coordinator"):
        await backup.restore(database.admin_url, tmp_path / "backup")
    with pytest.raises(ConfigurationError, match="is there already"):
        await backup.backup(database.admin_url, tmp_path / "backup")


async def test_a_row_that_differs_is_found(database: Database) -> None:
    await _fill(database)
    before = await _describe(database)
    await _do(database.admin_url, "UPDATE ingest.prices SET close = close + 1e-15")
    found = before.differences(await _describe(database))
    # What was replaced is kept, too, and that something was is known by another version.
    assert [line.split(":")[0] for line in found] == [
        "table ingest.prices",
        "table ingest.prices_history",
        "table ingest.prices_version",
    ]


async def _describe(database: Database) -> backup.Manifest:
    engine = create_engine(database.admin_url, application="test", pool_size=1)
    async with engine.begin() as conn:
        found = await backup.describe(conn)
    await engine.dispose()
    return found


async def test_a_dump_that_is_cut_off_leaves_the_database_empty(database: Database, empty: str, tmp_path: Path) -> None:
    await backup.backup(database.admin_url, tmp_path / "backup")
    dump = tmp_path / "backup" / backup.DUMP
    dump.write_bytes(dump.read_bytes()[:-20_000])
    with pytest.raises(ConfigurationError, match="pg_restore failed"):
        await backup.restore(empty, tmp_path / "backup")
    engine = create_engine(empty, application="test", pool_size=1)
    async with engine.connect() as conn:
        await backup._assert_empty(conn)
    await engine.dispose()


def manifest(**values: Any) -> backup.Manifest:
    return backup.Manifest(
        **{"schema": head(), "taken_at": "", "roles": {}, "tables": {}, "sequences": {}, "phases": {}} | values
    )


async def test_a_newer_backup_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / backup.MANIFEST).write_text(manifest(schema="9999").dump())
    with pytest.raises(ConfigurationError, match="has schema 9999, this Leadline knows"):
        await backup.restore("postgresql://nobody@127.0.0.1:1/none", tmp_path)


def test_a_manifest_says_what_it_holds_and_reads_itself(tmp_path: Path) -> None:
    made = manifest(phases={"risk": backup.Phase(254, 250, 3)}, tables={"a.b": backup.Table(7, "12")})
    path = tmp_path / backup.MANIFEST
    path.write_text(made.dump())
    assert backup.Manifest.load(path) == made
    assert made.summary() == f"schema {head()}, 1 tables, 7 rows; units: risk 250 of 254"
    fewer = dataclasses.replace(made, phases={"risk": backup.Phase(254, 249, 3)})
    assert "phase risk" in made.differences(fewer)[0]
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="is not a manifest of a backup"):
        backup.Manifest.load(path)


def test_the_password_is_not_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> Any:
        seen.update(command=command, env=options["env"])
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr("deploy.postgres_programs.subprocess.run", run)
    postgres_programs.run("pg_dump", "postgresql://postgres:se%2Fcret@h:5/d?statement_cache_size=0", [])
    assert "--dbname=postgresql://postgres@h:5/d" in seen["command"]
    assert seen["env"]["PGPASSWORD"] == "se/cret"
    assert not any("cret" in word for word in seen["command"])
