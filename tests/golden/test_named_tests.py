"""Every test that a document names as proof is there, by file and function."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@lru_cache
def functions(path: str) -> frozenset[str]:
    """Names of the module's test functions, read and not imported."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("document", ["docs/defects.md", "docs/methods.md", "docs/public-reports.md"])
def test_every_named_test_exists(document: str) -> None:
    named = NAMED.findall((ROOT / document).read_text(encoding="utf-8"))
    assert named
    missing = [f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in functions(path)]
    assert missing == []


def test_all_29_defects_are_in_the_table_each_with_a_test() -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([ABC]) \|(.*)$", (ROOT / "docs" / "defects.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(number) for number, _, _ in rows] == list(range(1, 30))
    assert [number for number, _, row in rows if not NAMED.search(row)] == []
