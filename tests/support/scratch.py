"""A directory for the servers of one test session, and the end of those that a killed session left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import psutil

from deploy.embedded.process import stop_orphan

PREFIX = "leadline-test-"


def create() -> Path:
    """A fresh directory. Not pytest's own: a second session closes that one's permissions, and PostgreSQL may run as another user."""
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    directory.chmod(0o711)
    return directory


def sweep() -> None:
    """Stop the servers and remove the directories of sessions that no longer run."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = directory.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            for pid_file in directory.glob("*/*.pid"):
                stop_orphan(pid_file, how=signal.SIGTERM, within=5.0)
            shutil.rmtree(directory, ignore_errors=True)
