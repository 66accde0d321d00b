"""What a test needs to run, told from its fixtures, and which tests stay together when several processes share the suite.

Nothing is written down twice: a new test finds its place by the fixtures that it asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import pytest

# Computed markers; `make unit` and `make test-db` choose by them.
UNIT, DATABASE, SERVERS = "unit", "database_only", "servers"
# What the session's servers are known by among the fixtures of a test. Who starts servers of their own asks for a directory.
_BROKER, _POSTGRES, _DIRECTORY = "broker", "server", "scratch_directory"
# Session fixtures that cost seconds: whoever shares one stays with its other users, in one process.
_SHARED = {"leadline": "flow"}
# The groups that take longest go first, and the many short ones fill what is left of the other process's time. First of all is
# one that mostly waits: it leaves the processors to the other process.
LONGEST_FIRST = (
    "tests/crash/test_matrix.py",
    "flow",
    "tests/crash/test_faults.py",
    "tests/deploy/test_embedded_run.py",
    "tests/flow/test_corporate_actions.py",
    "tests/flow/test_closures.py",
    "tests/flow/test_healing_liveness.py",
    "tests/flow/test_guard.py",
    "tests/flow/test_fuzzed_messages.py",
    "tests/flow/test_sources_and_scope.py",
    "tests/deploy/test_compose_processes.py",
    "tests/bugs/test_kills_and_rights.py",
    "tests/stateful/test_ledger_machine.py",
    "tests/store/ingest/test_outage.py",
    "tests/store/ingest/test_vendors.py",
    "tests/store/ingest/test_late_splits.py",
)


def kind(fixtures: Collection[str]) -> str:
    """`unit`: starts nothing. `database_only`: PostgreSQL and no broker. `servers`: all else."""
    if _BROKER in fixtures:
        return SERVERS
    if _POSTGRES in fixtures:
        return DATABASE
    return SERVERS if _DIRECTORY in fixtures else UNIT


def group(path: str, fixtures: Collection[str]) -> str:
    """The tests of one name run in one process, one after the other: those of a module, or of an expensive fixture."""
    return next((name for fixture, name in _SHARED.items() if fixture in fixtures), path)


def place(item: pytest.Item) -> str:
    """Give a test its markers; returns its group."""
    fixtures = set(getattr(item, "fixturenames", ()))
    name = group(item.nodeid.partition("::")[0], fixtures)
    item.add_marker(kind(fixtures))
    item.add_marker(pytest.mark.xdist_group(name))
    return name


def in_order(groups: Iterable[str]) -> Sequence[str]:
    """Groups as they are dealt out: the longest, then the rest as it was collected."""
    found = list(dict.fromkeys(groups))
    return [name for name in LONGEST_FIRST if name in found] + [name for name in found if name not in LONGEST_FIRST]
