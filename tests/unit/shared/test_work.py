"""Units, the phase graph, and cutting into rectangles."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.work import (
    CHAINED,
    MAX_PORTFOLIOS,
    MAX_ROWS,
    MAX_UNITS,
    UPSTREAM,
    Batch,
    MissingUnit,
    Phase,
    Size,
    UnitKey,
    Work,
    cut,
    group_units,
    rectangles,
    rows_per_session,
)

# Sessions with gaps of weekends: neighbours in the list, not neighbours in the calendar, are consecutive.
SESSIONS = [day for n in range(60) if (day := date(2024, 1, 1) + timedelta(days=n)).weekday() < 5]
PORTFOLIOS = [UUID(int=n) for n in range(1, 9)]

dues = st.lists(
    st.builds(MissingUnit, st.sampled_from(PORTFOLIOS), st.sampled_from(SESSIONS), st.integers(1, 3)),
    max_size=120,
    unique_by=lambda due: (due.portfolio_id, due.session),
)


@given(units=dues, max_units=st.integers(1, 30), max_portfolios=st.integers(1, 5), seed=st.integers(0, 5))
def test_every_unit_falls_into_one_rectangle_within_the_limits(
    units: list[MissingUnit], max_units: int, max_portfolios: int, seed: int
) -> None:
    batches = cut(group_units(units), SESSIONS, max_units=max_units, max_portfolios=max_portfolios)
    assert Counter(unit for batch in batches for unit in batch.units) == Counter(units)
    for batch in batches:
        assert len(batch) <= max_units
        assert len(batch.portfolios) <= max_portfolios
        assert list(batch.portfolios) == sorted(set(batch.portfolios))
        start = SESSIONS.index(batch.first)
        assert list(batch.sessions) == SESSIONS[start : start + len(batch.sessions)]
        assert all(len(row) == len(batch.sessions) for row in batch.revisions)
    # The order in which units arrive decides nothing.
    shuffled = list(units)
    random.Random(seed).shuffle(shuffled)
    assert cut(group_units(shuffled), SESSIONS, max_units=max_units, max_portfolios=max_portfolios) == batches


@given(units=dues)
def test_oldest_sessions_come_first(units: list[MissingUnit]) -> None:
    firsts = [batch.first for batch in cut(group_units(units), SESSIONS)]
    assert firsts == sorted(firsts)


@given(units=dues)
def test_a_portfolio_never_has_two_rectangles_that_could_be_one(units: list[MissingUnit]) -> None:
    taken: dict[UUID, list[tuple[date, date]]] = {}
    for batch in cut(group_units(units), SESSIONS):
        for portfolio in batch.portfolios:
            taken.setdefault(portfolio, []).append((batch.first, batch.last))
    for ranges in taken.values():
        for (_, last), (first, _) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
            assert SESSIONS.index(first) > SESSIONS.index(last) + 1


def test_the_limits_of_a_handler_call_are_the_designs() -> None:
    sessions = [date(2000, 1, 3) + timedelta(days=n) for n in range(6_000)]
    portfolios = [UUID(int=n) for n in range(1, 301)]
    long = cut(group_units([MissingUnit(portfolios[0], session, 1) for session in sessions]), sessions)
    assert [len(batch) for batch in long] == [MAX_UNITS, 1_000]
    wide = cut(group_units([MissingUnit(portfolio, sessions[0], 1) for portfolio in portfolios]), sessions)
    assert [len(batch.portfolios) for batch in wide] == [MAX_PORTFOLIOS, 50]
    both = cut(
        group_units([MissingUnit(p, session, 1) for p in portfolios[:40] for session in sessions[:500]]), sessions
    )
    assert [len(batch) for batch in both] == [MAX_UNITS] * 4


@given(units=dues)
def test_events_cover_exactly_the_keys_they_announce(units: list[MissingUnit]) -> None:
    keys = {UnitKey(unit.portfolio_id, unit.session) for unit in units}
    told = {
        UnitKey(portfolio, session)
        for work in rectangles(keys, SESSIONS)
        for portfolio in work.portfolios
        for session in SESSIONS
        if work.first <= session <= work.last
    }
    assert told == keys


def test_halves_have_every_unit_once_and_end_at_one() -> None:
    portfolios, sessions = sorted(PORTFOLIOS)[:3], SESSIONS[:5]
    batch = Batch(
        tuple(portfolios), tuple(sessions), tuple(tuple(range(5 * row, 5 * row + 5)) for row in range(len(portfolios)))
    )
    parts = [batch]
    while any(part.halves() for part in parts):
        parts = [half for part in parts for half in (part.halves() or (part,))]
        assert [unit for part in parts for unit in part.units] == list(batch.units)
    assert [len(part) for part in parts] == [1] * len(batch)


def test_work_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="2024-01-03 to 2024-01-02"):
        Work((PORTFOLIOS[0],), date(2024, 1, 3), date(2024, 1, 2))


def test_the_phase_graph_has_no_cycle_and_one_end() -> None:
    order: list[Phase] = []
    while len(order) < len(Phase):
        free = [phase for phase in Phase if phase not in order and all(up in order for up in UPSTREAM[phase])]
        assert free, f"a cycle among {set(Phase) - set(order)}"
        order += free
    assert [phase for phase in Phase if not UPSTREAM[phase]] == [Phase.INGEST]
    needed = {up for phase in Phase for up in UPSTREAM[phase]}
    assert [phase for phase in Phase if phase not in needed] == [Phase.RISK]
    assert set(UPSTREAM[Phase.RISK]) == {Phase.FACTORS, Phase.SNAPSHOTS}
    assert {Phase.SNAPSHOTS} == CHAINED


holdings = st.lists(
    st.builds(Size, st.integers(0, 12), st.frozensets(st.integers(0, 9)), st.integers(0, 9)),
    min_size=len(PORTFOLIOS),
    max_size=len(PORTFOLIOS),
)


@given(units=dues, held=holdings, phase=st.sampled_from(Phase), most=st.integers(1, 900), max_units=st.integers(1, 30))
def test_pieces_are_within_what_they_may_cost_or_one_session_of_one_portfolio(
    units: list[MissingUnit], held: list[Size], phase: Phase, most: int, max_units: int
) -> None:
    cost = rows_per_session(phase, dict(zip(PORTFOLIOS, held, strict=True)))
    batches = cut(group_units(units), SESSIONS, max_units=max_units, rows=cost, max_rows=most)
    assert Counter(unit for batch in batches for unit in batch.units) == Counter(units)
    for batch in batches:
        assert len(batch) <= max_units
        assert len(batch) == 1 or cost(batch.portfolios) * len(batch.sessions) <= most
        assert list(batch.portfolios) == sorted(set(batch.portfolios))
        start = SESSIONS.index(batch.first)
        assert list(batch.sessions) == SESSIONS[start : start + len(batch.sessions)]
    for portfolio in PORTFOLIOS:
        mine = [batch.first for batch in batches if portfolio in batch.portfolios]
        assert mine == sorted(mine), "a chain goes on from its oldest session"


@given(units=dues, held=holdings, phase=st.sampled_from(Phase))
def test_what_costs_little_is_cut_as_if_it_cost_nothing(
    units: list[MissingUnit], held: list[Size], phase: Phase
) -> None:
    cost = rows_per_session(phase, dict(zip(PORTFOLIOS, held, strict=True)))
    assert cut(group_units(units), SESSIONS, rows=cost, max_rows=MAX_ROWS[phase]) == cut(group_units(units), SESSIONS)


def test_what_a_phase_is_bounded_by() -> None:
    a, b, unknown = PORTFOLIOS[:3]
    sizes = {a: Size(10, frozenset({1, 2, 3}), 2), b: Size(4, frozenset({3, 4}), 1)}
    found = {phase: rows_per_session(phase, sizes)([a, b, unknown]) for phase in Phase}
    assert found == {Phase.INGEST: 4, Phase.FACTORS: 4, Phase.SNAPSHOTS: 14, Phase.RISK: 505}


def test_a_large_portfolio_is_cut_by_sessions_that_fit() -> None:
    cost = rows_per_session(Phase.SNAPSHOTS, {PORTFOLIOS[0]: Size(20_000, frozenset({1}))})
    sessions = [date(2000, 1, 3) + timedelta(days=n) for n in range(505)]
    batches = cut(
        group_units([MissingUnit(PORTFOLIOS[0], s, 1) for s in sessions]), sessions, rows=cost, max_rows=500_000
    )
    assert [len(batch) for batch in batches] == [25] * 20 + [5]
