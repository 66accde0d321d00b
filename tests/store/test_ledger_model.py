"""Random histories on the database and on a model of twenty lines: the same units are missing, ready and raised."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import ledger
from shared.work import UPSTREAM, Phase, UnitKey
from tests.support.databases import act_as
from tests.support.ledger import SESSIONS, Unit, add, complete, ready, require, revisions

PORTFOLIOS = [UUID(int=n) for n in (1, 2, 3)]
DAYS = SESSIONS[:5]
BEHIND = {
    Phase.INGEST: {Phase.INGEST, Phase.FACTORS, Phase.SNAPSHOTS, Phase.RISK},
    Phase.FACTORS: {Phase.FACTORS, Phase.RISK},
    Phase.SNAPSHOTS: {Phase.SNAPSHOTS, Phase.RISK},
    Phase.RISK: {Phase.RISK},
}


class Model:
    """The ledger, as docs/architecture.md says it in words."""

    def __init__(self) -> None:
        self.units: dict[Unit, list[int]] = {}

    def add(self, portfolios: Iterable[UUID], sessions: Iterable[date], revision: int) -> None:
        for unit in [Unit(p, s, phase) for p in portfolios for s in sessions for phase in Phase]:
            self.units.setdefault(unit, [revision, 0])

    def remove(self, portfolio: UUID, before: date | None) -> None:
        for unit in [u for u in self.units if u.portfolio_id == portfolio and (before is None or u.session < before)]:
            del self.units[unit]

    def require(self, demands: Iterable[tuple[UUID, date, date, Phase]], revision: int) -> set[Unit]:
        raised = set()
        for portfolio, first, last, phase in demands:
            for unit, state in self.units.items():
                # A snapshot stands on the one before it, so what a raise touches is open to the end from there on.
                opens = phase in {Phase.INGEST, Phase.SNAPSHOTS} and unit.phase in {Phase.SNAPSHOTS, Phase.RISK}
                inside = first <= unit.session and (opens or unit.session <= last)
                if unit.portfolio_id == portfolio and unit.phase in BEHIND[phase] and inside and state[0] < revision:
                    raised.add(unit)
        for unit in raised:
            self.units[unit][0] = revision
        return raised

    def complete(self, units: Iterable[Unit], revision: int) -> set[Unit]:
        raised = {unit for unit in units if unit in self.units and self.units[unit][1] < revision}
        for unit in raised:
            self.units[unit][1] = revision
        return raised

    def done(self, unit: Unit) -> bool:
        return unit in self.units and self.units[unit][1] >= self.units[unit][0]

    def missing(self) -> set[Unit]:
        return {unit for unit in self.units if not self.done(unit)}

    def ready(self, phase: Phase) -> set[UnitKey]:
        found = set()
        for portfolio in PORTFOLIOS:
            for session in DAYS:
                unit = Unit(portfolio, session, phase)
                if unit not in self.missing():
                    continue
                if all(self.done(Unit(portfolio, session, up)) for up in UPSTREAM[phase]):
                    found.add(UnitKey(portfolio, session))
                elif phase is Phase.SNAPSHOTS:
                    break
        return found


some = st.lists(st.sampled_from(PORTFOLIOS), min_size=1, max_size=3, unique=True)
day = st.sampled_from(DAYS)
span = st.tuples(day, day).map(lambda pair: (min(pair), max(pair)))
phases = st.sampled_from(Phase)
demand = st.builds(lambda p, ends, phase: (p, *ends, phase), st.sampled_from(PORTFOLIOS), span, phases)
steps = st.one_of(
    st.tuples(st.just("add"), some, st.lists(day, min_size=1, unique=True)),
    st.tuples(st.just("require"), st.lists(demand, min_size=1, max_size=4), st.just(None)),
    st.tuples(st.just("complete"), phases, st.tuples(some, span, st.integers(0, 3))),
    st.tuples(st.just("drain"), phases, some),
    st.tuples(st.just("remove"), st.sampled_from(PORTFOLIOS), st.none() | day),
)


@settings(
    max_examples=40,
    deadline=None,
    # Each example undoes what it wrote, so one connection serves them all.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(steps, min_size=3, max_size=14))
async def test_any_history_leaves_the_ledger_as_the_model(db: AsyncConnection, history: list[Any]) -> None:
    undo = await db.begin_nested()
    try:
        await _play(db, history)
    finally:
        await undo.rollback()


async def _play(db: AsyncConnection, history: list[Any]) -> None:
    model, latest = Model(), 1
    await add(db, PORTFOLIOS[:1], DAYS[1:3])
    latest = max(required for required, _ in (await revisions(db)).values())
    model.add(PORTFOLIOS[:1], DAYS[1:3], latest)
    for kind, what, where in history:
        if kind == "add":
            latest = await add(db, what, where)
            model.add(what, where, latest)
        elif kind == "require":
            latest, raised = await require(db, *what)
            assert raised == model.require(what, latest)
        elif kind == "complete":
            portfolios, (first, last), behind = where
            keys = [UnitKey(p, s) for p in portfolios for s in DAYS if first <= s <= last]
            done = await complete(db, what, keys, latest - behind)
            assert {Unit(*key, what) for key in done.keys} == model.complete(
                [Unit(*key, what) for key in keys], latest - behind
            )
        elif kind == "drain":
            # What a handler does: what is ready, at the revision that it read.
            for key in await ready(db, what, where):
                revision = model.units[Unit(*key, what)][0]
                assert (await complete(db, what, [key], revision)).revision == {key: revision}
                model.complete([Unit(*key, what)], revision)
        else:
            await act_as(db, "coordinator")
            await ledger.withdraw_units(db, what, before=where)
            model.remove(what, where)
        known = await revisions(db)
        assert {unit: list(state) for unit, state in known.items()} == model.units
        assert {unit for unit, (required, completed) in known.items() if completed < required} == model.missing()
    for phase in Phase:
        assert await ready(db, phase, PORTFOLIOS) == model.ready(phase)
