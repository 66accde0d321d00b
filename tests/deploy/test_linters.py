"""Dockerfiles, shell scripts and the compose file by the linters that package indexes have. `make lint` fetches and runs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support import linters

ROOT = linters.ROOT
# Of the stand-ins the base is made on the spot and has no version, and packages are those of the day.
STAND_INS = ("--ignore", "DL3006", "--ignore", "DL3008")


@pytest.fixture(scope="module", autouse=True)
def _fetch_linters() -> None:
    if os.environ.get("LEADLINE_TEST_LINT") == "1":
        linters.fetch()


def lint(name: str, *arguments: str) -> str:
    if linters.program(name) is None:
        pytest.skip(f"{name} is not here: `make lint` fetches it")
    return linters.findings(name, *arguments)


def _files_in_git(*patterns: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def _scripts() -> list[str]:
    """Files of ours that a shell reads."""
    first_lines = {path: (ROOT / path).read_bytes()[:40].partition(b"\n")[0] for path in _files_in_git()}
    return [path for path, line in first_lines.items() if line.startswith(b"#!") and line.endswith(b"sh")]


def test_hadolint_finds_nothing_in_the_image() -> None:
    assert lint("hadolint", "deploy/Dockerfile") == ""


def test_hadolint_finds_nothing_in_the_stand_ins() -> None:
    assert lint("hadolint", *STAND_INS, *_files_in_git("tests/containers/*/Dockerfile")) == ""


def test_shellcheck_finds_nothing_in_any_script() -> None:
    scripts = _scripts()
    assert {"deploy/setup.sh", ".ci/run"} <= set(scripts)
    assert lint("shellcheck", *scripts) == ""


def test_dclint_finds_nothing_in_the_compose_file() -> None:
    assert lint("dclint", "-c", "tests/deploy/dclint.json", "--max-warnings", "0", "docker-compose.yml") == ""


def test_each_linter_finds_what_is_planted(tmp_path: Path) -> None:
    planted = {
        "hadolint": ("Dockerfile", "FROM debian:latest\nRUN cd /tmp\n"),
        "shellcheck": ("script.sh", "#!/bin/sh\nrm $1\n"),
        "dclint": ("docker-compose.yml", 'services:\n  one:\n    image: "a"\n    container_name: b\n    build: .\n'),
    }
    for name, (file, text) in planted.items():
        (tmp_path / file).write_text(text)
        assert lint(name, str(tmp_path / file)) != "", name
