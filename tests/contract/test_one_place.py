"""Rules that once stood in several places stand in one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def places(pattern: str) -> set[str]:
    found = re.compile(pattern)
    return {
        path.relative_to(ROOT).as_posix()
        for package in ("services", "shared", "deploy")
        for path in (ROOT / package).rglob("*.py")
        if found.search(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize(
    ("rule", "pattern", "where"),
    [
        ("when to try again", r"interval '5 seconds' \* power\(2", {"shared/ledger/failures.py"}),
        ("how much fits an event", r"(?i)max_units // ", {"shared/work.py"}),
        ("what a missing unit's state is", r"THEN 'retrying'", {"shared/ledger/states.py"}),
        ("which states there are", r"\"waiting\", \"running\", \"retrying\", \"blocked\"\)", set()),
        ("units of a change, and their run", r"ledger\.require_many\(", {"services/coordinator/runs/requests.py"}),
        ("the run of a change", r"which=\"raised\"", {"services/coordinator/runs/requests.py"}),
    ],
)
def test_a_rule_stands_in_one_place(rule: str, pattern: str, where: set[str]) -> None:
    assert places(pattern) == where, rule
