"""Clients that do nothing but ask, and what they were answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import httpx2

API = "/api/v1"
PATIENCE_SECONDS = 60.0
PROBE_SECONDS = 0.05


def percentile(seconds: Sequence[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    ranked = sorted(seconds)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0


@dataclass
class Answers:
    """By kind of call: how long answers took that were given, how many of each status, and how long refusals took."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    async def ask(self, kind: str, call: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response | None:
        began = time.monotonic()
        try:
            answer = await call()
        except httpx2.HTTPError as error:
            self.statuses[kind][type(error).__name__] += 1
            return None
        took = time.monotonic() - began
        self.statuses[kind][str(answer.status_code)] += 1
        (self.refused if answer.status_code == 503 else self.seconds)[kind].append(took)
        return answer

    def table(self) -> str:
        """As Markdown: what was answered, p50 and p99 in seconds, and what was shed and how fast."""
        lines = [
            "| call | answered | p50 | p99 | longest | shed (503) | told within | others |",
            "|---|---:|---:|---:|---:|---:|---:|---|",
        ]
        for kind in sorted(self.statuses):
            took, told = self.seconds[kind], self.refused[kind]
            others = {s: n for s, n in self.statuses[kind].items() if not s.startswith("2") and s != "503"}
            lines.append(
                f"| {kind} | {len(took):,} | {percentile(took, 0.5):.3f} | {percentile(took, 0.99):.3f} | {max(took, default=0.0):.3f}"
                f" | {len(told):,} | {max(told, default=0.0):.3f} | {', '.join(f'{n} x {s}' for s, n in others.items()) or 'none'} |"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Server:
    """Where the server is, and the token it wants."""

    url: str
    token: str

    def client(self, connections: int) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_SECONDS,
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )


async def read(client: httpx2.AsyncClient, portfolio: str, answers: Answers) -> None:
    """A reader who never pauses: the risk, the snapshots, the list, the status."""
    while True:
        for path in (
            f"/portfolios/{portfolio}/risk",
            f"/portfolios/{portfolio}/snapshots?from=2020-10-01&to=2020-12-31",
            "/portfolios?limit=20",
            f"/portfolios/{portfolio}/status",
        ):
            kind = f"GET {path.replace(portfolio, '{id}').partition('?')[0]}"
            await answers.ask(kind, lambda path=path: client.get(API + path))  # type: ignore[misc]


async def probe(client: httpx2.AsyncClient, answers: Answers) -> None:
    while True:
        for path in ("/livez", "/readyz"):
            await answers.ask(f"GET {path}", lambda path=path: client.get(path))  # type: ignore[misc]
        await asyncio.sleep(PROBE_SECONDS)


async def upload(client: httpx2.AsyncClient, file: bytes, name: str, answers: Answers) -> None:
    """Somebody who imports a file, takes the portfolio away and imports it again."""
    number = 0
    while True:
        number += 1
        form = {"name": f"{name} {number}", "account_type": "taxable", "equity_balance": "1000000"}
        sent = {"file": ("load.csv", file, "text/csv")}
        made = await answers.ask(
            "POST import",
            lambda form=form, sent=sent: client.post(f"{API}/portfolios/import", data=form, files=sent),  # type: ignore[misc]
        )
        if made is not None and made.status_code == 201:
            path = f"{API}/portfolios/{made.json()['id']}"
            await answers.ask("DELETE portfolio", lambda path=path: client.delete(path))  # type: ignore[misc]
        else:
            await asyncio.sleep(0.5)


async def watch(client: httpx2.AsyncClient, portfolio: str, answers: Answers) -> None:
    """Somebody who leaves a status open, and opens it again when it was refused."""
    while True:
        began = time.monotonic()
        with contextlib.suppress(httpx2.HTTPError):
            async with client.stream("GET", f"{API}/portfolios/{portfolio}/status/stream") as stream:
                answers.statuses["stream"][str(stream.status_code)] += 1
                if stream.status_code == 200:
                    async for line in stream.aiter_lines():
                        if line.startswith("data:"):
                            answers.seconds["stream"].append(time.monotonic() - began)
                            break
                    await asyncio.Event().wait()
                answers.refused["stream"].append(time.monotonic() - began)
        await asyncio.sleep(1.0)


@contextlib.asynccontextmanager
async def running(work: Sequence[Awaitable[None]]) -> AsyncIterator[None]:
    """All of it at once until the block ends; an error of one of them is the run's."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
