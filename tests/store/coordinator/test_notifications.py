"""Limits that are breached and kept again, and what webhooks are told of it: once each, through deaths and receivers that are down."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.explain import portfolios
from services.coordinator.notifications import evaluation, webhook_store
from services.coordinator.notifications.delivery import Sender, deliver
from services.coordinator.notifications.evaluation import evaluate
from services.coordinator.notifications.model import signature
from tests.store.coordinator.conftest import PREFIX, Api, make_app
from tests.store.coordinator.test_reads import complete_with_results

LIMITS, WEBHOOKS = f"{PREFIX}/limits", f"{PREFIX}/admin/webhooks"
OPEN = "UPDATE coordinator.notifications SET due_at = clock_timestamp() WHERE delivered_at IS NULL"


@dataclass
class Receiver:
    """Answers 204, or `status`, and holds its answer back while `silent`."""

    url: str = ""
    status: int = 204
    silent: bool = False
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self) -> list[dict[str, Any]]:
        """Of each delivery the first time it came, as a receiver that knows repetitions sees them."""
        found = {head["leadline-delivery"]: json.loads(body) for head, body in reversed(self.got)}
        return sorted(found.values(), key=lambda body: str(body["created_at"]))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
            head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            self.got.append((head, await reader.readexactly(int(head["content-length"]))))
            self.heard.set()
            if not self.silent:
                writer.write(f"HTTP/1.1 {self.status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
            else:
                await reader.read()  # until the other side is gone
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender died: that is what some tests are about
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    async with server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def limited(
    api: Api, figure: str = "status.missing", op: str = ">", value: float = 0, **more: Any
) -> dict[str, Any]:
    body = {"name": f"{figure} {op} {value}", "figure": figure, "op": op, "value": value} | more
    answer = await api.client.post(LIMITS, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def hooked(api: Api, receiver: Receiver, name: str = "desk") -> dict[str, Any]:
    answer = await api.client.post(WEBHOOKS, json={"name": name, "url": receiver.url})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def turn(api: Api) -> None:
    await evaluate(api.context.engine, api.context.clock)
    while await deliver(api.context.engine, Sender()):
        pass


async def test_a_limit_breached_and_kept_again_sends_two_signed_messages(api: Api, receiver: Receiver) -> None:
    hook = await hooked(api, receiver)
    limit = await limited(api)
    portfolio = (await api.create())["id"]
    for _ in range(3):
        await turn(api)
    assert [body["event"] for body in receiver.bodies()] == ["limit.breached"]
    [item] = (await api.client.get(LIMITS)).json()["items"]
    assert (item["breached"], item["standings"][0]["state"]) == (1, "breached")
    await api.complete(portfolio)
    for _ in range(3):
        await turn(api)
    first, second = receiver.bodies()
    assert (first["event"], second["event"], second["value"]) == ("limit.breached", "limit.kept", 0)
    assert second["limit"] == {
        "id": limit["id"],
        "name": limit["name"],
        "figure": "status.missing",
        "op": ">",
        "value": 0,
    }
    assert second["portfolio"]["id"] == portfolio
    assert len(receiver.got) == 2
    for head, body in receiver.got:
        assert head["leadline-signature"] == signature(hook["secret"], int(head["leadline-timestamp"]), body)
        assert json.loads(body)["id"] == head["leadline-delivery"]
    listed = (await api.client.get(WEBHOOKS)).json()["items"]
    assert [(of["pending"], of["last_error"], of["delivered_at"] is None) for of in listed] == [(0, None, False)]
    assert hook["secret"] not in json.dumps(listed)


# Another process, which is killed while the receiver has the message and has not answered.
DYING = """
import asyncio, sys
from services.coordinator.notifications.delivery import Sender, deliver
from shared.db.engine import create_engine
asyncio.run(deliver(create_engine(sys.argv[1], application="test-dying"), Sender()))
"""


async def test_two_messages_through_a_kill_in_between(api: Api, receiver: Receiver, loops: AsyncEngine) -> None:
    await hooked(api, receiver)
    await limited(api)
    portfolio = (await api.create())["id"]
    await evaluate(api.context.engine, api.context.clock)
    receiver.silent = True
    url = loops.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, url, env=os.environ)
    try:
        await asyncio.wait_for(receiver.heard.wait(), 60)
    finally:
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    receiver.silent = False
    # While its lease runs nobody else tries; after it the next one does, under the same name.
    await turn(api)
    assert len(receiver.got) == 1
    await api.run(OPEN)
    await turn(api)
    await api.complete(portfolio)
    await turn(api)
    await turn(api)
    assert [body["event"] for body in receiver.bodies()] == ["limit.breached", "limit.kept"]
    deliveries = [head["leadline-delivery"] for head, _ in receiver.got]
    assert len(deliveries) == 3
    assert deliveries[0] == deliveries[1] != deliveries[2]


async def test_state_and_message_are_there_together_or_not_at_all(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hooked(api, receiver)
    await limited(api)
    await api.create()

    async def dies(conn: Any) -> int:
        raise OSError("the connection is gone")

    with monkeypatch.context() as patched:
        patched.setattr(webhook_store, "enqueue_changes", dies)
        with pytest.raises(OSError, match="gone"):
            await evaluate(api.context.engine, api.context.clock)
    assert await api.rows("SELECT 1 FROM coordinator.limit_states") == []
    # Two coordinators look at the same time: one message.
    found = await asyncio.gather(*(evaluate(api.context.engine, api.context.clock) for _ in range(3)))
    assert sum(found) == 1
    assert len(await api.rows("SELECT 1 FROM coordinator.notifications")) == 1


async def test_a_receiver_that_is_down_gets_everything_later_in_order(api: Api, receiver: Receiver) -> None:
    hook = await hooked(api, receiver)
    await limited(api)
    portfolio = (await api.create())["id"]
    receiver.status = 503
    await turn(api)
    await api.complete(portfolio)
    await turn(api)
    [listed] = (await api.client.get(WEBHOOKS)).json()["items"]
    assert (listed["pending"], listed["last_error"]) == (2, "answered 503")
    # It waits, in spite of all turns; the second does not overtake the first.
    assert len(receiver.got) == 1
    receiver.status = 204
    await api.run(OPEN)
    assert await deliver(api.context.engine, Sender(), lease=timedelta(seconds=30)) == 1
    assert await deliver(api.context.engine, Sender()) == 1
    assert [json.loads(body)["event"] for _, body in receiver.got] == ["limit.breached", "limit.breached", "limit.kept"]
    answer = await api.client.post(f"{WEBHOOKS}/{hook['id']}/test")
    assert answer.status_code == 202
    await turn(api)
    assert json.loads(receiver.got[-1][1])["event"] == "test"
    receiver.status = 302
    await api.client.post(f"{WEBHOOKS}/{hook['id']}/test")
    await api.run("UPDATE coordinator.notifications SET created_at = created_at - interval '4 days'")
    await turn(api)
    [listed] = (await api.client.get(WEBHOOKS)).json()["items"]
    assert (listed["pending"], listed["last_error"]) == (0, "answered 302, a redirect, which is not followed")


async def test_a_new_webhook_is_told_what_is_breached_and_never_what_was_kept(api: Api, receiver: Receiver) -> None:
    await limited(api)
    await limited(api, "status.blocked")
    await api.create()
    await turn(api)
    assert receiver.got == []
    await hooked(api, receiver)
    await turn(api)
    assert [body["limit"]["figure"] for body in receiver.bodies()] == ["status.missing"]


async def test_a_figure_is_read_at_the_last_session_once_it_is_complete(api: Api, receiver: Receiver) -> None:
    """While a history is computed, what is newest for a moment is nobody's alarm; and what is unknown changes nothing."""
    await hooked(api, receiver)
    portfolio = await complete_with_results(api)
    nav = await limited(api, "snapshots.nav", "<", 100_020, portfolio_id=portfolio)
    unknown = await limited(api, "snapshots.xirr", ">", 0)
    realized = await limited(api, "risk.volatility.realized_21", ">", 0.1)
    await turn(api)
    items = {item["id"]: item for item in (await api.client.get(LIMITS)).json()["items"]}
    [standing] = items[nav["id"]]["standings"]
    assert (standing["state"], standing["value"], standing["session"]) == ("breached", 100_010.25, "2020-12-30")
    [standing] = items[unknown["id"]]["standings"]
    assert (standing["state"], standing["value"]) == ("kept", None)
    assert "unknown" in standing["detail"]
    # Risk of the last session is not there: the day before is over 0.1, and nobody is told.
    assert items[realized["id"]]["standings"] == []
    assert [body["page"] for body in receiver.bodies()] == [f"/p/{portfolio}/explain?figure=snapshots.nav"]
    # Once it is known it is judged; and a breached figure that becomes unknown is still breached.
    for revision, xirr in ((8, "0.5"), (9, "NULL")):
        await api.run(f"UPDATE snapshots.snapshots SET xirr = {xirr} WHERE session = '2020-12-30'")
        await api.run(
            "UPDATE ledger.units SET required_revision = :of, completed_revision = :of WHERE session = '2020-12-30'",
            of=revision,
        )
        await turn(api)
        items = {item["id"]: item for item in (await api.client.get(LIMITS)).json()["items"]}
        [standing] = items[unknown["id"]]["standings"]
        assert (standing["state"], standing["value"]) == ("breached", 0.5 if revision == 8 else None)
    assert [body["limit"]["figure"] for body in receiver.bodies()] == ["snapshots.nav", "snapshots.xirr"]


async def test_one_portfolio_that_cannot_be_read_holds_up_no_other(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hooked(api, receiver)
    broken, whole = await complete_with_results(api), await complete_with_results_of_another(api)
    limit = await limited(api, "snapshots.nav", ">", 1)
    real = portfolios.values_of

    async def values_of(conn: Any, portfolio: UUID, *more: Any) -> dict[str, Any]:
        if str(portfolio) == broken:
            raise ValueError("of a document that nobody expected")
        return await real(conn, portfolio, *more)

    monkeypatch.setattr(evaluation, "values_of", values_of)
    await turn(api)
    assert [body["portfolio"]["id"] for body in receiver.bodies()] == [whole]
    [item] = (await api.client.get(LIMITS)).json()["items"]
    assert item["id"] == limit["id"]
    said = {of["portfolio_id"]: of["detail"] for of in item["standings"]}
    assert said == {broken: "The figure could not be read (ValueError); the log says why.", whole: None}


async def complete_with_results_of_another(api: Api) -> str:
    portfolio = str((await api.create())["id"])
    await api.complete(portfolio)
    await api.run(
        """INSERT INTO snapshots.snapshots SELECT (jsonb_populate_record(s, jsonb_build_object('portfolio_id', CAST(:id AS text)))).*
           FROM snapshots.snapshots s WHERE session = '2020-12-30'""",
        id=portfolio,
    )
    return portfolio


async def test_what_cannot_be_is_refused_and_what_is_deleted_tells_nobody(api: Api, receiver: Receiver) -> None:
    portfolio = await complete_with_results(api)
    hook = await hooked(api, receiver)
    body = {"name": "x", "figure": "snapshots.nav", "op": ">", "value": 1}
    for wrong, status, said in (
        ({"figure": "nav"}, 404, "begins with one of"),
        ({"figure": "snapshots.nov", "portfolio_id": portfolio}, 404, "snapshots.nav"),
        ({"op": "="}, 422, ""),
        ({"portfolio_id": hook["id"]}, 404, "no portfolio"),
    ):
        answer = await api.client.post(LIMITS, json=body | wrong)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
    answer = await api.client.post(WEBHOOKS, json={"name": "desk", "url": receiver.url})
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_name_taken")
    answer = await api.client.post(WEBHOOKS, json={"name": "inside", "url": "https://10.0.0.1/"})
    assert (answer.status_code, answer.json()["errors"][0]["column"]) == (422, "url")
    made = await limited(api)
    key = {"Idempotency-Key": "one"}
    twice = [await api.client.post(LIMITS, json=body, headers=key) for _ in range(2)]
    assert twice[0].json()["id"] == twice[1].json()["id"]
    await turn(api)
    assert len(receiver.bodies()) == 2
    for path in (f"{LIMITS}/{made['id']}", f"{LIMITS}/{twice[0].json()['id']}", f"{WEBHOOKS}/{hook['id']}"):
        assert (await api.client.delete(path)).status_code == 204
        assert (await api.client.delete(path)).status_code == 404
    await api.complete(portfolio)
    await turn(api)
    assert len(receiver.got) == 2


async def test_settings_show_what_is_breached_and_a_secret_once(api: Api, receiver: Receiver) -> None:
    token = "the-token-of-the-server"
    app = make_app(api.context.engine, [], token=token)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://test") as browser:
        assert (await browser.post("/sign-in", data={"token": token})).status_code == 303
        form = {"figure": "status.missing", "op": ">", "value": "0", "name": "not complete", "portfolio": ""}
        assert (await browser.post("/settings/limits", data=form)).status_code == 303
        answer = await browser.post("/settings/webhooks", data={"name": "desk", "url": receiver.url})
        assert answer.status_code == 200
        secret = answer.text.partition("<code>leadline_hook_")[2].partition("</code>")[0]
        assert len(secret) > 40
        await api.create()
        await turn(api)
        page = (await browser.get("/settings")).text
        assert secret not in page
        for said in ("not complete", "status.missing &gt; 0", "breached", "every portfolio", receiver.url):
            assert said in page, said
        answer = await browser.post("/settings/webhooks", data={"name": "x", "url": "https://10.0.0.1/"})
        assert (answer.status_code, "not a public address" in answer.text) == (422, True)
        made = await browser.post(
            f"{PREFIX}/admin/tokens", json={"name": "r", "role": "reader"}, headers={"Authorization": f"Bearer {token}"}
        )
        head = {"Authorization": f"Bearer {made.json()['token']}"}
        page = (await browser.get("/settings", headers=head)).text
        assert receiver.url not in page
        assert "/settings/limits" not in page
        assert (await browser.post("/settings/limits", data=form, headers=head)).status_code == 403
