"""A new model restates what an older one said: exactly that, once, whatever crashes; an older one restates nothing."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from services.coordinator.control import releases
from services.coordinator.control.auditor import Auditor, audit
from shared.clock import Clock
from shared.market import registry
from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api
from tests.store.coordinator.test_auditor import finish

SESSIONS = calendar().between(date(2020, 12, 21), AS_OF)
EVERYTHING = {(phase, day) for phase in ("factors", "snapshots", "risk") for day in SESSIONS}


async def take_up(api: Api, model: str) -> None:
    await releases.apply(api.context.engine, Clock(AS_OF), code="code", model=model)


async def finished(api: Api, model: str = "1") -> str:
    portfolio = str((await api.create(price_basis="as_traded"))["id"])
    await finish(api, portfolio, model)
    return portfolio


async def test_a_new_model_requires_everything_but_prices_anew(api: Api) -> None:
    one, other = await finished(api), await finished(api)
    await take_up(api, "1")
    assert await api.missing(one) == set(), "the first start only takes note"
    await take_up(api, "2")
    for portfolio in (one, other):
        assert await api.missing(portfolio) == EVERYTHING
    assert (await api.rows("SELECT version FROM coordinator.versions WHERE name = 'model'"))[0][0] == "2"
    [run] = (await api.client.get(f"{PREFIX}/admin/runs", params={"source": "reconciler"})).json()["items"]
    assert (run["units"], run["scope"]["model_version"], run["state"]) == (2 * len(EVERYTHING), "2", "running")


async def test_it_is_done_once(api: Api) -> None:
    """Killed before the record was written: the next start raises nothing twice, not even what was recomputed meanwhile."""
    portfolio = await finished(api)
    await take_up(api, "1")
    await take_up(api, "2")
    required = "SELECT max(required_revision) FROM ledger.units WHERE portfolio_id = :id"
    before = (await api.rows(required, id=UUID(portfolio)))[0][0]
    await api.run("UPDATE coordinator.versions SET version = '1' WHERE name = 'model'")
    await take_up(api, "2")
    assert (await api.rows(required, id=UUID(portfolio)))[0][0] == before
    await finish(api, portfolio, "2")
    await api.run("UPDATE coordinator.versions SET version = '1' WHERE name = 'model'")
    await take_up(api, "2")
    assert await api.missing(portfolio) == set()


async def test_only_what_is_older_is_restated(api: Api) -> None:
    old, new = await finished(api), await finished(api)
    await take_up(api, "1")
    await api.run("UPDATE risk.results SET model_version = '2' WHERE portfolio_id = :id", id=UUID(new))
    await api.run("UPDATE snapshots.snapshots SET model_version = '2' WHERE portfolio_id = :id", id=UUID(new))
    await api.run("UPDATE risk.results SET model_version = '2' WHERE session < :d", d=SESSIONS[4])
    await api.run("UPDATE snapshots.snapshots SET model_version = '2'")
    await take_up(api, "2")
    assert await api.missing(new) == set()
    assert await api.missing(old) == {(phase, day) for phase in ("factors", "risk") for day in SESSIONS[4:]}


async def test_an_older_release_restates_nothing(api: Api) -> None:
    """Two releases side by side in a rolling deploy would undo each other's work for ever."""
    portfolio = await finished(api, "10")
    await take_up(api, "10")
    await take_up(api, "9")
    assert await api.missing(portfolio) == set()
    assert (await api.rows("SELECT version FROM coordinator.versions WHERE name = 'model'"))[0][0] == "10"


async def test_what_an_old_worker_completes_afterwards_is_found_by_the_audit(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    portfolio = await finished(api)
    await take_up(api, "1")
    await take_up(api, "2")
    await finish(api, portfolio, "1")
    monkeypatch.setattr(registry, "MODEL_VERSION", "2")
    found: Any = await audit(api.context.engine, Clock(AS_OF))
    assert {drift.kind for drift in found.drift} == {"other_model"}
    await releases.require_outdated(api.context.engine, Clock(AS_OF), [UUID(portfolio)], "2")
    assert await api.missing(portfolio) == EVERYTHING


@pytest.mark.parametrize("model", ["1", "2"], ids=["there still", "replaced since"])
async def test_what_rests_on_facts_of_an_old_worker_is_restated_too(
    api: Api, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Its risk was computed by a new worker, so nothing of it tells; what the old one did elsewhere does."""
    by_new, by_old = await finished(api, "2"), await finished(api, "2")
    await take_up(api, "2")
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL') ON CONFLICT DO NOTHING")
    await api.run(
        "INSERT INTO factors.exposures SELECT id, :day, :model, 7, array_fill('NaN'::float8, '{6}'), NULL, NULL,"
        " array_fill('NaN'::float8, '{12}'), array_fill('NaN'::float8, '{8}'), array_fill('NaN'::float8, '{3}'),"
        " '{0}', 'none', false FROM ingest.symbols WHERE symbol = 'AAPL'",
        day=SESSIONS[3],
        model=model,
    )
    monkeypatch.setattr(registry, "MODEL_VERSION", "2")
    auditor = Auditor(api.context.engine, Clock(AS_OF))
    await auditor._restate(await audit(api.context.engine, Clock(AS_OF)))
    assert await api.missing(by_new) == set(), "nothing tells that an old worker ran"
    await api.run("UPDATE snapshots.snapshots SET model_version = '1' WHERE portfolio_id = :id", id=UUID(by_old))
    await auditor._restate(await audit(api.context.engine, Clock(AS_OF)))
    assert await api.missing(by_new) >= {("factors", SESSIONS[3]), ("risk", SESSIONS[3])}
    assert await api.missing(by_old) >= {("factors", SESSIONS[3]), *(("snapshots", day) for day in SESSIONS)}


def test_the_code_version_is_that_of_the_sources() -> None:
    assert releases.code_version() == releases.code_version()
    assert len(releases.code_version()) == 16
