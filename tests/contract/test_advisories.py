"""Nothing that is pinned, or may be installed, is older than what mended a vulnerability that was known when this was written.

Without a network. `make audit` asks a public database for those that became known since.
"""

from __future__ import annotations

import pytest

from deploy import advisories
from deploy.advisories import MENDED, find_affected, floors, pins


def test_nothing_that_is_pinned_or_may_be_installed_is_affected() -> None:
    assert list(find_affected(pins(), floors())) == []


@pytest.mark.parametrize(("package", "mended", "advisory"), MENDED)
def test_an_older_one_is_told_whether_pinned_or_allowed(package: str, mended: str, advisory: str) -> None:
    older = "0." + mended
    (pinned,) = find_affected(pins() | {package: older}, {})
    (allowed,) = find_affected(pins(), {package: older})
    assert (advisory in pinned, "requirements.lock" in pinned) == (True, True)
    assert (advisory in allowed, "pyproject.toml" in allowed) == (True, True)


def test_floors_are_read_of_the_client_and_of_every_extra() -> None:
    assert floors()["starlette"] == "1.3.1"
    assert floors()["httpx2"] == "2.16"


def test_the_command_fails_where_something_is_affected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert advisories.main() == 0
    monkeypatch.setattr(advisories, "MENDED", (("h11", "99", "CVE-0"),))
    assert advisories.main() == 1
    assert "h11" in capsys.readouterr().err
