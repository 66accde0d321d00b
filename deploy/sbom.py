"""`make sbom`: what is shipped, as CycloneDX 1.6, with the licence of each part; ends with 1 where a licence may not be.

Parts are what `requirements.lock` pins and what the page brings along (`web/static/vendor`). Of a package that another platform
needs and this one has not, there is no metadata here, so its licence is unknown.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
VENDOR = ROOT / "services" / "coordinator" / "web" / "static" / "vendor"

# Licences under which a part may be used beside the Apache License 2.0 and passed on with it. MPL-2.0 asks for the sources of its own
# files only. GPL, LGPL and AGPL are not among them, nor is anything that is not known.
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "NCSA", "PSF-2.0",
        "PostgreSQL", "Unlicense", "Zlib",
    }
)  # fmt: skip
# What packages without an SPDX expression write, in lower case.
_SPELLED = {
    "mit": "MIT", "mit license": "MIT",
    "apache": "Apache-2.0", "apache 2": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache-2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause", "bsd license": "BSD-3-Clause", "bsd-3-clause": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause", "bsd 2-clause license": "BSD-2-Clause", "2-clause bsd": "BSD-2-Clause",
    "simplified bsd": "BSD-2-Clause",
    "isc license": "ISC", "isc license (iscl)": "ISC",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "mpl-2.0 and mit": "MPL-2.0 AND MIT",
    "unlicense": "Unlicense", "the unlicense (unlicense)": "Unlicense",
}  # fmt: skip
# Read in the files of the package, because its metadata say it wrongly or not at all.
STATED = {
    "axe-playwright-python": "MIT",
    "simplejson": "MIT OR AFL-2.1",
}
# Of the page's scripts: their licence files lie beside them.
VENDORED = {"htmx": "0BSD", "hx-sse": "0BSD", "swagger-ui": "Apache-2.0", "uPlot": "MIT"}
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Part:
    """licence : an SPDX expression, or `unknown`"""

    name: str
    version: str
    licence: str
    purl: str
    hashes: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Every licence that applies is allowed; of alternatives one."""
        return all(
            any(choice.strip("() ") in ALLOWED for choice in part.split(" OR ")) for part in self.licence.split(" AND ")
        )


def licence_of(name: str, found: Message) -> str:
    """The licence a package states, as an SPDX expression: by its expression, its classifiers, or the old field."""
    if name in STATED:
        return STATED[name]
    if expression := found.get("License-Expression"):
        return str(expression)
    said = [
        str(line).rpartition(" :: ")[2] for line in found.get_all("Classifier", []) if line.startswith("License :: ")
    ]
    known = [_SPELLED[each.lower()] for each in said if each.lower() in _SPELLED]
    if not known:
        old = str(found.get("License") or "").strip().partition("\n")[0].strip().lower()
        known = [_SPELLED[old]] if old in _SPELLED else []
    # Several classifiers may mean "and": that is the stricter reading.
    return " AND ".join(dict.fromkeys(known)) or UNKNOWN


def find_pins(lock: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, version and SHA-256 hashes of every pin."""
    for found in re.finditer(r"^([A-Za-z0-9._-]+)==(\S+)(.*?)(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL):
        yield found[1], found[2], tuple(re.findall(r"sha256:([0-9a-f]{64})", found[3]))


def packages() -> list[Part]:
    parts = []
    for name, version, hashes in find_pins(LOCK.read_text(encoding="utf-8")):
        try:
            licence = licence_of(name, cast("Message", metadata.metadata(name)))
        except metadata.PackageNotFoundError:
            licence = UNKNOWN
        purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
        parts.append(Part(name, version, licence, purl, hashes))
    return parts


def scripts() -> list[Part]:
    """What the page serves that others wrote, by the names of the files."""
    found = {}
    for path in sorted(VENDOR.iterdir()):
        if named := re.fullmatch(r"([A-Za-z-]+?)-(\d+\.\d+\.\d+)\b.*\.(?:js|css)", path.name):
            found[named[1]] = named[2]
    return [
        Part(name, version, VENDORED.get(name, UNKNOWN), f"pkg:npm/{name}@{version}") for name, version in found.items()
    ]


def absent() -> set[str]:
    """Pins that are for another platform or interpreter than this one."""
    return {name for name, _, _ in find_pins(LOCK.read_text(encoding="utf-8")) if not _is_installed(name)}


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def document(parts: Sequence[Part]) -> dict[str, Any]:
    """CycloneDX 1.6. The same parts are the same document: no time and no serial number."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "leadline",
                "name": "leadline",
                "version": metadata.version("leadline"),
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": part.purl,
                "name": part.name,
                "version": part.version,
                "purl": part.purl,
                "licenses": [] if part.licence == UNKNOWN else [{"expression": part.licence}],
                # Of the files that may be installed, one is: the others are for other platforms.
                "properties": [{"name": "leadline:sha256", "value": each} for each in part.hashes],
            }
            for part in sorted(parts, key=lambda each: each.purl)
        ],
        "dependencies": [{"ref": "leadline", "dependsOn": sorted(part.purl for part in parts)}],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="What is shipped, as CycloneDX")
    parser.add_argument("--output", type=Path, help="a file; else standard output")
    parser.add_argument("--licences", action="store_true", help="a list of the licences instead")
    given = parser.parse_args()
    parts = packages() + scripts()
    if given.licences:
        text = "".join(
            f"{part.licence:40} {part.name} {part.version}\n" for part in sorted(parts, key=lambda p: p.licence)
        )
    else:
        text = json.dumps(document(parts), indent=1) + "\n"
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    elsewhere = absent()
    refused = [part for part in parts if not part.allowed and part.name not in elsewhere]
    for part in refused:
        sys.stderr.write(f"{part.name} {part.version}: {part.licence} is not a licence that may be used here\n")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
