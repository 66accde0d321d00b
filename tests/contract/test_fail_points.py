"""The table of fail points, the code that has them, and the document about them say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.messaging import failpoints
from shared.messaging.failpoints import FAIL_POINTS, NAME_OF
from tests.crash.matrix import POINTS

ROOT = Path(__file__).parents[2]


def passed() -> Iterator[str]:
    """The argument of every call of `failpoint` in the product."""
    for package in ("leadline", "services", "shared", "deploy"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(text)) if "failpoint(" in text else ():
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                    [name] = node.args
                    assert isinstance(name, ast.Constant), f"{path}:{node.lineno} computes the name of a fail point"
                    yield str(name.value)


def test_every_fail_point_of_the_code_is_in_the_table_and_the_other_way_round() -> None:
    assert set(passed()) == set(FAIL_POINTS)
    assert len(NAME_OF) == len(FAIL_POINTS)
    assert all(re.fullmatch(r"[a-z_]+\.(before|after|during|around)_[a-z]+", name) for name in FAIL_POINTS)


def test_the_document_has_the_table() -> None:
    text = (ROOT / "docs" / "crash-matrix.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]\d+) \| `([\w.]+)` \| ([^|]+) \|", text, re.MULTILINE)
    reported = [letter for letter, _, _ in rows]
    assert reported == [letter for letter in POINTS if letter in reported], "in the table's order"
    assert [(letter, where) for letter, name, where in rows if FAIL_POINTS[name] != (letter, where)] == []
    # Newer than the run that is reported: named, so that nobody takes the table for all of them.
    for name in FAIL_POINTS.keys() - {NAME_OF[letter] for letter in reported}:
        assert f"`{name}` (`{FAIL_POINTS[name].letter}`)" in text.replace("\n", " ")


def test_a_point_is_armed_by_name_or_letter_and_no_other_is(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, how: killed.append(how))
    try:
        for spec in ("phase.before_commit:2", "H6:2"):
            failpoints.arm(spec)
            failpoints.failpoint("phase.after_results")
            failpoints.failpoint("phase.before_commit")
            assert killed == []
            failpoints.failpoint("phase.before_commit")
            assert killed.pop()
        with pytest.raises(ConfigurationError, match="no fail point 'H99'"):
            failpoints.arm("H99")
    finally:
        failpoints.arm("")
