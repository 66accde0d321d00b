"""What is told of a tenant's portfolios goes to that tenant's webhooks; and nobody lists, counts, tests or ends another's."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.notifications.delivery import Sender, deliver
from services.coordinator.notifications.evaluation import evaluate
from tests.store.coordinator.test_notifications import Receiver, receiving
from tests.store.coordinator.two_tenants import SECRET, World, two_tenants, upload

LIMIT = {"figure": "status.missing", "op": ">", "value": 0}


async def _turn(world: World) -> None:
    context = world.installation.context
    await evaluate(context.engine, context.clock)
    while await deliver(context.engine, Sender()):
        pass


async def _hook(world: World, head: dict[str, str], receiver: Receiver, name: str) -> str:
    made = await world.made("admin/webhooks", head, json={"name": name, "url": receiver.url})
    return str(made["id"])


async def _webhooks(world: World, head: dict[str, str]) -> list[dict[str, Any]]:
    return list((await world.call("GET", "admin/webhooks", head)).json()["items"])


@pytest.mark.parametrize("side", ["policies and statements", "statements alone"])
async def test_messages_are_a_tenants_own(
    engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine, side: str
) -> None:
    engine = engines[0] if side.startswith("policies") else loops
    async with (
        two_tenants(engine, engines, loops, webhook_private=True) as world,
        receiving() as ours,
        receiving() as theirs,
    ):
        # The one it was made with leads beyond this machine.
        assert (await world.call("DELETE", f"admin/webhooks/{world.theirs['webhook_id']}", world.b)).status_code == 204
        own = (await upload(world, world.a, "A's"))["id"]
        await _hook(world, world.a, ours, "desk")
        hook = await _hook(world, world.b, theirs, "desk")
        # Of the same name, on every portfolio: each is on every one of its tenant.
        for head, name in ((world.a, "A's limit"), (world.b, f"{SECRET}'s limit")):
            await world.made("limits", head, json=LIMIT | {"name": name})
        for _ in range(2):
            await _turn(world)
        for receiver, portfolio, others in (
            (ours, own, world.theirs["portfolio_id"]),
            (theirs, world.theirs["portfolio_id"], own),
        ):
            [body] = receiver.bodies()
            assert (body["event"], body["portfolio"]["id"]) == ("limit.breached", portfolio)
            assert others not in json.dumps(body)
        assert SECRET not in json.dumps(ours.bodies())
        assert "A's" not in json.dumps(theirs.bodies())

        # B's receiver is away, so that a message waits, which A neither sees nor hurries nor ends.
        theirs.status = 500
        assert (await world.call("POST", f"admin/webhooks/{hook}/test", world.b)).status_code == 202
        await _turn(world)
        heard = len(theirs.got)
        assert [of["pending"] for of in await _webhooks(world, world.b)] == [1]
        assert [of["pending"] for of in await _webhooks(world, world.a)] == [0]
        for method, path in (("POST", f"admin/webhooks/{hook}/test"), ("DELETE", f"admin/webhooks/{hook}")):
            assert (await world.call(method, path, world.a)).status_code == 404, path
        theirs.status = 204
        await _turn(world)
        assert len(theirs.got) == heard, "it waits for its own time"
        [waiting] = await world.installation.rows(
            "SELECT event FROM coordinator.notifications WHERE delivered_at IS NULL"
        )
        assert waiting.event == "test"
        assert len(ours.got) == 1
        standings = [
            of for item in (await world.call("GET", "limits", world.a)).json()["items"] for of in item["standings"]
        ]
        assert [of["portfolio_id"] for of in standings] == [own]


async def test_a_state_that_should_not_be_there_is_told_to_nobody(
    engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> None:
    """A limit of A's beside a portfolio of B's: neither hears of the other."""
    async with (
        two_tenants(engines[0], engines, loops, webhook_private=True) as world,
        receiving() as ours,
        receiving() as theirs,
    ):
        await world.call("DELETE", f"admin/webhooks/{world.theirs['webhook_id']}", world.b)
        await _hook(world, world.a, ours, "desk")
        await _hook(world, world.b, theirs, "desk")
        limit = await world.made("limits", world.a, json=LIMIT | {"name": "A's limit"})
        async with world.admin.begin() as conn:
            await conn.execute(
                text("""INSERT INTO coordinator.limit_states (limit_id, portfolio_id, state, seen)
                        VALUES (CAST(:limit AS uuid), CAST(:portfolio AS uuid), 'breached', 'status')"""),
                {"limit": limit["id"], "portfolio": world.theirs["portfolio_id"]},
            )
        await _turn(world)
        await asyncio.sleep(0)
        assert (ours.got, theirs.got) == ([], [])
        assert (await world.call("GET", "limits", world.a)).json()["items"][0]["standings"] == []


async def test_nothing_of_the_servers_own_machine_is_asked_for_another_tenant(
    engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> None:
    """What listens there, without a password perhaps, is of whoever operates the installation, as the first tenant's operators do."""
    inside = ("http://127.0.0.1:9090/-/quit", "https://localhost/x", "http://[::1]:8000/x", "https://127.7.7.7/x")
    async with two_tenants(engines[0], engines, loops) as world:
        for number, url in enumerate(inside):
            body = {"name": f"desk {number}", "url": url}
            refused = await world.call("POST", "admin/webhooks", world.a, json=body)
            assert (refused.status_code, "its operators' alone" in refused.json()["detail"]) == (422, True), url
            await world.made("admin/webhooks", world.server, json=body)
        assert await _webhooks(world, world.a) == []
