"""One clock: frozen just after a session fell due, or the wall's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.clock import Clock
from shared.market.calendar import NotASession, calendar


@pytest.mark.parametrize(
    ("as_of", "session"),
    [
        (date(2024, 12, 31), date(2024, 12, 31)),
        (date(2024, 12, 28), date(2024, 12, 27)),  # a Saturday: the last session before it
        (date(2025, 1, 9), date(2025, 1, 8)),  # closed for a funeral
        (date(2026, 11, 27), date(2026, 11, 27)),  # a half-day
    ],
)
def test_as_of_means_that_the_close_and_the_buffer_have_passed(as_of: date, session: date) -> None:
    clock = Clock(as_of)
    assert clock.last_due() == session
    assert clock.now() == calendar().due_at(session)
    assert clock.today() == session
    assert clock.now() == clock.now(), "it stands still"


def test_as_of_before_the_first_session_says_so() -> None:
    with pytest.raises(NotASession, match="1990-01-02"):
        Clock(date(1989, 12, 29)).now()


def test_without_as_of_it_is_the_walls() -> None:
    clock = Clock()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert calendar().due_at(clock.last_due()) <= clock.now()
    assert clock.today() in {
        (datetime.now(ZoneInfo("America/New_York")) + timedelta(seconds=offset)).date() for offset in (-5, 0)
    }
