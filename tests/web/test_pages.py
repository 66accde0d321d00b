"""Every page: there, named, without an error on the console, without a request to anybody else, readable by everybody."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.async_playwright import DEFAULT_OPTIONS, Axe
from playwright.async_api import Browser, Page

from tests.web.conftest import NAME, Served, Watched, watching
from tests.web.pages import pages

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Of other people's making, and framed by us: its own contrast is not ours to set.
THIRD_PARTY = ("docs",)


# Colours are all that a scheme changes; what else there is to find, the first has found.
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}


async def serious(page: Page, options: dict[str, Any]) -> list[str]:
    """What axe finds that keeps somebody from reading or using the page."""
    return [
        f"{item['id']}: {item['nodes'][0]['html'][:200]} {item['nodes'][0].get('failureSummary', '')[:200]}"
        for item in (await Axe().run(page, options=options)).response["violations"]
        if item["impact"] in ("serious", "critical")
    ]


async def test_every_page_has_its_title_and_heading_is_quiet_and_read_by_everybody(
    served: Served, browser: Watched
) -> None:
    """One visit each, for to load one takes longest: its words, its console, its requests, and what axe finds in its light colours."""
    for expected in pages(served.portfolio, NAME):
        page = await browser.go(expected.path)
        title = await page.title()
        assert expected.title in title, expected.name
        assert "Leadline" in title, expected.name
        assert expected.heading in await page.locator("h1").first.inner_text(), expected.name
        await browser.settle()
        assert browser.errors == [], expected.name
        assert browser.elsewhere == [], expected.name
        if expected.name not in THIRD_PARTY:
            assert await serious(page, DEFAULT_OPTIONS) == [], expected.name


async def test_a_run_tells_what_happened_in_it_and_is_read_by_everybody(served: Served, chromium: Browser) -> None:
    run = (await served.api("/admin/runs", source="onboarding"))["items"][0]
    told = (await served.api(f"/admin/runs/{run['id']}/events"))["events"]
    for viewport, scheme in ((WIDE, "light"), (PHONE, "dark")):
        async with watching(chromium, served.url, viewport=viewport, color_scheme=scheme) as watched:
            page = await watched.go("/ops")
            await page.locator(f"a[href='/ops/runs/{run['id']}']").click()
            await page.wait_for_url("**/ops/runs/*")
            rows = page.locator("#events tbody tr")
            assert await rows.count() == len(told) > 2
            assert "asked for" in await rows.first.inner_text()
            await watched.settle()
            assert await serious(page, DEFAULT_OPTIONS) == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert watched.errors == []


async def test_settings_speak_of_tokens_and_docs_link_the_description(served: Served, browser: Watched) -> None:
    page = await browser.go("/settings")
    assert "Token" in await page.locator("main").inner_text()
    answer = await served.running.api.get(f"{served.url}/docs")
    assert 'href="/openapi.json"' in answer.text


async def test_dark_colours_have_enough_contrast(served: Served, chromium: Browser) -> None:
    async with watching(chromium, served.url, viewport=WIDE, color_scheme="dark") as watched:
        for expected in pages(served.portfolio, NAME):
            if expected.name not in THIRD_PARTY:
                page = await watched.go(expected.path)
                await watched.settle()
                assert await serious(page, CONTRAST) == [], expected.name


async def test_a_phone_scrolls_in_one_direction(served: Served, chromium: Browser) -> None:
    async with watching(chromium, served.url, viewport=PHONE, device_scale_factor=2, is_mobile=True) as watched:
        for expected in pages(served.portfolio, NAME):
            if expected.name in THIRD_PARTY:
                continue
            page = await watched.go(expected.path)
            await watched.settle()
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], f"{expected.name} is {width} wide"


async def test_without_javascript_every_page_is_read_and_every_part_reached(served: Served, chromium: Browser) -> None:
    async with watching(chromium, served.url, viewport=WIDE, java_script_enabled=False) as watched:
        for expected in pages(served.portfolio, NAME):
            page = await watched.go(expected.path)
            assert expected.heading in await page.locator("h1").first.inner_text(), expected.name
        page = await watched.go("/")
        await page.get_by_role("link", name=NAME).click()
        assert "877,108.65" not in page.url
        for part in (
            "Returns", "Attribution", "Risk", "Factors", "Stress", "What-if", "Correlations", "Positions", "Data", "Performance",
        ):  # fmt: skip
            await page.get_by_role("navigation", name="Parts").get_by_role("link", name=part).click()
            assert await page.locator(".parts [aria-current=page]").inner_text() == part
        # The drawing of the server is what there is, and it is seen.
        assert await page.locator(".chart svg").first.is_visible()
        page = await watched.go("/ops")
        assert "100.0%" in await page.locator(".grid-table").inner_text()


async def test_every_number_leads_to_its_explanation(served: Served, browser: Watched) -> None:
    """Whatever a page links as a figure, the explanation knows; and its value is the one that was shown."""
    p = f"/p/{served.portfolio}"
    seen: dict[str, str] = {}
    for path in (
        p,
        f"{p}/risk",
        f"{p}/factors",
        f"{p}/stress",
        f"{p}/correlations",
        f"{p}/positions",
        "/",
        "/symbols/JPM",
    ):
        page = await browser.go(path)
        links = await page.eval_on_selector_all(
            "a.n[href]:has(data)", "all => all.map(a => [a.getAttribute('href'), a.querySelector('data').value])"
        )
        assert len(links) > 3, path
        kinds: dict[str, list[str]] = {}
        for href, value in links:
            seen[href] = value
            name = re.search(r"figure=([^&]+)", href)
            assert name, href
            kinds.setdefault(".".join(name[1].split(".")[:2]), []).append(href)
    # One of each kind is asked for: the names of a kind are made in one place.
    chosen: dict[tuple[str, str, str, str], str] = {}
    for href in seen:
        name = re.search(r"figure=([^&]+)", href)
        assert name
        parts = name[1].split(".")
        chosen.setdefault(
            (href.split("?")[0].rsplit("/", 2)[0], parts[0], parts[1] if len(parts) > 2 else "", parts[-1]), href
        )
    for href in list(chosen.values())[:90]:
        answer = await served.running.api.get(served.url + href)
        assert answer.status_code == 200, href
        exact = re.search(r'class="answer"><data value="([^"]*)"', answer.text)
        assert exact, href
        assert float(exact[1]) == float(seen[href]), href


async def test_a_page_is_light_over_the_wire(served: Served, browser: Watched) -> None:
    """Under 80 KB compressed with everything a first load brings."""
    page = await browser.go(f"/p/{served.portfolio}")
    names = await page.eval_on_selector_all(
        "script[src], link[rel=stylesheet]",
        "all => all.map(one => one.getAttribute('src') ?? one.getAttribute('href'))",
    )
    total = 0
    for name in [f"/p/{served.portfolio}", *names]:
        answer = await served.running.api.get(served.url + name)
        assert answer.headers["content-encoding"] == "gzip", name
        total += answer.num_bytes_downloaded
    assert total < 80_000, total
