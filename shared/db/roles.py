"""Who may do what. Each service connects as its own role; only the owner of a schema writes its tables.

Two exceptions are the ledger and the bus, which all services write, each its own part: the bus by inserts (and the relay's
marks), the ledger's units by column grants and a row policy that confines a phase's role to its own phase.
"""

from __future__ import annotations

from collections.abc import Iterator

SERVICES = ("coordinator", "ingest", "factors", "snapshots", "risk")
PHASE_SERVICES = ("ingest", "factors", "snapshots", "risk")
OWNERS = (*SERVICES, "ledger", "bus")
API = "api"
"""The coordinator's HTTP side: it writes what users say, sends no event and runs no loop."""
LOGINS = (*SERVICES, API)
"""Roles that connect; each has a password."""
OWNER = "leadline_owner"
"""Owns every object. Nobody connects as it: migrations take it on, and functions that do what their caller may not run as it."""
MIGRATOR = "leadline_migrator"
"""Runs migrations where `shared.db.bootstrap` made it: may create roles, is no superuser."""


def role_of(service: str) -> str:
    return f"leadline_{service}"


def grants() -> Iterator[str]:
    """The statements that make ownership a rule of the database rather than of the code."""
    everyone = ", ".join(role_of(service) for service in SERVICES)
    for schema in OWNERS:
        yield f"GRANT USAGE ON SCHEMA {schema} TO {everyone}"
        yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {everyone}"
    for service in SERVICES:
        yield f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {service} TO {role_of(service)}"
        yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {service} TO {role_of(service)}"
    # Readiness compares the schema's revision with the code's.
    yield f"GRANT SELECT ON public.alembic_version TO {everyone}"
    # The bus: everybody announces, any relay sends any row, every consumer may have to record a dead letter.
    yield f"GRANT INSERT, UPDATE, DELETE ON bus.outbox TO {everyone}"
    yield f"GRANT INSERT, UPDATE ON bus.dead_letters TO {everyone}"
    yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA bus TO {everyone}"
    # The ledger: the coordinator says what is required, a phase says what of its own it has completed.
    yield f"GRANT INSERT, UPDATE, DELETE ON ledger.units, ledger.schedule TO {role_of('coordinator')}"
    yield f"GRANT USAGE ON SEQUENCE ledger.change TO {everyone}"
    yield f"GRANT EXECUTE ON FUNCTION ledger.order_lock TO {everyone}"
    yield f"GRANT EXECUTE ON FUNCTION ledger.require TO {role_of('coordinator')}, {role_of('ingest')}"
    phases = ", ".join(role_of(service) for service in PHASE_SERVICES)
    yield (
        "GRANT UPDATE (completed_revision, quality, coverage, reasons, blocked_reason, completed_at) "
        f"ON ledger.units TO {phases}"
    )
    yield f"GRANT UPDATE ON ledger.schedule TO {phases}"
    for table in ("units", "schedule"):
        yield f"ALTER TABLE ledger.{table} ENABLE ROW LEVEL SECURITY"
        yield f"CREATE POLICY read ON ledger.{table} FOR SELECT TO {everyone} USING (true)"
        yield f"CREATE POLICY coordinate ON ledger.{table} TO {role_of('coordinator')} USING (true) WITH CHECK (true)"
        for service in PHASE_SERVICES:
            yield (
                f"CREATE POLICY own_phase_{service} ON ledger.{table} FOR UPDATE TO {role_of(service)} "
                f"USING (phase = '{service}') WITH CHECK (phase = '{service}')"
            )
