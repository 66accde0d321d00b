"""How much memory a run takes at its peak: proportional set sizes, summed. Pages that processes share are counted once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

# Reading the sizes of forty processes is work that the run would otherwise have the processor for: the kernel walks all their pages.
# What it counts anyway tells whether they may be higher than ever, and only then are they read.
SHARE_OF_TIME = 0.1
LEAST_PAUSE = 0.2
WORTH_A_LOOK = 1.02
PROCESSES_SECONDS = 2.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
# What stands in the command line of each; the API is what is left.
PARTS = {"deploy.embedded.computing": "computing", "postgres": "PostgreSQL", "tansu": "the broker"}


def proportional_set_size(pid: int) -> int | None:
    """Bytes; None for a process that has ended or a system that does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)


def with_children(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def sizes(roots: Iterable[int]) -> dict[str, int]:
    """Bytes of these processes and all that they started, by what they are."""
    found: dict[str, int] = {}
    for pid in {pid for root in roots for pid in with_children(root)}:
        if (size := proportional_set_size(pid)) is not None:
            part = part_of(pid)
            found[part] = found.get(part, 0) + size
    return found


def total(roots: Iterable[int]) -> int | None:
    """Bytes of these processes and all that they started."""
    found = sizes(roots)
    return sum(found.values()) if found else None


def estimate(pids: Iterable[int]) -> int:
    """Bytes of what is each process's own, and of what is shared as much as the one that has most of it in its memory."""
    own, shared = 0, 0
    for pid in pids:
        try:
            _, resident, of_files, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        except OSError:
            continue
        own += resident - of_files
        shared = max(shared, of_files)
    return (own + shared) * _PAGE


def part_of(pid: int) -> str:
    """Which part of a server a process is."""
    try:
        command = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        command = ""
    return next((part for mark, part in PARTS.items() if mark in command), "the API")


class Peak:
    """Looks again and again while its block runs; `megabytes` is the highest sum, None where the system does not tell, and `parts` what
    it was the sum of."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._highest: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def megabytes(self) -> float | None:
        return round(sum(self._highest.values()) / 1e6, 1) if self._highest else None

    @property
    def parts(self) -> dict[str, float]:
        return {part: round(size / 1e6, 1) for part, size in sorted(self._highest.items())}

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        pause, highest, listed = LEAST_PAUSE, 0.0, 0.0
        pids: list[int] = []
        while not self._stop.wait(pause):
            start = time.perf_counter()
            if start > listed + PROCESSES_SECONDS:
                pids, listed = [pid for root in self._roots for pid in with_children(root)], start
            pause, now = LEAST_PAUSE, estimate(pids)
            if now > highest * WORTH_A_LOOK:
                self._look()
                highest = now
                pause = max(LEAST_PAUSE, (time.perf_counter() - start) / SHARE_OF_TIME)

    def _look(self) -> None:
        now = sizes(self._roots)
        if sum(now.values()) > sum(self._highest.values()):
            self._highest = now
