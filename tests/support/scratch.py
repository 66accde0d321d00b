"""A directory for the servers of one test session, and the end of those that a killed session left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from deploy.embedded.process import stop_orphan

PREFIX = "leadline-test-"
# Where Linux keeps files in memory. A database of ours is 1,200 files, copied and deleted for each test that asks for one of its own:
# on a disk's file system that takes twenty times the processor's time, and a third of the suite's was spent there.
MEMORY = Path("/dev/shm")  # noqa: S108 - the directory made there is this session's alone
# Several processes share the suite, and what each writes is a few hundred megabytes at most. A container gives 64 MB.
AMPLE_BYTES = 6 * 2**30


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Wait for the other processes of this user that do the same. The lock is the kernel's: a killed process lets go by itself."""
    with Path(tempfile.gettempdir(), f"leadline-lock-{what}-{os.getuid()}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def create() -> Path:
    """A fresh directory. Not pytest's own: a second session closes that one's permissions, and PostgreSQL may run as another user."""
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_place()))
    directory.chmod(0o711)
    return directory


def _place() -> Path:
    """In memory where there is ample, unless somebody said where temporary files go."""
    asked = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    if not asked and os.access(MEMORY, os.W_OK | os.X_OK):
        mount = os.statvfs(MEMORY)
        runs_programs = not mount.f_flag & os.ST_NOEXEC
        free = min(mount.f_bavail * mount.f_frsize, psutil.virtual_memory().available)
        if runs_programs and free >= AMPLE_BYTES:
            return MEMORY
    return Path(tempfile.gettempdir())


def sweep() -> None:
    """Stop the servers and remove the directories of sessions that no longer run.

    Each process of a suite that several share has a directory of its own, named after it, and each of them may sweep.
    """
    places = {Path(tempfile.gettempdir()), MEMORY}
    for directory in (found for place in places for found in place.glob(f"{PREFIX}*")):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            for pid_file in directory.glob("*/*.pid"):
                stop_orphan(pid_file, how=signal.SIGTERM, within=5.0)
            shutil.rmtree(directory, ignore_errors=True)
