"""The OpenAPI document: what FastAPI derives, with the refusals, forms and the token that all operations have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from importlib import metadata
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from services.coordinator.api.context import PREFIX
from services.coordinator.api.examples import EXAMPLES
from services.coordinator.api.models.common import ProblemDetails
from services.coordinator.api.problem_codes import CODES, PATH
from services.coordinator.api.representation import STREAMS

MEDIA_TYPE = "application/problem+json"
VERSION = metadata.version("leadline")
DESCRIPTION = f"""Portfolios, their completeness, and the risk of every session.

Returns, weights, volatilities and coverages are decimals (0.01 is 1 %), money is in the portfolio's currency, dates are exchange sessions
(`YYYY-MM-DD`), instants are RFC 3339 in UTC. A figure that is not known is `null`, never 0, and stands beside a reason. A request that is
refused is answered with a problem document whose `type` points at [what it means and what to do]({PATH}). Answers have an `ETag`; tables
can be had as CSV (`Accept: text/csv`). A change may carry an `Idempotency-Key`: sent again with the same key, it is done once.
"""
_SUMMARIES = {
    "400": "The request contradicts itself or cannot be parsed",
    "401": "The server wants a bearer token",
    "403": "A page of another site asked for a change, or the token's role does not allow the call",
    "404": "There is no such thing, or nothing is known of it yet",
    "406": "The answer cannot be had in the form that was asked for",
    "409": "What is stored does not allow it",
    "413": "The body is too large",
    "421": "The request was sent to a name that is none of this server's",
    "422": "Fields cannot be read or used; `errors` lists them",
    "429": "Too many wrong tokens came from that address",
    "500": "The server failed",
    "503": "The database is not reachable; nothing was changed",
}
_READS = ("400", "401", "403", "404", "406", "421", "422", "429", "500", "503")
_WRITES = ("400", "401", "403", "404", "409", "413", "421", "422", "429", "500", "503")
_HEADERS = {
    "429": {"Retry-After": {"description": "Seconds", "schema": {"type": "string"}}},
    "503": {"Retry-After": {"description": "Seconds", "schema": {"type": "string"}}},
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}}},
}
_ETAG = {"ETag": {"description": "Send it as If-None-Match", "schema": {"type": "string"}}}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key, the change is done once and answered alike",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Serve the complete document at /openapi.json, and the page that the types of problems point at."""
    app.include_router(router)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an application, built anew."""
    found = get_openapi(title="Leadline", version=VERSION, description=DESCRIPTION, routes=app.routes)
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        # FastAPI's own shape of a 422, which never comes.
        schemas.pop(name, None)
    problem = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDetails"] = problem
    components["responses"] = {f"Problem{status}": _problem(status) for status in _SUMMARIES}
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "Where LEADLINE_TOKEN is set, or a token was made",
        }
    }
    for name, example in EXAMPLES.items():
        # The routes for operators are the process's: the application alone is without them.
        if name in schemas:
            schemas[name]["example"] = example
    for path, method, operation in _operations(found):
        _complete(path, method, operation, schemas)
    return found


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                yield path, method, operation


def _problem(status: str) -> dict[str, Any]:
    body = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, **_example(int(status))}
    answer: dict[str, Any] = {"description": _SUMMARIES[status], "content": {MEDIA_TYPE: body}}
    if status in _HEADERS:
        answer["headers"] = _HEADERS[status]
    return answer


def _example(status: int) -> dict[str, Any]:
    known = next((each for each in CODES if each.status == status), None)
    if known is None:
        return {}
    body = {"type": f"{PATH}#{known.code}", "title": _SUMMARIES[str(status)], "status": status, "detail": known.meaning}
    return {"example": body | {"code": known.code}}


def _complete(path: str, method: str, operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    if not path.startswith(PREFIX):
        return
    # Either: a server without a token lets everybody in.
    operation["security"] = [{"bearer": []}, {}]
    for status in _READS if method == "get" else _WRITES:
        answers[status] = {"$ref": f"#/components/responses/Problem{status}"}
    if method != "get":
        operation.setdefault("parameters", []).append(_KEY)
        return
    good = answers.get("200", {})
    if path.endswith(STREAMS):
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    shown = good.get("content", {}).get("application/json")
    if shown is None:
        return
    good["headers"] = _ETAG
    answers["304"] = {"description": "The client has it already", "headers": _ETAG}
    model = schemas.get(str(shown["schema"].get("$ref", "")).rpartition("/")[2], {})
    fields = model.get("properties", {})
    if "items" in fields or {"sessions", "figures"} <= set(fields):
        good["content"]["text/csv"] = {"schema": {"type": "string"}}


@router.get(PATH, response_class=HTMLResponse)
async def problems_page() -> HTMLResponse:
    """What each code of a problem document means. Loads nothing, runs nothing."""
    rows = "".join(
        f'<tr id="{escape(each.code)}"><td><code>{escape(each.code)}</code></td><td>{each.status}</td>'
        f"<td>{escape(each.meaning)}</td><td>{escape(each.remedy)}</td></tr>"
        for each in CODES
    )
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Leadline: problems</title></head><body><h1>Problems</h1>"
        '<p>What the <code>code</code> of a refusal means. The interface is described in <a href="/openapi.json">/openapi.json</a>.</p>'
        "<table><thead><tr><th>Code</th><th>Status</th><th>Means</th><th>What to do</th></tr></thead>"
        f"<tbody>{rows}</tbody></table><p>Codes that begin with ERR_ are of single fields, and stand with their message.</p></body></html>"
    )
    return HTMLResponse(
        body, headers={"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}
    )
