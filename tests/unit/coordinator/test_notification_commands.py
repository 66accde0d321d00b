"""`leadline limit` and `leadline notify`: what is sent, and what a person reads."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client

ID, LIMIT, HOOK = (f"01a20058-0000-7000-8000-00000000000{n}" for n in (1, 2, 3))
LISTED = {
    "id": LIMIT, "name": "VaR [red]", "portfolio_id": None, "figure": "risk.var.historical.0.95", "op": ">", "value": 0.03,
    "created_at": "2020-12-30T21:30:00Z", "breached": 1,
    "standings": [
        {"portfolio_id": ID, "state": "breached", "since": "2020-12-30T21:40:00Z", "value": 0.0412, "detail": None,
         "session": "2020-12-30"},
    ],
}  # fmt: skip
ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/limits"): {"items": [LISTED, LISTED | {"id": ID, "name": "late", "standings": []}]},
    ("POST", "/limits"): LISTED,
    ("GET", "/portfolios"): {"items": [{"id": ID, "name": "Book"}], "next": None},
    ("GET", "/admin/webhooks"): {
        "items": [
            {"id": HOOK, "name": "desk", "url": "https://example.org/", "created_at": "2020-12-30T21:30:00Z", "pending": 2,
             "delivered_at": None, "last_error": "answered 503"},
        ],
    },
    ("POST", "/admin/webhooks"): {"id": HOOK, "name": "desk", "secret": "leadline_hook_x"},
    ("POST", f"/admin/webhooks/{HOOK}/test"): {"accepted": True},
    ("DELETE", f"/admin/webhooks/{HOOK}"): None,
    ("DELETE", f"/limits/{LIMIT}"): None,
}  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The command's result, and (method, path, body) of every call it made."""
    asked: list[tuple[str, str, Any]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        call = (request.method, request.url.path.removeprefix("/api/v1"))
        asked.append((*call, json.loads(request.content) if request.content else None))
        body = ANSWERS[call]
        return httpx2.Response(204) if body is None else httpx2.Response(200, json=body)

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    return CliRunner().invoke(cli.app, list(arguments)), asked


def test_a_limit_is_set_with_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(
        monkeypatch, "limit", "add", "risk.var.historical.0.95", "--above", "0.03", "--portfolio", "Book"
    )
    assert result.exit_code == 0, result.output
    body = {
        "name": "risk.var.historical.0.95 > 0.03", "figure": "risk.var.historical.0.95", "op": ">", "value": 0.03, "portfolio_id": ID,
    }  # fmt: skip
    assert asked[-1] == ("POST", "/limits", body)
    result, asked = run(monkeypatch, "limit", "add", "snapshots.coverage", "--below", "0.9", "--name", "thin")
    assert (asked[-1][2]["op"], asked[-1][2]["name"], asked[-1][2]["portfolio_id"]) == ("<", "thin", None)
    for wrong in ([], ["--above", "1", "--below", "0"]):
        result, asked = run(monkeypatch, "limit", "add", "snapshots.nav", *wrong)
        assert (result.exit_code, asked) == (1, [])
        assert "one of --above and --below" in result.stderr


def test_what_is_breached_is_listed_with_portfolio_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "limit", "list")
    assert result.exit_code == 0, result.output
    for words in ("VaR [red]", "Book", "breached", "0.0412", "2020-12-30T21:40:00Z", "not read yet", LIMIT):
        assert words in result.stdout, result.stdout
    result, asked = run(monkeypatch, "limit", "remove", "VaR [red]")
    assert asked[-1][:2] == ("DELETE", f"/limits/{LIMIT}")
    result, asked = run(monkeypatch, "limit", "remove", "nothing")
    assert (result.exit_code, len(asked)) == (1, 1)


def test_a_webhooks_secret_is_printed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "notify", "add", "desk", "https://example.org/")
    assert result.stdout == "leadline_hook_x\n"
    assert asked == [("POST", "/admin/webhooks", {"name": "desk", "url": "https://example.org/"})]
    result, _ = run(monkeypatch, "notify", "list")
    for words in ("desk", "2", "answered 503", HOOK):
        assert words in result.stdout
    result, asked = run(monkeypatch, "notify", "test", "desk")
    assert asked[-1][:2] == ("POST", f"/admin/webhooks/{HOOK}/test")
    result, asked = run(monkeypatch, "notify", "remove", "desk", "--json")
    assert json.loads(result.stdout)["id"] == HOOK
