"""Modules of the product have at most 300 lines: `python -m tests.module_sizes`, a part of `make check`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGES = ("leadline", "services", "shared", "deploy")
MOST = 300


class Exempt(NamedTuple):
    most: int
    why: str


EXEMPT: Mapping[str, Exempt] = {
    "shared/market/reasons.py": Exempt(500, "one table, an entry a code; it is read from top to bottom or searched"),
}


def lines() -> Iterator[tuple[str, int]]:
    """Path and length of every module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), len(path.read_text(encoding="utf-8").splitlines())


def too_long(found: Iterator[tuple[str, int]], exempt: Mapping[str, Exempt] = EXEMPT) -> list[str]:
    """Modules over the limit, or over their own, a sentence each."""
    return [
        f"{path} has {count} lines, and {most} are the most: give one idea of it a module of its own"
        for path, count in found
        if count > (most := exempt[path].most if path in exempt else MOST)
    ]


def main() -> int:
    found = too_long(lines())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
