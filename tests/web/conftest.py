"""One Leadline with a computed portfolio and one browser for all tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support import databases, pipeline
from tests.support.brokers import TestBroker
from tests.support.databases import Server
from tests.support.pipeline import Pipeline

AS_OF = date(2020, 12, 31)
SAMPLE = Path(__file__).parents[2] / "deploy" / "embedded" / "data" / "portfolio.csv"
NAME = "Sample portfolio"
IDLE = "new Promise(done => requestAnimationFrame(() => requestIdleCallback(done, {timeout: 2000})))"


@dataclass(frozen=True)
class Served:
    """A running Leadline, the portfolio that is complete in it, and the file that its prices come from."""

    running: Pipeline
    portfolio: str
    prices: Path

    @property
    def url(self) -> str:
        return self.running.services.url

    async def api(self, path: str, **params: str) -> Any:
        answer = await self.running.api.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def change_price(self, symbol: str, session: date, factor: float) -> tuple[float, float]:
        """Write another price of that day into the file: (old, new)."""
        table = pq.read_table(self.prices)
        day = pc.equal(table["date"], datetime.combine(session, time()))
        here = pc.and_(pc.equal(table["symbol"], symbol), day)
        column = next(name for name in ("close", "adj_close") if (pc.filter(table[name], here)[0].as_py() or 0.0) > 0.0)
        new = pc.if_else(here, pc.multiply(table[column], factor), table[column])
        changed = table.set_column(table.column_names.index(column), column, new)
        written = self.prices.with_suffix(".new")
        pq.write_table(changed, written)
        written.replace(self.prices)
        return pc.filter(table[column], here)[0].as_py(), pc.filter(new, here)[0].as_py()


@dataclass
class Watched:
    """A browser's page, with everything that must not happen on one."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.errors.append(f"{message.type}: {message.text}")

        def asked(request: Any) -> None:
            if not request.url.startswith((self.origin, "data:", "blob:")):
                self.elsewhere.append(request.url)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", asked)

    async def go(self, path: str) -> Page:
        answer = await self.page.goto(self.origin + path, wait_until="load")
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    async def settle(self) -> None:
        """What begins after the load, charts and streams, has begun: the browser has drawn, and has nothing else to do."""
        await self.page.evaluate(IDLE)

    def check(self) -> None:
        assert self.errors == []
        assert self.elsewhere == []


@pytest.fixture(scope="package")
async def served(server: Server, broker: TestBroker, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    database = await databases.create(server)
    prices = Path(shutil.copy(pipeline.BUNDLED_PRICES, tmp_path_factory.mktemp("prices")))
    async with pipeline.running(database, broker, as_of=AS_OF, data=prices, stream_seconds=0.2) as running:
        portfolio = await running.import_csv(SAMPLE.read_text(), name=NAME, equity=500_000)
        await running.complete(portfolio, within=120)
        yield Served(running, portfolio, prices)
    await databases.drop(database)


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("there is no Chromium on this machine: install the package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def watching(chromium: Browser, origin: str, **options: Any) -> AsyncIterator[Watched]:
    """A page of its own, whose console and requests are judged at the end."""
    context: BrowserContext = await chromium.new_context(**options)
    watched = Watched(await context.new_page(), origin)
    watched.watch()
    try:
        yield watched
        watched.check()
    finally:
        await context.close()


@pytest.fixture
async def browser(served: Served, chromium: Browser) -> AsyncIterator[Watched]:
    async with watching(chromium, served.url, viewport={"width": 1280, "height": 900}) as watched:
        yield watched
