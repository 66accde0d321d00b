"""Whoever reads `shared/ledger/` has read every statement that writes the ledger."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "shared" / "ledger"
MIGRATIONS = ROOT / "shared" / "db" / "migrations"
WRITES = re.compile(
    r"\b(INSERT\s+INTO|MERGE\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|COPY)\s+(TABLE\s+|ONLY\s+)*ledger\.", re.IGNORECASE
)


def written(source: str) -> Iterator[int]:
    """Lines of string constants, those of f-strings too, with a statement that writes a table of the ledger."""
    if "ledger." not in source:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WRITES.search(node.value):
            yield node.lineno


def modules() -> Iterator[Path]:
    for package in ("leadline", "services", "shared", "deploy"):
        yield from sorted((ROOT / package).rglob("*.py"))


def test_only_the_ledger_writes_the_ledger() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        if not path.is_relative_to(LEDGER) and not path.is_relative_to(MIGRATIONS)
        for line in written(path.read_text())
    ]
    assert found == []


def test_what_the_ledger_writes_is_seen() -> None:
    assert sum(len(list(written(path.read_text()))) for path in LEDGER.glob("*.py")) >= 15
    assert list(written('x = f"update only ledger.units u SET {y}"')) == [1]
    assert list(written('x = "SELECT 1 FROM ledger.units FOR NO KEY UPDATE OF u"')) == []
