"""What is complete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.statements import statement
from shared.ledger.model import Completed, Outcome
from shared.telemetry import HEALED
from shared.work import MissingUnit, Phase, UnitKey

# What completed units say of themselves. Arrays come by subqueries, so that the planner takes them for short and looks each unit up
# by its key. Row policies keep it from the statistics of phases: of the units of one it expects a single row, and would compare
# every unit of the phase with every input. Lists of reasons come in one document, each once, and are found in it by their place:
# of a join with them it would compare all pairs.
_INPUT = """
    input AS (
        SELECT portfolio_id, session, revision, quality, coverage, (SELECT CAST(:reasons AS jsonb)) -> place AS reasons, provisional,
               number
        FROM unnest((SELECT CAST(:portfolios AS uuid[])), (SELECT CAST(:sessions AS date[])),
                    (SELECT CAST(:revisions AS bigint[])), (SELECT CAST(:qualities AS text[])),
                    (SELECT CAST(:coverages AS float8[])), (SELECT CAST(:places AS integer[])),
                    (SELECT CAST(:provisionals AS boolean[]))) WITH ORDINALITY
            AS i (portfolio_id, session, revision, quality, coverage, place, provisional, number)
    )
"""


class EncodedReasons(NamedTuple):
    """Lists of reasons in one document, and the place of each in it.

    places : by the list's identity
    lists  : kept, so that no other list gets one's identity
    """

    document: str
    places: Mapping[int, int]
    lists: Sequence[list[dict[str, Any]]]


_NO_REASONS = EncodedReasons("[[]]", {}, ())


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
    units = sorted(outcomes)
    # What comes back is where in the input it stood: two arrays, of as many units as there are.
    numbers, seconds, behind = (
        await conn.execute(
            statement(f"""
                WITH {_INPUT}, locked AS (
                    SELECT i.* FROM input i
                    JOIN ledger.units u ON u.portfolio_id = i.portfolio_id AND u.session = i.session
                                       AND u.phase = CAST(:phase AS ledger.phase)
                    WHERE u.completed_revision < i.revision
                    ORDER BY u.portfolio_id, u.session
                    FOR NO KEY UPDATE OF u
                ), raised AS (
                    UPDATE ledger.units u
                    SET completed_revision = l.revision, quality = l.quality, coverage = l.coverage, reasons = l.reasons,
                        completed_at = clock_timestamp(), blocked_reason = NULL, provisional = l.provisional
                    FROM locked l
                    WHERE u.portfolio_id = l.portfolio_id AND u.session = l.session AND u.phase = CAST(:phase AS ledger.phase)
                      AND u.completed_revision < l.revision
                    RETURNING l.number, CAST(extract(epoch FROM u.completed_at - u.required_at) AS float8) AS seconds,
                              u.completed_revision < u.required_revision AS behind
                )
                SELECT array_agg(number), array_agg(seconds), coalesce(bool_or(behind), false) FROM raised
            """),
            await _parameters(phase, units, outcomes, encoded),
        )
    ).one()
    raised, quality = {}, {}
    for number in numbers or ():
        unit = units[number - 1]
        key = UnitKey(unit.portfolio_id, unit.session)
        raised[key], quality[key] = unit.revision, outcomes[unit].quality
    HEALED.labels(phase.value).observe_all(seconds or ())
    return Completed(raised, quality, behind)


async def restate_quality(conn: AsyncConnection, phase: Phase, outcomes: Mapping[MissingUnit, Outcome]) -> int:
    """Rewrite what completed units say of themselves, at the revision they were completed at; returns how many differed.

    For a phase whose results are facts that several portfolios share: a price that arrives late makes them better without a new
    revision. Units raised meanwhile are left out: their completion will say it.
    """
    if not outcomes:
        return 0
    result = await conn.execute(
        statement(f"""
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
        await _parameters(phase, sorted(outcomes), outcomes),
    )
    return int(result.rowcount)


async def _parameters(
    phase: Phase,
    units: Sequence[MissingUnit],
    outcomes: Mapping[MissingUnit, Outcome],
    encoded: EncodedReasons | None = None,
) -> dict[str, Any]:
    """What `_INPUT` takes, in the order of the units."""
    said = [outcomes[unit] for unit in units]
    if not any(outcome.reasons for outcome in said):
        encoded, places = _NO_REASONS, [0] * len(said)
    else:
        if encoded is None or any(id(outcome.reasons) not in encoded.places for outcome in said):
            encoded = await encode_reasons(said)
        places = [encoded.places[id(outcome.reasons)] for outcome in said]
    return {
        "phase": phase.value,
        "portfolios": [unit.portfolio_id for unit in units],
        "sessions": [unit.session for unit in units],
        "revisions": [unit.revision for unit in units],
        "qualities": [outcome.quality for outcome in said],
        "coverages": [outcome.coverage for outcome in said],
        "places": places,
        "reasons": encoded.document,
        "provisionals": [outcome.provisional for outcome in said],
    }


def _encode_once(lists: Sequence[list[dict[str, Any]]]) -> tuple[str, list[int]]:
    """A document that has each list once, and each one's place in it. Sessions that lack the same often share one object, too."""
    known: dict[int, int] = {}
    places: dict[str, int] = {}
    for reasons in lists:
        if id(reasons) not in known:
            document = json.dumps(reasons, allow_nan=False) if reasons else "[]"
            known[id(reasons)] = places.setdefault(document, len(places))
    return f"[{','.join(places)}]", [known[id(reasons)] for reasons in lists]


async def find_provisional(
    conn: AsyncConnection, phases: Sequence[Phase], portfolios: Sequence[UUID], first: date, last: date
) -> set[UnitKey]:
    """Portfolio and session of completed units of any of the phases that were completed while something was waited for.

    By a partial index: where nobody waits, it is empty.
    """
    rows = await conn.execute(
        statement("""
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
        statement("""
            SELECT portfolio_id, session, CASE WHEN ends > clock_timestamp() THEN ends END FROM (
                SELECT portfolio_id, session, required_at + make_interval(secs => :seconds) AS ends FROM ledger.units
                WHERE phase = CAST(:phase AS ledger.phase) AND portfolio_id = ANY (CAST(:portfolios AS uuid[]))
                  AND session BETWEEN :first AND :last AND completed_revision < required_revision) u
        """),
        {"phase": phase.value, "portfolios": list(portfolios), "first": first, "last": last, "seconds": seconds},
    )
    return {UnitKey(portfolio, session): ends for portfolio, session, ends in rows}
