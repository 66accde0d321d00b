"""Templates to answers, with the headers every page is sent with."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.coordinator.context import Context, context_of
from services.coordinator.web import formats, texts
from services.coordinator.web.views import charts, reasons
from shared.market.calendar import calendar, closures_if_chosen

HERE = Path(__file__).parent
STATIC = HERE / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Cookie, Accept-Language",
}


@cache
def address(name: str) -> str:
    """Of a static file, with a digest of its content: it may be kept for ever, and a new one has a new address."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def inline_static(name: str) -> Markup:
    """The text of a static file, for a page that has to stand alone. Ours, so it is not escaped."""
    return Markup((STATIC / name).read_text(encoding="utf-8"))  # noqa: S704 (no user's text is in it)


@cache
def environment() -> Environment:
    # StrictUndefined: a name that a view does not give is a fault of ours, never an empty cell.
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    made.install_gettext_callables(texts.gettext, texts.ngettext, newstyle=True)  # type: ignore[attr-defined]
    made.globals.update(static=address, inline_static=inline_static, fmt=formats, charts=charts, reason=reasons.reason)
    return made


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def text_of(template: str, **values: Any) -> str:
    return environment().get_template(template).render(**values)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A whole page, in the reader's language."""
    texts.speak(request.headers.get("accept-language", ""))
    context = context_of(request)
    shared = {
        "path": request.url.path,
        "as_of": _as_of(context),
        "signed_in": getattr(request.state, "signed_in", False),
        # Of a page that does not ask who reads it, nobody knows.
        "operates": getattr(request.state, "operates", False),
        "notice": request.query_params.get("notice", ""),
        "language": str(texts.locale()).replace("_", "-"),
    }
    return HTMLResponse(text_of(template, **shared, **values), status_code=status, headers=HEADERS)


def _as_of(context: Context) -> str:
    """The last session that is due. A refusal is shown before the closures were read, by the exchange's own sessions."""
    return calendar(closures=closures_if_chosen()).last_due(context.clock.now()).isoformat()


def live_part(template: str, **values: Any) -> dict[str, Any]:
    """The part of a page that a stream will write again: its text, and a digest by which the stream knows what is shown."""
    text = text_of(template, **values)
    return {"live": Markup(text), "seen": digest(text)}  # noqa: S704 (the template has escaped it)
