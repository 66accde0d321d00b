"""The embedded server at an address, and its token: found by the files it left for its own user.

A token goes to a server that runs on the state directory which it was read from, and to nobody who took the port over.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def servers_directory() -> Path:
    """Where running embedded servers of this user are noted, one file a port. Raises `OSError` for a user without a home."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    if not base.is_absolute():
        try:
            base = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise FileNotFoundError(errno.ENOENT, "this user has no home directory") from error
    return base / "leadline" / "servers"


def find_token(url: str) -> str | None:
    """The token of the embedded server that serves this address now; None where there is none of this user.

    `LEADLINE_STATE` names its state directory; without it the directory that is noted for the port.
    """
    address = urlsplit(url)
    try:
        port = address.port or 80
    except ValueError:
        return None
    if address.scheme != "http" or address.hostname not in LOOPBACK:
        return None
    try:
        state = os.environ.get("LEADLINE_STATE") or _recorded_state(port)
        if state is None or not _runs(Path(state), port):
            return None
        return (Path(state) / "token").read_text().strip() or None
    except (OSError, ValueError, KeyError, TypeError):
        # Nothing is there, or nothing that a server of ours wrote: the call is made without a token, and its answer says so.
        return None


def _recorded_state(port: int) -> str | None:
    return str(json.loads((servers_directory() / f"{port}.json").read_text())["state"])


def _runs(state: Path, port: int) -> bool:
    """Whether a process holds the directory, and announced this port."""
    import fcntl  # Not on Windows, where no embedded server runs.

    announced = json.loads((state / "running.json").read_text())
    if urlsplit(str(announced["url"])).port != port:
        return False
    with (state / "lock").open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
