"""The form of an answer: CSV for tables, compressed where wanted, not sent twice; methods and refusals that say what is right."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.coordinator.api.problem_codes import KNOWN
from tests.store.coordinator.conftest import PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results

LIST = f"{PREFIX}/portfolios"
ROOT = Path(__file__).parents[3]


def rows(body: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body)))


async def test_a_table_can_be_had_as_csv_and_a_formula_in_it_is_text(api: Api) -> None:
    """A spreadsheet would call a formula that somebody wrote into a name; a negative number is none."""
    for name in ("=HYPERLINK(1)", "+1", "-cmd", "@SUM(1)", "\uff1d1+1", "plain, with comma"):
        await api.create(name=name)
    answer = await api.client.get(LIST, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    found = rows(answer.text)
    names = ["'=HYPERLINK(1)", "'+1", "'-cmd", "'@SUM(1)", "'\uff1d1+1", "plain, with comma"]
    assert [row["name"] for row in found] == names
    assert {row["nav"] for row in found} == {""}
    assert {row["equity_balance"] for row in found} == {"100000.0"}


async def test_numbers_of_a_csv_are_those_of_the_json(api: Api) -> None:
    identity = await complete_with_results(api)
    await api.run("UPDATE snapshots.snapshots SET daily_pnl = -12.5, daily_return = -0.1")
    path = f"{LIST}/{identity}/snapshots"
    items = (await api.client.get(path)).json()["items"]
    found = rows((await api.client.get(path, headers={"Accept": "text/csv;q=0.9, application/json;q=0.5"})).text)
    assert [float(row["daily_return"]) for row in found] == [item["daily_return"] for item in items] == [-0.1, -0.1]
    series = await api.client.get(
        f"{LIST}/{identity}/risk/series",
        params={"figures": "snapshots.nav,snapshots.daily_pnl"},
        headers={"Accept": "text/csv"},
    )
    assert rows(series.text)[-1] == {
        "session": "2020-12-30",
        "snapshots.nav": "100010.25",
        "snapshots.daily_pnl": "-12.5",
    }


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/json", 200), ("*/*", 200), ("", 200), ("text/csv, */*;q=0.1", 200), ("text/csv", 406), ("image/png", 406),
     ("application/json;q=0, */*;q=0", 406), ("application/json;q=x", 406)],
)  # fmt: skip
async def test_what_is_no_table_comes_as_json_or_not_at_all(api: Api, accept: str, status: int) -> None:
    identity = (await api.create())["id"]
    answer = await api.client.get(f"{LIST}/{identity}/status", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["code"] == "not_acceptable"
        assert "application/json" in answer.json()["detail"]


async def test_an_answer_that_the_client_has_is_not_sent_again(api: Api) -> None:
    await api.create()
    first = await api.client.get(LIST)
    tag = first.headers["etag"]
    again = await api.client.get(LIST, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    await api.create(name="Another")
    changed = await api.client.get(LIST, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)
    as_csv = await api.client.get(LIST, headers={"Accept": "text/csv", "If-None-Match": changed.headers["etag"]})
    assert as_csv.status_code == 200


async def test_a_large_answer_is_compressed_for_who_can_read_it(api: Api) -> None:
    for number in range(5):
        await api.create(name=f"Portfolio {number}")
    plain = await api.client.get(LIST, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    raw_bytes = {"unchecked": True}
    async with api.client.stream("GET", LIST, headers={"Accept-Encoding": "gzip"}, extensions=raw_bytes) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert answer.headers["etag"] == plain.headers["etag"]
    assert len(raw) < len(plain.content) / 2
    refused = await api.client.get(LIST, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


async def test_head_is_get_without_the_body(api: Api) -> None:
    await api.create()
    full, head = await api.client.get(LIST), await api.client.head(LIST)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["etag"], head.headers["content-length"]) == (
        full.headers["etag"],
        full.headers["content-length"],
    )
    assert (await api.client.head(f"{LIST}/{uuid4()}")).status_code == 404


async def test_a_method_that_is_not_known_is_told_all_that_are(api: Api) -> None:
    """Of a path that several routes have, too; a stream has no HEAD, because it has no end."""
    identity = (await api.create())["id"]
    for path, allow in (
        (LIST, "HEAD, GET, POST"),
        (f"{LIST}/{identity}", "HEAD, GET, PATCH, DELETE"),
        (f"{LIST}/{identity}/status/stream", "GET"),
        (f"{PREFIX}/admin/reconcile", "POST"),
    ):
        answer = await api.client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
        assert allow in answer.json()["detail"]
    assert (await api.client.head(f"{PREFIX}/admin/reconcile")).headers["allow"] == "POST"
    assert (await api.client.head(f"{LIST}/{identity}/status/stream")).status_code == 405


async def test_every_path_names_its_methods_and_head_where_get_is(api: Api) -> None:
    """Also those whose last word another path takes for an id."""
    identity, wrong = (await api.create())["id"], []
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    for path, item in document["paths"].items():
        if not path.startswith(PREFIX):
            continue
        known = {method.upper() for method in item} & {"GET", "POST", "PUT", "PATCH", "DELETE"}
        if "GET" in known and not path.endswith("/stream"):
            known |= {"HEAD"}
        filled = re.sub(r"\{\w+\}", identity, path.replace("{symbol}", "AAPL").replace("{session}", "2020-12-30"))
        named = path.endswith(("/portfolios/import", "/positions/range", "/dead-letters/replay", "/dead-letters/purge"))
        for method in ({"DELETE", "HEAD"} - known) if named else {"PROPFIND"}:
            answer = await api.client.request(method, filled)
            if answer.status_code != 405 or set(answer.headers["allow"].split(", ")) != known:
                wrong.append((method, path, answer.status_code, answer.headers.get("allow")))
    assert wrong == []
    assert (await api.client.post("/static/page.css")).headers["allow"] == "HEAD, GET"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/admin/dead-letters", {"topic": "\0"}),
        ("/symbols/AAPL/prices", {"known_at": "0001-01-01T00:00:00+14:00"}),
        ("/symbols/AAPL/prices", {"known_at": "9999-12-31T23:59:59-14:00"}),
        ("/portfolios/{id}/restatements", {"cursor": "0001-01-01T00:00:00+14:00~0001-01-01~risk~1"}),
        ("/portfolios/{id}/restatements", {"cursor": "2020-01-01T00:00:00+00:00~0001-01-01~risk~x"}),
        ("/portfolios/{id}/restatements/causes", {"cursor": "9" * 30}),
        ("/portfolios/{id}/positions/range", {"cursor": "yesterday"}),
        ("/symbols/quarantined", {"cursor": "yesterday~X"}),
        ("/portfolios/{id}/risk/series", {"figures": "risk.\0"}),
        ("/portfolios", {"cursor": "yesterday"}),
        ("/admin/dead-letters", {"cursor": "-1"}),
        ("/admin/runs", {"cursor": ""}),
    ],
)
async def test_hostile_values_are_refused_by_name(api: Api, path: str, query: dict[str, Any]) -> None:
    identity = (await api.create())["id"]
    await api.run("INSERT INTO ingest.symbols (symbol) VALUES ('AAPL') ON CONFLICT DO NOTHING")
    answer = await api.client.get(PREFIX + path.format(id=identity), params=query)
    assert answer.status_code == 422, answer.text
    document = answer.json()
    assert document["code"] in KNOWN
    assert document["type"] == f"/docs/problems#{document['code']}"
    if "cursor" in query:
        assert "`next` of the page before" in document["detail"]


async def test_a_body_that_is_not_declared_as_json_is_told_how_to_be(api: Api) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = await api.client.post(LIST, content=b"{", headers=headers)
        assert answer.status_code == 422, answer.text
        assert "Content-Type: application/json" in answer.json()["detail"]
    broken = await api.client.post(LIST, content=b"{", headers={"Content-Type": "application/json"})
    assert "Content-Type" not in broken.json()["detail"]
