"""Which of the server's paths a request asks for, where no router has looked at it yet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, compile_path
from starlette.types import Scope

from services.coordinator.api.heads import path_in_app
from services.coordinator.tokens.requests import fill_ids

if TYPE_CHECKING:
    from fastapi import FastAPI

UNKNOWN = "unknown"


def template_of(scope: Scope) -> str:
    """The path as the audit log would have it: in the place of a parameter an id, else the parameter's name. `UNKNOWN` where the
    server has no such path: whatever somebody put there may be a name."""
    app = scope.get("app")
    if app is None:
        return UNKNOWN
    path = path_in_app(scope)
    for expression, template in _templates_of(app):
        if (found := expression.fullmatch(path)) is not None:
            return fill_ids(template, found.groupdict())[:500]
    return UNKNOWN


def _templates_of(app: FastAPI) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Without parameters first: `/portfolios/import` is no id of a portfolio. Found out once: it takes a tenth of a second."""
    kept: tuple[tuple[re.Pattern[str], str], ...] | None = getattr(app.state, "path_templates", None)
    if kept is not None:
        return kept
    found: dict[str, re.Pattern[str]] = {}
    for context in iter_route_contexts(app.router.routes):
        path = str(getattr(context, "path", ""))
        if isinstance(context.original_route, Mount):
            path = f"{path}/{{path:path}}"
        expression, plain, _ = compile_path(path)
        found.setdefault(plain, expression)
    ordered = sorted(found.items(), key=lambda each: each[0].count("{"))
    kept = app.state.path_templates = tuple((expression, plain) for plain, expression in ordered)
    return kept
