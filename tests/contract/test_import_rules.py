"""The import rules have teeth: each contract breaks when it is violated, and only then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("leadline", "services", "shared", "deploy")
INDEPENDENT = "Services never import one another"
TOP_DOWN = "Deployment stands on services, services stand on shared, never the reverse"
CLIENT = "Client speaks HTTP and nothing else"
SERVERS = "Servers do not know their client"
IN_A_SERVICE = "Inside a service, imports point down"
IN_SHARED = "Inside shared, imports point down"
PURE = "Computation does no I/O"
DONE = "done\n"
LINTER = """
import sys
from importlinter.cli import lint_imports
for _ in sys.stdin:
    lint_imports(cache_dir="read")
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their rules, to be spoilt."""
    directory = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, directory / package, ignore=shutil.ignore_patterns("__pycache__", ".cache", "data")
        )
    shutil.copy(ROOT / "pyproject.toml", directory)
    return directory


@pytest.fixture(scope="module")
def linter(copy: Path) -> Iterator[subprocess.Popen[str]]:
    """One process looks at the copy again and again, and reads only what was written since: to start it, and to read all, costs more than
    to look."""
    with subprocess.Popen(
        [sys.executable, "-c", LINTER],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "COLUMNS": "200"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def broken(linter: subprocess.Popen[str]) -> set[str]:
    """Names of the contracts that do not hold."""
    assert linter.stdin is not None
    assert linter.stdout is not None
    linter.stdin.write("\n")
    linter.stdin.flush()
    # Up to the line that ends an answer, or to the end of a process that failed.
    lines = []
    while (line := linter.stdout.readline()) not in {DONE, ""}:
        lines.append(line.strip())
    names = {line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")}
    kept = {line.removesuffix(" KEPT") for line in lines if line.endswith(" KEPT")}
    assert names | kept == {INDEPENDENT, TOP_DOWN, CLIENT, SERVERS, IN_A_SERVICE, IN_SHARED, PURE}, "\n".join(lines)
    return names


def test_all_rules_hold(linter: subprocess.Popen[str]) -> None:
    assert broken(linter) == set()


@pytest.mark.parametrize(
    ("module", "line", "rules"),
    [
        ("services/risk/workflow/spoilt.py", "import services.snapshots.store", {INDEPENDENT}),
        ("shared/events/spoilt.py", "import services.risk.compute", {TOP_DOWN}),
        ("services/factors/compute/spoilt.py", "import services.factors.app", {IN_A_SERVICE, PURE}),
        ("leadline/tables/spoilt.py", "import shared.market.symbols", {CLIENT}),
        ("leadline/commands/spoilt.py", "import numpy", {CLIENT}),
        ("shared/messaging/spoilt.py", "import leadline.http", {SERVERS}),
        ("services/coordinator/results/spoilt.py", "import services.coordinator.portfolios.service", {IN_A_SERVICE}),
        ("services/coordinator/explain/spoilt.py", "import services.coordinator.reference.symbols", {IN_A_SERVICE}),
        ("services/coordinator/portfolios/spoilt.py", "import services.coordinator.control.releases", {IN_A_SERVICE}),
        ("services/coordinator/control/spoilt.py", "import services.coordinator.api.context", {IN_A_SERVICE}),
        ("services/coordinator/compute/spoilt.py", "import fastapi", {PURE}),
        ("services/ingest/compute/spoilt.py", "import services.ingest.providers.base", {IN_A_SERVICE}),
        ("services/ingest/store/spoilt.py", "import services.ingest.compute.rows", {IN_A_SERVICE}),
        ("services/ingest/providers/spoilt.py", "import services.ingest.store.prices", {IN_A_SERVICE}),
        ("services/ingest/model/spoilt.py", "import services.ingest.compute.rows", {IN_A_SERVICE}),
        ("services/ingest/model/spoilt.py", "import sqlalchemy", {PURE}),
        ("shared/messaging/spoilt.py", "import shared.phase.topics", {IN_SHARED}),
        ("shared/utils.py", "", {IN_SHARED}),
        ("shared/market/spoilt.py", "import asyncio", {PURE}),
        ("services/risk/compute/spoilt.py", "import shared.db.bulk", {PURE}),
    ],
)
def test_a_violation_breaks_its_rule(
    linter: subprocess.Popen[str], copy: Path, module: str, line: str, rules: set[str]
) -> None:
    spoilt = copy / module
    assert spoilt.parent.is_dir()
    spoilt.write_text(line + "\n")
    try:
        assert broken(linter) == rules
    finally:
        spoilt.unlink()
