"""The state of a unit: the one list of words, and the one rule by which what is missing gets one of them.

`status`, the completeness of everything and the page use these words as they are. A metric counts what is missing by reasons that say
a little more, a requested run by words that say less: both are told from these states, by the tables here (docs/glossary.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class UnitState(StrEnum):
    """From done to stuck."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    BLOCKED = "blocked"


STATES: tuple[str, ...] = tuple(state.value for state in UnitState)
DONE = frozenset({UnitState.COMPLETE, UnitState.PARTIAL})


def state_of_missing(*, blocked: bool, running: bool, runs: int) -> UnitState:
    """What is happening about a missing unit. A wait for a quota or a provider is no failed run, so it stays `waiting`."""
    if blocked:
        return UnitState.BLOCKED
    if running:
        return UnitState.RUNNING
    return UnitState.RETRYING if runs > 0 else UnitState.WAITING


# The same of a missing unit that is not blocked, in SQL: from `s`, the row of its phase in the schedule.
STATE_OF_MISSING = """
    CASE WHEN s.lease_until > clock_timestamp() THEN 'running' WHEN s.runs > 0 THEN 'retrying' ELSE 'waiting' END
"""

# Labels of `leadline_holes`, and the state that each is a case of.
HOLE_REASONS: Mapping[str, UnitState] = {
    "running": UnitState.RUNNING,
    "failing": UnitState.RETRYING,
    "waiting_for_provider": UnitState.WAITING,
    "asked": UnitState.WAITING,
    "queued": UnitState.WAITING,
    "blocked": UnitState.BLOCKED,
}
# Which of them a missing unit that is not blocked has: the state above, `waiting` told apart by what is waited for.
HOLE_REASON = """
    CASE WHEN s.lease_until > clock_timestamp() THEN 'running' WHEN s.runs > 0 THEN 'failing'
         WHEN s.last_error IS NOT NULL THEN 'waiting_for_provider' WHEN s.asked IS NOT NULL THEN 'asked' ELSE 'queued' END
"""


def state_of_run(units: int, done: int, blocked: int) -> str:
    """Of a requested run, by its units: `complete`, `blocked`, or `running` while any is waiting, running or retrying.

    blocked : how many are blocked or wait for one that is; while others are open the run still moves
    """
    if done == units:
        return "complete"
    return "blocked" if done + blocked == units else "running"
