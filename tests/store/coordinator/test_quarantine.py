"""Prices that were held back: listed, released or rejected with who, when and why, once, and told where a figure rests on them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results

JUMP = f"{PREFIX}/symbols/aapl/quarantine/2020-12-30"
WHY = {"reason": "4-for-1 split announced", "by": "an operator"}


@pytest.fixture
async def jumps(api: Api) -> Api:
    """AAPL jumped on the 29th and the 30th, MSFT on the 30th; MSFT's was confirmed by another provider and is priced."""
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL'), ('MSFT')")
    await api.run("""
        INSERT INTO ingest.quarantine (symbol_id, session, provider, return, sigma, second, second_return, released_at, released_by)
        SELECT id, day, 'yahoo', -0.75, 0.02, 'fmp', CASE symbol WHEN 'MSFT' THEN -0.75 ELSE 0.01 END,
               CASE symbol WHEN 'MSFT' THEN '2020-12-30 22:00+00'::timestamptz END, CASE symbol WHEN 'MSFT' THEN 'confirmed' END
        FROM ingest.symbols, unnest(ARRAY[DATE '2020-12-29', DATE '2020-12-30']) AS day
        WHERE symbol = 'AAPL' OR day = '2020-12-30'
    """)
    await api.run("""
        INSERT INTO ingest.prices (symbol_id, session, close, basis, provider, fetched_at, change)
        SELECT id, '2020-12-30', 50, 'as_traded', 'yahoo', now(), 1 FROM ingest.symbols WHERE symbol = 'MSFT'
    """)
    await api.run("""
        INSERT INTO ingest.gaps SELECT id, '2020-12-29', '2020-12-30', 'quarantined', false, 'yahoo,fmp', now(), '2020-12-31 01:00+00'
        FROM ingest.symbols WHERE symbol = 'AAPL'
    """)
    return api


async def listed(api: Api, **params: Any) -> dict[str, Any]:
    answer = await api.client.get(f"{PREFIX}/symbols/quarantined", params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_is_held_back_is_listed_newest_first_in_pages(jumps: Api) -> None:
    first = await listed(jumps, limit=1)
    [item] = first["items"]
    assert item | {"found_at": None} == {
        "symbol": "AAPL", "session": "2020-12-30", "provider": "yahoo", "return": -0.75, "sigma": 0.02, "second": "fmp",
        "second_return": 0.01, "found_at": None, "state": "held", "priced": False, "decided_by": None, "decided_at": None,
        "reason": None, "retry_at": "2020-12-31T01:00:00Z",
    }  # fmt: skip
    rest = await listed(jumps, limit=1, cursor=first["next"])
    assert [(one["session"], rest["next"]) for one in rest["items"]] == [("2020-12-29", None)]
    [confirmed] = (await listed(jumps, state="released"))["items"]
    assert (confirmed["symbol"], confirmed["decided_by"], confirmed["reason"]) == ("MSFT", "fmp", "confirmed")
    refused = await jumps.client.get(f"{PREFIX}/symbols/quarantined", params={"cursor": "nonsense"})
    assert refused.status_code == 422


async def test_a_release_says_who_when_and_why_and_twice_is_once(jumps: Api) -> None:
    for _ in range(2):
        answer = await jumps.client.post(f"{JUMP}/release", json=WHY)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["state"], body["decided_by"], body["reason"]) == ("released", "an operator", WHY["reason"])
        assert body["decided_at"] is not None
    [row] = await jumps.rows("SELECT symbol, decision, reason, decided_by FROM coordinator.price_decisions")
    assert tuple(row) == ("AAPL", "release", WHY["reason"], "an operator")
    assert [one["session"] for one in (await listed(jumps))["items"]] == ["2020-12-29"]


async def test_a_rejection_can_be_thought_better_of_and_a_release_cannot(jumps: Api) -> None:
    assert (await jumps.client.post(f"{JUMP}/reject", json=WHY)).json()["state"] == "rejected"
    assert {one["state"] for one in (await listed(jumps))["items"]} == {"held", "rejected"}
    assert (await jumps.client.post(f"{JUMP}/release", json=WHY)).json()["state"] == "released"
    refused = await jumps.client.post(f"{JUMP}/reject", json=WHY)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "rerun" in refused.json()["detail"]
    assert len(await jumps.rows("SELECT 1 FROM coordinator.price_decisions")) == 2, "both are kept"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/symbols/AAPL/quarantine/2020-12-28/release", WHY, 404),
        ("/symbols/NOBODY/quarantine/2020-12-30/release", WHY, 404),
        ("/symbols/AAPL/quarantine/yesterday/release", WHY, 422),
        ("/symbols/AAPL/quarantine/2020-12-30/release", {}, 422),
        ("/symbols/AAPL/quarantine/2020-12-30/release", {"reason": "  "}, 422),
        ("/symbols/AAPL/quarantine/2020-12-30/release", {"reason": "a\0b"}, 422),
        ("/symbols/MSFT/quarantine/2020-12-30/reject", WHY, 409),
    ],
)
async def test_what_cannot_be_decided_is_refused_and_nothing_is_kept(
    jumps: Api, path: str, body: dict[str, str], status: int
) -> None:
    answer = await jumps.client.post(PREFIX + path, json=body)
    assert answer.status_code == status, answer.text
    assert await jumps.rows("SELECT 1 FROM coordinator.price_decisions") == []


async def test_an_explanation_tells_whose_word_a_price_rests_on(jumps: Api) -> None:
    portfolio = await complete_with_results(jumps)
    await jumps.client.post(f"{JUMP}/release", json=WHY)
    names = (await jumps.client.get(f"{PREFIX}/portfolios/{portfolio}/explain")).json()["figures"]
    [(lot,)] = await jumps.rows("SELECT CAST(id AS text) FROM coordinator.positions WHERE symbol = 'AAPL'")
    figure = f"positions.{lot}.market_value"
    assert figure in {name["figure"] for name in names}
    answer = await jumps.client.get(f"{PREFIX}/portfolios/{portfolio}/explain", params={"figure": figure})
    assert answer.status_code == 200, answer.text
    told = [item for item in answer.json()["inputs"] if item["kind"] == "jump"]
    assert [(one["symbol"], one["from"], one["provider"], one["reason"], one["state"]) for one in told] == [
        ("AAPL", "2020-12-30", "an operator", WHY["reason"], "released")
    ]
    assert told[0]["fetched_at"].endswith("Z")
