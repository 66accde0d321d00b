"""Every answer about one portfolio, one after another: how long it takes, how large it is, and how long a probe waits meanwhile."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from typing import NamedTuple

import httpx2

from deploy.embedded import demo
from tests.load.clients import API, Answers, Server, probe, running

_MOST_SECONDS = 300.0
# What answers without end.
_STREAMS = ("status/stream",)
_NEEDED = {
    "figures": "liquidity.days",
    "from": (demo.AS_OF - timedelta(days=30)).isoformat(),
    "to": demo.AS_OF.isoformat(),
}


class Asked(NamedTuple):
    """size : in bytes; probe : the longest that `/livez` took meanwhile, in seconds"""

    what: str
    status: int
    seconds: float
    size: int
    probe: float


async def ask_every_answer(server: Server, portfolio: str) -> list[Asked]:
    """All routes of the API that read it, a page of each kind that its own leads to, and in the end its deletion."""
    async with server.client(2) as client:
        client.timeout = httpx2.Timeout(_MOST_SECONDS)
        found = [await _ask(client, "GET", path, portfolio) for path in await _routes(client)]
        await client.post("/sign-in", data={"token": server.token}, headers={"Origin": server.url})
        page = await client.get(f"/p/{portfolio}")
        found += [await _ask(client, "GET", path, portfolio) for path in _links(page.text, portfolio)]
        found.append(await _ask(client, "DELETE", f"{API}/portfolios/{{portfolio_id}}", portfolio))
    return found


async def _routes(client: httpx2.AsyncClient) -> list[str]:
    described = (await client.get("/openapi.json")).json()["paths"]
    found = []
    for path, methods in sorted(described.items()):
        if "get" not in methods or re.findall(r"{(\w+)}", path) != ["portfolio_id"] or path.endswith(_STREAMS):
            continue
        needed = [
            each["name"] for each in methods["get"].get("parameters", []) if each["required"] and each["in"] == "query"
        ]
        query = "&".join(f"{name}={_NEEDED[name]}" for name in needed)
        found.append(f"{path}?{query}" if query else path)
    return found


def _links(page: str, portfolio: str) -> list[str]:
    """What a page leads to, of each kind one, in alphabetic order."""
    found = {f"/p/{portfolio}", *re.findall(rf'href="(/p/{portfolio}[^"#]*)"', page)}
    kinds = {path.partition("?")[0]: path for path in sorted(found, reverse=True)}
    return [kinds[kind].replace("&amp;", "&").replace(portfolio, "{portfolio_id}") for kind in sorted(kinds)]


async def _ask(client: httpx2.AsyncClient, method: str, path: str, portfolio: str) -> Asked:
    probes = Answers()
    async with running([probe(client, probes)]):
        began = time.monotonic()
        answer = await client.request(method, path.replace("{portfolio_id}", portfolio))
        seconds = time.monotonic() - began
        # The probe that was under way has its say.
        await asyncio.sleep(0.2)
    longest = max(probes.seconds["GET /livez"], default=0.0)
    return Asked(f"{method} {path}", answer.status_code, seconds, len(answer.content), longest)


def table(asked: list[Asked]) -> str:
    lines = ["| answer | status | seconds | MB | longest `/livez` |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| `{each.what}` | {each.status} | {each.seconds:.2f} | {each.size / 1e6:.2f} | {each.probe:.3f} |"
        for each in asked
    ]
    return "\n".join(lines)
