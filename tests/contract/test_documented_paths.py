"""Every file and function that a guide or a README names is there."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from services.coordinator.settings import CoordinatorSettings
from services.ingest.settings import IngestSettings
from services.risk.settings import RiskSettings
from shared.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
GUIDES = sorted(
    [
        "docs/glossary.md",
        "docs/follow-one-portfolio.md",
        "docs/operations.md",
        "docs/where.md",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "howto").glob("*.md")),
    ]
)
SERVICES = ("coordinator", "ingest", "factors", "snapshots", "risk")
LINKED = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/commands.md",
    "docs/configuration.md",
    "docs/import.md",
    *GUIDES,
    *(f"services/{name}/README.md" for name in SERVICES),
]
# `shared/work.py`, `services/risk/compute/`, `shared/ledger/units.py::require`, `…/reconciler.py::Reconciler.run_once`
PATH = re.compile(r"`((?:services|shared|leadline|deploy|tests|docs)/[\w./-]*)(?:::([\w.]+))?`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


@lru_cache
def definitions(path: str) -> frozenset[str]:
    """Names defined in a module: functions, classes, and members as `Class.member`."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            members = (m.name for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef))
            found.update(f"{node.name}.{member}" for member in members)
    return frozenset(found)


@lru_cache
def anchors(path: Path) -> frozenset[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("document", GUIDES)
def test_every_path_and_function_in_a_guide_exists(document: str) -> None:
    named = PATH.findall((ROOT / document).read_text(encoding="utf-8"))
    missing = [
        f"{path}::{name}" if name else path
        for path, name in named
        if not (ROOT / path).exists() or (name and name not in definitions(path))
    ]
    assert missing == [], f"{document} names what is not there"
    assert named or document == "docs/operations.md"


@pytest.mark.parametrize("document", LINKED)
def test_every_link_of_a_document_leads_somewhere(document: str) -> None:
    at = ROOT / document
    broken = []
    for target, anchor in LINK.findall(at.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file = (at.parent / target).resolve()
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}" if anchor else target)
    assert broken == [], f"{document} links to what is not there"


@pytest.mark.parametrize("document", [*LINKED, "docs/architecture.md"])
def test_prose_is_wrapped_at_120(document: str) -> None:
    """Tables, code, headings and pictures are left as long as they are."""
    prose = re.sub(r"^```.*?^```$", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "!", "#"))] == []


def test_the_readme_is_read_in_three_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 140
    assert max(len(block.splitlines()) for block in text.split("```")[1::2]) <= 26


@pytest.mark.parametrize(
    "settings", [ServiceSettings, CoordinatorSettings, IngestSettings, RiskSettings], ids=lambda kind: kind.__name__
)
def test_every_setting_has_its_row(settings: type[ServiceSettings]) -> None:
    documented = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    missing = [
        f"LEADLINE_{name.upper()}" for name in settings.model_fields if f"`LEADLINE_{name.upper()}`" not in documented
    ]
    assert missing == []


def test_a_wrong_name_is_found() -> None:
    assert "require" in definitions("shared/ledger/units.py")
    assert "required" not in definitions("shared/ledger/units.py")
    assert "Reconciler.run_once" in definitions("services/coordinator/control/reconciler.py")
