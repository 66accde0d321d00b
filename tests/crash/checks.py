"""What must be true once all is quiet: V1 to V7 of the plan, and the digest of every stored digit.

Triggers of the test's own note each change of the ledger and each outbox row with its transaction, so that what is checked is the
history and not only its end.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

from shared.events.services import COMPLETION
from shared.market.calendar import calendar
from shared.work import UPSTREAM, Phase
from tests.support import audit
from tests.support.pipeline import FACTS, RESULTS

if TYPE_CHECKING:
    from tests.crash.world import World

# The watch on a database: what became of each unit, and what was announced in which transaction.
WATCH = (
    "CREATE SCHEMA crash",
    "GRANT USAGE ON SCHEMA crash TO PUBLIC",
    """CREATE TABLE crash.history (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid text NOT NULL,
        portfolio_id uuid NOT NULL, session date NOT NULL, phase text NOT NULL, what text NOT NULL, revision bigint)""",
    "CREATE INDEX ON crash.history (portfolio_id, seq)",
    """CREATE FUNCTION crash.note_unit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE x text := pg_current_xact_id()::text;
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO crash.history (xid, portfolio_id, session, phase, what)
            VALUES (x, OLD.portfolio_id, OLD.session, OLD.phase::text, 'removed');
            RETURN NULL;
        END IF;
        IF TG_OP = 'INSERT' OR NEW.required_revision <> OLD.required_revision THEN
            INSERT INTO crash.history (xid, portfolio_id, session, phase, what, revision)
            VALUES (x, NEW.portfolio_id, NEW.session, NEW.phase::text, 'required', NEW.required_revision);
        END IF;
        IF TG_OP = 'UPDATE' AND NEW.completed_revision <> OLD.completed_revision THEN
            INSERT INTO crash.history (xid, portfolio_id, session, phase, what, revision)
            VALUES (x, NEW.portfolio_id, NEW.session, NEW.phase::text, 'completed', NEW.completed_revision);
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER crash_note AFTER INSERT OR UPDATE OR DELETE ON ledger.units
        FOR EACH ROW EXECUTE FUNCTION crash.note_unit()""",
    "CREATE TABLE crash.announced (event_id uuid PRIMARY KEY, xid text NOT NULL, type text NOT NULL, payload text NOT NULL)",
    "CREATE TABLE crash.dropped (portfolio_id text PRIMARY KEY)",
    # A dropped event is one that the bus lost: sent, as far as anybody knows, and never seen.
    """CREATE FUNCTION crash.note_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO crash.announced VALUES (NEW.event_id, pg_current_xact_id()::text, NEW.type, NEW.payload);
        IF NEW.type NOT LIKE '%PhaseRequested%'
           AND EXISTS (SELECT 1 FROM crash.dropped d WHERE strpos(NEW.payload, d.portfolio_id) > 0) THEN
            NEW.sent_at := clock_timestamp();
        END IF;
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER crash_note BEFORE INSERT ON bus.outbox FOR EACH ROW EXECUTE FUNCTION crash.note_event()",
)

Key = tuple[date, str]


@dataclass(frozen=True)
class Noted:
    seq: int
    xid: str
    session: date
    phase: str
    what: str
    revision: int | None


async def violations(world: World, portfolio: str, first: date, last: date) -> list[str]:
    """What of V1 to V3, V5 and V7 does not hold for a portfolio that is quiet, and what the auditor finds. Empty is well."""
    found = await _units(world, portfolio, first, last)
    history = [
        Noted(*row)
        for row in await world.rows(
            "SELECT seq, xid, session, phase, what, revision FROM crash.history WHERE portfolio_id = :p ORDER BY seq",
            p=portfolio,
        )
    ]
    announced = await world.rows(
        "SELECT xid, type, payload, event_id FROM crash.announced WHERE strpos(payload, :p) > 0", p=portfolio
    )
    found += once_each(history)
    found += dependencies(history)
    found += unannounced(history, portfolio, [(row[0], row[1], row[2]) for row in announced])
    found += await _unsent(world, portfolio)
    found += await _strangers(world, portfolio)
    found += [f"audit: {drift}" for drift in await audit.drift(world.admin, last, UUID(portfolio))]
    return found


async def _units(world: World, portfolio: str, first: date, last: date) -> list[str]:
    """V1: every expected unit is there, at its required revision."""
    expected = {(session, phase.value) for session in calendar().between(first, last) for phase in Phase}
    rows = await world.rows(
        "SELECT session, CAST(phase AS text), completed_revision >= required_revision, blocked_reason"
        " FROM ledger.units WHERE portfolio_id = :p",
        p=portfolio,
    )
    there = {(row[0], row[1]) for row in rows}
    found = [f"V1 unit {session} {phase} is not in the ledger" for session, phase in sorted(expected - there)]
    found += [f"V1 unit {session} {phase} is not expected" for session, phase in sorted(there - expected)]
    found += [f"V1 unit {row[0]} {row[1]} is missing ({row[3]})" for row in rows if not row[2] or row[3] is not None]
    return found


def once_each(history: Iterable[Noted]) -> list[str]:
    """V1: no unit completes the same revision twice, or an older one after a newer."""
    found, newest = [], dict[Key, int]()
    for noted in history:
        key = (noted.session, noted.phase)
        if noted.what == "removed":
            newest.pop(key, None)
        elif noted.what == "completed":
            assert noted.revision is not None
            if noted.revision <= newest.get(key, 0):
                found.append(f"V1 {key} completed {noted.revision} after {newest[key]}")
            newest[key] = noted.revision
    return found


def dependencies(history: list[Noted]) -> list[str]:
    """V5: at revision R a unit's upstream, and a snapshot's predecessor, had completed whatever was required of them up to R."""
    required: dict[Key, list[int]] = defaultdict(list)
    completed: dict[Key, int] = {}
    found = []
    for index, noted in enumerate(history):
        key = (noted.session, noted.phase)
        if noted.what == "removed":
            required.pop(key, None)
            completed.pop(key, None)
        elif noted.what == "required":
            assert noted.revision is not None
            required[key].append(noted.revision)
        else:
            assert noted.revision is not None
            completed[key] = noted.revision
            together = {
                (other.session, other.phase): other.revision
                for other in history[index:]
                if other.xid == noted.xid and other.what == "completed"
            }
            phase = Phase(noted.phase)
            needs = [(noted.session, up.value) for up in UPSTREAM[phase]]
            if phase is Phase.SNAPSHOTS:
                needs.append((calendar().previous(noted.session), phase.value))
            for need in needs:
                asked = max((r for r in required.get(need, ()) if r <= noted.revision), default=0)
                have = max(completed.get(need, 0), together.get(need) or 0)
                if have < asked:
                    found.append(f"V5 {key} completed {noted.revision} while {need} had {have} of {asked}")
    return found


def unannounced(history: Iterable[Noted], portfolio: str, announced: Iterable[tuple[str, str, str]]) -> list[str]:
    """V2: whatever completed was announced in the same transaction."""
    told: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for xid, type_, payload in announced:
        told[xid, type_].append(json.loads(payload).get("work", {}))
    found = []
    for noted in history:
        if noted.what != "completed":
            continue
        type_ = f"leadline.{COMPLETION[Phase(noted.phase)].__name__}.v1"
        day = noted.session.isoformat()
        if not any(
            portfolio in work["portfolios"] and work["from"] <= day <= work["to"] for work in told[noted.xid, type_]
        ):
            found.append(f"V2 {noted.session} {noted.phase} completed {noted.revision} without a word")
    return found


async def _unsent(world: World, portfolio: str) -> list[str]:
    """V3: every outbox row was sent."""
    rows = await world.rows(
        "SELECT type, error FROM bus.outbox WHERE sent_at IS NULL AND strpos(payload, :p) > 0", p=portfolio
    )
    return [f"V3 {row[0]} was not sent: {row[1]}" for row in rows]


async def _strangers(world: World, portfolio: str) -> list[str]:
    """V7: nothing of another portfolio, and no result of a session that is not the portfolio's."""
    rows = await world.rows(
        """
        SELECT h.session, x.symbol FROM snapshots.holdings h CROSS JOIN LATERAL unnest(h.symbols) AS x (symbol)
        WHERE h.portfolio_id = :p AND x.symbol NOT IN (SELECT symbol FROM coordinator.positions WHERE portfolio_id = :p)
        """,
        p=portfolio,
    )
    found = [f"V7 holdings of {row[0]} have {row[1]}" for row in rows]
    for table, phase in (("snapshots.snapshots", "snapshots"), ("risk.results", "risk")):
        rows = await world.rows(
            f"SELECT session FROM {table} r WHERE portfolio_id = :p AND NOT EXISTS (SELECT 1 FROM ledger.units u"
            f" WHERE u.portfolio_id = r.portfolio_id AND u.session = r.session AND CAST(u.phase AS text) = '{phase}')",
            p=portfolio,
        )
        found += [f"V7 {table} has {row[0]}, which is no unit" for row in rows]
    return found


async def digest(world: World, portfolio: UUID | str, symbols: Iterable[str]) -> dict[str, str]:
    """A hash of every stored digit of a portfolio and of its symbols' facts, by table; its id and symbol numbers masked.

    symbols : of this portfolio alone, each a stem and the portfolio's number
    """
    own = sorted(symbols)
    digests = {}
    for table, columns in RESULTS.items():
        rows = await world.rows(
            f"SELECT CAST(row AS text) FROM (SELECT {columns} FROM {table} WHERE portfolio_id = :p ORDER BY session) AS row",
            p=str(portfolio),
        )
        digests[table] = _hash((row[0] for row in rows), str(portfolio), own)
    for table, columns in FACTS.items():
        rows = await world.rows(
            f"SELECT CAST(row AS text) FROM (SELECT s.symbol, {columns} FROM {table} JOIN ingest.symbols s ON s.id = symbol_id"
            f" WHERE s.symbol = ANY (CAST(:own AS text[])) ORDER BY s.symbol, session) AS row",
            own=own,
        )
        digests[table] = _hash((row[0] for row in rows), str(portfolio), own)
    return digests


def _hash(rows: Iterable[str], portfolio: str, symbols: Iterable[str]) -> str:
    whole = "\n".join(rows).replace(portfolio, "P")
    for symbol in symbols:
        whole = whole.replace(symbol, re.sub(r"\d", "#", symbol))
    return f"{whole.count(chr(10)) + 1}:{hashlib.sha256(whole.encode()).hexdigest()}"
