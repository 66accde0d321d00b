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


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Wait for the other processes of this user that do the same. The lock is the kernel's: a killed process lets go by itself."""
    with Path(tempfile.gettempdir(), f"leadline-lock-{what}-{os.getuid()}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def create() -> Path:
    """A fresh directory. Not pytest's own: a second session closes that one's permissions, and PostgreSQL may run as another user."""
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    directory.chmod(0o711)
    return directory


def sweep() -> None:
    """Stop the servers and remove the directories of sessions that no longer run.

    Each process of a suite that several share has a directory of its own, named after it, and each of them may sweep.
    """
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            for pid_file in directory.glob("*/*.pid"):
                stop_orphan(pid_file, how=signal.SIGTERM, within=5.0)
            shutil.rmtree(directory, ignore_errors=True)
