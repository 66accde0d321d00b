"""Pictures of every page from the demo's portfolio, light, dark and on a phone: `python -m tests.web.screenshots`.

Starts an embedded Leadline of its own on the bundled prices, and writes docs/images, which docs/pages.md shows. Needs Chromium (CHROMIUM
names another one). WebP, a third of a PNG's size at what the eye can tell; the picture that the README begins with is a PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import Browser, async_playwright

from deploy.embedded.run import Embedded, Options, run_embedded
from tests.web.pages import pages

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "deploy" / "embedded" / "data" / "portfolio.csv"
PRICES = SAMPLE.with_name("prices.parquet")
NAME = "Sample portfolio"
WAYS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1180, "height": 760}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1180, "height": 760}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True},
}
FIRST = "performance-light.png"
QUALITY = 85


async def main(target: Path, only: list[str]) -> None:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("There is no Chromium: install the package chromium, or name it in CHROMIUM.")
    with tempfile.TemporaryDirectory() as state:
        options = Options(state=Path(state), port=0, data=PRICES, as_of=date(2020, 12, 31))
        async with run_embedded(options) as leadline:
            portfolio = await _portfolio(leadline.url, leadline.token)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                await _take(browser, leadline, portfolio, target, only)
                await browser.close()


async def _portfolio(url: str, token: str) -> str:
    """The demo's portfolio with its deposit, complete."""
    bearer = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=f"{url}/api/v1", timeout=60, headers=bearer) as api:
        answer = await api.post(
            "/portfolios/import",
            data={"name": NAME, "equity_balance": "500000"},
            files={"file": ("portfolio.csv", SAMPLE.read_bytes(), "text/csv")},
        )
        answer.raise_for_status()
        portfolio = str(answer.json()["id"])
        flow = {"date": "2020-03-16", "amount": 30_000, "note": "deposit"}
        (await api.post(f"/portfolios/{portfolio}/flows", json=flow)).raise_for_status()
        limit = {"name": "VaR over 1.5 %", "figure": "risk.var.historical.0.95", "op": ">", "value": 0.015}
        (await api.post("/limits", json=limit)).raise_for_status()
        async with api.stream("GET", f"/portfolios/{portfolio}/status/stream") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:") and _done(json.loads(line.removeprefix("data:"))):
                    break
    return portfolio


def _done(status: dict[str, Any]) -> bool:
    return bool(status["expected"] and status["completed"] == status["expected"])


async def _take(browser: Browser, leadline: Embedded, portfolio: str, target: Path, only: list[str]) -> None:
    for way, options in WAYS.items():
        context = await browser.new_context(**options)
        page = await context.new_page()
        await page.goto(leadline.sign_in_link())
        await page.close()
        for expected in pages(portfolio, NAME):
            if only and expected.name not in only:
                continue
            page = await context.new_page()
            await page.goto(leadline.url + expected.path, wait_until="load")
            await page.wait_for_timeout(600)
            path = target / f"{expected.name}-{way}.webp"
            session = await context.new_cdp_session(page)
            taken = await session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
            path.write_bytes(base64.b64decode(taken["data"]))
            print(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
            if path.with_suffix(".png").name == FIRST:
                await page.screenshot(path=target / FIRST)
            await page.close()
        await context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images", help="directory of the pictures")
    parser.add_argument("pages", nargs="*", help="names of pages; without them all")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(given.to, given.pages))
