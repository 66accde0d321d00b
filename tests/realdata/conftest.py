"""Where the shared price files are, and what is read from them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "LEADLINE_SHARED_DATA"
PRICES, PRICES_GPL = "prices.parquet", "prices_gpl3.parquet"
# Continuous integration and the developers' machines have the folder beside the repository.
BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder, from LEADLINE_SHARED_DATA or else ../shared/data beside the repository's root."""
    folder = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else BESIDE
    if not (folder / PRICES).is_file():
        pytest.skip(
            f"no {PRICES} in {folder if VARIABLE in os.environ else '../shared/data beside the repository'}: these prices may not "
            f"be shipped; set {VARIABLE} to a folder that has them"
        )
    return folder


@pytest.fixture(scope="session")
def prices(shared_data: Path) -> Path:
    return shared_data / PRICES


@pytest.fixture(scope="session")
def gpl_prices(shared_data: Path) -> Path:
    if not (shared_data / PRICES_GPL).is_file():
        pytest.skip(f"no {PRICES_GPL} beside {PRICES}: it has the T-bill fund")
    return shared_data / PRICES_GPL
