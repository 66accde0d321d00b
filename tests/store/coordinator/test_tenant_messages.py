"""What is told of a tenant's portfolios goes to that tenant's webhooks; and nobody lists, counts, tests or ends another's."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.notifications import webhook_store
from services.coordinator.notifications.delivery import LEASE, NOT_PUBLIC, Sender, deliver
from services.coordinator.notifications.evaluation import evaluate
from shared.db.tenancy import HOUSE
from tests.store.coordinator.test_notifications import Receiver, receiving
from tests.store.coordinator.two_tenants import SECRET, World, two_tenants, upload

LIMIT = {"figure": "status.missing", "op": ">", "value": 0}


async def _turn(world: World) -> None:
    context = world.installation.context
    await evaluate(context.engine, context.clock)
    while await deliver(context.engine, Sender(private=True)):
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
    inside = (
        "http://127.0.0.1:9090/-/quit", "https://localhost/x", "http://[::1]:8000/x", "https://127.7.7.7/x", "https://127.1/x",
        "https://2130706433/x", "https://0x7f.1/x",
    )  # fmt: skip
    async with two_tenants(engines[0], engines, loops) as world:
        for number, url in enumerate(inside):
            body = {"name": f"desk {number}", "url": url}
            refused = await world.call("POST", "admin/webhooks", world.a, json=body)
            assert (refused.status_code, "its operators' alone" in refused.json()["detail"]) == (422, True), url
            await world.made("admin/webhooks", world.server, json=body)
        assert await _webhooks(world, world.a) == []


async def test_a_closed_tenants_webhooks_send_nothing_until_it_is_open_again(
    engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine
) -> None:
    async with two_tenants(engines[0], engines, loops, webhook_private=True) as world, receiving() as theirs:
        await world.call("DELETE", f"admin/webhooks/{world.theirs['webhook_id']}", world.b)
        hook = await _hook(world, world.b, theirs, "desk")
        assert (await world.call("POST", f"admin/webhooks/{hook}/test", world.b)).status_code == 202

        async def close(*, closed: bool) -> None:
            path = f"admin/tenants/{world.tenants['b']}"
            assert (await world.call("PATCH", path, world.server, json={"closed": closed})).status_code == 200

        await world.made("limits", world.b, json=LIMIT | {"name": "any"})
        await close(closed=True)
        for _ in range(2):
            await _turn(world)
        assert theirs.got == []
        waiting = await world.installation.rows("SELECT event, attempts FROM coordinator.notifications")
        assert [(of.event, of.attempts) for of in waiting] == [("test", 0)], "nothing piles up either"
        # What was breached meanwhile is told once somebody may hear of it.
        await close(closed=False)
        for _ in range(2):
            await _turn(world)
        assert {body["event"] for body in theirs.bodies()} == {"test", "limit.breached"}


async def test_a_name_of_the_servers_own_network_is_told_to_its_operators_alone(
    engines: tuple[AsyncEngine, AsyncEngine], loops: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"vm.internal": "10.20.30.40", "loop.example": "127.0.0.1"}

    async def look(self: Any, host: str, port: int, **_: Any) -> list[Any]:
        if host in names:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host], port))]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with two_tenants(engines[0], engines, loops) as world:
        hooks = [*names, "nobody.example"]
        for head in (world.a, world.server):
            for host in hooks:
                made = await world.made("admin/webhooks", head, json={"name": host, "url": f"https://{host}/x"})
                await world.made(f"admin/webhooks/{made['id']}/test", head, 202)
        with monkeypatch.context() as patch:
            patch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", look)
            context = world.installation.context
            async with context.engine.begin() as conn:
                messages = await webhook_store.claim(conn, LEASE)
            told = {(of.tenant, urlsplit(of.url).hostname): await Sender().send(of) for of in messages}
        ours = {host: told[HOUSE, host] for host in hooks}
        assert "10.20.30.40" in str(ours["vm.internal"])
        assert "not known" in str(ours["nobody.example"])
        # Whether there is such a name is not told either.
        assert {told[world.tenants["a"], host] for host in hooks} == {NOT_PUBLIC}
        assert "127.0.0.1" not in NOT_PUBLIC
