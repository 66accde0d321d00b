"""The table of modules in each service's README is true: what it names is there, and no module is without a row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.db.roles import SERVICES

ROOT = Path(__file__).parents[2] / "services"


def named(service: str) -> list[str]:
    """Patterns of the first column below the head `module`; a name without a folder is in that of the one before it."""
    text = (ROOT / service / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^\| module \| idea \|\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert table, service
    patterns: list[str] = []
    for row in table.group(1).splitlines()[1:]:
        folder = ""
        for name in re.findall(r"`([^`]+)`", row.split("|")[1]):
            inside = folder and not (ROOT / service / name).exists()
            patterns.append(f"{folder}{name}" if inside else name)
            if not folder:
                folder = name[: name.rstrip("/").rfind("/") + 1]
    return patterns


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_that_the_table_names_is_there(service: str) -> None:
    assert [pattern for pattern in named(service) if not any((ROOT / service).glob(pattern.rstrip("/")))] == []


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_has_a_row(service: str) -> None:
    """Its own, or that of a folder it is in."""
    base = ROOT / service
    covered = {path for pattern in named(service) for path in base.glob(pattern.rstrip("/"))}
    modules = [path for path in base.rglob("*.py") if path.name != "__init__.py"]
    without = [path.relative_to(base).as_posix() for path in modules if covered.isdisjoint((path, *path.parents))]
    assert without == []


def test_every_error_of_an_import_has_a_row() -> None:
    """`ERR_POS_001` … `003` in the first column stands for the three of them."""
    text = (ROOT / "coordinator" / "README.md").read_text(encoding="utf-8")
    listed: set[str] = set()
    for cell in re.findall(r"^\| (`ERR_[^|]*) \|", text, re.MULTILINE):
        names = re.findall(r"`([^`]+)`", cell)
        listed.update(name for name in names if name.startswith("ERR_"))
        if "…" in cell:
            stem, first = names[0].rsplit("_", 1)
            listed.update(f"{stem}_{number:03}" for number in range(int(first), int(names[1]) + 1))
    raised: set[str] = set()
    for folder in (ROOT, ROOT.parent / "leadline"):
        for path in folder.rglob("*.py"):
            raised.update(re.findall(r"\"(ERR_[A-Z]+_(?:\d{3}|FILE))\"", path.read_text(encoding="utf-8")))
    assert raised
    assert sorted(raised - listed) == []
