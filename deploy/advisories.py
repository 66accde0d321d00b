"""Known vulnerabilities of what the lock pins and the floors allow, without a network; ends with 1 where one is there.

The table is of the day it was written. `make audit` asks a public database for what became known since; what it finds is
added here once it is mended, so that nothing goes back behind it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
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


def pins() -> dict[str, str]:
    """Version of each package that the lock pins."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))


def floors() -> dict[str, str]:
    """The oldest version of each direct dependency that may be installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = "\n".join(text for dependencies in groups for text in dependencies)
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?[>=]=([0-9.]+)", asked, re.MULTILINE))


def find_affected(pinned: Mapping[str, str], least: Mapping[str, str]) -> Iterator[str]:
    """What is older than the version that mended it, as a line each."""
    for package, mended, advisory in MENDED:
        if package not in pinned:
            yield f"{package}: not in the lock, so nothing can be said of {advisory}; take its row away"
        elif _version(pinned[package]) < _version(mended):
            yield f"{package} {pinned[package]} in requirements.lock has {advisory}: {mended} mends it"
        if _version(least.get(package, mended)) < _version(mended):
            yield f"{package} {least[package]} may be installed by pyproject.toml and has {advisory}: ask for {mended}"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def main() -> int:
    found = list(find_affected(pins(), floors()))
    for line in found:
        sys.stderr.write(line + "\n")
    if not found:
        print(f"{len(MENDED)} known vulnerabilities, none of them in {len(pins())} pins")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
