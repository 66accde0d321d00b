"""Sessions that a clock which was ahead made are withdrawn once it is right, and nothing else is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from services.coordinator.control.auditor import audit
from services.coordinator.control.scheduler import add_due
from services.coordinator.control.undue import last_kept, withdraw_undue
from shared.clock import Clock
from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

AHEAD = date(2021, 1, 5)
DUE = calendar().due_at(AS_OF)


async def test_sessions_of_a_clock_that_was_ahead_go_with_their_results(api: Api) -> None:
    kept = await api.create()
    portfolio = str((await api.create(name="Other"))["id"])
    units = await api.rows("SELECT portfolio_id, session, phase FROM ledger.units ORDER BY 1, 2, 3")
    assert await add_due(api.context.engine, Clock(AHEAD), source="cron", wake=lambda: None) == 2 * 4 * 3
    await api.complete(portfolio)
    await api.run(
        """
        INSERT INTO risk.results (portfolio_id, session, revision, model_version, quality, coverage, reasons, risk)
        SELECT portfolio_id, session, completed_revision, 'm', 'complete', 1, '[]', '{}' FROM ledger.units
        WHERE portfolio_id = :id AND phase = 'risk'
        """,
        id=UUID(portfolio),
    )
    # Before they are withdrawn nobody is told of them.
    answer = await api.client.get(f"{PREFIX}/portfolios/{portfolio}/scorecard")
    assert (answer.status_code, answer.json()["session"]) == (200, AS_OF.isoformat())
    assert await withdraw_undue(api.context.engine, Clock(AS_OF)) == 2 * 4 * 3
    assert await api.rows("SELECT portfolio_id, session, phase FROM ledger.units ORDER BY 1, 2, 3") == units
    assert (await api.rows("SELECT max(session), count(*) FROM risk.results"))[0] == (AS_OF, len(units) // 8)
    status = (await api.client.get(f"{PREFIX}/portfolios/{portfolio}/status")).json()
    assert status["last_session"] == status["as_of"] == AS_OF.isoformat()
    found = await audit(api.context.engine, Clock(AS_OF))
    assert not [drift for drift in found.drift if drift.kind == "surplus_units"]
    assert await withdraw_undue(api.context.engine, Clock(AS_OF)) == 0
    assert kept["id"] != portfolio


@pytest.mark.parametrize(
    ("now", "database", "kept"),
    [
        (DUE + timedelta(hours=1), timedelta(0), AS_OF),
        # Another coordinator's clock may be minutes ahead: its session is left alone.
        (calendar().due_at(AHEAD) - timedelta(minutes=5), timedelta(0), AHEAD),
        # Whose clock is wrong is not to be told from here.
        (DUE + timedelta(hours=1), timedelta(minutes=6), None),
        (DUE + timedelta(hours=1), -timedelta(minutes=6), None),
    ],
)
def test_what_is_kept_depends_on_two_clocks(
    monkeypatch: pytest.MonkeyPatch, now: datetime, database: timedelta, kept: date | None
) -> None:
    clock = Clock()
    monkeypatch.setattr(Clock, "now", lambda _: now)
    assert last_kept(clock, (now + database).astimezone(UTC)) == kept
