"""Every page has its pictures in the documents, light, dark and on a phone, and the README opens with one."""

from __future__ import annotations

import re
from pathlib import Path

from tests.web.pages import pages

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
_SHOWN = re.compile(r"!\[[^]]+\]\(([^)]+)\)")


def shown(document: Path) -> list[str]:
    """The pictures of a document, by their place in docs/images."""
    found = _SHOWN.findall(document.read_text(encoding="utf-8"))
    return [path.rpartition("images/")[2] for path in found if "images/" in path]


def test_every_page_is_shown_in_three_ways() -> None:
    expected = [f"{page.name}-{way}.webp" for page in pages("1", "x") for way in ("light", "dark", "phone")]
    assert sorted(shown(ROOT / "docs" / "pages.md")) == sorted(expected)


def test_every_picture_is_there_and_shown() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert {name for document in documents for name in shown(document)} == {path.name for path in IMAGES.iterdir()}


def test_the_readme_opens_with_a_picture_of_the_page() -> None:
    beginning = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    [first] = _SHOWN.findall(beginning)
    assert (ROOT / first).read_bytes().startswith(b"\x89PNG")
