"""The schema: reached once however often one asks, keyed, partitioned by year."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.coordinator.results.completeness import COUNTS
from shared.db import migrate
from shared.db.engine import create_engine
from shared.db.migrate import at_head, head, upgrade
from shared.db.roles import OWNERS
from shared.errors import ConfigurationError
from tests.support import databases
from tests.support.databases import PASSWORDS, Database, Server, upgrade_to


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[Database]:
    """A database that nobody migrated."""
    created = await databases.create_empty(server)
    yield created
    await databases.drop(created)


async def _catalog(database: Database) -> list[tuple[object, ...]]:
    """Every relation, column, constraint, policy and grant, as far as a migration makes them."""
    engine = create_engine(database.admin_url, application="test", pool_size=4)
    try:
        async with engine.connect() as conn:
            rows = await conn.execute(
                text("""
                    SELECT c.oid::regclass::text, c.relkind::text, a.attname::text, a.atttypid::regtype::text, c.relacl::text
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
                    WHERE n.nspname = ANY (:schemas)
                    UNION ALL
                    SELECT conrelid::regclass::text, contype::text, conname::text, pg_get_constraintdef(k.oid), NULL
                    FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = ANY (:schemas)
                    UNION ALL
                    SELECT schemaname || '.' || tablename, 'policy', policyname, roles::text || cmd, qual
                    FROM pg_policies WHERE schemaname = ANY (:schemas)
                    ORDER BY 1, 2, 3, 4
                """),
                {"schemas": list(OWNERS)},
            )
            return [tuple(row) for row in rows]
    finally:
        await engine.dispose()


async def test_upgrading_again_changes_nothing(database: Database) -> None:
    before = await _catalog(database)
    assert len(before) > 300
    assert await upgrade(database.admin_url, PASSWORDS) == head()
    assert await upgrade(database.admin_url) == head()
    assert await _catalog(database) == before


async def test_two_migrate_jobs_at_once_do_not_race(empty: Database) -> None:
    engine = create_engine(empty.admin_url, application="test", pool_size=4)
    try:
        assert not await at_head(engine)
        assert await asyncio.gather(*(upgrade(empty.admin_url) for _ in range(2))) == [head(), head()]
        assert await at_head(engine)
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE public.alembic_version SET version_num = '0000'"))
        assert not await at_head(engine), "a service is not ready on an older schema"
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE public.alembic_version SET version_num = '9999'"))
        assert await at_head(engine), "an old process goes on while new ones take its place"
    finally:
        await engine.dispose()


async def test_every_service_sees_whether_the_schema_is_its_own(database: Database) -> None:
    for service in PASSWORDS:
        engine = create_engine(database.url(service), application="test", pool_size=4)
        try:
            assert await at_head(engine), service
        finally:
            await engine.dispose()


def test_the_newest_revision_is_known_without_the_library_of_migrations() -> None:
    """Alembic and what it loads take a tenth of a second and some megabytes, of every process."""
    assert head() == ScriptDirectory.from_config(migrate._config()).get_current_head()
    code = "import sys, shared.application, shared.db.migrate as m; m.head(); print('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


async def test_a_probe_reads_no_migration_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty files, compiled anew each time, kept the event loop longer than all else that is answered."""
    read: list[Path] = []
    glob = Path.glob

    def count(directory: Path, pattern: str) -> Iterator[Path]:
        read.append(directory)
        return glob(directory, pattern)

    monkeypatch.setattr(Path, "glob", count)
    monkeypatch.setattr(ScriptDirectory, "from_config", lambda _: pytest.fail("the migrations were compiled"))
    head.cache_clear()
    engine = create_engine(database.url("coordinator"), application="test", pool_size=1)
    try:
        assert [await at_head(engine) for _ in range(3)] == [True] * 3
    finally:
        await engine.dispose()
    assert read == [migrate.MIGRATIONS / "versions"]


async def test_a_schema_that_is_there_is_not_migrated_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_upgrade", lambda _: pytest.fail("the library of migrations was asked"))
    assert await upgrade(database.admin_url, PASSWORDS) == head()


async def test_a_schema_of_a_newer_version_is_refused_with_what_to_do(empty: Database) -> None:
    engine = create_engine(empty.admin_url, application="test", pool_size=1)
    try:
        await upgrade(empty.admin_url)
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE public.alembic_version SET version_num = '9999'"))
        with pytest.raises(
            ConfigurationError, match=rf"schema 9999, and this version of Leadline knows {head()}.*restore"
        ):
            await upgrade(empty.admin_url)
        async with engine.connect() as conn:
            assert await conn.scalar(text("SELECT version_num FROM public.alembic_version")) == "9999"
    finally:
        await engine.dispose()


async def test_every_table_has_a_primary_key(db: AsyncConnection) -> None:
    """All but the histories, which only grow: those have an index by key and revision instead."""
    rows = await db.execute(
        text("""SELECT c.oid::regclass::text, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
                       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid)
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY (:schemas)"""),
        {"schemas": list(OWNERS)},
    )
    keyless = {name for name, keyed, indexed in rows if not keyed and indexed}
    assert keyless == {
        "ingest.prices_history",
        "risk.results_history",
        "snapshots.holdings_history",
        "snapshots.snapshots_history",
    }


PRICE = """INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
           VALUES (1, :s, 1, 'file', 'file', now(), 1) RETURNING tableoid::regclass::text"""


@pytest.mark.parametrize(
    ("session", "partition"),
    [
        (date(1990, 1, 2), "prices_1990"),
        (date(1999, 12, 31), "prices_1999"),
        (date(2000, 1, 3), "prices_2000"),
        (date(2026, 11, 27), "prices_2026"),
        (date(2035, 12, 31), "prices_2035"),
        (date(2036, 1, 2), "prices_later"),
        (date(2090, 1, 2), "prices_later"),
    ],
)
async def test_prices_go_to_the_partition_of_their_year(db: AsyncConnection, session: date, partition: str) -> None:
    assert await db.scalar(text(PRICE), {"s": session}) == f"ingest.{partition}"


async def test_prices_before_the_calendar_are_refused(db: AsyncConnection) -> None:
    with pytest.raises(DBAPIError, match="no partition"):
        await db.execute(text(PRICE), {"s": date(1989, 12, 29)})


async def test_all_three_big_tables_are_partitioned_alike_and_indexed_through(db: AsyncConnection) -> None:
    rows = await db.execute(
        text("""SELECT i.inhparent::regclass::text, count(*), bool_and(EXISTS (
                    SELECT FROM pg_index x WHERE x.indrelid = i.inhrelid AND x.indisprimary))
                FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p' GROUP BY 1""")
    )
    assert {name: (count, keyed) for name, count, keyed in rows} == {
        "ingest.prices": (47, True),
        "factors.exposures": (47, True),
        "factors.metrics": (47, True),
    }


async def test_a_years_query_reads_one_partition(db: AsyncConnection) -> None:
    plan = "\n".join(
        await db.scalars(
            text("""EXPLAIN SELECT * FROM ingest.prices WHERE symbol_id = 1
                    AND session BETWEEN DATE '2024-03-01' AND DATE '2024-05-01'""")
        )
    )
    assert "prices_2024" in plan
    assert "prices_2023" not in plan


async def test_the_missing_set_is_answered_by_its_partial_index(db: AsyncConnection) -> None:
    await db.execute(text("SET LOCAL enable_seqscan = off"))
    plan = "\n".join(
        await db.scalars(
            text("""EXPLAIN SELECT * FROM ledger.units WHERE portfolio_id = gen_random_uuid() AND phase = 'risk'
                    AND completed_revision < required_revision AND blocked_reason IS NULL""")
        )
    )
    assert "units_missing" in plan


async def test_what_was_known_of_symbols_becomes_dated_profiles(empty: Database) -> None:
    """And a history table keeps the order of its table's columns, by which the trigger fills it."""

    engine = create_engine(empty.admin_url, application="test", pool_size=2)
    try:
        async with engine.begin() as conn:
            await upgrade_to(conn, "0007")
            await conn.execute(
                text("""INSERT INTO ingest.symbols (symbol, asset_type, name, sector, sector_as_of)
                        VALUES ('OLD', 'stock', 'Old', 'Energy', NULL), ('NEW', 'etf', NULL, NULL, '2020-06-01'),
                               ('BARE', 'unknown', NULL, NULL, NULL)""")
            )
            await conn.execute(
                text("""INSERT INTO risk.results_history (portfolio_id, session, revision, model_version, quality, coverage, reasons,
                                                          risk, computed_at, replaced_at)
                        VALUES (gen_random_uuid(), '2020-01-02', 1, '1', 'complete', 1, '[]', '{}', now(), '2020-02-03')""")
            )
        assert await upgrade(empty.admin_url) == head()
        async with engine.begin() as conn:
            found = await conn.execute(
                text("""SELECT s.symbol, p.as_of, p.provider, p.asset_type, p.sector FROM ingest.symbol_profiles p
                        JOIN ingest.symbols s ON s.id = p.symbol_id ORDER BY s.id""")
            )
            assert [tuple(row) for row in found] == [
                ("OLD", date.min, "file", "stock", "Energy"), ("NEW", date(2020, 6, 1), "file", "etf", None),
            ]  # fmt: skip
            kept = await conn.scalar(text("SELECT replaced_at::date FROM risk.results_history"))
            assert kept == date(2020, 2, 3)
            columns = await conn.execute(
                text("""SELECT attrelid::regclass::text, array_agg(attname::text ORDER BY attnum) FROM pg_attribute
                        WHERE attrelid IN ('risk.results'::regclass, 'risk.results_history'::regclass)
                          AND attnum > 0 AND NOT attisdropped GROUP BY 1 ORDER BY 1""")
            )
            table, history = [names for _, names in columns]
            assert history == [*table, "replaced_at"]
    finally:
        await engine.dispose()


async def test_returns_of_sessions_with_actions_are_taken_again(empty: Database) -> None:
    """Stored under the rule that took adjusted closes wherever there were any; the old ones stay in the history."""

    engine = create_engine(empty.admin_url, application="test", pool_size=2)
    days = [date(2020, 3, day) for day in (2, 3, 4, 5)]
    # FUND paid 8 on the second day, which its adjusted closes hold twice; SPUN lost a fifth to something that is not listed; FILE's
    # source lists nothing.
    stored = {
        "FUND": ([60.0, 52.5, 52.8, 52.2], [44.0, 52.5, 52.8, 52.2], "as_traded"),
        "SPUN": ([50.0, 40.0, 40.4, 40.0], [40.0, 40.0, 40.4, 40.0], "as_traded"),
        "FILE": ([50.0, 40.0, 40.4, 40.0], [40.0, 40.0, 40.4, 40.0], "file"),
    }
    try:
        async with engine.begin() as conn:
            await upgrade_to(conn, "0011")
        async with engine.begin() as conn:
            for number, (symbol, (closes, adjusted, basis)) in enumerate(stored.items(), start=1):
                await conn.execute(text("INSERT INTO ingest.symbols (symbol) VALUES (:symbol)"), {"symbol": symbol})
                for at, day in enumerate(days):
                    value = adjusted[at] / adjusted[at - 1] - 1 if at else None
                    await conn.execute(
                        text("""INSERT INTO ingest.prices (symbol_id, session, close, adj_close, total_return, return_basis, basis,
                                                           provider, fetched_at, change)
                                VALUES (:id, :day, :close, :adj, :value, :kind, :basis, 'yahoo', now(), 0)"""),
                        {"id": number, "day": day, "close": closes[at], "adj": adjusted[at], "value": value,
                         "kind": "adjusted" if at else None, "basis": basis},
                    )  # fmt: skip
            await conn.execute(
                text("""INSERT INTO ingest.actions (symbol_id, ex_session, type, value, ex_date, provider, fetched_at, change)
                        VALUES (1, :day, 'dividend', 8, :day, 'yahoo', now(), 0)"""),
                {"day": days[1]},
            )
        assert await upgrade(empty.admin_url) == head()
        async with engine.begin() as conn:
            rows = await conn.execute(
                text("""SELECT s.symbol, p.session, p.total_return, p.return_basis, p.return_remark FROM ingest.prices p
                        JOIN ingest.symbols s ON s.id = p.symbol_id WHERE p.change > 0 ORDER BY 1, 2""")
            )
            assert [tuple(row) for row in rows] == [
                ("FUND", days[1], pytest.approx(60.5 / 60.0 - 1), "actions", "adj_close_disagrees"),
                ("SPUN", days[1], 0.0, "adjusted", "dividend_not_listed"),
            ]
            before = await conn.execute(
                text("SELECT symbol_id, session, total_return FROM ingest.prices_history ORDER BY 1")
            )
            assert [tuple(row) for row in before] == [(1, days[1], pytest.approx(52.5 / 44.0 - 1)), (2, days[1], 0.0)]
    finally:
        await engine.dispose()


UNITS = """
    INSERT INTO ledger.units (portfolio_id, session, phase, required_revision, completed_revision, quality, reasons)
    SELECT CAST('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), date '2016-01-04' + s, phase, 2,
           CASE WHEN s = 199 THEN 1 ELSE 2 END, CASE WHEN n = 7 AND s < 5 THEN 'partial' ELSE 'complete' END, '[{"symbol": "A"}]'
    FROM generate_series(0, 199) s CROSS JOIN generate_series(1, 40) n CROSS JOIN unnest(enum_range(NULL::ledger.phase)) phase
    ORDER BY s, n
"""
DIGEST = "SELECT count(*), sum(hashtextextended(u::text, 0)::numeric) FROM ledger.units u"


async def test_units_of_a_portfolio_are_counted_without_the_table(empty: Database) -> None:
    """Those that were there before the key had what the count needs, too; they are the same, and no key comes twice."""

    engine = create_engine(empty.admin_url, application="test", pool_size=2)
    one = "00000000-0000-4000-8000-000000000007"
    try:
        async with engine.begin() as conn:
            await upgrade_to(conn, "0045")
            await conn.execute(text("SELECT ledger.order_lock()"))
            await conn.execute(text(UNITS))
            before = (await conn.execute(text(DIGEST))).one()
        assert await upgrade(empty.admin_url) == head()
        async with engine.connect() as conn:
            await conn.execution_options(isolation_level="AUTOCOMMIT")
            assert (await conn.execute(text(DIGEST))).one() == before
            await conn.execute(text("VACUUM ANALYZE ledger.units"))
        async with engine.begin() as conn:
            plan = "\n".join(
                await conn.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) {COUNTS}"), {"id": one})
            )
            assert "Index Only Scan using units_pkey" in plan
            assert "Heap Fetches: 0" in plan
            counts = (await conn.execute(text(COUNTS), {"id": one})).all()
            assert {(row.expected, row.completed, row.partial) for row in counts} == {(200, 199, 5)}
            await conn.execute(text("SELECT ledger.order_lock()"))
            with pytest.raises(DBAPIError, match="units_pkey"):
                await conn.execute(text(UNITS))
    finally:
        await engine.dispose()
