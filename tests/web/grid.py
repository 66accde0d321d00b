"""How long the grid of a thousand portfolios, five years and four phases takes to open: `python -m tests.web.grid`.

A server on a PostgreSQL of its own, and Chromium: from the address to the frame after the canvas is drawn.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time

from playwright.async_api import Browser, async_playwright

from tests.bench import servers
from tests.support.databases import Server
from tests.web.test_alone import PORTFOLIOS, TOKEN, YEARS, crowd

CALLS = 9
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def measured(browser: Browser, address: str) -> list[float]:
    """Seconds of each opening, the first with nothing in the browser's cache."""
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    await page.goto(f"{address}/sign-in")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{address}/")
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await page.goto(f"{address}/ops", wait_until="commit")
        await page.locator(".grid canvas:not([hidden])").wait_for(state="visible")
        await page.evaluate(FRAMES)
        took.append(time.perf_counter() - began)
    await page.close()
    return took


async def main(server: Server) -> None:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("There is no Chromium: install the package chromium, or name it in CHROMIUM.")
    async with crowd(server) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        took = await measured(browser, address)
        await browser.close()
    print(f"{PORTFOLIOS:,} portfolios, {YEARS} years, 4 phases; load of the machine {os.getloadavg()[0]:.1f}")
    print(f"first {took[0]:.2f} s, least {min(took):.2f} s, median {sorted(took)[CALLS // 2]:.2f} s of {CALLS}")


if __name__ == "__main__":
    with servers.postgres() as running:
        asyncio.run(main(running))
