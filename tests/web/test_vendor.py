"""The files of others are the ones they published, and nothing of ours names another server."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "services" / "coordinator" / "web"
VENDOR = WEB / "static" / "vendor"
ROWS = re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (VENDOR / "VENDOR.md").read_text(), re.MULTILINE)


def test_every_file_is_listed() -> None:
    files = {path.name for path in VENDOR.iterdir()} - {"VENDOR.md"}
    assert {name for name, _ in ROWS} == {name for name in files if not name.endswith(".txt")}
    listed = (VENDOR / "VENDOR.md").read_text()
    assert [name for name in files if name.endswith(".txt") and name not in listed] == []


@pytest.mark.parametrize(("name", "digest"), ROWS)
def test_a_file_is_the_one_that_was_published(name: str, digest: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_our_own_files_name_no_other_server() -> None:
    ours = [*WEB.glob("templates/*.html"), *WEB.glob("static/*.*")]
    assert len(ours) > 20
    for path in ours:
        found = re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]+[^\s\"')]*", path.read_text())
        # A name space, and an example in an empty field: nobody is asked for either.
        told = [one for one in found if not one.startswith(("http://www.w3.org/", "https://example.org/"))]
        assert told == [], path.name


def test_templates_hold_no_style_and_no_script_of_their_own() -> None:
    """What the policy refuses is not written in the first place. The one file that stands alone is the exception, and says so."""
    for path in WEB.glob("templates/*.html"):
        source = path.read_text()
        assert not re.search(r"\sstyle=", source), path.name
        assert not re.search(r"\son[a-z]+=", source), path.name
        scripts = [tag for tag in re.findall(r"<script[^>]*>", source) if "src=" not in tag]
        assert all('type="application/json"' in tag for tag in scripts), path.name
        assert "<style" not in source or path.name == "report.html", path.name
