"""What people do on the page: bring a file, repair it, watch it complete, ask why, rerun, mend, sign in."""

from __future__ import annotations

import asyncio
import re
from datetime import date
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from services.coordinator.web import formats
from shared.messaging import dead_letters
from tests.support import notebooks
from tests.web.conftest import NAME, Served, Watched, watching

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

CHANGED = date(2020, 12, 30)
NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first_look.ipynb"
# As a broker exports it: its own headers, an American date, thousands, and a column nobody needs.
BROKER = """Ticker,Shares,Trade Date,Price,Fees
AAPL,"1,200",01/02/2019,37.994,0
JPM,500,2019-01-02,$85.964,0
KO,800,2019-06-03,43.818,0
"""


async def test_a_file_with_errors_is_repaired_imported_and_watched(served: Served, browser: Watched) -> None:
    page = await browser.go("/import")
    await page.locator("textarea[name=text]").fill(BROKER)
    await page.get_by_label("Name of the portfolio").fill("Broker's file")
    await page.get_by_label("Equity before the first trade").fill("200000")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Check it").click()
    # A refused file is a 422, which the console may mention; nothing else.
    browser.errors[:] = [said for said in browser.errors if "422" not in said]
    assert await page.locator("select[name=column_0]").input_value() == "symbol"
    assert await page.locator("select[name=column_4]").input_value() == ""
    alert = page.get_by_role("alert").filter(has_text="errors")
    assert "3 errors" in await alert.inner_text()
    cells = page.locator(".faults .cell input")
    assert await cells.evaluate_all("all => all.map(one => one.value)") == ["1,200", "01/02/2019", "$85.964"]
    async with page.expect_navigation():
        await page.get_by_role("button", name="Apply all 3 suggestions").click()
    assert "3 positions" in await page.locator(".stage").nth(2).inner_text()
    assert await page.get_by_text("fits the close").count() == 3
    async with page.expect_navigation():
        await page.get_by_role("button", name="Import", exact=True).click()
    portfolio = re.search(r"/p/([0-9a-f-]{36})", page.url)
    assert portfolio
    of = portfolio[1]
    # It fills while one watches, without a reload by hand.
    await expect(page.locator("#live .badge")).to_contain_text("complete to", timeout=90_000)
    await expect(page.locator(".worth data").first).to_be_visible(timeout=20_000)
    snapshots = await served.api(f"/portfolios/{of}/snapshots")
    last = snapshots["items"][-1]
    shown = page.locator(f"a[href*='figure=snapshots.nav&session={last['session']}'] data").first
    assert float(await shown.get_attribute("value") or "nan") == last["nav"]
    await page.get_by_role("navigation", name="Parts").get_by_role("link", name="Risk").click()
    risk = await served.api(f"/portfolios/{of}/risk")
    var = next(item for item in risk["var"] if (item["method"], item["level"]) == ("historical", 0.95))
    shown = page.locator("a[href*='figure=risk.var.historical.0.95&'] data").first
    assert float(await shown.get_attribute("value") or "nan") == var["var"]
    volatility = page.locator("a[href*='figure=risk.volatility.realized_252&'] data").first
    assert float(await volatility.get_attribute("value") or "nan") == risk["volatility"]["realized_252"]


async def test_an_import_can_be_undone(served: Served, browser: Watched) -> None:
    page = await browser.go("/import?sample=1")
    assert "AAPL" in await page.locator("textarea").input_value()
    await page.get_by_label("Name of the portfolio").fill("To be undone")
    async with page.expect_navigation():
        await page.get_by_role("button", name="Check it").click()
    async with page.expect_navigation():
        await page.get_by_role("button", name="Import", exact=True).click()
    async with page.expect_navigation():
        await page.get_by_role("button", name="Undo this import").click()
    await expect(page.get_by_role("status")).to_contain_text("deleted")
    listed = await served.api("/portfolios")
    assert "To be undone" not in [item["name"] for item in listed["items"]]


async def test_a_figure_is_explained_as_the_api_explains_it(served: Served, browser: Watched) -> None:
    page = await browser.go(f"/p/{served.portfolio}/risk")
    await page.locator("a[href*='figure=risk.var.historical.0.95&']").first.click()
    await page.wait_for_url("**/explain**")
    found = await served.api(f"/portfolios/{served.portfolio}/explain", figure="risk.var.historical.0.95")
    main = await page.locator("main").inner_text()
    assert str(found["value"]) in main
    assert found["formula"] in main
    assert NAME in main
    rows = await page.locator("section:has(h2:text('rests on')) tbody tr, .scroll tbody tr").count()
    assert rows == len(found["inputs"])


async def test_a_rectangle_of_the_grid_is_rerun(served: Served, browser: Watched) -> None:
    page = await browser.go("/ops?phase=risk")
    canvas = page.locator(".grid canvas")
    await expect(canvas).to_be_visible()
    box = await canvas.bounding_box()
    assert box
    await page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 3)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] - 1, box["y"] + 5)
    await page.mouse.up()
    await expect(page.locator(".selection output")).to_contain_text("units")
    async with page.expect_navigation():
        await page.get_by_role("button", name="all of it").click()
    notice = await page.get_by_role("status").inner_text()
    run = re.search(r"Run ([0-9a-f-]{36})", notice)
    assert run
    asked = await served.api(f"/admin/runs/{run[1]}")
    assert asked["scope"]["phase"] == "risk"
    assert asked["scope"]["to"] == "2020-12-31"
    assert asked["units"] >= 1


async def test_the_grid_is_moved_over_by_keyboard(served: Served, browser: Watched) -> None:
    page = await browser.go("/ops?phase=ingest")
    canvas = page.locator(".grid canvas")
    await expect(canvas).to_be_visible()
    await canvas.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Shift+ArrowLeft")
    await expect(page.locator(".selection output")).to_contain_text("2020-12-29 – 2020-12-30")


async def test_a_dead_letter_is_mended_and_sent_again(served: Served, browser: Watched) -> None:
    """Of an event that was sent, with half of its body lost; mended it is handled, and leaves no second letter."""
    event = (await served.running.query("SELECT topic, payload, headers FROM bus.outbox ORDER BY id LIMIT 1"))[0]
    async with served.running.admin.begin() as conn:
        await dead_letters.record(
            conn,
            consumer="ingest",
            topic=event.topic,
            partition=0,
            offset=987_654,
            key=None,
            headers=dict(event.headers),
            body=event.payload[: len(event.payload) // 2].encode(),
            reason="unreadable",
            error="not JSON",
        )
    page = await browser.go("/ops")
    await page.locator("#dead-letters tbody a").first.click()
    await page.wait_for_url("**/ops/dead-letters/*")
    letter = page.url.rsplit("/", 1)[1]
    await page.locator("textarea[name=body]").fill('{"half": "mended"}')
    async with page.expect_navigation():
        await page.get_by_role("button", name="Save only").click()
    found = await served.api(f"/admin/dead-letters/{letter}")
    assert found["body"] == '{"half": "mended"}'
    assert found["edited_at"]
    await page.locator("textarea[name=body]").fill(event.payload)
    async with page.expect_navigation():
        await page.get_by_role("button", name="Save and send again").click()
    await expect(page.get_by_role("status")).to_contain_text("Sent again")
    found = await served.api(f"/admin/dead-letters/{letter}")
    assert found["body"] == event.payload
    assert found["replayed_at"]
    await served.running.quiet()
    assert (await served.api("/admin/dead-letters"))["items"] == []


async def test_a_held_price_is_released(served: Served, browser: Watched) -> None:
    await served.running.execute(
        """
        INSERT INTO ingest.quarantine (symbol_id, session, provider, return, sigma)
        SELECT id, '2020-12-30', 'file', 0.31, 0.01 FROM ingest.symbols WHERE symbol = 'VLUE' ON CONFLICT DO NOTHING
        """
    )
    await served.running.execute(
        "DELETE FROM ingest.prices WHERE session = '2020-12-30' AND symbol_id IN (SELECT id FROM ingest.symbols WHERE symbol = 'VLUE')"
    )
    page = await browser.go("/ops")
    form = page.locator("form.held", has_text="VLUE")
    await form.get_by_label("Why").fill("announced by the fund")
    async with page.expect_navigation():
        await form.get_by_role("button", name="Release").click()
    await expect(page.get_by_role("status")).to_contain_text("Released")
    decided = await served.running.query(
        "SELECT decision, reason FROM coordinator.price_decisions WHERE symbol = 'VLUE'"
    )
    assert [tuple(row) for row in decided] == [("release", "announced by the fund")]


async def test_a_lot_is_changed_and_the_page_says_what_it_was(served: Served, browser: Watched) -> None:
    portfolio = await served.running.create(
        [{"symbol": "KO", "quantity": 100, "entry_date": "2020-12-28", "entry_price": 53.5}], name="One lot"
    )
    await served.running.complete(portfolio)
    page = await browser.go(f"/p/{portfolio}/positions")
    lot = page.locator("details[id^=lot-]").first
    await lot.locator("summary").click()
    await lot.get_by_label("Quantity").fill("150")
    async with page.expect_navigation():
        await lot.get_by_role("button", name="Save").click()
    await served.running.complete(portfolio)
    page = await browser.go(f"/p/{portfolio}/data")
    cards = page.locator(".cards li", has_text="nav")
    assert await cards.count() >= 1
    await cards.first.locator("a").click()
    await page.wait_for_url("**/explain**")
    assert "→" in await page.locator("main").inner_text()


async def test_a_close_is_changed_and_the_page_names_the_cause(served: Served, browser: Watched) -> None:
    portfolio = await served.running.create(
        [{"symbol": "KO", "quantity": 100, "entry_date": "2020-12-29", "entry_price": 53.5}], name="One price"
    )
    await served.running.complete(portfolio)
    before = (await served.api(f"/portfolios/{portfolio}/snapshots"))["items"][-2]["nav"]
    old, new = served.change_price("KO", CHANGED, 1.02)
    page = await browser.go(f"/p/{portfolio}/data")
    form = page.locator("form", has=page.get_by_role("button", name="Ask", exact=True))
    await form.get_by_label("What").select_option("all")
    await form.get_by_label("Phase").select_option("ingest")
    await form.locator("[name=first]").fill(CHANGED.isoformat())
    await form.locator("[name=last]").fill(CHANGED.isoformat())
    async with page.expect_navigation():
        await form.get_by_role("button", name="Ask").click()
    await served.running.complete(portfolio, served.portfolio)
    await served.running.quiet()
    page = await browser.go(f"/p/{portfolio}/data")
    cause = page.get_by_role("link", name=re.compile(rf"^close of KO on {CHANGED}: {old:,.2f} → {new:,.2f} \(file, "))
    await expect(cause).to_be_visible()
    moved = abs((await served.api(f"/portfolios/{portfolio}/snapshots"))["items"][-2]["nav"] - before)
    assert moved == pytest.approx(100 * (new - old), abs=0.01)
    # What the rerun recomputed at once and what the announced price did are replacements of their own.
    why = page.get_by_role("region", name="Why figures changed")
    await expect(why.get_by_role("cell", name=f"{moved:,.2f}", exact=True)).to_be_visible()
    await cause.click()
    await page.wait_for_url("**/symbols/KO")
    replaced = page.get_by_role("region", name="Replaced prices")
    await expect(replaced).to_contain_text(f"{formats.price(old)} → {formats.price(new)}")


async def test_everything_is_reached_by_keyboard(served: Served, browser: Watched) -> None:
    page = await browser.go("/")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Control+k")
    await expect(page.locator("dialog#palette")).to_be_visible()
    await page.keyboard.type(NAME.lower()[:10])
    await expect(page.locator("#palette-list a").first).to_contain_text(NAME)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/p/{served.portfolio}")
    await page.wait_for_load_state("load")
    await page.keyboard.press("[")
    await page.wait_for_url("**session=2020-12-30")
    await browser.go("/")
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.classList.contains('row')")


async def test_a_table_of_the_newest_day_prints(served: Served, chromium: Browser) -> None:
    async with watching(chromium, served.url) as watched:
        page = await watched.go(f"/report/{served.portfolio}")
        await page.emulate_media(media="print")
        assert not await page.locator(".crumbs").is_visible()
        sheet = await page.pdf(format="A4")
        assert sheet.startswith(b"%PDF")


async def test_one_file_needs_nothing_else(served: Served) -> None:
    answer = await served.running.api.get(f"{served.url}/report/{served.portfolio}", params={"inline": "true"})
    assert answer.status_code == 200
    assert NAME in answer.text
    outside = re.findall(r'(?:src|href)="([^"]+)"|url\(([^)]+)\)|@import', answer.text)
    assert outside == []
    assert "attachment" in answer.headers["content-disposition"]
    snapshots = await served.api(f"/portfolios/{served.portfolio}/snapshots")
    assert f'value="{snapshots["items"][-1]["nav"]}"' in answer.text


async def test_the_notebook_of_the_documents_prints_the_servers_figures(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADLINE_URL", served.url)
    # What it prints depends on the day and the machine, so it is kept without.
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in notebooks.code_cells(NOTEBOOK))
    printed = await asyncio.to_thread(notebooks.execute, NOTEBOOK)
    snapshots = await served.api(f"/portfolios/{served.portfolio}/snapshots")
    performance = await served.api(f"/portfolios/{served.portfolio}/performance", benchmark="SPY")
    risk = await served.api(f"/portfolios/{served.portfolio}/risk")
    var = next(item["var"] for item in risk["var"] if (item["method"], item["level"]) == ("historical", 0.95))
    for exact in (snapshots["items"][-1]["nav"], performance["total_return"], performance["sharpe"], var):
        assert str(exact) in printed, printed
