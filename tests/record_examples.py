"""`python -m tests.record_examples`: write the examples of the OpenAPI document as a running Leadline answers them.

An embedded Leadline computes the sample portfolio from the bundled prices; one answer of each model is kept, with lists and maps cut
to their first entries, ids counted and instants made equal, so that a second run changes what has changed. What no sample brings
forth (dead letters, held prices) and what must not be kept (a token's secret) is written by hand in `services/coordinator/api/examples.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import httpx2

from deploy.embedded.run import Options, run_embedded

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "services" / "coordinator" / "api" / "recorded_examples.json"
SAMPLE = ROOT / "deploy" / "embedded" / "data" / "portfolio.csv"
AS_OF, SESSION = date(2020, 12, 31), "2020-12-30"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^ ]*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHOWN_OBJECTS, SHOWN_VALUES = 1, 2


class Recorder:
    """The answers of one server, by model."""

    def __init__(self, api: httpx2.AsyncClient, document: Mapping[str, Any]) -> None:
        self._api = api
        self._document = document
        self._ids: dict[str, str] = {}
        self.found: dict[str, Any] = {}

    async def ask(self, method: str, template: str, *, path: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Send a request; what is answered is kept as an example of its model, unless one is there already."""
        answer = await self._api.request(method, template.format(**(path or {})), **options)
        if answer.is_error:
            raise SystemExit(f"{method} {template}: {answer.status_code} {answer.text[:500]}")
        if not answer.content:
            return None
        body = answer.json()
        stated = self._document["paths"]["/api/v1" + template][method.lower()]["responses"][str(answer.status_code)]
        schema = stated["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        kept = self.found.get(name)
        if kept is None or (kept.get("items") == [] and body.get("items")):
            self.found[name] = self._shortened(body, schema)
        return body

    def _resolved(self, schema: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        """The part of a schema that says what an object or a list holds."""
        if "$ref" in schema:
            return self._resolved(self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value)
        kind = "object" if isinstance(value, dict) else "array"
        for each in (self._resolved(option, value) for option in schema.get("anyOf", ())):
            if each.get("type") == kind:
                return each
        return schema

    def _shortened(self, value: Any, schema: Mapping[str, Any]) -> Any:
        if isinstance(value, list):
            of = self._resolved(schema, value).get("items", {})
            shown = SHOWN_OBJECTS if any(isinstance(item, dict) for item in value) else SHOWN_VALUES
            return [self._shortened(item, of) for item in value[:shown]]
        if isinstance(value, dict):
            stated = self._resolved(schema, value)
            fields, rest = stated.get("properties", {}), stated.get("additionalProperties")
            free = [name for name in value if name not in fields][:SHOWN_VALUES]
            of = rest if isinstance(rest, dict) else {}
            return {
                name: self._shortened(value[name], fields.get(name, of))
                for name in value
                if name in fields or name in free
            }
        return self._steady(value) if isinstance(value, str) else value

    def _steady(self, said: str) -> str:
        said = UUID.sub(lambda m: self._ids.setdefault(m[0], f"0198c0de-0000-7000-8000-{len(self._ids) + 1:012}"), said)
        return INSTANT.sub(lambda m: f"{SESSION}T21:15:00{'Z' if m[0].endswith('Z') else '+00:00'}", said)


async def complete(api: httpx2.AsyncClient, portfolio: str) -> None:
    """Wait until nothing of the portfolio is missing."""
    async with asyncio.timeout(300):
        while True:
            status = (await api.get(f"/portfolios/{portfolio}/status")).raise_for_status().json()
            if status["expected"] and status["completed"] == status["expected"]:
                return
            await asyncio.sleep(0.5)


async def _import(recorder: Recorder, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = await recorder.ask(
        "POST", "/portfolios/import", data={"name": name, "equity_balance": "500000"},
        files={"file": ("portfolio.csv", SAMPLE.read_bytes(), "text/csv")},
    )  # fmt: skip
    return answer


async def record(api: httpx2.AsyncClient) -> dict[str, Any]:
    recorder = Recorder(api, json.loads((ROOT / "docs" / "openapi.json").read_text()))
    portfolio = str((await _import(recorder, "Sample portfolio"))["id"])
    await complete(api, portfolio)
    at = {"portfolio_id": portfolio}
    # What restates: a deposit after everything was computed.
    flow = await recorder.ask(
        "POST",
        "/portfolios/{portfolio_id}/flows",
        path=at,
        json={"date": "2020-12-28", "amount": 30_000, "note": "deposit"},
    )
    await complete(api, portfolio)
    await _reads(recorder, at)
    await _writes(recorder, at, str(flow["flow_id"] if "flow_id" in flow else flow["id"]))
    await complete(api, portfolio)
    await _operations(recorder, at)
    return recorder.found


async def _reads(recorder: Recorder, at: Mapping[str, str]) -> None:
    of = "/portfolios/{portfolio_id}"
    for path in (
        "", "/correlations", "/factor-exposures", "/flows", "/imports", "/positions", "/positions/range", "/restatements",
        "/restatements/causes", "/risk", "/scorecard", "/snapshots", "/stress",
    ):  # fmt: skip
        await recorder.ask("GET", of + path, path=at)
    figures = {"figures": "risk.var.historical.0.95,snapshots.nav"}
    await recorder.ask("GET", of + "/risk/series", path=at, params={**figures, "from": "2020-12-29"})
    await recorder.ask("GET", of + "/explain/bulk", path=at, params={"figures": "risk.var.historical.0.95"})
    for path in ("", "/factors", "/metrics", "/prices", "/prices/history"):
        await recorder.ask("GET", "/symbols/{symbol}" + path, path={"symbol": "JPM"})
    for path in ("/calendar", "/imports/presets", "/symbols/quarantined", "/admin/audit"):
        await recorder.ask("GET", path)


async def _writes(recorder: Recorder, at: Mapping[str, str], flow: str) -> None:
    await recorder.ask("DELETE", "/portfolios/{portfolio_id}/flows/{flow_id}", path={**at, "flow_id": flow})
    day, benchmark = {"day": "2020-12-24"}, {"code": "SPY", "date": "2020-12-30"}
    weights = {"weights": {"Financials": 0.4, "Energy": 0.6}}
    await recorder.ask("PUT", "/benchmarks/{code}/{date}", path=benchmark, json=weights)
    await recorder.ask("GET", "/benchmarks")
    mapping = {"preset": "", "dialect": "us", "map": {"symbol": "Ticker"}, "symbols": {"US0378331005": "AAPL"}}
    await recorder.ask("PUT", "/imports/mappings/{name}", path={"name": "broker"}, json=mapping)
    await recorder.ask("GET", "/imports/mappings")
    another = await _import(recorder, "Another portfolio")
    undone = {"portfolio_id": str(another["id"]), "import_id": str(another["import_id"])}
    await recorder.ask("DELETE", "/portfolios/{portfolio_id}/imports/{import_id}", path=undone)
    await recorder.ask(
        "PUT", "/calendar/closures/{day}", path=day, json={"reason": "Day of mourning", "close_at": "12:00"}
    )
    await recorder.ask("GET", "/calendar/closures")
    await recorder.ask("GET", "/calendar/closures/{day}", path=day)
    await recorder.ask("DELETE", "/calendar/closures/{day}", path=day)


async def _operations(recorder: Recorder, at: Mapping[str, str]) -> None:
    asked = await recorder.ask("POST", "/portfolios/{portfolio_id}/calculate", path=at)
    await recorder.ask("POST", "/admin/reconcile")
    await recorder.ask("GET", "/admin/runs")
    run = {"run_id": str(asked["run_id"])}
    await recorder.ask("GET", "/admin/runs/{run_id}", path=run)
    await recorder.ask("GET", "/admin/runs/{run_id}/events", path=run)
    await recorder.ask(
        "POST", "/admin/tokens", json={"name": "nightly report", "role": "reader", "expires": "2027-12-31"}
    )
    await recorder.ask("GET", "/admin/tokens")


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="leadline-examples-") as state:
        options = Options(state=Path(state), port=0, data=SAMPLE.with_name("prices.parquet"), as_of=AS_OF)
        async with run_embedded(options) as leadline:
            bearer = {"Authorization": f"Bearer {leadline.token}"}
            async with httpx2.AsyncClient(base_url=f"{leadline.url}/api/v1", timeout=60, headers=bearer) as api:
                found = await record(api)
    found.pop("TokenMade")
    TARGET.write_text(json.dumps(dict(sorted(found.items())), indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(f"{len(found)} examples: {', '.join(sorted(found))}\n")


if __name__ == "__main__":
    asyncio.run(main())
