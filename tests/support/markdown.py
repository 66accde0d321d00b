"""Markdown wrapped at 120: what is longer, and a paragraph put right. `python -m tests.support.markdown FILE…` mends files."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

WIDTH = 120
# Tables, headings and pictures cannot be broken.
_WHOLE = ("|", "#", "![")
_ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")


def long_lines(text: str) -> list[int]:
    """Numbers of the lines of prose that are over the width and could be broken."""
    return [
        number
        for number, line, prose in _lines(text)
        if prose and len(line) > WIDTH and " " in _ITEM.sub("", line, count=1).strip()
    ]


def wrap(text: str) -> str:
    """The text with every paragraph and list item that has a line over the width filled again; all else as it is."""
    out: list[str] = []
    block: list[str] = []

    def flush() -> None:
        if any(len(line) > WIDTH for line in block):
            mark = _ITEM.match(block[0])
            indent = " " * (len(mark.group()) if mark else len(block[0]) - len(block[0].lstrip()))
            first = mark.group() if mark else indent
            words = " ".join(line.strip() for line in [block[0][len(first) :], *block[1:]])
            out.extend(
                textwrap.wrap(
                    words,
                    WIDTH,
                    initial_indent=first,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
        else:
            out.extend(block)
        block.clear()

    for _, line, prose in _lines(text):
        if not prose or not line.strip() or _ITEM.match(line):
            flush()
        if prose and line.strip():
            block.append(line)
        else:
            out.append(line)
    flush()
    return "\n".join(out) + ("\n" if text.endswith("\n") else "")


def _lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Number, line, and whether it may be broken."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        yield number, line, not (code or fence or line.lstrip().startswith(_WHOLE))
        code ^= fence


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        path.write_text(wrap(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
