"""Alerts and dashboards: each expression is asked of a real Prometheus, of metrics that a process of ours serves; each alert fires on
what it is for, and has a section that says what to do."""

from __future__ import annotations

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.metrics import MetricWrapperBase

import services.coordinator.control.auditor
import services.ingest.workflow.measures
from deploy.grafana import panels
from shared import measured_answers, telemetry
from tests.support import charts
from tests.support import prometheus as server

ROOT = charts.ROOT
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
# Modules that define metrics or set them; imported so that the registry is whole.
_DEFINED = (telemetry, measured_answers, services.coordinator.control.auditor, services.ingest.workflow.measures)
_NAME = re.compile(r"\b(?:leadline|process)_[a-z_0-9]+")
_OF_A_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def queries() -> list[str]:
    """Every expression: of alerts, and of the panels as Grafana sends them."""
    shown = [
        target["expr"].replace("$__rate_interval", "1m")
        for _, text in panels.documents()
        for panel in json.loads(text)["panels"]
        for target in panel["targets"]
    ]
    return [alert["expr"] for alert in alerts()] + shown


def families() -> dict[str, MetricWrapperBase]:
    """Our metrics by the names of their samples."""
    found: dict[str, MetricWrapperBase] = {}
    for value in vars(telemetry).values():
        if isinstance(value, MetricWrapperBase):
            for family in value.describe():
                ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
                found |= {family.name + end: value for end in ends}
    return found


@pytest.mark.parametrize("query", queries())
def test_expressions_name_metrics_that_there_are(query: str) -> None:
    assert set(_NAME.findall(query)) - _OF_A_PROCESS <= families().keys()


def test_what_is_measured_is_shown() -> None:
    """A metric that nobody looks at is either missing from a dashboard or not worth its cost."""
    named = {name for query in queries() for name in _NAME.findall(query)}
    looked_at = {id(metric) for name, metric in families().items() if name in named}
    unseen = [name for name, metric in families().items() if id(metric) not in looked_at]
    assert unseen == []


def test_dashboards_are_current() -> None:
    assert {name: (panels.DIRECTORY / name).read_text() for name, _ in panels.documents()} == dict(panels.documents())


@pytest.mark.parametrize("alert", [alert["alert"] for alert in alerts()])
def test_each_alert_says_what_to_do(alert: str) -> None:
    rule = next(one for one in alerts() if one["alert"] == alert)
    assert rule["labels"]["severity"] in ("page", "ticket")
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    titles = re.findall(r"^#{2,4} (\w+)$", (ROOT / path).read_text(), flags=re.MULTILINE)
    assert anchor == alert.lower()
    assert alert in titles


@pytest.mark.parametrize("file", ["alerts.yml", "prometheus.yml"])
def test_prometheus_reads_the_files(file: str) -> None:
    kind = "config" if file == "prometheus.yml" else "rules"
    _promtool("check", kind, str(ALERTS.with_name(file)))


def test_each_alert_fires_on_what_it_is_for() -> None:
    """Planted series, with what each alert makes of them; and none fires where all is well."""
    planted = sorted((ROOT / "tests" / "deploy").glob("alerts*.test.yml"))
    fired = {name for file in planted for name in re.findall(r'labels: .\{alertname="(\w+)"\}', file.read_text())}
    assert fired == {alert["alert"] for alert in alerts()}
    _promtool("test", "rules", *map(str, planted))


def test_the_lowest_coverage_is_none_of_a_process_that_measures_none() -> None:
    """Gauges without labels are told from the start on, by every process; alert and panel take the lowest."""
    program = "import shared.telemetry, prometheus_client as p; print(p.generate_latest().decode())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "leadline_coverage_min NaN" in told.splitlines()


def _promtool(*command: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("`promtool` is not on PATH: it comes with Prometheus")
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", name="prometheus")
def watching(scratch_directory: Path) -> Iterator[httpx2.Client]:
    """A Prometheus that has scraped this process twice, with at least one series of each of our metrics."""
    server.require()
    for metric in set(families().values()):
        if metric._labelnames:
            metric.labels(*("planted" for _ in metric._labelnames))
    served = _serve_metrics()
    state = scratch_directory / "prometheus"
    state.mkdir()
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "leadline", "static_configs": [{"targets": [f"127.0.0.1:{served.server_port}"]}]}
        ],
    }
    (state / "prometheus.yml").write_text(yaml.safe_dump(config))
    try:
        with server.serve(state) as (child, client):
            until = time.monotonic() + 60
            # While it replays its log Prometheus listens and answers 503.
            while not (_ready(client) and _value(client, "count_over_time(leadline_outbox_unsent[1m]) >= 3")):
                assert time.monotonic() < until, child.log_tail()
                assert child.running, child.log_tail()
                time.sleep(0.1)
            yield client
    finally:
        served.shutdown()
        served.server_close()


def _serve_metrics() -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.end_headers()
            self.wfile.write(generate_latest(REGISTRY))

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx2.TransportError:
        return False


def _value(client: httpx2.Client, query: str) -> list[Any]:
    body = client.get("/api/v1/query", params={"query": query}).json()
    if body["status"] != "success":
        raise AssertionError(f"{query}: {body['error']}")
    found: list[Any] = body["data"]["result"]
    return found


def test_prometheus_evaluates_every_expression(prometheus: httpx2.Client) -> None:
    for query in queries():
        _value(prometheus, query)


def test_what_is_shown_has_series(prometheus: httpx2.Client) -> None:
    """A panel that can never show anything is as wrong as one that cannot be read."""
    series = _value(prometheus, 'count by (__name__) ({__name__=~"leadline_.+|process_.+"})')
    served = {one["metric"]["__name__"] for one in series}
    assert {name for query in queries() for name in _NAME.findall(query)} - served == set()
