"""Every advisory lock of the database, with its number, in one place: a number used twice would make unrelated work wait.

PostgreSQL keeps locks of one 64-bit key apart from locks of two 32-bit keys, so a number may stand once in each kind. Numbers are
kept for ever: an older process that still runs takes the same lock.
"""

from __future__ import annotations

from typing import NamedTuple

# Locks of one key.
MIGRATION = 7305102
LEADER = 7305103
# Locks of two keys: the first is the class, the second says which one of it.
COMMIT_ORDER = (7305101, 1)
UNIT_RUNS = (7305101, 2)
PROVIDER_ACCOUNT = 7305102
FACTOR_SYMBOLS = 7305103
PEOPLE = 7305104


class AdvisoryLock(NamedTuple):
    name: str
    keys: tuple[int | str, ...]
    """Numbers, or in words what the second key is made of."""
    waits: bool
    """Whether who finds it taken waits; else it goes away."""
    purpose: str


LOCKS: tuple[AdvisoryLock, ...] = (
    AdvisoryLock(
        "migration", (MIGRATION,), waits=True, purpose="One migrate job at a time (`shared/db/migrate.py::upgrade`)."
    ),
    AdvisoryLock(
        "leader",
        (LEADER,),
        waits=False,
        purpose="One reconciler requests missing units (`services/coordinator/control/reconciler.py::Reconciler.run_once`).",
    ),
    AdvisoryLock(
        "commit order",
        COMMIT_ORDER,
        waits=True,
        purpose="Transactions that change inputs commit in the order of their revisions "
        "(`shared/db/engine.py::acquire_commit_order_lock`).",
    ),
    AdvisoryLock(
        "unit runs",
        UNIT_RUNS,
        waits=False,
        purpose="One at a time mends the runs of units (`shared/ledger/runs.py::refresh`).",
    ),
    AdvisoryLock(
        "provider account",
        (PROVIDER_ACCOUNT, "hash of the account"),
        waits=True,
        purpose="Calls of a provider's account are counted one after the other (`services/ingest/store/quotas.py`).",
    ),
    AdvisoryLock(
        "factor symbols",
        (FACTOR_SYMBOLS, "symbol id modulo 64"),
        waits=True,
        purpose="Facts of a symbol are computed by one process (`services/factors/store/__init__.py::lock_symbols`).",
    ),
    AdvisoryLock(
        "people",
        (PEOPLE, "hash of the tenant"),
        waits=True,
        purpose="Users, tokens, invitations, limits and webhooks of a tenant are counted and added one after the other, and its last "
        "operator stays; the first tenant's also counts tenants (`services/coordinator/tokens/tenant_store.py::lock`).",
    ),
)
