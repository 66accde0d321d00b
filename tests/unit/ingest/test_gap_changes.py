"""What one write changed of a symbol's gaps, told by their ends."""

import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.compute.gap_changes import GapChange, find_gap_changes
from services.ingest.model.stored import PriceGap

NOW = datetime(2020, 1, 2, tzinfo=UTC)
REASONS = [("no_trade", True), ("late", False), ("rate_limited", False), ("not_found", True)]
# A reason a session, or none; neighbours of one reason may be two gaps, as those of two providers are.
SESSIONS = st.lists(st.tuples(st.sampled_from([None, *REASONS]), st.booleans()), max_size=12)


def gap(first: int, last: int, reason: str = "no_trade", *, terminal: bool = True) -> PriceGap:
    return PriceGap(first, last, reason, terminal, "file", NOW, None)


def gaps_of(sessions: Sequence[tuple[tuple[str, bool] | None, bool]]) -> list[PriceGap]:
    """Disjoint gaps, ascending."""
    found: list[PriceGap] = []
    for at, (why, joined) in enumerate(sessions):
        if why is None:
            continue
        if joined and found and found[-1].last == at - 1 and found[-1][2:4] == why:
            found[-1] = found[-1]._replace(last=at)
        else:
            found.append(gap(at, at, why[0], terminal=why[1]))
    return found


def changes_by_session(before: Sequence[PriceGap], after: Sequence[PriceGap]) -> list[GapChange]:
    """As the definition says it: each session by itself."""
    now = {at: (each.reason, each.terminal) for each in after for at in range(each.first, each.last + 1)}
    found: list[GapChange] = []
    for each in before:
        for at in range(each.first, each.last + 1):
            if now.get(at) == (each.reason, each.terminal):
                continue
            waited = not each.terminal and (at not in now or now[at][1])
            if found and found[-1].last == at - 1 and found[-1].waited == waited:
                found[-1] = found[-1]._replace(last=at)
            else:
                found.append(GapChange(at, at, waited))
    return found


@given(SESSIONS, SESSIONS)
@example([(("late", False), True)] * 5, [(None, True), (("no_trade", True), True), (None, True)])
def test_ends_say_what_sessions_say(
    before: list[tuple[tuple[str, bool] | None, bool]], after: list[tuple[tuple[str, bool] | None, bool]]
) -> None:
    old, new = gaps_of(before), gaps_of(after)
    assert find_gap_changes(old, new) == changes_by_session(old, new)


def test_a_long_gap_costs_no_more_than_a_short_one() -> None:
    """It is done behind the commit-order lock, for all symbols of a write: 250 sessions more of 2,000 unknown ones took 0.65 s."""
    before = [gap(1, 50_000, "late", terminal=False), gap(50_001, 100_000)]
    after = [gap(1, 50_000, "not_found"), gap(50_001, 120_000)]
    tracemalloc.start()
    try:
        assert find_gap_changes(before, after) == [GapChange(1, 50_000, waited=True)]
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()
