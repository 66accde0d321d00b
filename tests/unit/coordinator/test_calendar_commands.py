"""`leadline calendar`: what is sent, and what a person reads."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from leadline import cli
from leadline.http import Client

SHOWN = {
    "exchange": "XNYS",
    "now": "2020-12-30T21:30:00Z",
    "last_due": "2020-12-30",
    "sessions": [
        {
            "session": "2020-12-31",
            "close_at": "2020-12-31T18:00:00Z",
            "due_at": "2020-12-31T18:30:00Z",
            "due_at_new_york": "2020-12-31T13:30:00-05:00",
            "early": True,
            "reason": "storm [red]",
        }
    ],
    "closures": [
        {
            "day": "2020-12-28",
            "closed": True,
            "close_at": None,
            "close_at_new_york": None,
            "reason": "mourning",
            "entered_at": "2020-12-29T08:00:00Z",
        }
    ],
    "horizon": {
        "last_session": "2021-12-31",
        "announced_until": "2021-02-01",
        "days_left": 33,
        "alarm": True,
        "remedy": "upgrade exchange_calendars",
    },
}


def run(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, refused: bool = False
) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The command's result, and (method, path with query, body) of every call it made."""
    asked: list[tuple[str, str, Any]] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.raw_path.decode().removeprefix("/api/v1"), body))
        if refused:
            problem = {"status": 422, "detail": "2020-12-25 is not a session of XNYS anyway.", "code": "not_a_session"}
            return httpx2.Response(422, json=problem)
        if request.method == "GET":
            return httpx2.Response(200, json=SHOWN)
        at = (body or {}).get("close_at")
        local = None if at is None else f"2020-12-28T{at}:00-05:00"
        done = {"changed": True, "withdrawn_units": 4, "required_units": 1234, "run_id": "r"}
        what = {
            "day": "2020-12-28",
            "closed": at is None,
            "close_at_new_york": local,
            "reason": (body or {}).get("reason"),
        }
        return httpx2.Response(200, json=what | done)

    monkeypatch.setattr(cli, "client", lambda: Client("http://test", transport=httpx2.MockTransport(handle)))
    return CliRunner().invoke(cli.app, ["calendar", *arguments]), asked


def test_the_next_sessions_closures_and_the_horizon_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "--sessions", "1")
    assert result.exit_code == 0, result.output
    assert asked == [("GET", "/calendar?sessions=1", None)]
    for words in ("2020-12-31T18:30:00Z", "Thu 13:30", "early close", "storm [red]", "all day", "mourning"):
        assert words in result.stdout, result.stdout
    assert "known until 2021-02-01, for 33 days: upgrade exchange_calendars." in result.stdout


def test_as_json_it_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "--json")
    assert json.loads(result.stdout) == SHOWN


def test_a_day_is_closed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "close", "2020-12-28", "--reason", "mourning")
    assert asked == [("PUT", "/calendar/closures/2020-12-28", {"reason": "mourning", "close_at": None})]
    assert result.stdout == "2020-12-28: closed (mourning); 4 units withdrawn, 1,234 required anew\n"


def test_a_day_closes_early(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "close", "2020-12-28", "--reason", "storm", "--at", "13:00")
    assert asked == [("PUT", "/calendar/closures/2020-12-28", {"reason": "storm", "close_at": "13:00"})]
    assert "closes at 13:00 New York time (storm)" in result.stdout


def test_a_closure_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, "open", "2020-12-28")
    assert asked == [("DELETE", "/calendar/closures/2020-12-28", None)]
    assert result.stdout.startswith("2020-12-28: taken back; 4 units withdrawn")


def test_what_is_refused_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = run(monkeypatch, "close", "2020-12-25", "--reason", "Christmas", refused=True)
    assert result.exit_code == 1
    assert "not a session of XNYS anyway" in result.output


@pytest.mark.parametrize(
    "arguments", [("close", "2020-12-28"), ("close", "soon", "--reason", "x"), ("open", "20201228")]
)
def test_a_call_that_says_too_little_is_not_made(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    result, asked = run(monkeypatch, *arguments)
    assert (result.exit_code, asked) == (2, [])
