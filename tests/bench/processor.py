"""Processor time of a run, by what spent it: what other work on the machine changes least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psutil

from tests.bench.measured import Measured
from tests.bench.memory import part_of, with_children


def spent(roots: Iterable[int]) -> dict[tuple[int, str], float]:
    """Seconds so far of these processes and all that they started, by process and what it is."""
    found = {}
    for pid in {pid for root in roots for pid in with_children(root)}:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[pid, part_of(pid)] = times.user + times.system
    return found


def between(before: Mapping[tuple[int, str], float], after: Mapping[tuple[int, str], float]) -> dict[str, float]:
    """Seconds by part. What a process that ended meanwhile spent is not known: connections are kept, so there are few."""
    found: dict[str, float] = {}
    for (pid, part), seconds in after.items():
        found[part] = found.get(part, 0.0) + seconds - before.get((pid, part), 0.0)
    return found


def figures(part: str, what: str, by_part: Mapping[str, float], portfolios: int) -> list[Measured]:
    """Milliseconds of processor a portfolio, all parts together."""
    # Services and the benchmark are one process here, and `part_of` calls whatever is no server of another kind the API.
    note = ", ".join(
        f"{name.replace('the API', 'services')} {seconds:.1f} s" for name, seconds in sorted(by_part.items())
    )
    total = sum(by_part.values())
    return [Measured(part, f"{what}, processor time of one", total / portfolios * 1e3, "ms", note=note)]
