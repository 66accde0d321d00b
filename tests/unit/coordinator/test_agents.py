"""The MCP server, driven by the official client over streams in memory, in front of a transport of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import ClientSession
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import TextContent

from leadline import AsyncClient
from leadline.agents import server

ID = "01a20058-0000-7000-8000-000000000001"
REASON = {"figure": "rates", "reason": "no_proxy", "acts": "you", "remedy": "Add a source"}
ORIGIN = {
    "portfolio_id": ID, "session": "2020-12-30", "revision": 1, "quality": "partial", "coverage": 1.0, "stale": False, "reasons": [REASON],
}  # fmt: skip
RISK = dict.fromkeys(("volatility", "beta", "var", "drawdown", "concentration", "sectors"))
PATH = f"/portfolios/{ID}"
ANSWERS: dict[tuple[str, str], tuple[int, Any]] = {
    ("GET", "/portfolios"): (
        200,
        {"items": [{"id": ID, "name": "Book", "currency": "USD", "state": "healing", "positions": 3, "complete_to": None,
                    "coverage_min": None, "nav": None, "other": 1}], "next": None},
    ),
    ("GET", f"{PATH}/status"): (
        200, {"id": ID, "state": "healing", "as_of": "2020-12-30", "complete_to": None, "expected": 28, "completed": 21,
              "coverage_min": 1.0, "needs_you": [REASON], "holes": []},
    ),
    ("GET", f"{PATH}/positions"): (200, ORIGIN | {"items": [{"symbol": "KO", "weight": None}]}),
    ("GET", f"{PATH}/risk"): (200, ORIGIN | RISK),
    ("GET", f"{PATH}/factor-exposures"): (200, ORIGIN | {"factors": [{"factor": "rates", "beta": None}]}),
    ("GET", f"{PATH}/stress"): (200, ORIGIN | {"scenarios": []}),
    ("GET", f"{PATH}/performance"): (
        200, {"from": "2020-01-02", "to": "2020-12-30", "sessions": 252, "stale": False, "total_return": 0.1, "sharpe": None,
              "drawdowns": [], "years": [], "items": [], "benchmark": {"symbol": "SPY"}, "reasons": [REASON]},
    ),
    ("GET", f"{PATH}/attribution"): (
        200, {"from": "2020-01-02", "to": "2020-12-30", "stale": False, "pnl": 5.0, "total_return": 0.1, "items": [], "sectors": [],
              "factors": [], "brinson": None, "reasons": []},
    ),
    ("GET", f"{PATH}/stress/replay"): (
        200, ORIGIN | {"from": "2020-02-19", "to": "2020-03-23", "factors": None, "positions": {"money": -1.0}, "items": []},
    ),
    ("GET", f"{PATH}/liquidity"): (200, ORIGIN | {"share": 0.2, "days": None, "unknown_share": 0.0, "within": [], "items": []}),
    ("POST", f"{PATH}/what-if"): (200, ORIGIN | {"trades": [], "before": {"nav": 1.0}, "after": {"nav": 1.0}}),
    ("GET", "/limits"): (200, {"items": [{"name": "VaR", "breached": 1}]}),
    ("GET", f"{PATH}/explain"): (
        200, {"figure": "snapshots.nav", "session": "2020-12-30", "value": 1.5, "formula": "cash + values", "parameters": {},
              "steps": [], "inputs": [{"provider": "file"}], "no_inputs": None},
    ),
    ("GET", f"{PATH}/restatements/causes"): (200, {"items": [{"summary": "close of KO"}], "next": "c"}),
    ("POST", "/admin/batch/run"): (202, {"run_id": "r", "rejected": []}),
}  # fmt: skip
SENT = list[tuple[str, str, dict[str, str], bytes]]


@asynccontextmanager
async def session(
    answers: dict[tuple[str, str], tuple[int, Any]] = ANSWERS,
) -> AsyncIterator[tuple[ClientSession, SENT]]:
    sent: SENT = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/api/v1")
        sent.append((request.method, path, dict(request.url.params), request.read()))
        status, body = answers.get((request.method, path), (404, {"detail": f"nothing at {path}", "code": "not_found"}))
        return httpx2.Response(status, json=body)

    async with (
        AsyncClient("http://test", attempts=1, transport=httpx2.MockTransport(handle)) as client,
        create_connected_server_and_client_session(server(client)) as agent,
    ):
        yield agent, sent


async def called(agent: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await agent.call_tool(tool, arguments)
    assert not answer.isError, answer.content
    assert answer.structuredContent is not None
    return answer.structuredContent


def said(answer: Any) -> str:
    assert answer.isError
    return "".join(part.text for part in answer.content if isinstance(part, TextContent))


async def test_there_are_fourteen_tools_that_read_and_two_that_are_guarded() -> None:
    async with session() as (agent, _):
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
    assert set(tools) == {
        "list_portfolios", "status", "positions", "risk", "exposures", "stress", "explain", "restatements", "import_dry_run", "rerun",
        "performance", "attribution", "replay", "liquidity", "what_if", "limits",
    }  # fmt: skip
    for tool in tools.values():
        assert tool.description
        assert tool.outputSchema is not None
        assert tool.outputSchema["properties"]
    writing = [name for name, tool in tools.items() if not (tool.annotations and tool.annotations.readOnlyHint)]
    assert writing == ["rerun"]


async def test_an_agent_lists_asks_for_the_state_and_for_an_explanation() -> None:
    async with session() as (agent, sent):
        listed = await called(agent, "list_portfolios")
        assert listed["items"][0]["name"] == "Book"
        assert listed["items"][0]["nav"] is None
        assert "other" not in listed["items"][0]
        status = await called(agent, "status", portfolio="boo")
        assert (status["state"], status["needs_you"][0]["remedy"]) == ("healing", "Add a source")
        explained = await called(agent, "explain", portfolio=ID, figure="snapshots.nav", session="2020-12-30")
        assert (explained["value"], explained["inputs"]) == (1.5, [{"provider": "file"}])
        assert sent[-1][2] == {"figure": "snapshots.nav", "session": "2020-12-30"}


async def test_what_is_unknown_is_null_with_its_reason() -> None:
    async with session() as (agent, _):
        for tool in ("positions", "risk", "exposures", "stress"):
            result = await called(agent, tool, portfolio="Book")
            assert (result["quality"], result["reasons"]) == ("partial", [REASON])
        assert (await called(agent, "risk", portfolio="Book"))["volatility"] is None
        changes = await called(agent, "restatements", portfolio="Book", first="2020-12-01")
        assert changes == {"items": [{"summary": "close of KO"}], "more": True}


async def test_the_newer_figures_are_asked_for_with_their_range() -> None:
    async with session() as (agent, sent):
        found = await called(agent, "performance", portfolio=ID, first="2020-01-02", benchmark="SPY")
        assert (found["first"], found["total_return"], found["sharpe"], found["reasons"]) == (
            "2020-01-02",
            0.1,
            None,
            [REASON],
        )
        assert sent[-1][2] == {"from": "2020-01-02", "benchmark": "SPY"}
        assert (await called(agent, "attribution", portfolio=ID))["pnl"] == 5.0
        replayed = await called(agent, "replay", portfolio=ID, first="2020-02-19", last="2020-03-23")
        assert (replayed["last"], replayed["positions"], sent[-1][1]) == (
            "2020-03-23",
            {"money": -1.0},
            f"{PATH}/stress/replay",
        )
        assert (await called(agent, "liquidity", portfolio=ID, share=0.1))["days"] is None
        assert sent[-1][2] == {"share": "0.1"}
        assert (await called(agent, "what_if", portfolio=ID, trades={"SPY": -100}))["after"] == {"nav": 1.0}
        assert json.loads(sent[-1][3])["trades"] == [{"symbol": "SPY", "quantity": -100}]
        assert (await called(agent, "limits"))["items"][0]["breached"] == 1


async def test_a_rerun_is_not_asked_for_without_confirmation() -> None:
    async with session() as (agent, sent):
        guarded = await called(agent, "rerun", portfolio="Book")
        assert (guarded["asked"], guarded["run_id"]) == (False, None)
        assert "7 of 28 units" in guarded["note"]
        assert {method for method, *_ in sent} == {"GET"}
        done = await called(agent, "rerun", portfolio="Book", what="all", confirm=True)
        assert (done["asked"], done["run_id"]) == (True, "r")
        assert sent[-1][:2] == ("POST", "/admin/batch/run")
        assert (sent[-1][2]["what"], sent[-1][2]["portfolio_id"]) == ("all", ID)


async def test_an_import_is_only_ever_a_dry_run_and_its_errors_are_an_answer() -> None:
    good = {"name": "n", "positions": 1, "warnings": [], "preview": [{"symbol": "KO"}]}
    async with session({("POST", "/portfolios/import"): (200, good)}) as (agent, sent):
        shown = await called(agent, "import_dry_run", csv="symbol\nKO\n", name="n", equity=5)
        assert shown["preview"] == [{"symbol": "KO"}]
        assert b'name="dry_run"\r\n\r\ntrue' in sent[-1][3]
    error = {"row": 2, "column": "quantity", "code": "ERR_POS_006", "message": "quantity is zero"}
    refused = {"detail": "1 error.", "code": "invalid", "errors": [error]}
    async with session({("POST", "/portfolios/import"): (422, refused)}) as (agent, _):
        assert (await called(agent, "import_dry_run", csv="x", name="n", equity=5))["errors"] == [error]


async def test_what_fails_is_said_and_ends_nothing() -> None:
    async with session() as (agent, sent):
        assert "Book" in said(await agent.call_tool("status", {"portfolio": "Nobody's"}))
        before = len(sent)
        assert said(await agent.call_tool("risk", {"portfolio": ID, "session": "yesterday"}))
        assert len(sent) == before, "a mistyped date is not sent"
        assert (await called(agent, "status", portfolio="Book"))["completed"] == 21
    async with session({}) as (agent, _):
        assert "nothing at" in said(await agent.call_tool("risk", {"portfolio": ID}))


def test_the_command_says_what_to_install_without_the_sdk() -> None:
    code = "import sys; sys.modules['mcp'] = None; from leadline.cli import main; sys.argv[:] = ['leadline', 'mcp']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "pip install 'leadline[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_speaks_the_protocol_and_nothing_else_on_its_output() -> None:
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    code = "import sys; from leadline.cli import main; sys.argv[:] = ['leadline', 'mcp']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(hello) + "\n", capture_output=True, text=True, check=False, timeout=60
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [json.loads(line)["result"]["serverInfo"]["name"] for line in lines] == ["leadline"]
