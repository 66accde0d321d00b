"""Every advisory lock is in the registry, and no number is used by two."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shared.db import locks

ROOT = Path(__file__).parents[2]
MIGRATIONS = ROOT / "shared" / "db" / "migrations"
CALL = re.compile(r"pg_(?:try_)?advisory_\w+\(([^()]*)")
# As in 7305102: the block that all numbers are of.
NUMBER = re.compile(r"\b7305\d{3}\b")


def modules() -> Iterator[Path]:
    for package in ("leadline", "services", "shared", "deploy"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if not path.is_relative_to(MIGRATIONS):
                yield path


def calls(source: str) -> list[str]:
    """Arguments of the calls in a module's statements."""
    if "advisory" not in source:
        return []
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [found for text in texts for found in CALL.findall(text)]


def test_no_two_locks_have_the_same_keys() -> None:
    keys = [lock.keys for lock in locks.LOCKS]
    assert len(set(keys)) == len(keys)
    # A class whose second key is made of something has the class to itself.
    computed = {lock.keys[0] for lock in locks.LOCKS if isinstance(lock.keys[-1], str)}
    assert [key for key in keys if len(key) == 2 and isinstance(key[1], int) and key[0] in computed] == []


def test_statements_take_their_numbers_from_the_registry() -> None:
    takers = {path: found for path in modules() if (found := calls(path.read_text()))}
    assert len(takers) >= 5
    for path, found in takers.items():
        assert [arguments for arguments in found if re.search(r"\d{2,}", arguments)] == [], path
        assert "locks." in path.read_text(), f"{path} takes an advisory lock that is not in shared/db/locks.py"
    written = [path for path in modules() if NUMBER.search(path.read_text())]
    assert written == [ROOT / "shared" / "db" / "locks.py"]


def test_functions_of_the_database_use_numbers_of_the_registry() -> None:
    """In SQL they are literals: of the schema as it is now, so that one of an old migration does not count."""
    known = {tuple(key for key in lock.keys if isinstance(key, int)) for lock in locks.LOCKS}
    text = (ROOT / "shared" / "db" / "schema.sql").read_text()
    used = {tuple(int(number) for number in re.findall(r"\d+", arguments)) for arguments in CALL.findall(text)}
    assert used == {locks.COMMIT_ORDER, (locks.PROVIDER_ACCOUNT,)}
    assert used <= known
    assert len(CALL.findall(text)) == text.count("advisory")
