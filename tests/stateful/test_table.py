"""The table of invariants is whole, and what it names is there and says the same."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from tests.stateful.table import SHOWN, TRUTH

ROOT = Path(__file__).parents[2]
NUMBERS = [*(f"I{n}" for n in range(1, 26)), *(f"V{n}" for n in range(1, 8))]


@lru_cache
def functions(path: str) -> dict[str, str]:
    """Docstrings of a module's functions by name, read and not imported."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name: ast.get_docstring(node) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_invariant_has_a_row() -> None:
    assert list(SHOWN) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_named_is_there(number: str) -> None:
    _, machine, elsewhere = SHOWN[number]
    assert machine or elsewhere
    for named in (*machine, *elsewhere):
        path, _, name = named.partition("::")
        assert name in functions(path), named
    assert [named for named in elsewhere if not named.partition("::")[2].startswith("test_")] == []
    assert set(machine).isdisjoint(elsewhere)


def test_the_docstrings_of_the_assertions_say_what_the_table_does() -> None:
    said = {
        (number, name)
        for name, docstring in functions(TRUTH).items()
        for number in re.findall(r"\b[IV]\d+\b", docstring.partition(":")[0])
    }
    table = {
        (number, named.partition("::")[2])
        for number, (_, machine, _) in SHOWN.items()
        for named in machine
        if named.startswith(TRUTH)
    }
    assert said == table
