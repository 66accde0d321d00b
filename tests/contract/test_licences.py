"""What is shipped, and that every licence of it may be."""

from __future__ import annotations

import re
import subprocess
import sys
from email.message import Message

import pytest

from deploy import sbom
from deploy.sbom import Part

# Pins of the lock that are for Windows or a browser's Python; there is no metadata of them here.
ELSEWHERE = {"colorama", "httpx2-jsfetch", "pywin32"}


def test_every_licence_is_known_and_may_be_used() -> None:
    parts = sbom.packages() + sbom.scripts()
    assert len(parts) > 150
    assert {part.name for part in parts if part.licence == sbom.UNKNOWN} <= ELSEWHERE
    assert [part for part in parts if not part.allowed and part.name not in ELSEWHERE] == []


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "MIT AND LGPL-3.0-only", "AGPL-3.0-or-later", "SSPL-1.0", sbom.UNKNOWN]
)
def test_a_licence_that_asks_for_more_is_refused(licence: str) -> None:
    assert not Part("new", "1", licence, "pkg:pypi/new@1").allowed


@pytest.mark.parametrize("licence", ["MIT", "MIT OR GPL-3.0-only", "BSD-3-Clause AND (MIT OR Apache-2.0)"])
def test_of_alternatives_one_is_enough(licence: str) -> None:
    assert Part("new", "1", licence, "pkg:pypi/new@1").allowed


def test_the_licence_is_read_wherever_a_package_states_it() -> None:
    def stated(**headers: str | list[str]) -> str:
        message = Message()
        for name, values in headers.items():
            for value in [values] if isinstance(values, str) else values:
                message[name.replace("_", "-")] = value
        return sbom.licence_of("new", message)

    assert stated(License_Expression="MIT-0", License="GPL") == "MIT-0"
    both = ["License :: OSI Approved :: MIT License", "License :: OSI Approved :: ISC License (ISCL)"]
    assert stated(Classifier=both) == "MIT AND ISC"
    assert stated(License="Apache 2.0") == "Apache-2.0"
    assert stated(Classifier=["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]) == sbom.UNKNOWN
    assert stated() == sbom.UNKNOWN


def test_the_document_lists_every_pin_with_its_hashes_and_the_pages_scripts() -> None:
    found = sbom.document(sbom.packages() + sbom.scripts())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    components = {component["purl"]: component for component in found["components"]}
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", sbom.LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(components) == len(pins) + 4
    assert {f"{each['name']}=={each['version']}" for each in components.values()} >= {"==".join(pin) for pin in pins}
    assert all(each["properties"] for purl, each in components.items() if purl.startswith("pkg:pypi"))
    assert {purl.partition("@")[0] for purl in components if purl.startswith("pkg:npm")} == {
        "pkg:npm/htmx", "pkg:npm/hx-sse", "pkg:npm/swagger-ui", "pkg:npm/uPlot",
    }  # fmt: skip
    assert found["dependencies"][0]["dependsOn"] == sorted(components)


def test_the_command_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.sbom", "--licences"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
