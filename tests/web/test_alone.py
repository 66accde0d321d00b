"""The page of a server that asks who one is and has a thousand portfolios, without the services that compute."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, expect
from sqlalchemy import text

from deploy.embedded.composition import InnerServer
from shared.db.engine import create_engine
from shared.market.calendar import calendar
from tests.store.coordinator.conftest import AS_OF, make_app
from tests.support import databases
from tests.support.databases import Server
from tests.web.conftest import watching

import uvicorn  # isort: skip

pytestmark = [pytest.mark.timeout(120)]
TOKEN = "the-token-of-the-server"
PORTFOLIOS, YEARS = 1_000, 5
CSV = "symbol,quantity,entry_date,entry_price\nAAPL,100,2020-12-21,128.23\n"
# Runs as they are kept: of each portfolio and phase a stretch a year, partial ones between complete ones, and a hole at the end.
YEAR = 252
RUNS = """
    INSERT INTO ledger.unit_runs (portfolio_id, phase, first, last, state)
    SELECT p.id, CAST(f.phase AS ledger.phase), r.first, r.last, r.state
    FROM coordinator.portfolios p CROSS JOIN unnest(ARRAY['ingest', 'factors', 'snapshots', 'risk']) AS f (phase)
    CROSS JOIN unnest(CAST(:first AS date[]), CAST(:last AS date[]), CAST(:state AS text[])) AS r (first, last, state)
"""


@asynccontextmanager
async def crowd(server: Server) -> AsyncIterator[str]:
    """The address of the server."""
    database = await databases.create(server)
    admin = create_engine(database.admin_url, application="test-admin", pool_size=1)
    engine = create_engine(database.url("api"), application="test-api", pool_size=4)
    days = calendar().between(calendar().back(AS_OF, 252 * YEARS - 1), AS_OF)
    async with admin.begin() as conn:
        await conn.execute(
            text("""INSERT INTO coordinator.portfolios (name, account_type, equity_balance, first_session)
                    SELECT 'Portfolio ' || n, 'taxable', 100000, :first FROM generate_series(1, :n) n"""),
            {"n": PORTFOLIOS, "first": days[0]},
        )
        spans = [days[at : at + YEAR] for at in range(0, len(days), YEAR)]
        states = ["partial" if at % 2 else "complete" for at in range(len(spans) - 1)] + ["missing"]
        first, last = [span[0] for span in spans], [span[-1] for span in spans]
        await conn.execute(text(RUNS), {"first": first, "last": last, "state": states})
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = make_app(engine, [], token=TOKEN, hosts=())
    running = InnerServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    await serving
    listener.close()
    await engine.dispose()
    await admin.dispose()
    await databases.drop(database)


@pytest.fixture(scope="package")
async def crowded(server: Server) -> AsyncIterator[str]:
    async with crowd(server) as address:
        yield address


async def test_one_signs_in_sees_the_grid_of_everything_and_signs_out(crowded: str, chromium: Browser) -> None:
    async with watching(chromium, crowded, viewport={"width": 1280, "height": 900}) as watched:
        page = watched.page
        await page.goto(f"{crowded}/ops")
        assert "/sign-in?next=%2Fops" in page.url
        await page.get_by_label("Token").fill("a guess of somebody")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible()
        watched.errors[:] = [said for said in watched.errors if "401" not in said]
        await page.get_by_label("Token").fill(TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/ops")
        await page.locator(".grid canvas:not([hidden])").wait_for(state="visible")
        # What makes a thousand portfolios open at once: ranges over the wire, and no node a cell. `python -m tests.web.grid`
        # measures the time, which is another one on every machine.
        nodes = await page.evaluate("document.getElementsByTagName('*').length")
        assert nodes < 6_000, nodes
        sent = await page.evaluate(
            "performance.getEntriesByType('resource').find(e => e.name.includes('/ops/grid')).encodedBodySize"
        )
        assert sent < 100_000, sent
        drawn = await page.locator(".grid canvas").evaluate(
            "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            " const seen = new Set(); for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);"
            " return seen.size }"
        )
        assert drawn >= 3, "complete, partial and missing have colours of their own"
        await page.get_by_role("banner").get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/sign-in*")
        await page.goto(f"{crowded}/")
        assert "/sign-in" in page.url


async def test_a_file_is_imported_by_keyboard_alone_and_without_javascript(crowded: str, chromium: Browser) -> None:
    async with watching(chromium, crowded, java_script_enabled=False) as watched:
        page = watched.page
        await page.goto(f"{crowded}/import")

        async def tab_to(name: str) -> None:
            """Press Tab until what is focused is called so: nothing that matters may be out of its reach."""
            for _ in range(60):
                focused = page.locator(":focus")
                if await focused.count() and name in await focused.evaluate(
                    "e => e.labels?.[0]?.innerText ?? e.innerText"
                ):
                    return
                await page.keyboard.press("Tab")
            raise AssertionError(f"Tab does not lead to {name}")

        await tab_to("Token")
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/import")
        await tab_to("Rows of the file")
        await page.keyboard.type(CSV)
        await tab_to("Name of the portfolio")
        await page.keyboard.type("By keyboard")
        await tab_to("Equity before")
        await page.keyboard.type("100000")
        await tab_to("Check it")
        async with page.expect_navigation():
            await page.keyboard.press("Enter")
        assert "1 position" in await page.locator("main").inner_text()
        for _ in range(80):
            await page.keyboard.press("Tab")
            if await page.locator(":focus").get_attribute("formaction") == "/import/commit":
                break
        async with page.expect_navigation():
            await page.keyboard.press("Enter")
        assert "/p/" in page.url
        assert await page.locator("h1").inner_text() == "By keyboard"
        await tab_to("Undo this import")
        async with page.expect_navigation():
            await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("deleted")
