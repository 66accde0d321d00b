"""Reading an answer of Yahoo's by itself: whose address, which document, and where its result stands."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from curl_cffi.requests import Response

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.errors import ProviderDown, SchemaChanged, UnknownToProvider
from services.ingest.providers.transport.payload import Record

DOMAIN = "yahoo.com"
CHART = "/v8/finance/chart"
# Paths that carry data. Everything else is cookies and crumbs, whose failure is the libraries' own affair: the data decide.
# The value is where the result stands in the document.
DATA = {
    CHART: "chart",
    "/v10/finance/quoteSummary": "quoteSummary",
    "/v7/finance/quote": "quoteResponse",
    "/ws/fundamentals-timeseries": "timeseries",
    "/v1/finance/search": None,
}

NO_BARS: Mapping[str, Any] = MappingProxyType({})
"""Stands for a chart that Yahoo refuses because it has no data of the range: it knows the symbol, else it would say so."""


def is_yahoos(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == DOMAIN or host.endswith(f".{DOMAIN}"))


def check(provider: str, path: str, response: Response) -> Mapping[str, Any] | None:
    """The document is JSON with its result where it should be. The libraries take whatever else for "nothing there".

    Answers a chart's result, and None of any other path. Raises `ProviderError`.
    """
    body = response.content
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        what = "HTML" if body.lstrip()[:1] == b"<" else "JSON that ends too early or is none"
        raise ProviderDown(provider, f"{path} answered {what}", fault=ProviderErrorKind.BAD_BODY) from None
    record = Record(provider, path, document)
    section = next(value for prefix, value in DATA.items() if path.startswith(prefix))
    if section is None:
        return None
    inside = record.record(section)
    if inside.has("error"):
        error = inside.record("error")
        if error.opt_text("code") == "Not Found":
            raise UnknownToProvider(provider, error.opt_text("description") or f"{path} was not found")
        raise SchemaChanged(provider, f"{path} refused our question. {error.opt_text('description')}")
    results = list(inside.records("result"))
    if section != "chart":
        return None
    if not results:
        raise SchemaChanged(provider, f"{path} holds neither a result nor an error")
    results[0].record("meta").text("symbol")
    chart: Mapping[str, Any] = document["chart"]["result"][0]
    return chart


def description(response: Response) -> str | None:
    """The error in Yahoo's own words, which stands at `<section>.error.description` whatever the section."""
    if response.status_code < 400:
        return None
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    for section in document.values() if isinstance(document, dict) else ():
        error = section.get("error") if isinstance(section, dict) else None
        if isinstance(error, dict):
            return str(error.get("description") or error.get("code") or "")[:300] or None
    return None
