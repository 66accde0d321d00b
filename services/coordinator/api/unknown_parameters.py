"""What a request says and no handler reads is refused: ignored, it would widen what the caller meant. So is what it says twice."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args, get_origin

from fastapi import Request

from services.coordinator.errors import Invalid

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant

# Of a body that nobody reads: enough to see whether it says anything.
_NOTHING = (b"", b"{}", b"null")


async def reject_unknown_parameters(request: Request) -> None:
    """A dependency of all routes: query parameters the route does not know, and a body where it takes none."""
    dependant = request.scope["route"].dependant
    fields = dict(_query(dependant))
    known = sorted(fields)
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise Invalid(
            f"{_words(len(unknown), 'query parameter')} not known here: {', '.join(map(repr, _short(unknown)))}. Nothing was done.",
            code="unknown_parameter",
            errors=[_fault(name, "unknown_parameter", _instead(name, known)) for name in unknown[:50]],
        )
    given = Counter(name for name, _ in request.query_params.multi_items())
    twice = [name for name, count in given.items() if count > 1 and not _takes_many(fields[name])]
    if twice:
        raise Invalid(
            f"{_words(len(twice), 'query parameter')} given more than once: {', '.join(map(repr, _short(twice)))}. Nothing was done.",
            code="repeated_parameter",
            errors=[_fault(name, "repeated_parameter", "Give it once.") for name in twice[:50]],
        )
    held = [name for name, value in request.query_params.multi_items() if "\0" in value]
    if held:
        raise Invalid(
            f"A query parameter holds a NUL character, which no stored text can hold: {', '.join(map(repr, _short(held)))}. "
            "Remove it.",
            errors=[_fault(name, "nul_character", "Holds a NUL character; remove it.") for name in held[:50]],
        )
    if not any(each.body_params for each in _all(dependant)) and (await request.body()).strip() not in _NOTHING:
        takes = f" Its query parameters are {', '.join(known)}." if known else ""
        raise Invalid(
            f"{request.method} {request.url.path} takes no body, and one was sent. Nothing was done.{takes}",
            code="unexpected_body",
            errors=[_fault("body", "unexpected_body", f"Send no body.{takes}")],
        )


def _all(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _all(inner)


def _query(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """Name and type of each."""
    for each in _all(dependant):
        for field in each.query_params:
            yield field.alias, field.field_info.annotation


def _takes_many(annotation: Any) -> bool:
    return get_origin(annotation) in (list, set, tuple) or any(_takes_many(part) for part in get_args(annotation))


def _instead(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"There is no query parameter {name[:100]!r}. Did you mean {close[0]}?"
    return f"There is no query parameter {name[:100]!r}. " + (
        f"There are {', '.join(known)}." if known else "There are none here."
    )


def _fault(column: str, code: str, message: str) -> dict[str, object]:
    return {"row": None, "column": column[:100], "code": code, "message": message, "value": None}


def _words(count: int, noun: str) -> str:
    return f"{count} {noun}{' is' if count == 1 else 's are'}"


def _short(names: list[str]) -> list[str]:
    return [name[:100] for name in names[:5]]
