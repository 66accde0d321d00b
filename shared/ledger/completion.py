"""What is missing and can be worked on, and what is complete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ledger.model import Completed, Outcome
from shared.telemetry import HEALED
from shared.work import CHAINED, UPSTREAM, MissingUnit, Phase, UnitKey

_UPSTREAM_COMPLETE = """
    NOT EXISTS (
        SELECT 1 FROM unnest(CAST(:upstream AS ledger.phase[])) AS needed (phase)
        LEFT JOIN ledger.units up
            ON up.portfolio_id = u.portfolio_id AND up.session = u.session AND up.phase = needed.phase
        WHERE up.portfolio_id IS NULL OR up.completed_revision < up.required_revision
    )
"""

# What completed units say of themselves. Arrays come by subqueries, so that the planner takes them for short and looks each unit up
# by its key. Row policies keep it from the statistics of phases: of the units of one it expects a single row, and would compare
# every unit of the phase with every input. Lists of reasons come in one document, each once, and are found in it by their place:
# of a join with them it would compare all pairs.
_INPUT = """
    input AS (
        SELECT portfolio_id, session, revision, quality, coverage, (SELECT CAST(:reasons AS jsonb)) -> place AS reasons, provisional
        FROM unnest((SELECT CAST(:portfolios AS uuid[])), (SELECT CAST(:sessions AS date[])),
                    (SELECT CAST(:revisions AS bigint[])), (SELECT CAST(:qualities AS text[])),
                    (SELECT CAST(:coverages AS float8[])), (SELECT CAST(:places AS integer[])),
                    (SELECT CAST(:provisionals AS boolean[])))
            AS i (portfolio_id, session, revision, quality, coverage, place, provisional)
    )
"""


async def ready(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date | None, last: date | None
) -> list[MissingUnit]:
    """Missing units of the phase, within the portfolios and sessions, whose upstream units are complete.

    `None` bounds mean all sessions. For a chained phase the range is ignored: ready is the longest consecutive run from the
    portfolio's oldest missing session on, because a later session cannot be computed before an earlier one.
    """
    parameters: dict[str, Any] = {
        "phase": phase.value,
        "portfolios": list(portfolios),
        "upstream": [up.value for up in UPSTREAM[phase]],
    }
    if phase in CHAINED:
        statement = f"""
            WITH missing AS (
                SELECT u.portfolio_id, u.session, u.required_revision, u.blocked_reason IS NULL AND {_UPSTREAM_COMPLETE} AS ok
                FROM ledger.units u
                WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = CAST(:phase AS ledger.phase)
                  AND u.completed_revision < u.required_revision
            )
            SELECT portfolio_id, session, required_revision FROM (
                SELECT *, bool_and(ok) OVER (PARTITION BY portfolio_id ORDER BY session) AS chained FROM missing
            ) m WHERE chained
        """
    else:
        bounds = ""
        if first is not None and last is not None:
            bounds = "AND u.session BETWEEN :first AND :last"
            parameters |= {"first": first, "last": last}
        statement = f"""
            SELECT u.portfolio_id, u.session, u.required_revision FROM ledger.units u
            WHERE u.portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND u.phase = CAST(:phase AS ledger.phase) {bounds}
              AND u.completed_revision < u.required_revision AND u.blocked_reason IS NULL AND {_UPSTREAM_COMPLETE}
        """
    rows = await conn.execute(text(statement), parameters)
    return [MissingUnit(portfolio, session, revision) for portfolio, session, revision in rows]


class EncodedReasons(NamedTuple):
    """Lists of reasons in one document, and the place of each in it.

    places : by the list's identity
    lists  : kept, so that no other list gets one's identity
    """

    document: str
    places: Mapping[int, int]
    lists: Sequence[list[dict[str, Any]]]


async def encode_reasons(outcomes: Iterable[Outcome]) -> EncodedReasons:
    """For `complete` of these outcomes, or of some of them, by who has time before it takes a lock."""
    lists = [outcome.reasons for outcome in outcomes]
    # Tens of megabytes where thousands of symbols have no price: not on the event loop.
    document, places = await asyncio.to_thread(_encode_once, lists)
    return EncodedReasons(document, {id(each): place for each, place in zip(lists, places, strict=True)}, lists)


async def complete(
    conn: AsyncConnection,
    phase: Phase,
    outcomes: Mapping[MissingUnit, Outcome],
    encoded: EncodedReasons | None = None,
) -> Completed:
    """Raise completed revisions. Call it before writing results, in the same transaction, and write only what it returns.

    A unit that somebody else completed at this revision or a higher one, or that is gone, is not returned: that is the whole
    idempotence of the system. Rows are locked in key order, so that two handlers never deadlock.

    encoded : the outcomes' reasons, if they were encoded before; not used if one is not among them
    """
    if not outcomes:
        return Completed({})
    result = await conn.execute(
        text(f"""
            WITH {_INPUT}, locked AS (
                SELECT i.* FROM input i
                JOIN ledger.units u ON u.portfolio_id = i.portfolio_id AND u.session = i.session
                                   AND u.phase = CAST(:phase AS ledger.phase)
                WHERE u.completed_revision < i.revision
                ORDER BY u.portfolio_id, u.session
                FOR NO KEY UPDATE OF u
            )
            UPDATE ledger.units u
            SET completed_revision = l.revision, quality = l.quality, coverage = l.coverage, reasons = l.reasons,
                completed_at = clock_timestamp(), blocked_reason = NULL, provisional = l.provisional
            FROM locked l
            WHERE u.portfolio_id = l.portfolio_id AND u.session = l.session AND u.phase = CAST(:phase AS ledger.phase)
              AND u.completed_revision < l.revision
            RETURNING u.portfolio_id, u.session, u.completed_revision,
                      CAST(extract(epoch FROM u.completed_at - u.required_at) AS float8)
        """),
        await _parameters(phase, outcomes, encoded),
    )
    raised, quality = {}, {}
    healed = HEALED.labels(phase.value)
    for portfolio, session, revision, seconds in result:
        raised[UnitKey(portfolio, session)] = revision
        quality[UnitKey(portfolio, session)] = outcomes[MissingUnit(portfolio, session, revision)].quality
        healed.observe(seconds)
    return Completed(raised, quality)


async def restate_quality(conn: AsyncConnection, phase: Phase, outcomes: Mapping[MissingUnit, Outcome]) -> int:
    """Rewrite what completed units say of themselves, at the revision they were completed at; returns how many differed.

    For a phase whose results are facts that several portfolios share: a price that arrives late makes them better without a new
    revision. Units raised meanwhile are left out: their completion will say it.
    """
    if not outcomes:
        return 0
    result = await conn.execute(
        text(f"""
            WITH {_INPUT}, k AS (
                SELECT i.* FROM input i JOIN ledger.units u ON u.portfolio_id = i.portfolio_id AND u.session = i.session
                    AND u.phase = CAST(:phase AS ledger.phase)
                WHERE u.completed_revision = i.revision AND u.required_revision = i.revision
                  AND (u.quality, u.coverage, u.reasons, u.provisional)
                      IS DISTINCT FROM (i.quality, i.coverage, i.reasons, i.provisional)
                ORDER BY u.portfolio_id, u.session FOR NO KEY UPDATE OF u
            )
            UPDATE ledger.units u
            SET quality = k.quality, coverage = k.coverage, reasons = k.reasons, provisional = k.provisional
            FROM k WHERE u.portfolio_id = k.portfolio_id AND u.session = k.session AND u.phase = CAST(:phase AS ledger.phase)
        """),
        await _parameters(phase, outcomes),
    )
    return int(result.rowcount)


async def _parameters(
    phase: Phase, outcomes: Mapping[MissingUnit, Outcome], encoded: EncodedReasons | None = None
) -> dict[str, Any]:
    """What `_INPUT` takes, in the order of the units."""
    units = sorted(outcomes)
    if encoded is None or any(id(outcome.reasons) not in encoded.places for outcome in outcomes.values()):
        encoded = await encode_reasons(outcomes.values())
    return {
        "phase": phase.value,
        "portfolios": [unit.portfolio_id for unit in units],
        "sessions": [unit.session for unit in units],
        "revisions": [unit.revision for unit in units],
        "qualities": [outcomes[unit].quality for unit in units],
        "coverages": [outcomes[unit].coverage for unit in units],
        "places": [encoded.places[id(outcomes[unit].reasons)] for unit in units],
        "reasons": encoded.document,
        "provisionals": [outcomes[unit].provisional for unit in units],
    }


def _encode_once(lists: Sequence[list[dict[str, Any]]]) -> tuple[str, list[int]]:
    """A document that has each list once, and each one's place in it. Sessions that lack the same often share one object, too."""
    known: dict[int, int] = {}
    places: dict[str, int] = {}
    for reasons in lists:
        if id(reasons) not in known:
            known[id(reasons)] = places.setdefault(json.dumps(reasons, allow_nan=False), len(places))
    return f"[{','.join(places)}]", [known[id(reasons)] for reasons in lists]


async def find_provisional(
    conn: AsyncConnection, phases: Sequence[Phase], portfolios: Sequence[UUID], first: date, last: date
) -> set[UnitKey]:
    """Portfolio and session of completed units of any of the phases that were completed while something was waited for.

    By a partial index: where nobody waits, it is empty.
    """
    rows = await conn.execute(
        text("""
            SELECT DISTINCT portfolio_id, session FROM ledger.units
            WHERE provisional AND phase = ANY (CAST(:phases AS ledger.phase[]))
              AND portfolio_id = ANY (CAST(:portfolios AS uuid[])) AND session BETWEEN :first AND :last
        """),
        {"phases": [phase.value for phase in phases], "portfolios": list(portfolios), "first": first, "last": last},
    )
    return {UnitKey(portfolio, session) for portfolio, session in rows}


async def find_patience_ends(
    conn: AsyncConnection, phase: Phase, portfolios: Sequence[UUID], first: date, last: date, seconds: float
) -> dict[UnitKey, datetime | None]:
    """When each missing unit has waited for so many seconds since it became required; None where it has already."""
    rows = await conn.execute(
        text("""
            SELECT portfolio_id, session, CASE WHEN ends > clock_timestamp() THEN ends END FROM (
                SELECT portfolio_id, session, required_at + make_interval(secs => :seconds) AS ends FROM ledger.units
                WHERE phase = CAST(:phase AS ledger.phase) AND portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                  AND session BETWEEN :first AND :last AND completed_revision < required_revision) u
        """),
        {"phase": phase.value, "portfolios": list(portfolios), "first": first, "last": last, "seconds": seconds},
    )
    return {UnitKey(portfolio, session): ends for portfolio, session, ends in rows}
