"""What the closing lines of a run say: on which servers it ran, and what did not run and why; also where several processes ran it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

# Under this name a process of several tells the one that reports what it used.
FOR_THE_REPORT = "leadline_used"
used = pytest.StashKey[dict[str, list[str]]]()


def note(config: pytest.Config, what: str, which: str) -> None:
    """Remember a line for the end of the run: `which` server was `what`. The same line is said once."""
    lines = config.stash[used].setdefault(what, [])
    if which not in lines:
        lines.append(which)


def send(config: pytest.Config) -> None:
    """Hand what this process used to the one that reports, if there is one."""
    output: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if output is not None:
        output[FOR_THE_REPORT] = config.stash[used]


def receive(config: pytest.Config, output: Mapping[str, Any] | None, worker: str) -> None:
    """Take over what a process used. One that died has left nothing, which is said."""
    if output is None or FOR_THE_REPORT not in output:
        note(config, "no closing lines", f"of {worker}, which ended before its time")
        return
    for what, lines in output[FOR_THE_REPORT].items():
        for line in lines:
            note(config, what, f"{line} ({worker})")


def closing_lines(config: pytest.Config) -> list[str]:
    return [f"{what}: {line}" for what, lines in config.stash[used].items() for line in lines]


def skipped_lines(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """Which modules' tests were skipped, how many of each, and why. pytest's own lines say where the skip is written: for a
    fixture that is one place for all."""
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        by_reason[reason.removeprefix("Skipped: ")][report.nodeid.partition("::")[0]] += 1
    return [
        f"skipped, {reason}: {', '.join(f'{module} ({count})' for module, count in sorted(modules.items()))}"
        for reason, modules in sorted(by_reason.items())
    ]
