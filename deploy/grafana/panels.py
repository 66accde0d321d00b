"""The dashboards, as code: `python -m deploy.grafana.panels` writes the files that Grafana reads. A list of panels is easier to
read and to change than a thousand lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "dashboards"
WIDTH, HEIGHT = 8, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Panel:
    """One picture. queries : expression and legend of each line; kind : of Grafana's"""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    description: str = ""


def quantile(share: float, metric: str, by: str) -> str:
    return f"histogram_quantile({share:g}, sum by (le, {by}) (rate({metric}_bucket[$__rate_interval])))"


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


def increase(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({metric}[$__rate_interval]))"


WORK: Sequence[Panel] = (
    Panel("Missing units", (("max by (phase) (leadline_units_missing)", "{{phase}}"),), kind="stat"),
    Panel("Blocked units", (('max by (phase) (leadline_holes{reason="blocked"})', "{{phase}}"),), kind="stat"),
    Panel("Lowest coverage of a portfolio", (("min(leadline_coverage_min)", "coverage"),), "percentunit", "gauge"),
    Panel("Holes, by what is happening about them", (("max by (phase, reason) (leadline_holes) > 0", "{{phase}} {{reason}}"),)),
    Panel("Oldest hole", (("max by (phase) (leadline_oldest_hole_seconds)", "{{phase}}"),), "s"),
    Panel("Units completed", ((rate("leadline_units_completed_total", "phase, quality"), "{{phase}} {{quality}}"),), "ops"),
    Panel("From required to completed, 9 of 10", ((quantile(0.9, "leadline_unit_seconds", "phase"), "{{phase}}"),), "s"),
    Panel("Partial units of the last year, by reason", (("max by (phase, reason) (leadline_units_partial)", "{{phase}} {{reason}}"),)),
    Panel("Runs that failed", ((rate("leadline_unit_failures_total", "phase"), "{{phase}}"),), "ops"),
    Panel("Units blocked, and tried once more", (
        (increase("leadline_blocked_total", "phase"), "{{phase}} blocked"),
        (increase("leadline_probes_total", "phase"), "{{phase}} tried"),
    )),
    Panel("Asked by the reconciler", (
        (rate("leadline_reconciler_emits_total", "phase"), "{{phase}} asked"),
        ("max by (phase) (leadline_reconciler_outstanding)", "{{phase}} unanswered"),
    )),
    Panel("What the last audit found wrong", (("max by (kind) (leadline_audit_drift)", "{{kind}}"),),),
    Panel("Rows dropped because their time was over", ((rate("leadline_forgotten_rows_total", "what"), "{{what}}"),), "ops"),
    Panel("Messages to webhooks", ((increase("leadline_notifications_total", "outcome"), "{{outcome}}"),)),
    Panel("Since the last audit", (("time() - max(leadline_audit_last_timestamp_seconds > 0)", "age"),), "s", "stat"),
    Panel("Step of a batch, 99 of 100", ((quantile(0.99, "leadline_batch_seconds", "phase, step"), "{{phase}} {{step}}"),), "s"),
)  # fmt: skip
MESSAGES: Sequence[Panel] = (
    Panel("Handled", ((rate("leadline_messages_handled_total", "service, result"), "{{service}} {{result}}"),), "ops"),
    Panel("Handling a message, 99 of 100", ((quantile(0.99, "leadline_message_seconds", "service"), "{{service}}"),), "s"),
    Panel("Tried again", ((rate("leadline_handler_retries_total", "service"), "{{service}}"),), "ops"),
    Panel("Put aside", ((increase("leadline_dead_letters_total", "service, reason"), "{{service}} {{reason}}"),)),
    Panel("Lag", (("sum by (service) (leadline_consumer_lag)", "{{service}}"),)),
    Panel("Since the last poll", (("max by (service) (leadline_consumer_poll_age_seconds)", "{{service}}"),), "s"),
    Panel("Oldest unsent event", (("max by (service) (leadline_outbox_oldest_unsent_seconds)", "{{service}}"),), "s"),
    Panel("Unsent events", (("max(leadline_outbox_unsent)", "waiting"),)),
    Panel("Sent, and refused for good", (
        (rate("leadline_outbox_sent_total", "service"), "{{service}} sent"),
        (increase("leadline_outbox_failed_total", "service"), "{{service}} refused"),
    )),
)  # fmt: skip
OUTSIDE: Sequence[Panel] = (
    Panel("Answers by status", ((rate("leadline_http_answers_total", "service, status"), "{{service}} {{status}}"),), "reqps"),
    Panel("Time to an answer, 99 of 100", ((quantile(0.99, "leadline_http_seconds", "service, method"), "{{service}} {{method}}"),), "s"),
    Panel("Turned away before anything was done", (("sum(rate(leadline_requests_shed_total[$__rate_interval]))", "refused"),), "reqps"),
    Panel("Turned away", ((rate('leadline_http_answers_total{status=~"429|503"}', "service, status"), "{{service}} {{status}}"),), "reqps"),
    Panel("Calls left", (("min by (provider, window_seconds) (leadline_quota_calls_left)", "{{provider}} {{window_seconds}} s"),)),
    Panel("Providers that are not asked", (("max by (provider) (leadline_provider_closed)", "{{provider}}"),)),
    Panel("Symbols that units wait for", (("max by (reason) (leadline_prices_awaited)", "{{reason}}"),)),
    Panel("Age of the newest price", (("time() - max(leadline_prices_until_timestamp_seconds > 0)", "age"),), "s", "stat"),
    Panel("Processes that answer", (('sum by (instance) (up{job="leadline"})', "{{instance}}"),), kind="stat"),
    Panel("Memory", (('max by (instance) (process_resident_memory_bytes{job="leadline"})', "{{instance}}"),), "bytes"),
    Panel("Processor", ((rate('process_cpu_seconds_total{job="leadline"}', "instance"), "{{instance}}"),), "none"),
)  # fmt: skip
DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "work": ("Leadline: work and figures", WORK),
    "messages": ("Leadline: messages", MESSAGES),
    "outside": ("Leadline: API, prices, processes", OUTSIDE),
}


def documents() -> Iterator[tuple[str, str]]:
    """File name and text of each dashboard."""
    for name, (title, panels) in DASHBOARDS.items():
        yield f"{name}.json", json.dumps(_dashboard(name, title, panels), indent=1, sort_keys=True) + "\n"


def _dashboard(name: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    return {
        "uid": f"leadline-{name}",
        "title": title,
        "tags": ["leadline"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "editable": False,
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": number % 3 * WIDTH, "y": number // 3 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def main() -> int:
    for name, text in documents():
        (DIRECTORY / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
