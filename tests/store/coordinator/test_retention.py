"""What is forgotten, and what never is: open letters, runs that wait, events that were not sent."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.api import idempotency
from services.coordinator.control.retention import Keep, forget
from shared.db.tenancy import HOUSE
from shared.messaging import dead_letters, replays
from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_letters import put


async def keyed(api: Api, portfolio: str, key: str, name: str = "Another") -> Any:
    return await api.client.patch(
        f"{PREFIX}/portfolios/{portfolio}", json={"name": name}, headers={"Idempotency-Key": key}
    )


async def test_by_default_only_answers_to_keys_are_forgotten_after_a_week(api: Api, loops: AsyncEngine) -> None:
    portfolio = (await api.create())["id"]
    await keyed(api, portfolio, "old")
    await api.run("UPDATE coordinator.idempotency SET created_at = now() - interval '169 hours'")
    await keyed(api, portfolio, "young", "A third")
    letter = await put(api, b"{}")
    await api.run("UPDATE bus.dead_letters SET purged_at = now() - interval '10 years'")
    await api.run("UPDATE coordinator.runs SET requested_at = now() - interval '10 years'")
    await api.run("UPDATE bus.outbox SET failed_at = now() - interval '10 years'")
    assert await forget(loops, Keep()) == {"idempotency_answers": 1}
    assert await api.rows("SELECT key FROM coordinator.idempotency") == [("young",)]
    assert await api.rows("SELECT id FROM bus.dead_letters") == [(letter,)]
    assert (await keyed(api, portfolio, "old", "A fourth")).status_code == 200, "it is a new request now"


async def test_the_oldest_keys_go_first_and_some_at_a_time(api: Api, loops: AsyncEngine) -> None:
    await api.run(
        """INSERT INTO coordinator.idempotency (key, endpoint, request_hash, status, response, created_at)
           SELECT n::text, 'e', 'h', 200, 'null', now() - make_interval(mins => n) FROM generate_series(1, 25) n"""
    )
    assert await forget(loops, Keep(keys=5), size=4) == {"idempotency_answers": 20}
    assert [key for (key,) in await api.rows("SELECT key FROM coordinator.idempotency ORDER BY created_at DESC")] == [
        "1", "2", "3", "4", "5",
    ]  # fmt: skip


async def test_no_tenants_keys_push_out_anothers_or_go_with_them(api: Api, loops: AsyncEngine) -> None:
    """Neither by their number nor by being the same: a key that is forgotten would be done a second time."""
    await api.run("INSERT INTO coordinator.tenants (id, name) VALUES (:id, 'b')", id=(other := uuid4()))
    put_key = """INSERT INTO coordinator.idempotency (tenant_id, key, endpoint, request_hash, status, response, created_at)
                 VALUES (:tenant, :key, 'e', 'h', 200, 'null', now() - make_interval(hours => :hours))"""
    for tenant, key, hours in (
        (HOUSE, "same", 169), (other, "same", 5), (other, "kept", 6), (HOUSE, "a", 1), (HOUSE, "b", 2), (HOUSE, "c", 3),
    ):  # fmt: skip
        await api.run(put_key, tenant=tenant, key=key, hours=hours)
    assert await forget(loops, Keep(keys=2)) == {"idempotency_answers": 2}
    kept = await api.rows("SELECT tenant_id, key FROM coordinator.idempotency")
    assert set(kept) == {(other, "same"), (other, "kept"), (HOUSE, "a"), (HOUSE, "b")}


async def test_settled_letters_and_events_that_cannot_be_sent_go_by_their_age_and_open_ones_never(
    api: Api, loops: AsyncEngine
) -> None:
    ids = [await put(api, b"{}", offset=offset) for offset in range(4)]
    for letter, column in zip(ids, ("replayed_at", "purged_at", "resolved_at"), strict=False):
        await api.run(f"UPDATE bus.dead_letters SET {column} = now() - interval '31 days' WHERE id = :id", id=letter)
    await api.run("UPDATE bus.dead_letters SET received_at = now() - interval '10 years'")
    await api.run(
        """INSERT INTO bus.outbox (event_id, topic, type, payload, created_at, failed_at)
           SELECT gen_random_uuid(), 't', 't', '{}', now() - interval '10 years', failed
           FROM unnest(ARRAY[now() - interval '31 days', now(), NULL]) AS f (failed)"""
    )
    assert await forget(loops, Keep(dead_letters=30)) == {"dead_letters": 3, "failed_events": 1}
    assert await api.rows("SELECT id FROM bus.dead_letters") == [(ids[3],)]
    assert len(await api.rows("SELECT 1 FROM bus.outbox")) == 2
    # The database says so too, whatever a statement asks for.
    async with loops.begin() as conn:
        assert (await conn.execute(text("DELETE FROM bus.dead_letters"))).rowcount == 0


async def test_finished_runs_go_and_those_that_wait_stay(api: Api, loops: AsyncEngine) -> None:
    created = await api.create()
    await api.run("UPDATE coordinator.runs SET requested_at = now() - interval '31 days'")
    assert await forget(loops, Keep(runs=30)) == {}
    await api.complete(created["id"])
    assert await forget(loops, Keep(runs=30)) == {"runs": 1}
    assert await api.rows("SELECT 1 FROM coordinator.run_units") == []


async def test_replaced_results_go_by_when_they_were_replaced(api: Api, loops: AsyncEngine) -> None:
    await api.run("DELETE FROM risk.results_history")
    for age in ("40 days", "20 days"):
        await api.run(
            """INSERT INTO risk.results_history
               SELECT (jsonb_populate_record(NULL::risk.results_history, jsonb_build_object(
                   'portfolio_id', gen_random_uuid(), 'session', '2020-12-30', 'revision', 1, 'model_version', '1',
                   'quality', 'complete', 'coverage', 1, 'reasons', '[]'::jsonb, 'risk', '{}'::jsonb, 'computed_at', now(),
                   'provisional', false, 'replaced_at', now() - CAST(CAST(:age AS text) AS interval)))).*""",
            age=age,
        )
    assert await forget(loops, Keep(history=30)) == {"history_rows": 1}
    assert len(await api.rows("SELECT 1 FROM risk.results_history")) == 1
    with pytest.raises(DBAPIError, match="a day at least"):
        async with loops.begin() as conn:
            await conn.execute(text("SELECT ledger.drop_history(now(), 10)"))
    await api.run("DELETE FROM risk.results_history")


# --- answers to idempotency keys --------------------------------------------------------------------------------------


async def test_a_large_answer_is_packed_and_answered_as_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio = (await api.create())["id"]
    monkeypatch.setattr(idempotency, "MOST_BYTES", 100)
    first = await keyed(api, portfolio, "k")
    assert len(first.content) > 100
    [(response, large)] = await api.rows("SELECT response, length(large) FROM coordinator.idempotency")
    assert response is None
    assert large < len(first.content)
    again = await keyed(api, portfolio, "k")
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")


async def test_a_large_answer_is_kept_for_an_hour_and_its_key_for_longer(
    api: Api, loops: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    portfolio = (await api.create())["id"]
    monkeypatch.setattr(idempotency, "MOST_BYTES", 100)
    await keyed(api, portfolio, "k")
    assert await forget(loops, Keep()) == {}
    await api.run("UPDATE coordinator.idempotency SET created_at = now() - interval '61 minutes'")
    assert await forget(loops, Keep()) == {"large_answers": 1}
    refused = await keyed(api, portfolio, "k")
    assert (refused.status_code, refused.json()["code"]) == (409, "answer_forgotten")
    reused = await keyed(api, portfolio, "k", "Something else")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_large_answers_are_counted(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    portfolio = (await api.create())["id"]
    monkeypatch.setattr(idempotency, "MOST_BYTES", 100)
    monkeypatch.setattr(idempotency.forget_large, "__defaults__", (2,))
    for number in range(4):
        await keyed(api, portfolio, f"k{number}", f"Name {number}")
    kept = await api.rows("SELECT key FROM coordinator.idempotency WHERE large IS NOT NULL ORDER BY key")
    assert [key for (key,) in kept] == ["k2", "k3"]
    assert len(await api.rows("SELECT 1 FROM coordinator.idempotency")) == 4


async def test_large_answers_of_one_tenant_push_out_none_of_anothers(api: Api, loops: AsyncEngine) -> None:
    """As the coordinator's role, which no policy confines: by what the statement says."""
    await api.run("INSERT INTO coordinator.tenants (id, name) VALUES (:id, 'b')", id=(other := uuid4()))
    put_key = """INSERT INTO coordinator.idempotency (tenant_id, key, endpoint, request_hash, status, large, created_at)
                 VALUES (:tenant, :key, 'e', 'h', 200, '\\x00', now() - make_interval(mins => :minutes))"""
    for tenant, key, minutes in ((other, "a", 9), (other, "b", 8), (HOUSE, "a", 3), (HOUSE, "b", 2), (HOUSE, "c", 1)):
        await api.run(put_key, tenant=tenant, key=key, minutes=minutes)
    async with loops.begin() as conn:
        assert await idempotency.forget_large(conn, 2) == 1
    kept = await api.rows("SELECT tenant_id, key FROM coordinator.idempotency WHERE large IS NOT NULL")
    assert set(kept) == {(other, "a"), (other, "b"), (HOUSE, "b"), (HOUSE, "c")}


# --- a replay that cannot be sent -------------------------------------------------------------------------------------


async def test_a_letter_whose_replay_the_broker_refused_is_open_again(api: Api, loops: AsyncEngine) -> None:
    letter = await put(api, b"{}")
    other = await put(api, b"[]", offset=1)
    for each in (letter, other):
        assert (await api.client.post(f"{PREFIX}/admin/dead-letters/{each}/replay")).json()["sent"] is True
    await api.run("UPDATE bus.outbox SET failed_at = now() WHERE payload = '{}'")
    async with loops.begin() as conn:
        assert await replays.reopen_failed(conn) == 1
        assert [item.id for item in await dead_letters.page(conn)] == [letter]
        assert await replays.reopen_failed(conn) == 0
    assert (await api.client.post(f"{PREFIX}/admin/dead-letters/{letter}/replay")).json()["sent"] is True
