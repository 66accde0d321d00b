"""The secured servers. They need Java, Maven and openssl, and start only where they are asked for: `make secured`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import certificates, databases, secured
from tests.support.certificates import Authority
from tests.support.databases import Server
from tests.support.secured import SecuredKafka
from tests.support.secured_run import ASKED, asked


@pytest.fixture(scope="session")
def authority(scratch_directory: Path) -> Authority:
    if not asked():
        pytest.skip(f"takes minutes: `make secured` runs it ({ASKED}=1)")
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if reason := certificates.missing() or (f"no {' and no '.join(missing)} on PATH" if missing else None):
        pytest.skip(reason)
    return Authority.create(scratch_directory / "authority")


@pytest.fixture(scope="session")
def secured_kafka(authority: Authority, scratch_directory: Path) -> Iterator[SecuredKafka]:
    running = secured.serve_kafka(scratch_directory / "secured-kafka", authority)
    yield running
    running.node.stop()


@pytest.fixture(scope="session")
def secured_postgres(authority: Authority, scratch_directory: Path) -> Iterator[Server]:
    running = secured.serve_postgres(scratch_directory / "secured-postgres", authority)
    databases.make_template(running)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def restricted_kafka(authority: Authority, scratch_directory: Path) -> Iterator[SecuredKafka]:
    """A node on which nobody may do what no rule allows."""
    running = secured.serve_kafka(scratch_directory / "restricted-kafka", authority, acls=True)
    yield running
    running.node.stop()
