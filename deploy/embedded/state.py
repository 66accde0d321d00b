"""The state directory of an embedded run: who holds it, and the passwords of the service roles."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from leadline.servers import servers_directory
from shared.db.roles import LOGINS
from shared.errors import ConfigurationError

DEFAULT = Path(".leadline")
LOOPBACK = "127.0.0.1"
TOKEN = "token"  # noqa: S105 (a file's name)
# What is shorter was not drawn here.
TOKEN_LENGTH = 32


@contextlib.contextmanager
def lock_state(state: Path) -> Iterator[None]:
    """Hold the directory while this process runs. The lock is the kernel's: a killed process lets go by itself.

    Raises `ConfigurationError` if another process holds it, or it cannot be one.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        # Logs and data are nobody else's. As root the database's account has to pass through, and can read nothing.
        state.chmod(0o711 if os.geteuid() == 0 else 0o700)
        lock = (state / "lock").open("a+")
    except OSError as error:
        raise ConfigurationError(
            f"{state} cannot be the state directory: {error.strerror}; choose another with --state"
        ) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ConfigurationError(
                f"the state directory {state} is in use by another Leadline (process {holder}): stop it, or choose another with --state"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def passwords(state: Path) -> dict[str, str]:
    """A password for each role that connects, the migrator's too, drawn at the first start and kept, readable by the owner only."""
    path = state / "roles.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    drawn = {service: kept.get(service) or secrets.token_urlsafe(24) for service in (*LOGINS, "migrator")}
    if drawn != kept:
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(drawn))
        draft.rename(path)
    return drawn


def token(state: Path) -> str:
    """The operator's token of an embedded server, drawn at the first start and kept, readable by the owner only.

    Raises `ConfigurationError` if it cannot be kept so.
    """
    path = state / TOKEN
    kept = path.read_text().strip() if path.exists() else ""
    if len(kept) < TOKEN_LENGTH:
        kept = secrets.token_urlsafe(32)
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(kept + "\n")
        draft.rename(path)
    path.chmod(0o600)
    return kept


@contextlib.contextmanager
def register_server(state: Path, port: int) -> Iterator[None]:
    """Let the command line find the state directory of the server on a port, in the user's own directory, while it runs.

    A directory that cannot be written is told: the command line then needs LEADLINE_STATE or LEADLINE_TOKEN.
    """
    path = Path(f"{port}.json")
    try:
        path = servers_directory() / path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"state": str(state)}))
        draft.rename(path)
    except OSError as error:
        print(
            f"leadline: {path} cannot be written ({error.strerror}); commands need LEADLINE_STATE={state}",
            file=sys.stderr,
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def announce_addresses(state: Path, **addresses: str | None) -> Iterator[None]:
    """Leave the addresses and the choices of what runs here for `leadline doctor`, while it runs."""
    path = state / "running.json"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(addresses))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_held(state: Path) -> bool:
    try:
        with (state / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def await_running(state: Path, within: float = 120.0) -> dict[str, str | None] | None:
    """As `find_running`; a run that is starting is waited for: it holds the directory, and announces itself a while later."""
    until = time.monotonic() + within
    while (found := find_running(state)) is None and _is_held(state) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def find_running(state: Path) -> dict[str, str | None] | None:
    """What the run that holds the directory announced; None if none runs, whatever a killed one left there."""
    if not _is_held(state):
        return None
    try:
        announcement: dict[str, str | None] = json.loads((state / "running.json").read_text())
    except (OSError, ValueError):
        return None
    return announcement


def bind(port: int, address: str = LOOPBACK) -> socket.socket:
    """Take the port before anything else starts; 0 takes a free one. Raises `ConfigurationError` if it is taken.

    address : IPv4, of this machine; `0.0.0.0` for all
    """
    # The protocol is named: asyncio sends what is small at once only where it reads TCP there. Else the second part of an answer
    # waits for the client's acknowledgement of the first, 40 milliseconds.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        # Listening makes a second bind fail at once; connections wait in the queue until the server accepts.
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(
                f"cannot listen on {address}, port {port}: {error.strerror}; --bind takes an IPv4 address of this machine, or 0.0.0.0"
            ) from error
        raise ConfigurationError(
            f"port {port} of {address} is in use: stop what serves there, or choose another with --port (make demo PORT=8010)"
        ) from error
    return listener
