"""Nothing that is pinned, or may be installed, is older than what mended a vulnerability that was known when this was written.

Without a network. `make audit` asks a public database for those that became known since.
"""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.contract.test_documented_paths import ROOT

# Package, the first version without it, the advisory.
MENDED = (
    ("fastapi", "0.109.1", "CVE-2024-24762"),
    ("h11", "0.16.0", "CVE-2025-43859"),
    ("jinja2", "3.1.6", "CVE-2025-27516"),
    ("protobuf", "6.31.1", "CVE-2025-4565"),
    ("pyarrow", "14.0.1", "CVE-2023-47248"),
    ("python-multipart", "0.0.31", "GHSA-v9pg-7xvm-68hf"),
    ("requests", "2.32.4", "CVE-2024-47081"),
    ("setuptools", "78.1.1", "CVE-2025-47273"),
    ("starlette", "1.3.1", "CVE-2026-54283"),
    ("urllib3", "2.6.3", "CVE-2026-21441"),
)
PINNED = dict(
    re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def floors() -> dict[str, str]:
    """The oldest version of each direct dependency that may be installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = "\n".join(text for dependencies in extras.values() for text in dependencies)
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?[>=]=([0-9.]+)", asked, re.MULTILINE))


@pytest.mark.parametrize(("package", "mended", "advisory"), MENDED)
def test_what_is_pinned_and_what_may_be_installed_is_not_older(package: str, mended: str, advisory: str) -> None:
    assert version(PINNED[package]) >= version(mended), advisory
    assert version(floors().get(package, mended)) >= version(mended), advisory


def test_floors_are_read() -> None:
    assert floors()["starlette"] == "1.3.1"
