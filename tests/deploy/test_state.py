"""The state directory: one holder at a time, passwords that stay, ports that are free or said to be taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from deploy.embedded import state
from deploy.embedded.process import orphan, start
from shared.db.roles import LOGINS
from shared.errors import ConfigurationError


def _hold_elsewhere(directory: Path) -> subprocess.Popen[str]:
    script = f"""
        import sys, pathlib
        from deploy.embedded import state
        with state.lock_state(pathlib.Path({str(directory)!r})):
            print("held", flush=True)
            sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_directory_in_use_is_refused_by_name_and_process(tmp_path: Path) -> None:
    holder = _hold_elsewhere(tmp_path)
    try:
        with (
            pytest.raises(ConfigurationError, match=rf"in use by another Leadline \(process {holder.pid}\)"),
            state.lock_state(tmp_path),
        ):
            pytest.fail("two processes hold one state directory")
    finally:
        holder.communicate()


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    holder = _hold_elsewhere(tmp_path)
    holder.kill()
    holder.communicate()
    with state.lock_state(tmp_path):
        assert (tmp_path / "lock").exists()


def test_role_passwords_are_drawn_once_and_private(tmp_path: Path) -> None:
    drawn = state.passwords(tmp_path)
    assert set(drawn) == {*LOGINS, "migrator"}
    assert len(set(drawn.values())) == len(drawn)
    assert state.passwords(tmp_path) == drawn
    assert (tmp_path / "roles.json").stat().st_mode & 0o077 == 0


def test_the_state_directory_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root the database's account passes through, and reads nothing."""
    for user, mode in ((1000, 0o700), (0, 0o711)):
        monkeypatch.setattr("deploy.embedded.state.os.geteuid", lambda user=user: user)
        directory = tmp_path / "open"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        with state.lock_state(directory):
            assert stat.S_IMODE(directory.stat().st_mode) == mode


def test_the_log_of_a_server_is_its_owners(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.touch(mode=0o644)
    child = start("echo", ["echo", "said"], pid_file=tmp_path / "pid", log=log)
    child.process.wait(10)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text() == "said\n"


def test_a_taken_port_is_named() -> None:
    with state.bind(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 is in use"):
            state.bind(port)
    # An address of documents (RFC 5737): no machine's.
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1, port 0: .*--bind"):
        state.bind(0, "192.0.2.1")


def test_a_process_left_behind_is_found_by_its_pid_file_and_a_reused_pid_is_not(tmp_path: Path) -> None:
    pid_file = tmp_path / "sleeper.pid"
    child = start("sleeper", ["sleep", "60"], pid_file=pid_file, log=tmp_path / "log")
    try:
        found = orphan(pid_file)
        assert found is not None
        assert found.pid == child.process.pid
        pid_file.write_text(f'{{"pid": {child.process.pid}, "born": 1.0}}')
        assert orphan(pid_file) is None
    finally:
        child.stop()
    assert not child.running


def test_the_token_is_drawn_once_private_and_of_256_bits(tmp_path: Path) -> None:
    drawn = state.token(tmp_path)
    assert len(drawn) == 43
    assert state.token(tmp_path) == drawn
    kept = tmp_path / "token"
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.chmod(0o644)
    state.token(tmp_path)
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_text("weak\n")
    assert len(state.token(tmp_path)) == 43


def test_a_running_server_is_noted_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    noted = tmp_path / "home" / "leadline" / "servers" / "8123.json"
    with state.register_server(tmp_path, 8123):
        assert noted.stat().st_mode & 0o777 == 0o600
        assert noted.parent.stat().st_mode & 0o777 == 0o700
        assert str(tmp_path) in noted.read_text()
    assert not noted.exists()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with state.register_server(tmp_path, 8123):
        assert f"commands need LEADLINE_STATE={tmp_path}" in capsys.readouterr().err


def test_a_run_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    """It answers `/readyz` before it has announced itself: a backup by a script comes right then."""
    with state.lock_state(tmp_path), contextlib.ExitStack() as stack:
        assert state.find_running(tmp_path) is None
        announces = threading.Timer(
            0.2, lambda: stack.enter_context(state.announce_addresses(tmp_path, url="http://127.0.0.1:1"))
        )
        announces.start()
        assert state.await_running(tmp_path, within=10.0) == {"url": "http://127.0.0.1:1"}
        announces.join()
    assert state.await_running(tmp_path, within=10.0) is None, "nothing holds it, nothing is waited for"


async def test_what_the_server_sends_does_not_wait_for_what_the_client_acknowledges() -> None:
    """Head and body of an answer are sent one after the other: on a connection in use each answer took 40 ms more."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        told.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = state.bind(0)
    async with await asyncio.start_server(accept, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(told, 10) != 0
        writer.close()
