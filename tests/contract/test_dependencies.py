"""Every dependency has its row in decision 0012, and every row its dependency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DECISION = ROOT / "docs" / "decisions" / "0012-dependencies.md"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    return {normal(match.group()) for requirement in requirements if (match := NAME.match(requirement))}


def rows() -> set[str]:
    """Names in the first column, without what stands in parentheses."""
    cells = re.findall(r"^\| ([^|]+) \|", DECISION.read_text(encoding="utf-8"), re.MULTILINE)
    words = (re.split(r", with |[,;]", re.sub(r"\([^)]*\)", "", cell)) for cell in cells if cell != "dependency")
    return {normal(match.group()) for parts in words for part in parts if (match := NAME.match(part.strip()))}


def test_every_dependency_has_a_row_and_every_row_a_dependency() -> None:
    # Words of a row that name a way of use and no distribution.
    no_distribution = {"asyncio", "strict", "pinned"}
    assert rows() - no_distribution == declared()
