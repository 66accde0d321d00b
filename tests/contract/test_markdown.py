"""Documents are wrapped at 120, those that a program writes too."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.markdown import WIDTH, long_lines, wrap

ROOT = Path(__file__).parents[2]


def test_every_document_is_wrapped() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {path: long_lines((ROOT / path).read_text(encoding="utf-8")) for path in listed.stdout.split()}
    assert len(found) > 60
    assert {path: lines for path, lines in found.items() if lines} == {}, "python -m tests.support.markdown FILE"


def test_a_long_paragraph_is_filled_again_and_nothing_else_is_touched() -> None:
    kept = f"# {'a ' * 80}\n\n| {'b ' * 80}|\n\n```\n{'c ' * 80}\n```\nshort\nlines\n\n"
    text = f"{kept}- {'word ' * 40}\n  more\n- next\n\n1. {'x' * 150}\n"
    assert long_lines(text) == [11]
    mended = wrap(text)
    assert mended.startswith(kept)
    assert mended.endswith("more\n- next\n\n1. " + "x" * 150 + "\n")
    assert long_lines(mended) == []
    assert max(len(line) for line in mended.splitlines()[10:13]) <= WIDTH
    assert [line[:7] for line in mended.splitlines()[10:12]] == ["- word ", "  word "]
    assert wrap(mended) == mended
