"""Which symbols are fetched whoever holds them: funds of sectors where that costs no calls, or where somebody says so."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.settings import IngestSettings


@pytest.mark.parametrize(
    ("given", "fetched"),
    [
        ({"providers": ("file",)}, True),
        ({"providers": ("file", "yahoo")}, False),
        ({"providers": ("tiingo",)}, False),
        ({"providers": ("yahoo",), "sector_funds": True}, True),
        ({"providers": ("file",), "sector_funds": False}, False),
    ],
)
def test_funds_of_sectors_are_fetched_from_a_file_or_where_it_is_said(given: dict[str, Any], fetched: bool) -> None:
    found = IngestSettings(**given).everybodys
    assert len(found) == (11 if fetched else 0)
    assert ("XLK" in found) is fetched
