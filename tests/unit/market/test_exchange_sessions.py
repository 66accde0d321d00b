"""The table of the exchange's sessions, against the library that it was taken from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import date

import pytest

from shared.market import exchange_sessions
from shared.market.calendar import ANNOUNCED_UNTIL
from shared.market.exchange_sessions import FIRST_SESSION, TABLE, from_library, from_table, sessions_until, table_of

YEAR_ENDS = [date(year, 12, 31) for year in range(FIRST_SESSION.year, ANNOUNCED_UNTIL.year + 1)]


def _assert_computed(ends: Sequence[date]) -> None:
    table = json.loads(TABLE.read_text())
    for end in ends:
        read, computed = from_table(table, end), from_library(end)
        assert read == computed
        # Equal instants, in the same words.
        assert [at.isoformat() for at in read.closes] == [at.isoformat() for at in computed.closes]
        assert read.closes[0].tzinfo == computed.closes[0].tzinfo


def test_the_table_is_what_the_library_computes() -> None:
    computed = table_of(from_library(ANNOUNCED_UNTIL), ANNOUNCED_UNTIL)
    assert json.loads(TABLE.read_text()) == computed, "run python -m deploy.sessions"
    _assert_computed([YEAR_ENDS[0], YEAR_ENDS[-1]])


@pytest.mark.long
def test_up_to_every_year_the_table_is_what_the_library_computes() -> None:
    _assert_computed(YEAR_ENDS)


def test_a_calendar_of_the_locked_library_is_made_without_it() -> None:
    """It takes half a second of a start and forty megabytes of each process, pandas with it."""
    code = (
        "import sys; from shared.market.calendar import exchange_calendar as c; c();"
        "print(sorted({'pandas', 'exchange_calendars'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("installed", "end", "asked"),
    [
        ("the table's", ANNOUNCED_UNTIL, False),
        ("the table's", date(ANNOUNCED_UNTIL.year + 1, 12, 31), True),
        ("0.0.1", date(2020, 12, 31), True),
    ],
)
def test_another_library_or_a_later_day_is_computed(
    monkeypatch: pytest.MonkeyPatch, installed: str, end: date, asked: bool
) -> None:
    def refuse(_: date) -> None:
        raise AssertionError("the library was asked")

    if installed != "the table's":
        monkeypatch.setattr("importlib.metadata.version", lambda _: installed)
    monkeypatch.setattr(exchange_sessions, "from_library", refuse)
    if asked:
        with pytest.raises(AssertionError, match="the library was asked"):
            sessions_until(end)
    else:
        assert sessions_until(end).days[-1] <= end
