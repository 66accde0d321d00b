"""Modules of the product have at most 300 lines, functions 60: `python -m tests.module_sizes`, a part of `make check`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGES = ("leadline", "services", "shared", "deploy")
MOST = 300
MOST_OF_FUNCTION = 60


class Exempt(NamedTuple):
    most: int
    why: str


EXEMPT: Mapping[str, Exempt] = {
    "shared/market/reasons.py": Exempt(530, "one table, an entry a code; it is read from top to bottom or searched"),
}


def modules() -> Iterator[tuple[str, str]]:
    """Path and text of every module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def lines() -> Iterator[tuple[str, int]]:
    """Path and length of every module."""
    return ((path, len(text.splitlines())) for path, text in modules())


def function_lines(text: str) -> Iterator[tuple[str, int]]:
    """Name and length of every function, methods and inner ones too: from `def` to its end, without the docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def too_long(found: Iterable[tuple[str, int]], exempt: Mapping[str, Exempt] = EXEMPT) -> list[str]:
    """Modules over the limit, or over their own, a sentence each."""
    return [
        f"{path} has {count} lines, and {most} are the most: give one idea of it a module of its own"
        for path, count in found
        if count > (most := exempt[path].most if path in exempt else MOST)
    ]


def too_long_functions(found: Iterable[tuple[str, str]]) -> list[str]:
    """Functions over the limit, a sentence each. found : path and text of modules"""
    return [
        f"{path}: {name} has {count} lines, and {MOST_OF_FUNCTION} are the most: give its steps names of their own"
        for path, text in found
        if text.count("\n") > MOST_OF_FUNCTION
        for name, count in function_lines(text)
        if count > MOST_OF_FUNCTION
    ]


def main() -> int:
    found = too_long(lines()) + too_long_functions(modules())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
