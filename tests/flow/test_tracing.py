"""One trace from the HTTP request, through outbox and bus, to the last phase; and nothing of it without an exporter."""

from __future__ import annotations

import json

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import telemetry
from tests.flow.holdings import lot
from tests.support.pipeline import Pipeline

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def spans(leadline: Pipeline) -> InMemorySpanExporter:
    """Spans of this process. The provider can be set once; spans before it are not recorded."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


async def test_tracing_is_off_without_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert telemetry.configure_tracing("any") is None


async def test_one_trace_runs_from_the_request_to_the_last_phase(
    leadline: Pipeline, spans: InMemorySpanExporter
) -> None:
    spans.clear()
    body = {"name": "Traced", "account_type": "taxable", "currency": "USD", "equity_balance": 1000, "flows": []}
    async with httpx2.AsyncClient(base_url=f"{leadline.services.url}/api/v1") as plain:
        answer = await plain.post(
            "/portfolios",
            json={**body, "positions": [lot("AAPL", 1, "2020-12-21")]},
            headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        )
    assert answer.status_code == 201, answer.text
    await leadline.complete(answer.json()["id"])
    await leadline.quiet()

    stored = await leadline.query(
        "SELECT type, headers->>'traceparent' AS trace FROM bus.outbox WHERE payload LIKE :about",
        about=f"%{answer.json()['id']}%",
    )
    assert {row.type.split(".")[1] for row in stored} >= {"PortfolioCreated", "PricesIngested", "RiskComputed"}
    assert all(row.trace is not None and row.trace.split("-")[1] == TRACE for row in stored), stored
    names = {span.name for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE}
    for service in ("ingest", "factors", "snapshots", "risk"):
        assert any(name.startswith(service) for name in names), (service, names)
    assert any("POST" in name for name in names), names


async def test_a_span_tells_the_route_and_neither_names_nor_codes(
    leadline: Pipeline, spans: InMemorySpanExporter
) -> None:
    spans.clear()
    async with httpx2.AsyncClient(base_url=leadline.services.url) as plain:
        await plain.get("/api/v1/imports/mappings/somebodys-name")
        await plain.get("/sign-in?code=a-one-time-code")
        await plain.get("/nowhere/somebodys-name")
    told = [str(dict(span.attributes or {})) for span in spans.get_finished_spans()]
    assert any("/sign-in" in one for one in told), told
    assert [one for one in told if "somebodys-name" in one or "a-one-time-code" in one] == []


async def test_metrics_tell_what_was_done(leadline: Pipeline) -> None:
    async with httpx2.AsyncClient(base_url=leadline.services.url) as client:
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert 'leadline_units_completed_total{phase="risk"' in answer.text
    assert "leadline_outbox_sent_total" in answer.text


def test_log_lines_are_json_and_carry_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    import structlog

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        telemetry.configure_logging("risk")
        with telemetry.log_context(portfolio="p-1", session="2020-12-31", phase="risk"):
            telemetry.logger("test").info("batch_done", units=3)
        line = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert (line["event"], line["units"]) == ("batch_done", 3)
    assert (line["portfolio"], line["session"], line["phase"], line["service"]) == ("p-1", "2020-12-31", "risk", "risk")
