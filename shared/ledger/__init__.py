"""The ledger: what is required, what is complete, what is missing. Every change of a unit lives here.

A unit is missing while `completed_revision < required_revision`; there is no other notion of progress anywhere. Functions take
the caller's connection: whoever opened the transaction commits it.

Locks are taken in one order, so that nobody deadlocks: the commit-order lock (only who changes inputs, adds units, raises or
frees them), then rows of `units` by key, then rows of `schedule` by key. No transaction comes back to units of a phase whose
schedule it has locked. See decision 0015.
"""

from shared.ledger.completion import (
    EncodedReasons,
    complete,
    encode_reasons,
    find_patience_ends,
    find_provisional,
    restate_quality,
)
from shared.ledger.failures import (
    MAX_RUNS,
    PROBE,
    defer,
    defer_each,
    lock_blocked,
    record_failure,
    record_progress,
    shorten_waits,
    unblock,
    unblock_due,
)
from shared.ledger.leases import LEASE, acquire, find_scheduled, release, renew
from shared.ledger.model import Completed, Deferral, Lease, Outcome
from shared.ledger.readiness import Look, find_ready, look, ready, units_of
from shared.ledger.units import Demand, add_units, remove_units, require, require_all, require_many, withdraw_units

__all__ = [
    "LEASE",
    "MAX_RUNS",
    "PROBE",
    "Completed",
    "Deferral",
    "Demand",
    "EncodedReasons",
    "Lease",
    "Look",
    "Outcome",
    "acquire",
    "add_units",
    "complete",
    "defer",
    "defer_each",
    "encode_reasons",
    "find_patience_ends",
    "find_provisional",
    "find_ready",
    "find_scheduled",
    "lock_blocked",
    "look",
    "ready",
    "record_failure",
    "record_progress",
    "release",
    "remove_units",
    "renew",
    "require",
    "require_all",
    "require_many",
    "restate_quality",
    "shorten_waits",
    "unblock",
    "unblock_due",
    "units_of",
    "withdraw_units",
]
