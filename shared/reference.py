"""Plain pages about a service's interface: what can be asked, what it reads and sends. They load nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


def operations(openapi: Mapping[str, Any]) -> str:
    """Every path and method of an OpenAPI document, in its own words."""
    rows = [
        f"<tr><td>{escape(method.upper())}</td><td><code>{escape(path)}</code></td><td>{escape(of.get('summary', ''))}</td></tr>"
        for path, methods in openapi["paths"].items()
        for method, of in methods.items()
    ]
    table = f"<table><thead><tr><th>Method</th><th>Path</th><th>Does</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return _page(openapi["info"]["title"], '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>' + table)


def messages(asyncapi: Mapping[str, Any]) -> str:
    """Every channel of an AsyncAPI document, with the messages on it."""
    rows = [
        f"<tr><td><code>{escape(channel.get('address') or name)}</code></td>"
        f"<td>{escape(', '.join(channel.get('messages') or ()))}</td></tr>"
        for name, channel in (asyncapi.get("channels") or {}).items()
    ]
    table = f"<table><thead><tr><th>Topic</th><th>Messages</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    said = '<p>For programs: <a href="/asyncapi">/asyncapi</a></p>'
    return _page(f"{asyncapi['info']['title']}: messages", said + table)


def _page(title: str, body: str) -> str:
    named = title if title.startswith("Leadline") else f"Leadline {title}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(named)}</title></head><body><h1>{escape(named)}</h1>{body}</body></html>"
    )
