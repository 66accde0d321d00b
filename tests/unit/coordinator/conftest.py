"""Commands are made of their functions once: to read sixty signatures takes longer than to run any one of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from typer import main, testing


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", cache(main.get_command))
        yield
