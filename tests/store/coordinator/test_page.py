"""The page over HTTP without a browser: headers, signing in, refusals, forms that redirect."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.coordinator.web.rendering import POLICY
from services.coordinator.web.sessions import CODE_SECONDS, Sessions
from tests.store.coordinator.conftest import CSV, Api, make_app

TOKEN = "a-token-for-tests"


@pytest.fixture
async def locked(engines: tuple[AsyncEngine, AsyncEngine]) -> AsyncIterator[httpx2.AsyncClient]:
    """A server with a token, on its port of the loopback."""
    app = make_app(engines[0], [], token=TOKEN)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8123") as client:
        yield client


async def test_every_page_carries_the_policy(api: Api) -> None:
    for path in ("/", "/import", "/ops", "/symbols", "/settings", "/sign-in", f"/p/{uuid4()}"):
        answer = await api.client.get(path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "Leadline" in answer.text


async def test_without_a_portfolio_the_page_says_how_to_begin(api: Api) -> None:
    answer = await api.client.get("/")
    assert "No portfolio yet" in answer.text
    assert 'type="file"' in answer.text


async def test_a_refusal_is_a_page_for_people_and_a_problem_for_programs(api: Api) -> None:
    unknown = uuid4()
    page = await api.client.get(f"/p/{unknown}")
    assert page.status_code == 404
    assert "text/html" in page.headers["content-type"]
    assert f"There is no portfolio {unknown}" in page.text
    assert (await api.client.get("/p/no-id")).status_code == 422
    known = (await api.create())["id"]
    day = await api.client.get(f"/p/{known}?session=yesterday")
    assert day.status_code == 422
    assert "YYYY-MM-DD" in day.text
    program = await api.client.get(f"/api/v1/portfolios/{unknown}")
    assert program.headers["content-type"] == "application/problem+json"


async def test_without_a_token_set_nobody_signs_in(api: Api) -> None:
    assert (await api.client.get("/")).status_code == 200
    answer = await api.client.post("/sign-in", data={"token": ""})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


async def test_signing_in_and_out(locked: httpx2.AsyncClient) -> None:
    turned_away = await locked.get("/ops?phase=risk")
    assert turned_away.status_code == 303
    assert turned_away.headers["location"] == "/sign-in?next=%2Fops%3Fphase%3Drisk"
    wrong = await locked.post("/sign-in", data={"token": TOKEN + "x"})
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = await locked.post("/sign-in", data={"token": TOKEN, "next": "/ops?phase=risk"})
    assert right.status_code == 303
    assert right.headers["location"] == "/ops?phase=risk"
    cookie = right.headers["set-cookie"]
    assert cookie.startswith("leadline_8123=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert TOKEN not in cookie
    page = await locked.get("/ops")
    assert page.status_code == 200
    assert "Sign out" in page.text
    session = locked.cookies["leadline_8123"]
    await locked.post("/sign-out")
    # The session is gone on the server, not only in this browser.
    again = await locked.get("/ops", headers={"cookie": f"leadline_8123={session}"})
    assert again.status_code == 303


async def test_under_tls_the_cookie_is_bound_to_the_host(engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    app = make_app(engines[0], [], token=TOKEN, hosts=("leadline.example",))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="https://leadline.example"
    ) as client:
        answer = await client.post("/sign-in", data={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-leadline=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


async def test_a_one_time_code_works_once(locked: httpx2.AsyncClient, engines: tuple[AsyncEngine, AsyncEngine]) -> None:
    app = make_app(engines[0], [], token=TOKEN)
    app.state.page_sessions = sessions = Sessions()
    code = sessions.issue_code()
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8123") as client:
        first = await client.get("/sign-in", params={"code": code})
        assert first.status_code == 303
        assert first.headers["set-cookie"].startswith("leadline_8123=")
        second = await client.get("/sign-in", params={"code": code})
        assert second.status_code == 401
        assert "set-cookie" not in second.headers


def test_a_code_is_refused_after_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    code = sessions.issue_code()
    later = time.monotonic() + CODE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not sessions.redeem(code)


@pytest.mark.parametrize(
    "elsewhere", ["https://example.org/", "//example.org", "/\\example.org", "javascript:alert(1)"]
)
async def test_nobody_is_led_elsewhere(locked: httpx2.AsyncClient, elsewhere: str) -> None:
    answer = await locked.post("/sign-in", data={"token": TOKEN, "next": elsewhere})
    assert answer.headers["location"] == "/"


async def test_a_program_reads_a_page_with_its_token(locked: httpx2.AsyncClient) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert (await locked.get("/settings", headers=bearer)).status_code == 200
    assert (await locked.get("/settings", headers={"authorization": "Bearer wrong"})).status_code == 303


async def test_the_wizard_saves_nothing_before_it_is_told_to(api: Api) -> None:
    form = {"text": CSV, "name": "Checked", "equity_balance": "100000"}
    checked = await api.client.post("/import", data=form)
    assert checked.status_code == 200
    assert "/import/commit" in checked.text
    assert (await api.rows("SELECT count(*) FROM coordinator.portfolios"))[0][0] == 0
    done = await api.client.post("/import/commit", data=form)
    assert done.status_code == 303
    assert re.match(r"/p/[0-9a-f-]{36}\?imported=1&notice=", done.headers["location"])
    assert [row[0] for row in await api.rows("SELECT name FROM coordinator.portfolios")] == ["Checked"]
    # The relay is told, as after a call to the API.
    assert "relay" in api.woken
    page = await api.client.get(done.headers["location"])
    assert "No figures yet" in page.text
    assert "Undo this import" in page.text


async def test_the_wizard_lists_all_errors_with_a_repair(api: Api) -> None:
    text = "Ticker;Shares;Trade Date;Price\nAAPL;1.200,5;02.01.2020;75,5\nMSFT;x;2020-01-02;160\n"
    answer = await api.client.post("/import", data={"text": text, "name": "B", "equity_balance": "100000"})
    assert answer.status_code == 422
    assert "→ 1200.5" in answer.text
    assert "→ 2020-01-02" in answer.text
    assert "→ 75.5" in answer.text
    repaired = await api.client.post(
        "/import",
        data={
            "text": text,
            "name": "B",
            "equity_balance": "100000",
            "fix": '{"cells": [[2,"quantity","1200.5"],[2,"entry_date","2020-01-02"],[2,"entry_price","75.5"]], "drop": [3]}',
        },
    )
    assert repaired.status_code == 200, repaired.text
    assert "1 position" in repaired.text


async def test_a_file_is_read_as_the_reader_says_it_is_written(api: Api) -> None:
    """Nothing is guessed of a date such as 02/01/2020; once it is said, nothing needs repair."""
    text = "symbol;quantity;entry_date;entry_price\nAAPL;1.200,5;21.12.2020;128,23\n"
    form = {"text": text, "name": "B", "equity_balance": "1000000"}
    assert (await api.client.post("/import", data=form)).status_code == 422
    answer = await api.client.post("/import", data=form | {"dialect": "eu"})
    assert answer.status_code == 200, answer.text
    assert "1 position" in answer.text
    assert '<option value="eu" selected>' in answer.text
    done = await api.client.post("/import/commit", data=form | {"dialect": "eu"})
    assert done.status_code == 303
    stored = await api.rows("SELECT quantity, entry_date, entry_price FROM coordinator.positions")
    assert [(float(row[0]), str(row[1]), float(row[2])) for row in stored] == [(1200.5, "2020-12-21", 128.23)]
    assert (await api.client.post("/import", data=form | {"dialect": "martian"})).status_code == 422


async def test_a_cell_that_was_edited_counts_whichever_button_is_pressed(api: Api) -> None:
    """Enter in a field presses the first button of the form, which is not the one beside the cells."""
    text = "symbol,quantity,entry_date,entry_price\nAAPL,x,2020-01-02,75.5\n"
    form = {"text": text, "name": "B", "equity_balance": "100000"}
    assert (await api.client.post("/import", data=form)).status_code == 422
    answer = await api.client.post("/import", data=form | {"cell|2|quantity": "12"})
    assert answer.status_code == 200, answer.text
    assert "1 position" in answer.text
    odd = await api.client.post("/import", data=form | {"fix": '{"cells": 5}'})
    assert odd.status_code == 422


async def test_a_form_cannot_lead_elsewhere(api: Api) -> None:
    answer = await api.client.post("/rerun", data={"what": "missing", "then": "//example.org"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/ops?notice=")


async def test_deleting_needs_a_tick(api: Api) -> None:
    of = (await api.create(CSV))["id"]
    refused = await api.client.post(f"/p/{of}/delete")
    assert refused.status_code == 422
    assert (await api.client.get(f"/p/{of}")).status_code == 200
    assert (await api.client.post(f"/p/{of}/delete", data={"sure": "yes"})).status_code == 303
    assert (await api.client.get(f"/p/{of}")).status_code == 404


async def test_names_are_text_wherever_they_stand(api: Api) -> None:
    of = (await api.create(CSV, name="<script>alert(1)</script>"))["id"]
    for path in ("/", f"/p/{of}", f"/p/{of}/data", "/ops"):
        answer = await api.client.get(path)
        assert "<script>alert" not in answer.text, path
        assert "&lt;script&gt;alert" in answer.text, path


async def test_the_list_says_how_far_a_portfolio_is_from_what_is_kept_of_its_units(api: Api) -> None:
    """Five years of units are five thousand a portfolio: the list counts none of them."""
    of = (await api.create())["id"]
    await api.complete(of, phase="ingest")
    assert "healing, 25.0% done" in (await api.client.get("/")).text
    await api.run("UPDATE ledger.unit_runs SET state = 'complete' WHERE phase = 'factors'")
    assert "healing, 50.0% done" in (await api.client.get("/")).text
    await api.complete(of)
    assert "% done" not in (await api.client.get("/")).text


async def test_pages_and_files_are_compressed_and_ranges_are_not(api: Api) -> None:
    for path in ("/", "/static/leadline.css", "/static/vendor/htmx-4.0.1.min.js", "/openapi.json"):
        answer = await api.client.get(path, headers={"accept-encoding": "gzip"})
        assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip"), path
        assert answer.num_bytes_downloaded < len(answer.content) / 2, path
        plain = await api.client.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == answer.content
    some = await api.client.get("/static/leadline.css", headers={"range": "bytes=0-99", "accept-encoding": "gzip"})
    assert (some.status_code, len(some.content), "content-encoding" in some.headers) == (206, 100, False)


async def test_static_files_are_kept_for_ever_under_their_digest(api: Api) -> None:
    page = await api.client.get("/")
    address = re.search(r'href="(/static/leadline\.css\?v=[0-9a-f]{12})"', page.text)
    assert address
    found = await api.client.get(address[1])
    assert "immutable" in found.headers["cache-control"]
    assert "immutable" not in (await api.client.get("/static/leadline.css")).headers.get("cache-control", "")
