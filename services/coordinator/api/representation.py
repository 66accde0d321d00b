"""How an answer is sent: JSON or CSV, made in a thread, compressed where that is wanted, and not at all where it is known already.

A handler returns a document; whatever stands in a `Response` is sent as it is. Encoding is not the event loop's: a list of names
of figures is megabytes, and everything else of the process would wait for it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

import cramjam
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.coordinator.api import tables
from services.coordinator.errors import NotAcceptable
from shared.offloading import offload

JSON, CSV = "application/json", "text/csv"
# Below it the header costs more than compression saves.
COMPRESSED_FROM = 1024
# A tenth larger than level 5, in a third of the time: answers are made anew for each request.
LEVEL = 1
# The encoder keeps the interpreter until it is done: of fifty thousand lots that is half a second, in which nobody is answered.
AT_ONCE = 50
# So many list items are encoded and compressed in some tenths of a millisecond: a portfolio of thirty positions, a page of the list.
FEW = 250
# Of text, and of objects that have a key for each symbol.
BYTES_AN_ITEM, FIELDS_AN_ITEM = 200, 10
# No cache keeps anybody's figures, not even on this machine's disk; a program that kept an answer sends its ETag itself.
CACHE = "no-store"
VARY = "Accept, Accept-Encoding"
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
# Commas may stand in a tag.
_TAG = re.compile(r'(?:W/)?("[^"]*")')
# An answer without an end has no head that a client could wait for.
STREAMS = "/stream"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says about the form of its answer.

    known : entity tags of answers that the client holds, without the mark of weak ones; None where any answer would do
    """

    csv: bool = False
    json: bool = True
    compressed: bool = False
    uncompressed: bool = True
    known: frozenset[str] | None = frozenset()

    @classmethod
    def by(cls, headers: Headers, method: str = "GET") -> Wanted:
        accepted = _weights(headers, "accept")
        # Only who names it wants a table: programs that take anything mean JSON.
        csv = _weight(accepted, CSV, "text/*")
        json = _weight(accepted, JSON, "application/*", "*/*") or 0.0
        codings = _weights(headers, "accept-encoding")
        gzip, plain = _weight(codings, "gzip", "x-gzip", "*") or 0.0, _weight(codings, "identity", "*")
        return cls(
            csv=csv is not None and csv > 0.0 and csv >= json,
            json=not accepted or json > 0.0,
            compressed=gzip > 0.0 and gzip >= codings.get("identity", 0.0),
            uncompressed=plain is None or plain > 0.0,
            known=_tags(headers) if method in ("GET", "HEAD") else frozenset(),
        )


def _weight(weights: Mapping[str, float], *names: str) -> float | None:
    """That of the first name which is said anything of, the narrowest before the widest."""
    return next((weights[name] for name in names if name in weights), None)


def _weights(headers: Headers, name: str) -> dict[str, float]:
    """The parts of an Accept header with their weights, of all its lines; what cannot be read as a weight counts as none."""
    found: dict[str, float] = {}
    for part in ",".join(headers.getlist(name)).lower().split(","):
        said, *parameters = (piece.strip() for piece in part.split(";"))
        if not said:
            continue
        given = next((piece[2:].strip() for piece in parameters if piece.startswith("q=")), "1")
        weight = float(given) if _QUALITY.fullmatch(given) else 0.0
        found[said] = max(weight, found.get(said, 0.0))
    return found


def _tags(headers: Headers) -> frozenset[str] | None:
    said = ",".join(headers.getlist("if-none-match")).strip()
    return None if said == "*" else frozenset(_TAG.findall(said))


class Encoded(NamedTuple):
    """A document that is JSON already, written as `encode` writes it."""

    body: bytes


_wanted: ContextVar[Wanted | None] = ContextVar("wanted", default=None)


class DocumentRoute(APIRoute):
    """A route whose handler returns a document. Its response model is declared, and checked by tests, not by every answer."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if inspect.iscoroutinefunction(endpoint):
            endpoint = _render_answers_of(endpoint, status=options.get("status_code") or 200)
        super().__init__(path, endpoint, **options)


def count_items(document: Any) -> int:
    """About how many list items are in a document: those of a list are taken to be alike, and fields of a long object to be items."""
    if isinstance(document, Encoded):
        return len(document.body) // BYTES_AN_ITEM
    if isinstance(document, list):
        return len(document) * max(1, count_items(document[0])) if document else 0
    if not isinstance(document, dict):
        return 0
    within = (count_items(value) for value in document.values() if isinstance(value, dict | list))
    return len(document) // FIELDS_AN_ITEM + (sum(within) if len(document) <= FEW else FEW)


def encode(document: Any) -> bytes:
    """JSON, with null for what is not finite. Long lists of a document in parts, between which other threads get a turn."""
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        return _encode(document)
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(key), _encode_in_parts(value)) for key, value in document.items())


def _encode_in_parts(value: Any) -> bytes:
    if not isinstance(value, list) or len(value) <= AT_ONCE:
        return _encode(value)
    parts = (_encode(value[first : first + AT_ONCE])[1:-1] for first in range(0, len(value), AT_ONCE))
    return b"[%b]" % b",".join(parts)


def _encode(value: Any) -> bytes:
    return to_json(value, inf_nan_mode="null")


def _render_answers_of(endpoint: Callable[..., Awaitable[Any]], *, status: int) -> Callable[..., Awaitable[Response]]:
    @wraps(endpoint)
    async def handler(**given: Any) -> Response:
        document = await endpoint(**given)
        if isinstance(document, Response):
            return document
        wanted = _wanted.get() or Wanted()
        return await offload(count_items(document), lambda: render(document, wanted, status), few=FEW)

    return handler


def render(document: Any, wanted: Wanted, status: int = 200) -> Response:
    """The response of a document, or 304 where the client holds it. Raises `NotAcceptable` for a form there is none of."""
    if wanted.csv and isinstance(document, Encoded):
        document = from_json(document.body)
    if wanted.csv and tables.is_table(document):
        body, kind = tables.to_csv(document), f"{CSV}; charset=utf-8"
    elif wanted.json:
        body, kind = document.body if isinstance(document, Encoded) else encode(document), JSON
    else:
        raise NotAcceptable(
            "This answer is not a table: ask for application/json."
            if wanted.csv
            else "Answers are application/json; tables can be had as text/csv too. Send one of these as Accept."
        )
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    # Weak: compressed or not, it is the same answer.
    headers = {"ETag": f"W/{tag}", "Cache-Control": CACHE, "Vary": VARY}
    if status == 200 and (wanted.known is None or tag in wanted.known):
        return Response(status_code=304, headers=headers)
    if wanted.compressed and (len(body) >= COMPRESSED_FROM or not wanted.uncompressed):
        body = bytes(cramjam.gzip.compress(body, level=LEVEL))
        headers["Content-Encoding"] = "gzip"
    return Response(body, status_code=status, headers=headers, media_type=kind)


class Representation:
    """Tells the handlers what form is wanted, and answers HEAD as GET without its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _wanted.set(Wanted.by(Headers(scope=scope), scope["method"]))
        if scope["method"] != "HEAD" or str(scope["path"]).endswith(STREAMS):
            await self._app(scope, receive, send)
            return
        asked: MutableMapping[str, Any] = {**scope, "method": "GET"}

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app(asked, receive, without_body)
