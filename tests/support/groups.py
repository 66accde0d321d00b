"""What a test needs to run, told from its fixtures, and in which order modules are dealt out when several processes share the suite.

Nothing is written down twice: a new test finds its place by the fixtures that it asks for.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

import pytest

# Computed markers; `make unit` and `make test-db` choose by them.
UNIT, DATABASE, SERVERS = "unit", "database_only", "servers"
# What the session's servers are known by among the fixtures of a test. Who starts servers of their own asks for a directory.
_BROKER, _POSTGRES, _DIRECTORY = "broker", "server", "scratch_directory"
# Asks for the long ones too: what repeats a short one elsewhere, or with more of the same.
LONG = "LEADLINE_TEST_LONG"
# The modules that take longest go first, and the many short ones fill what is left of the other process's time. First of all is
# one that mostly waits: it leaves the processors to the other process.
LONGEST_FIRST = (
    "tests/crash/test_matrix.py",
    "tests/deploy/test_supervised_run.py",
    "tests/deploy/test_embedded_run.py",
    "tests/web/test_pages.py",
    "tests/web/test_journeys.py",
    "tests/deploy/test_compose_processes.py",
    "tests/bugs/test_kills_and_rights.py",
    "tests/stateful/test_ledger_machine.py",
    "tests/store/ingest/test_outage.py",
    "tests/store/ingest/test_vendors.py",
    "tests/store/ingest/test_late_splits.py",
    "tests/flow/test_explained.py",
    "tests/flow/test_show.py",
    "tests/flow/test_trading_day.py",
    "tests/flow/test_corporate_actions.py",
    "tests/flow/test_closures.py",
    "tests/flow/test_healing_liveness.py",
    "tests/flow/test_guard.py",
    "tests/flow/test_fuzzed_messages.py",
    "tests/flow/test_sources_and_scope.py",
    # Of those that start no server.
    "tests/contract/test_import_rules.py",
    "tests/unit/risk/test_report.py",
    "tests/realdata/test_figures.py",
    "tests/contract/test_api_documents.py",
    "tests/golden/test_same_digits.py",
    "tests/deploy/test_alerts.py",
    "tests/unit/coordinator/test_agents.py",
    "tests/contract/providers/test_massive.py",
)
# Then what shares a running Leadline, which is stopped when the next module is another package's: five idle services cost a twentieth
# of a processor for as long as they live.
TOGETHER = ("tests/flow/", "tests/web/")


def kind(fixtures: Collection[str]) -> str:
    """`unit`: starts nothing. `database_only`: PostgreSQL and no broker. `servers`: all else."""
    if _BROKER in fixtures:
        return SERVERS
    if _POSTGRES in fixtures:
        return DATABASE
    return SERVERS if _DIRECTORY in fixtures else UNIT


def place(item: pytest.Item) -> str:
    """Give a test its markers; returns its module."""
    fixtures = set(getattr(item, "fixturenames", ()))
    item.add_marker(kind(fixtures))
    if item.get_closest_marker("long") is not None and not os.environ.get(LONG):
        item.add_marker(pytest.mark.skip(reason=f"one of the long ones: `make long` runs it ({LONG}=1)"))
    return item.nodeid.partition("::")[0]


def in_order(modules: Iterable[str]) -> Sequence[str]:
    """Modules as they are dealt out: the longest, the rest of those that share a running Leadline, and the others as collected."""
    found = list(dict.fromkeys(modules))
    longest = [name for name in LONGEST_FIRST if name in found]
    others = sorted(
        (name for name in found if name not in LONGEST_FIRST), key=lambda name: not name.startswith(TOGETHER)
    )
    return longest + others
