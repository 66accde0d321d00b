"""A token is found for the server that runs on its state directory, and for nobody else at that address."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leadline.servers import find_token

URL = "http://127.0.0.1:8123"
SECRET = "x" * 43


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEADLINE_STATE", raising=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a server that runs, once something holds its lock."""
    made = tmp_path / "state"
    made.mkdir()
    (made / "token").write_text(SECRET + "\n")
    (made / "running.json").write_text(json.dumps({"url": URL}))
    noted = tmp_path / "home" / "leadline" / "servers"
    noted.mkdir(parents=True)
    (noted / "8123.json").write_text(json.dumps({"state": str(made)}))
    return made


@pytest.fixture
def running(state: Path) -> Iterator[Path]:
    """Held by another process, as it is."""
    script = "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, state / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    yield state
    holder.communicate()


def test_the_token_of_a_running_server_is_found_by_any_loopback_name(running: Path) -> None:
    for url in (URL, "http://localhost:8123", "http://[::1]:8123"):
        assert find_token(url) == SECRET


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8124",
        "http://example.org:8123",
        "https://127.0.0.1:8123",
        "http://127.0.0.1:x",
        "",
        "nonsense",
    ],
)
def test_another_address_gets_none(running: Path, url: str) -> None:
    assert find_token(url) is None


def test_one_that_took_the_port_over_gets_none(state: Path) -> None:
    (state / "lock").touch()
    assert find_token(URL) is None
    # Our own shared look does not count as a holder.
    with (state / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert find_token(URL) is None


def test_a_server_that_runs_now_at_another_port_gets_none_at_the_old_one(running: Path) -> None:
    (running / "running.json").write_text(json.dumps({"url": "http://127.0.0.1:9999"}))
    assert find_token(URL) is None


def test_the_state_directory_can_be_named(running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "empty"))
    assert find_token(URL) is None
    monkeypatch.setenv("LEADLINE_STATE", str(running))
    assert find_token(URL) == SECRET
    assert find_token("http://127.0.0.1:1") is None


def test_broken_files_are_no_token(running: Path, tmp_path: Path) -> None:
    noted = tmp_path / "home" / "leadline" / "servers" / "8123.json"
    for content in ("", "[]", "{}", '{"state": 5}', "null"):
        noted.write_text(content)
        assert find_token(URL) is None
