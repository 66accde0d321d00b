"""The embedded run's log: bounded while it runs, readable by its owner only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deploy.embedded import run
from deploy.embedded.rotating_log import RotatingLog
from shared.errors import ConfigurationError


def test_a_log_that_grows_is_moved_aside_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "leadline.log"
    path.write_text("from before\n")
    path.chmod(0o644)
    with RotatingLog(path, 1_000) as log:
        for number in range(300):
            print(f"line {number:03}", file=log)
        log.flush()
        aside = path.with_name("leadline.log.1")
        assert path.stat().st_size + aside.stat().st_size < 2_100
        assert path.stat().st_size <= 1_010
        kept = (aside.read_text() + path.read_text()).splitlines()
        assert kept[-1] == "line 299"
        assert kept == [f"line {number:03}" for number in range(300 - len(kept), 300)], "no line is cut or lost between"
        assert {stat.S_IMODE(each.stat().st_mode) for each in (path, aside)} == {0o600}


def test_what_is_no_text_of_utf8_is_written_all_the_same(tmp_path: Path) -> None:
    with RotatingLog(tmp_path / "log", 1_000) as log:
        assert log.write("half \ud800 a character\n") > 0
    assert (tmp_path / "log").read_text() == "half \\ud800 a character\n"


@pytest.mark.parametrize(("given", "expected"), [("", 50_000_000), ("3", 3_000_000)])
def test_the_bound_can_be_set(given: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_LOG_MB", given)
    assert run._log_limit() == expected


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_a_bound_that_is_none_is_refused_by_name(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_LOG_MB", given)
    with pytest.raises(ConfigurationError, match="LEADLINE_LOG_MB"):
        run._log_limit()
