"""The typed client against a transport of our own: retries, pages, waiting, errors, frames, and the examples of its document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pandas as pd
import pytest

import leadline
from leadline import AsyncClient, Client, errors, http

ROOT = Path(__file__).parents[3]
ID = "01a20058-0000-7000-8000-000000000001"
STATUS = {"id": ID, "state": "complete", "completed": 28, "expected": 28, "holes": []}
Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays are remembered and not waited for."""
    waited: list[float] = []

    async def asleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setattr("leadline.async_client.asyncio", SimpleNamespace(sleep=asleep))
    return waited


class Answers:
    """One after the other; an exception is a call without an answer."""

    def __init__(self, *answers: httpx2.Response | type[httpx2.TransportError]) -> None:
        self.left = list(answers)
        self.sent: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        answer = self.left.pop(0)
        if isinstance(answer, type):
            raise answer("down", request=request)
        return answer


def ok(body: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, json=body)


def sync(handler: Handler, **options: Any) -> Client:
    return Client("http://test", transport=httpx2.MockTransport(handler), **options)


def awaited(handler: Handler, **options: Any) -> AsyncClient:
    return AsyncClient("http://test", transport=httpx2.MockTransport(handler), **options)


def busy(status: int, after: str | None = None) -> httpx2.Response:
    return httpx2.Response(status, headers={"Retry-After": after} if after else {}, json={"detail": "busy"})


async def test_what_is_refused_for_now_is_asked_again_and_happens_once(no_delay: list[float]) -> None:
    for kind in ("sync", "async"):
        answers = Answers(busy(503), httpx2.ConnectError, busy(429, "7"), ok({"run_id": "r", "rejected": []}, 202))
        if kind == "sync":
            accepted = sync(answers).rerun([ID], "missing")
        else:
            async with awaited(answers) as client:
                accepted = await client.rerun([ID], "missing")
        assert accepted["run_id"] == "r"
        assert len({request.headers["idempotency-key"] for request in answers.sent}) == 1
        assert len(answers.sent) == 4
        first, second, third = no_delay
        assert (0.18 < first < 0.32, 0.37 < second < 0.63, third) == (True, True, 7.0)
        no_delay.clear()


async def test_patience_ends_with_the_error_of_the_last_answer() -> None:
    with pytest.raises(errors.ServerFailed, match="busy"):
        sync(Answers(*[busy(503)] * 4)).status(ID)
    with pytest.raises(errors.TooManyRequests):
        sync(once := Answers(busy(429, "3600"))).status(ID)
    assert len(once.sent) == 1, "an hour is not waited for"
    with pytest.raises(errors.NoAnswer, match="leadline up"):
        sync(Answers(*[httpx2.ReadTimeout] * 2), attempts=2).status(ID)
    async with awaited(Answers(*[httpx2.ConnectError] * 2), attempts=2) as client:
        with pytest.raises(errors.NoAnswer):
            await client.status(ID)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Invalid), (401, errors.Unauthorised), (403, errors.Unauthorised), (404, errors.NotFound),
        (409, errors.Conflict), (422, errors.Invalid), (500, errors.ServerFailed), (418, errors.Failed),
    ],
)  # fmt: skip
def test_a_problem_document_is_an_error_of_its_kind(status: int, kind: type[errors.Failed]) -> None:
    body = {"detail": "why", "code": "the_code", "errors": [{"row": 3}], "status": status}
    with pytest.raises(kind, match="why") as caught:
        sync(answers := Answers(ok(body, status))).create({"name": "x"})
    assert (caught.value.code, caught.value.errors, caught.value.document) == ("the_code", [{"row": 3}], body)
    assert len(answers.sent) == 1
    assert isinstance(caught.value, leadline.Failed)


async def test_pages_are_asked_for_as_they_are_read() -> None:
    def pages() -> Answers:
        return Answers(
            ok({"items": [{"id": "1"}, {"id": "2"}], "next": "c"}), ok({"items": [{"id": "3"}], "next": None})
        )

    items = sync(answers := pages()).portfolios()
    assert [next(items)["id"], next(items)["id"]] == ["1", "2"]
    assert len(answers.sent) == 1
    assert [item["id"] for item in items] == ["3"]
    assert answers.sent[1].url.params["cursor"] == "c"
    async with awaited(pages()) as client:
        assert [item["id"] async for item in client.portfolios()] == ["1", "2", "3"]


async def test_waiting_ends_complete_blocked_or_in_time(no_delay: list[float]) -> None:
    healing = STATUS | {"state": "healing", "completed": 7}
    assert sync(Answers(ok(healing), ok(healing), ok(STATUS))).wait_until_complete(ID)["state"] == "complete"
    assert no_delay == [1.0, 1.0]
    partial = STATUS | {"state": "partial"}
    async with awaited(Answers(ok(healing), ok(partial))) as client:
        assert (await client.wait_until_complete(ID))["state"] == "partial"
    blocked = STATUS | {"state": "blocked", "holes": [{"reason": "ValueError: x"}]}
    with pytest.raises(errors.Blocked, match="ValueError: x"):
        sync(Answers(ok(blocked))).wait_until_complete(ID)
    with pytest.raises(errors.NotInTime, match="7 of 28 units"):
        sync(Answers(ok(healing))).wait_until_complete(ID, seconds=0.5)


SERIES = {
    "portfolio_id": ID, "sessions": ["2020-12-29", "2020-12-30"], "figures": {"snapshots.nav": [1.5, None]}, "stale": [False, False],
    "reasons": [],
}  # fmt: skip


async def test_series_are_frames_and_what_is_unknown_is_no_number() -> None:
    frame = sync(answers := Answers(ok(SERIES))).series_frame(ID, ["snapshots.nav", "risk.x"], first="2020-12-29")
    assert dict(answers.sent[0].url.params) == {"figures": "snapshots.nav,risk.x", "from": "2020-12-29"}
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert frame["snapshots.nav"].iloc[0] == 1.5
    assert frame["snapshots.nav"].isna().tolist() == [False, True]
    async with awaited(Answers(ok({"items": [{"symbol": "KO", "weight": 0.5}]}))) as client:
        assert (await client.positions_frame(ID)).to_dict("records") == [{"symbol": "KO", "weight": 0.5}]


async def test_both_clients_have_the_same_methods_and_make_the_same_calls(tmp_path: Path) -> None:
    own = {name for name in vars(Client) if not name.startswith("_")}
    assert own <= {name for name in vars(AsyncClient) if not name.startswith("_")}
    file = tmp_path / "p.csv"
    file.write_text("symbol\n")
    made: list[tuple[str, str, str]] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        made.append((request.method, request.url.path, str(request.url.params)))
        return ok({})

    client = sync(note)
    for arguments in CALLS:
        getattr(client, arguments[0])(*arguments[1:])
    client.import_csv(file, name="n", equity=1, dialect="us")
    once, made = made, []
    async with awaited(note) as other:
        for arguments in CALLS:
            await getattr(other, arguments[0])(*arguments[1:])
        await other.import_csv(file, name="n", equity=1, dialect="us")
    assert made == once
    assert ("GET", f"/report/{ID}", "inline=true") in once


CALLS: list[tuple[Any, ...]] = [
    ("portfolio", ID), ("create", {"name": "x"}), ("remove", ID), ("status", ID), ("positions", ID), ("factor_exposures", ID),
    ("risk", ID, "2020-12-30"), ("stress", ID), ("explain", ID, "snapshots.nav"), ("explain_symbol", "BRK.B", "prices.close"),
    ("run", ID), ("rerun", [ID], "all"), ("report", ID),
]  # fmt: skip


def test_paths_of_calls_are_operations_of_the_interface() -> None:
    """Of what the document of the interface lists; a mistyped path would be found here and not by a user."""
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$") for path in paths]
    made: list[str] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        made.append(request.url.path)
        return ok({"items": [], "next": None, "figures": {}, "sessions": []})

    client = sync(note)
    for arguments in CALLS[:-1]:
        getattr(client, arguments[0])(*arguments[1:])
    client.series(ID, ["snapshots.nav"])
    for listed in (client.portfolios(), client.runs(), client.restatements(ID)):
        assert list(listed) == []
    assert not [path for path in made if not any(pattern.match(path) for pattern in patterns)]


def test_the_examples_of_the_document_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    risk = {
        "session": "2020-12-30", "volatility": {"realized_252": 0.257}, "reasons": [{"figure": "rates", "reason": "no_proxy"}],
    }  # fmt: skip
    answers = {
        "/portfolios": {"items": [{"id": ID, "name": "Book"}], "next": None}, f"/portfolios/{ID}/status": STATUS,
        f"/portfolios/{ID}/risk": risk, f"/portfolios/{ID}/risk/series": SERIES | {"figures": {"snapshots.nav": [1.5, 2.5]}},
        f"/portfolios/{ID}/explain": {"formula": "cash + values", "inputs": [{}, {}]},
    }  # fmt: skip
    transport = httpx2.MockTransport(lambda request: ok(answers[request.url.path.removeprefix(http.PREFIX)]))
    monkeypatch.setattr(leadline, "Client", lambda: Client("http://test", transport=transport))
    monkeypatch.setattr(leadline, "AsyncClient", lambda: AsyncClient("http://test", transport=transport))
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "client.md", "exec"), {})  # noqa: S102 (our own document)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["Book complete 2020-12-30 0.257", "  rates no_proxy", "2.5", "cash + values 2", "['Book']"]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "proxy", "verified"),
    [
        ("https://leadline.example", "", True),
        ("http://127.0.0.1:8000", "", False),
        ("http://127.0.0.1:8000", "https://proxy.example:3128", True),
    ],
)
def test_certificates_are_verified_wherever_something_is_encrypted(
    monkeypatch: pytest.MonkeyPatch, kind: type[Client | AsyncClient], url: str, proxy: str, verified: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
    given: list[object] = []
    monkeypatch.setattr(httpx2, kind.__name__, lambda **values: given.append(values["verify"]))
    kind(url, "token")
    assert given == [verified]
