"""Logs, traces and metrics. Tracing is off unless an exporter is configured; then nothing is exported and spans cost nothing."""

from __future__ import annotations

import logging
import math
import os
import sys
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import Counter, Gauge, Histogram


class HistogramOfMany(Histogram):
    """A histogram of what comes by thousands: of each bucket it is told once how many, under one lock a bucket."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """What `observe` does with each."""
        self._sum.inc(math.fsum(amounts))
        for bucket, count in Counts(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[bucket].inc(count)


HANDLED = Counter("leadline_messages_handled_total", "Messages handled, by result", ["service", "type", "result"])
# A handler may take two minutes: what is slow must be told from what is over.
_WORK_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90, 120, 300)
HANDLE_SECONDS = Histogram(
    "leadline_message_seconds", "Time to handle a message", ["service", "type"], buckets=_WORK_SECONDS
)
RETRIES = Counter("leadline_handler_retries_total", "Times that a handler waits to try a message again", ["service"])
COMPLETED = Counter("leadline_units_completed_total", "Units completed", ["phase", "quality"])
BATCH_SECONDS = Histogram(
    "leadline_batch_seconds", "Time of one rectangle, by step", ["phase", "step"], buckets=_WORK_SECONDS
)
FAILURES = Counter("leadline_unit_failures_total", "Runs that ended in a permanent or unclassified error", ["phase"])
DEAD_LETTERS = Counter("leadline_dead_letters_total", "Messages put aside", ["service", "reason"])
SHED = Counter("leadline_requests_shed_total", "Requests refused because as many as there may be were being answered")
RELAYED = Counter("leadline_outbox_sent_total", "Outbox rows sent", ["service"])
OUTBOX_FAILED = Counter("leadline_outbox_failed_total", "Outbox rows that can never be sent", ["service"])
OUTBOX_AGE = Gauge("leadline_outbox_oldest_unsent_seconds", "Age of the oldest unsent outbox row", ["service"])
MISSING = Gauge("leadline_units_missing", "Missing units", ["phase"])
HEALED = HistogramOfMany(
    "leadline_unit_seconds",
    "From the moment a unit was required to its completion",
    ["phase"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400),
)
HOLES = Gauge("leadline_holes", "Missing units, by what is happening about them", ["phase", "reason"])
PARTIAL = Gauge(
    "leadline_units_partial", "Completed units of the last 252 sessions that fell short, by why", ["phase", "reason"]
)
COVERAGE = Gauge(
    "leadline_coverage_min",
    "Lowest share of gross value with good prices in any portfolio's newest snapshot; NaN: none",
)
# Every process tells of it, and one measures: 0 of the others would be the lowest there is.
COVERAGE.set(float("nan"))
AWAITED = Gauge("leadline_prices_awaited", "Symbols with a price that units wait for, by why", ["reason"])
OLDEST_HOLE = Gauge("leadline_oldest_hole_seconds", "How long the oldest missing unit has been missing", ["phase"])
BLOCKED = Counter("leadline_blocked_total", "Times that units were blocked after too many failures: alert", ["phase"])
PROBES = Counter("leadline_probes_total", "Times that blocked units were tried once more", ["phase"])
OUTBOX_DEPTH = Gauge("leadline_outbox_unsent", "Outbox rows waiting to be sent")
OUTSTANDING = Gauge(
    "leadline_reconciler_outstanding", "Events of the reconciler that nobody has answered yet", ["phase"]
)
AUDIT_DRIFT = Gauge("leadline_audit_drift", "What the last audit found wrong: alert above 0", ["kind"])
AUDIT_TIME = Gauge("leadline_audit_last_timestamp_seconds", "When the last audit ended")
CONSUMER_LAG = Gauge("leadline_consumer_lag", "Messages of the assigned partitions that are not committed", ["service"])
POLL_AGE = Gauge(
    "leadline_consumer_poll_age_seconds", "Seconds since the consumer last asked for messages", ["service"]
)
QUOTA_LEFT = Gauge("leadline_quota_calls_left", "Calls left of a provider's quota", ["provider", "window_seconds"])
PROVIDER_CLOSED = Gauge("leadline_provider_closed", "1 while a provider is not asked, by its breaker", ["provider"])
PRICES_UNTIL = Gauge(
    "leadline_prices_until_timestamp_seconds",
    "Midnight (UTC) of the newest session that a symbol's prices are known for",
)
ANSWERS = Counter("leadline_http_answers_total", "HTTP answers, by status", ["service", "status"])
ANSWER_SECONDS = Histogram(
    "leadline_http_seconds",
    "Time until an HTTP answer begins; streams have no end worth measuring",
    ["service", "method"],
)
FORGOTTEN = Counter("leadline_forgotten_rows_total", "Rows dropped because their time was over", ["what"])
NOTIFICATIONS = Counter("leadline_notifications_total", "Attempts to deliver a message to a webhook", ["outcome"])
EMITS = Counter("leadline_reconciler_emits_total", "Events the reconciler emitted", ["phase"])

tracer = trace.get_tracer("leadline")


def _trace_ids(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def configure_logging(service: str, *, level: str = "INFO", json: bool = True) -> None:
    """Structured lines on standard error; library logs go the same way. Call once, at the start of the process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _trace_ids,
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The framework brings a handler of its own, with colours and made at import: its lines belong with all the others.
    framework = logging.getLogger("faststream")
    framework.handlers.clear()
    framework.propagate = True
    for noisy in ("aiokafka", "faststream", "uvicorn.access", "httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def logger(name: str) -> Any:
    """A structured logger; lines carry what is bound to the context: service, portfolio, session, phase, trace."""
    return structlog.get_logger(name)


@contextmanager
def log_context(**values: Any) -> Iterator[None]:
    with structlog.contextvars.bound_contextvars(**{k: str(v) for k, v in values.items() if v is not None}):
        yield


def configure_tracing(service: str) -> TracerProvider | None:
    """Export spans over OTLP/HTTP if `OTEL_EXPORTER_OTLP_ENDPOINT` is set; else leave the no-op provider in place."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return current
    # A slow import, paid only by who exports.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(resource=Resource.create({"service.name": f"leadline-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def traceparent() -> str | None:
    """The current span as a W3C `traceparent`, to be stored with an outbox row; None outside a trace."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


# What the instrumentation tells of an address: names of things may stand in it, and in its query one-time codes.
_ADDRESSES = ("http.target", "http.url", "url.path", "url.query", "url.full")


def hide_address(span: trace.Span, _scope: Mapping[str, Any]) -> None:
    """A span of a request tells the route, not the address: hook of the instrumentation, called when the span begins."""
    told: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    route = str(told.get("http.route", "unknown"))
    span.set_attributes({name: route for name in _ADDRESSES if name in told})


@contextmanager
def consumer_span(name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]) -> Iterator[trace.Span]:
    """A span that continues the trace of the message's producer, however long ago that was."""
    parent = propagate.extract({key: value for key, value in headers.items() if key in ("traceparent", "tracestate")})
    with tracer.start_as_current_span(
        name, context=parent, kind=SpanKind.CONSUMER, attributes=dict(attributes)
    ) as span:
        yield span


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[trace.Span]:
    with tracer.start_as_current_span(name, attributes=attributes) as current:
        try:
            yield current
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, str(error)[:200]))
            raise
