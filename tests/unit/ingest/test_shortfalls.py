"""What sessions fall short of, against a look at each session by itself."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.compute.shortfalls import fall_short
from services.ingest.model.stored import Absence, LotCost, Shortfall
from shared.market.calendar import calendar

WINDOW = 5
DAYS = calendar().between(date(2020, 11, 2), date(2020, 12, 30))
SESSIONS = DAYS[WINDOW:]
WINDOWS = [(session, DAYS[place]) for place, session in enumerate(SESSIONS)]
days = st.sampled_from(DAYS)


@st.composite
def portfolios(draw: st.DrawFn) -> tuple[list[Absence], list[LotCost]]:
    lots, absences = [], []
    for number in range(draw(st.integers(1, 6))):
        entry, exit_ = draw(days), draw(st.none() | days)
        lot = LotCost(UUID(int=number), entry, exit_, draw(st.sampled_from([0.0, 0.1, 3.3, 1e9])))
        lots.append(lot)
        for reason in draw(st.lists(st.sampled_from(["gap", "not_found"]), max_size=2)):
            first, last = draw(days), draw(days)
            absences.append(
                Absence(lot.lot_id, f"S{number % 3}", reason, draw(st.booleans()), max(first, entry), exit_, last)
            )
    return absences, lots


def one_by_one(absences: list[Absence], lots: list[LotCost]) -> dict[date, Shortfall]:
    found = {}
    for session, start in WINDOWS:
        absent = [
            each
            for each in absences
            if each.first <= session
            and (each.exit is None or session <= each.exit)
            and (each.last >= session or (each.waits and each.last >= start))
        ]
        held = [lot for lot in lots if lot.entry <= session and (lot.exit is None or session <= lot.exit)]
        total = backed = 0.0
        for lot in held:
            total += lot.cost
            backed += 0.0 if any(each.lot_id == lot.lot_id for each in absent) else lot.cost
        if absent:
            found[session] = Shortfall(
                min(1.0, backed / total) if total > 0 else 0.0,
                sorted({(each.symbol, each.reason) for each in absent}),
                any(each.waits for each in absent),
            )
    return found


@given(portfolios())
def test_each_session_lacks_what_a_look_at_it_alone_says(given: tuple[list[Absence], list[LotCost]]) -> None:
    found = {session: short for sessions, short in fall_short(*given, WINDOWS) for session in sessions}
    assert found == one_by_one(*given)


def test_sessions_that_lack_the_same_are_one_answer() -> None:
    lots = [LotCost(UUID(int=number), DAYS[0], None, 1.0) for number in range(3)]
    absences = [Absence(lots[0].lot_id, "A", "not_found", False, DAYS[0], None, DAYS[-1])]
    [(sessions, short)] = fall_short(absences, lots, WINDOWS)
    assert list(sessions) == SESSIONS
    assert short == Shortfall(2 / 3, [("A", "not_found")], False)
