"""The client is light to import and to install; what is a package of ours goes into the image."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SERVER_LIBRARIES = {
    "fastapi",
    "sqlalchemy",
    "aiokafka",
    "faststream",
    "asyncpg",
    "numpy",
    "pandas",
    "starlette",
    "pydantic",
}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOTS: list[str] = PROJECT["tool"]["importlinter"]["root_packages"]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("module", "ours"),
    [("leadline", {"leadline"}), ("leadline.cli", {"leadline"}), ("deploy.cli", {"leadline", "deploy", "shared"})],
)
def test_the_client_loads_no_server_library(module: str, ours: set[str]) -> None:
    done = run(f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & SERVER_LIBRARIES
    assert loaded & set(ROOTS) == ours


def test_help_loads_nothing_that_calls_a_server() -> None:
    """`leadline --help` in a quarter of a second: what a call needs is loaded by the call."""
    done = run(
        "import json, sys; from deploy.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print(json.dumps(sorted(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    loaded = {name.split(".")[0] for name in modules}
    assert "typer" in loaded
    assert not loaded & {"httpx2", "httpcore2", "anyio", "ssl", "asyncio", "exchange_calendars", *SERVER_LIBRARIES}
    assert "importlib.metadata" not in modules, "a twentieth of the time, for a version that nobody asked for"


def test_the_client_needs_the_base_dependencies_and_no_other() -> None:
    imported = set()
    for path in (ROOT / "leadline").rglob("*.py"):
        if path == ROOT / "leadline" / "agents.py":
            continue  # an extra's, loaded by its command alone
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    third_party = imported - sys.stdlib_module_names - {"leadline"}
    assert third_party == {re.split(r"[\[<>=]", entry)[0] for entry in PROJECT["project"]["dependencies"]}


def test_a_command_that_runs_servers_says_what_to_install_where_there_is_only_the_client() -> None:
    done = run(
        "import sys; sys.modules['sqlalchemy'] = None; from deploy.cli import main; sys.argv[:] = ['leadline', 'doctor']; main()"
    )
    assert done.returncode == 1
    assert "pip install 'leadline[server,compute,embedded]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ROOTS)
def test_each_package_is_installed_and_copied_into_the_image(package: str) -> None:
    assert f"{package}*" in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert f"!{package}" in (ROOT / ".dockerignore").read_text().splitlines()
    assert f"COPY {package} ./{package}" in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()


def test_each_folder_with_modules_of_ours_is_a_root_package() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*/__init__.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {name.split("/")[0] for name in tracked.split()} - {"tests"} == set(ROOTS)
