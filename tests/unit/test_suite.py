"""How the suite is shared out, and what is said when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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


def test_this_module_was_given_its_kind_and_group(request: pytest.FixtureRequest) -> None:
    marks = {mark.name: mark.args for mark in request.node.iter_markers()}
    assert groups.UNIT in marks
    assert marks["xdist_group"] == ("tests/unit/test_suite.py",)


def test_whoever_shares_a_running_leadline_shares_a_process() -> None:
    shared = {groups.group(path, ("leadline", "server")) for path in ("tests/flow/test_a.py", "tests/flow/test_b.py")}
    assert len(shared) == 1
    assert groups.group("tests/flow/test_a.py", ("server",)) == "tests/flow/test_a.py"


def test_the_longest_groups_come_first_and_the_rest_as_collected() -> None:
    last, first = "tests/store/test_b.py", groups.LONGEST_FIRST[0]
    assert groups.in_order(["tests/unit/test_a.py", last, first, "tests/unit/test_a.py"]) == [
        first,
        "tests/unit/test_a.py",
        last,
    ]


def test_the_longest_groups_are_there() -> None:
    paths = [name for name in groups.LONGEST_FIRST if name.startswith("tests/")]
    assert [name for name in paths if not (ROOT / name).is_file()] == []
    assert set(groups.LONGEST_FIRST) - set(paths) == {"flow"}


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


def test_only_directories_of_sessions_that_are_gone_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, mine = tmp_path / f"{scratch.PREFIX}{gone.pid}-x", scratch.create()
    another = tmp_path / f"{scratch.PREFIX}{os.getppid()}-y"
    for directory in (left, another):
        directory.mkdir()
    scratch.sweep()
    assert [directory.exists() for directory in (left, another, mine)] == [False, True, True]
