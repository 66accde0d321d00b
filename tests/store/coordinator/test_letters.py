"""Dead letters by the API: mended, sent again once, given up; many only when it is said twice."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from shared import ledger
from shared.db.engine import acquire_commit_order_lock
from shared.ledger import MAX_RUNS
from shared.messaging import dead_letters
from shared.work import Phase
from tests.store.coordinator.conftest import AS_OF, PREFIX, Api

PATH = f"{PREFIX}/admin/dead-letters"
HEADERS = {"ce_type": "leadline.DateDue.v1", "ce_id": "a"}


async def put(
    api: Api, body: bytes | None, *, reason: str = "not_json", consumer: str = "risk", offset: int = 0
) -> int:
    async with api.admin.begin() as conn:
        await dead_letters.record(
            conn, consumer=consumer, topic="leadline.date-due", partition=0, offset=offset, key=None, headers=HEADERS,
            body=body, reason=reason, error="no",
        )  # fmt: skip
        return (await dead_letters.page(conn, limit=1))[0].id


async def sent(api: Api) -> list[tuple[str, str, str]]:
    return [
        tuple(row)
        for row in await api.rows("SELECT CAST(event_id AS text), topic, payload FROM bus.outbox ORDER BY id")
    ]


async def many(api: Api, verb: str, **params: Any) -> dict[str, Any]:
    answer = await api.client.post(f"{PATH}/{verb}", params=params)
    assert answer.status_code in (200, 202), answer.text
    return dict(answer.json())


async def test_a_replay_is_sent_once_however_often_it_is_asked_for(api: Api) -> None:
    letter = await put(api, b'{"a": 1}')
    answers = [(await api.client.post(f"{PATH}/{letter}/replay")).json() for _ in range(3)]
    assert [answer["sent"] for answer in answers] == [True, False, False]
    [(event, topic, payload)] = await sent(api)
    assert {answer["event_id"] for answer in answers} == {event}
    assert (topic, payload) == ("leadline.date-due", '{"a": 1}')
    # Four services read the topic; only the one that failed does it again.
    [headers] = await api.rows("SELECT headers FROM bus.outbox")
    assert headers[0] == HEADERS | {"replay_for": "risk"}
    assert (await api.client.post(f"{PATH}/{letter}/purge")).status_code == 409


async def test_a_letter_is_mended_and_what_came_is_kept(api: Api) -> None:
    letter = await put(api, b'{"a": \xff')
    refused = await api.client.post(f"{PATH}/{letter}/replay")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_replayable")
    assert (await api.client.patch(f"{PATH}/{letter}", json={})).status_code == 422
    for body in ('{"a": 1}', '{"a": 2}'):
        shown = await api.client.patch(
            f"{PATH}/{letter}", json={"body": body, "headers": {**HEADERS, "note": "mended"}}
        )
        assert (shown.status_code, shown.json()["body"], shown.json()["headers"]["note"]) == (200, body, "mended")
    [kept] = await api.rows(
        "SELECT original_body, CAST(original_headers AS text) AS headers, body_hash FROM bus.dead_letters"
    )
    assert (kept.original_body, json.loads(kept.headers)) == (b'{"a": \xff', HEADERS)
    # Delivered again, the message that came is still this letter.
    async with api.admin.begin() as conn:
        await dead_letters.record(
            conn, consumer="risk", topic="leadline.date-due", partition=0, offset=0, key=None, headers=HEADERS,
            body=b'{"a": \xff', reason="not_json", error="no",
        )  # fmt: skip
        assert len(await dead_letters.page(conn)) == 1
    assert (await api.client.post(f"{PATH}/{letter}/replay")).json()["sent"] is True
    assert [row[2] for row in await sent(api)] == ['{"a": 2}']
    assert (await api.client.patch(f"{PATH}/{letter}", json={"body": "{}"})).status_code == 409
    assert (await api.client.patch(f"{PATH}/999", json={"body": "{}"})).status_code == 404


async def test_many_are_only_shown_unless_it_is_said_twice(api: Api) -> None:
    good = [await put(api, b"{}", offset=n) for n in range(3)]
    other = await put(api, b"{}", offset=3, consumer="factors")
    binary = await put(api, b"\x00", offset=4)
    shown = await many(api, "replay", consumer="risk")
    assert (shown["dry_run"], sorted(shown["replayed"]), shown["refused"], shown["more"]) == (
        True,
        good,
        [binary],
        False,
    )
    assert await sent(api) == []
    done = await many(api, "replay", consumer="risk", dry_run="false")
    assert (done["dry_run"], sorted(done["replayed"]), done["refused"]) == (False, good, [binary])
    assert len(await sent(api)) == 3
    assert (await many(api, "replay", dry_run="false"))["replayed"] == [other]
    assert (await many(api, "purge"))["purged"] == [binary]
    assert len((await api.client.get(PATH)).json()["items"]) == 1
    assert (await many(api, "purge", dry_run="false"))["purged"] == [binary]
    assert (await api.client.get(PATH)).json()["items"] == []
    assert (await many(api, "purge", dry_run="false"))["purged"] == []


async def test_lists_are_limited_by_reason_consumer_and_topic(api: Api) -> None:
    one = await put(api, b"1", reason="unknown_version", offset=1)
    other = await put(api, b"2", consumer="factors", offset=2)

    async def ids(**params: str) -> list[int]:
        return [item["id"] for item in (await api.client.get(PATH, params=params)).json()["items"]]

    assert await ids() == [other, one]
    assert await ids(reason="unknown_version") == [one]
    assert await ids(consumer="factors", topic="leadline.date-due") == [other]
    assert await ids(topic="leadline.nothing") == []


async def blocked(api: Api) -> tuple[UUID, int]:
    """A portfolio with a blocked unit, and the letter about it."""
    portfolio = UUID((await api.create())["id"])
    async with api.admin.begin() as conn:
        for _ in range(MAX_RUNS):
            await ledger.record_failure(conn, Phase.INGEST, portfolio, {(AS_OF, AS_OF): "no"})
        await dead_letters.record_blocked(conn, Phase.INGEST, portfolio, AS_OF, AS_OF, "no")
        return portfolio, (await dead_letters.page(conn, limit=1))[0].id


async def drift(api: Api) -> set[str]:
    answer = await api.client.get(f"{PREFIX}/admin/audit")
    assert answer.status_code == 200, answer.text
    return {found["kind"] for found in answer.json()["drift"]}


@pytest.mark.parametrize("body", ['{"a": 1}', "not json", '{"work": {"portfolios": []}, "phase": "ingest"}'])
async def test_a_letter_about_units_keeps_saying_which(api: Api, body: str) -> None:
    _, letter = await blocked(api)
    refused = await api.client.patch(f"{PATH}/{letter}", json={"body": body})
    assert (refused.status_code, refused.json()["code"]) == (422, "not_editable")
    mended = await api.client.patch(f"{PATH}/{letter}", json={"headers": {**HEADERS, "note": "mine"}})
    assert mended.status_code == 200
    assert "no_letter" not in await drift(api)
    assert (await api.client.post(f"{PATH}/{letter}/replay")).json()["sent"] is True
    assert await api.rows("SELECT 1 FROM ledger.units WHERE blocked_reason IS NOT NULL") == []


@pytest.mark.parametrize("body", [b'{"a": 1}', b"not json"])
async def test_one_letter_that_cannot_be_replayed_holds_up_no_other(api: Api, body: bytes) -> None:
    """However it came to be so. What it was about is still known from what came."""
    _, letter = await blocked(api)
    other = await put(api, b'{"a": 1}', offset=1)
    await api.run(
        "UPDATE bus.dead_letters SET original_body = body, body = :b, edited_at = now() WHERE id = :id",
        b=body,
        id=letter,
    )
    refused = await api.client.post(f"{PATH}/{letter}/replay")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_replayable")
    assert "no_letter" not in await drift(api)
    done = await many(api, "replay", dry_run="false")
    assert (done["replayed"], done["refused"]) == ([other], [letter])
    assert [payload for _, topic, payload in await sent(api) if topic == "leadline.date-due"] == ['{"a": 1}']
    assert await api.rows("SELECT id FROM bus.dead_letters WHERE replayed_at IS NULL") == [(letter,)]


async def test_what_is_blocked_cannot_be_given_up(api: Api) -> None:
    """The units are called for; without the letter nothing would say that they are stuck, and the audit would for ever."""
    portfolio, letter = await blocked(api)
    other = await put(api, b"garbage", offset=1)
    refused = await api.client.post(f"{PATH}/{letter}/purge")
    assert (refused.status_code, refused.json()["code"]) == (409, "still_blocked")
    assert "replay" in refused.json()["detail"]
    for dry_run in ("true", "false"):
        done = await many(api, "purge", dry_run=dry_run)
        assert (done["purged"], done["refused"]) == ([other], [letter])
    assert "no_letter" not in await drift(api)
    async with api.admin.begin() as conn:
        await acquire_commit_order_lock(conn)
        await ledger.unblock(conn, [portfolio], AS_OF, AS_OF, Phase.INGEST)
    assert (await api.client.post(f"{PATH}/{letter}/purge")).status_code == 200, "it says nothing any more"


async def test_a_letter_closes_when_what_it_was_about_is_done_though_its_headers_were_edited(api: Api) -> None:
    portfolio, letter = await blocked(api)
    await api.client.patch(f"{PATH}/{letter}", json={"headers": HEADERS})
    await api.complete(str(portfolio))
    async with api.context.engine.begin() as conn:
        assert await dead_letters.resolve_blocked(conn) == 1
