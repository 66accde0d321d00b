"""What goes through all lots of a portfolio, of which there may be fifty thousand, is no work for the event loop."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from services.coordinator import serializers
from services.coordinator.api import representation
from services.coordinator.importer import content, fifo
from services.coordinator.portfolios import imports, lookups, reimport, trade_lots
from services.coordinator.results import completeness, valued_lots
from services.coordinator.web.routes import importing, parts
from services.coordinator.web.views import data as data_views
from services.coordinator.web.views import positions as position_views
from shared import offloading
from tests.store.coordinator.conftest import CSV, PREFIX, Api
from tests.store.coordinator.test_reads import complete_with_results

TRADES = "date,action,symbol,quantity,price\n2020-12-21,buy,AAPL,100,128\n2020-12-28,sell,AAPL,40,130\n"


class Threads:
    """Where functions ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.seen: dict[str, list[bool]] = {}

    def watch(self, module: Any, name: str) -> None:
        """Note of each call whether it was on the event loop's thread."""
        function, seen = getattr(module, name), self.seen.setdefault(name, [])

        def noted(*given: Any, **named: Any) -> Any:
            seen.append(threading.current_thread() is threading.main_thread())
            return function(*given, **named)

        self._patch.setattr(module, name, noted)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    return Threads(monkeypatch)


@pytest.mark.parametrize(
    ("module", "name", "path"),
    [
        (serializers, "portfolio", PREFIX + "/portfolios/{}"),
        (valued_lots, "_position", PREFIX + "/portfolios/{}/positions"),
        (completeness, "_partial_run", PREFIX + "/portfolios/{}/status"),
        (serializers, "portfolio", "/p/{}/positions"),
        (position_views, "view", "/p/{}/positions"),
        (data_views, "view", "/p/{}/data"),
        (parts, "page", "/p/{}/correlations"),
    ],
)
async def test_documents_of_all_lots(
    api: Api, threads: Threads, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, path: str
) -> None:
    monkeypatch.setattr(offloading, "FEW", 0)
    identity = await complete_with_results(api)
    reasons = json.dumps([{"figure": "nav", "symbol": "X", "reason": "unpriceable"}])
    await api.run("UPDATE ledger.units SET quality = 'partial', reasons = CAST(:of AS jsonb)", of=reasons)
    threads.watch(module, name)
    assert (await api.client.get(path.format(identity))).status_code == 200
    assert threads.seen[name]
    assert not any(threads.seen[name])


async def test_long_answers_are_encoded_in_a_thread(
    api: Api, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await complete_with_results(api)
    threads.watch(representation, "render")
    path = f"{PREFIX}/portfolios/{identity}/positions"
    assert (await api.client.get(path)).status_code == 200
    monkeypatch.setattr(representation, "FEW", 0)
    assert (await api.client.get(path)).status_code == 200
    assert threads.seen["render"] == [True, False]


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_files(api: Api, threads: Threads, dry_run: str) -> None:
    for module, name in (
        (imports, "cost_against_equity"),
        (reimport, "compare_and_warn"),
        (content, "free_keys"),
        (lookups, "_tell"),
        (serializers, "import_answer"),
    ):
        threads.watch(module, name)
    form = {"name": "New", "equity_balance": "1000", "dry_run": dry_run}
    files = {"file": ("p.csv", CSV.encode())}
    assert (await api.client.post(f"{PREFIX}/portfolios/import", data=form, files=files)).status_code in (200, 201)
    identity = (await api.create())["id"]
    more = {"file": ("p.csv", (CSV + "MSFT,1,2020-12-22,220,,\n").encode())}
    path = f"{PREFIX}/portfolios/{identity}/import"
    assert (await api.client.post(path, data={"dry_run": dry_run}, files=more)).status_code == 200
    called = {name for name, seen in threads.seen.items() if seen}
    assert called >= set(threads.seen) - ({"_tell"} if dry_run == "false" else set())
    assert not any(any(seen) for seen in threads.seen.values()), threads.seen


async def test_lists_of_trades(api: Api, threads: Threads) -> None:
    for module, name in ((fifo, "match"), (trade_lots, "_positions"), (trade_lots, "on_one_basis")):
        threads.watch(module, name)
    form = {"name": "Trades", "equity_balance": "100000"}
    files = {"file": ("t.csv", TRADES.encode())}
    answer = await api.client.post(f"{PREFIX}/portfolios/import", data=form, files=files)
    assert answer.status_code == 201, answer.text
    assert all(seen and not any(seen) for seen in threads.seen.values()), threads.seen


async def test_the_page_that_imports(api: Api, threads: Threads) -> None:
    threads.watch(importing, "_view_of_form")
    threads.watch(serializers, "import_answer")
    form = {"text": CSV, "name": "Page", "equity_balance": "1000", "account_type": "taxable", "currency": "USD"}
    assert (await api.client.post("/import", data=form)).status_code == 200
    assert all(seen and not any(seen) for seen in threads.seen.values()), threads.seen
