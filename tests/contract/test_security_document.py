"""docs/security.md is true: each threat names code that is there and a test that is there."""

from __future__ import annotations

import re

import pytest

from tests.contract.test_documented_paths import ROOT, definitions

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
# What only a public database can tell.
UNTESTED = {"One that became known since"}


def threats() -> list[tuple[str, str, str]]:
    """Threat, where, test: of every table that has these columns."""
    rows = []
    for table in re.findall(
        r"^\| threat \| defence \| where \| test \|\n\|[-|]+\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE
    ):
        for line in table.splitlines():
            threat, _, where, test = (cell.strip() for cell in line.strip("|").split("|"))
            rows.append((threat, where, test))
    return rows


def test_there_are_threats() -> None:
    assert len(threats()) > 40
    assert len({threat for threat, _, _ in threats()}) == len(threats())


@pytest.mark.parametrize(("threat", "where", "test"), threats())
def test_a_threat_names_code_and_a_test_that_exist(threat: str, where: str, test: str) -> None:
    assert (ROOT / where.strip("`")).exists(), where
    if threat in UNTESTED:
        return
    path, _, name = test.strip("`").partition("::")
    assert (ROOT / path).is_file(), path
    assert name in definitions(path), name
