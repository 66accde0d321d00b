"""How the suite is shared out, and what is said when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.embedded import broker as embedded_broker
from deploy.embedded import postgres as embedded_postgres
from deploy.kafka import kafka as apache
from tests.support import groups, report, scratch

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("fixtures", "kind"),
    [
        ((), groups.UNIT),
        (("tmp_path", "monkeypatch"), groups.UNIT),
        (("server", "scratch_directory", "database"), groups.DATABASE),
        (("server", "scratch_directory", "broker"), groups.SERVERS),
        (("scratch_directory", "broker"), groups.SERVERS),
        (("scratch_directory",), groups.SERVERS),
    ],
)
def test_what_a_test_needs_is_told_from_its_fixtures(fixtures: tuple[str, ...], kind: str) -> None:
    assert groups.kind(fixtures) == kind


def test_this_module_was_given_its_kind(request: pytest.FixtureRequest) -> None:
    assert groups.UNIT in {mark.name for mark in request.node.iter_markers()}


@pytest.mark.parametrize("module", [embedded_postgres, embedded_broker, apache], ids=lambda module: module.__name__)
def test_a_test_of_this_kind_that_starts_a_server_is_told(module: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"starts a server, and `make unit` runs what starts none"):
        module.serve(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_tests_of_a_module_stay_in_one_process(tmp_path: Path) -> None:
    """What a module's fixtures make is made once. Which way of sharing does that depends on the versions of pytest and xdist."""
    options = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("PYTEST = "))
    test = "import os, pathlib\ndef test_{0}():\n    (pathlib.Path('{1}') / f'{2}-{{os.getpid()}}').touch()\n"
    for module in "abcd":
        body = "".join(test.format(number, tmp_path, module) for number in range(6))
        (tmp_path / f"test_{module}.py").write_text(body)
    how = options[options.index("--dist") :].split()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-q", "-n", "2", *how, "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
        capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # three processes start: without what only the suite needs
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name[0] for path in tmp_path.glob("?-*")) == ["a", "b", "c", "d"]


def test_the_longest_modules_come_first_then_those_that_share_a_running_leadline_and_the_rest_as_collected() -> None:
    last, first, shares = "tests/store/test_b.py", groups.LONGEST_FIRST[0], "tests/flow/test_c.py"
    assert groups.in_order(["tests/unit/test_a.py", last, first, "tests/unit/test_a.py", shares]) == [
        first,
        shares,
        "tests/unit/test_a.py",
        last,
    ]


def test_the_longest_modules_are_there() -> None:
    assert [name for name in groups.LONGEST_FIRST if not (ROOT / name).is_file()] == []


def test_skips_are_told_by_reason_and_module() -> None:
    def skipped(nodeid: str, reason: str) -> pytest.TestReport:
        place = ("tests/conftest.py", 1, f"Skipped: {reason}")
        return pytest.TestReport(nodeid, ("", 0, ""), {}, "skipped", place, "setup")

    lines = report.skipped_lines(
        [skipped("tests/a.py::one", "no Java"), skipped("tests/a.py::two[x]@a", "no Java"), skipped("b.py::c", "no")]
    )
    assert lines == ["skipped, no: b.py (1)", "skipped, no Java: tests/a.py (2)"]


def test_what_each_process_used_is_told_and_one_that_died_is_named() -> None:
    config = SimpleNamespace(stash=pytest.Stash())
    config.stash[report.used] = {}
    report.receive(config, {report.FOR_THE_REPORT: {"broker": ["Apache Kafka"]}}, "gw0")  # type: ignore[arg-type]
    report.receive(config, None, "gw1")  # type: ignore[arg-type]
    assert report.closing_lines(config) == [  # type: ignore[arg-type]
        "broker: Apache Kafka (gw0)",
        "no closing lines: of gw1, which ended before its time",
    ]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Stand-ins for the directory of temporary files and for the one in memory, where nothing is too little."""
    found = tmp_path / "disk", tmp_path / "memory"
    for directory in found:
        directory.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(found[0]))
    monkeypatch.setattr(scratch, "MEMORY", found[1])
    monkeypatch.setattr(scratch, "AMPLE_BYTES", 0)
    return found


def test_only_directories_of_sessions_that_are_gone_are_swept(places: tuple[Path, Path]) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [place / f"{scratch.PREFIX}{gone.pid}-x" for place in places]
    kept = [place / f"{scratch.PREFIX}{os.getppid()}-y" for place in places]
    for directory in (*left, *kept):
        directory.mkdir()
    kept.append(scratch.create())
    scratch.sweep()
    assert [directory.exists() for directory in left] == [False, False]
    assert [directory.exists() for directory in kept] == [True, True, True]


def test_servers_write_to_memory_where_there_is_ample(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, memory = places
    assert scratch.create().parent == memory
    with monkeypatch.context() as patched:
        patched.setenv("TMPDIR", str(disk))
        assert scratch.create().parent == disk, "somebody said where"
    with monkeypatch.context() as patched:
        patched.setattr(scratch, "AMPLE_BYTES", 2**60)
        assert scratch.create().parent == disk, "too little"
    with monkeypatch.context() as patched:
        mount = SimpleNamespace(f_flag=os.ST_NOEXEC, f_bavail=2**30, f_frsize=4096)
        patched.setattr("os.statvfs", lambda _: mount)
        assert scratch.create().parent == disk, "what tests write there and run would be refused"
    monkeypatch.setattr(scratch, "MEMORY", memory / "none")
    assert scratch.create().parent == disk
