"""What is wrong with a request that the framework refused, all of it: its findings, and the importer's about the rest.

The framework stops at shapes (an unknown field, a number where text is meant). A user who mends those should not be told
about the next ten faults one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from services.coordinator.api.bodies import FlowBody, PortfolioBody, PositionBody
from services.coordinator.api.context import context_of
from services.coordinator.importer import account, parse
from services.coordinator.importer.model import MAX_ISSUES, Issues
from services.coordinator.importer.rules import Rules
from services.coordinator.portfolios import validation
from services.coordinator.results.values import UNKNOWN_CURSOR

Path = tuple[str | int, ...]
Fault = dict[str, object]

CURSOR = "unknown_cursor"
_SOURCES = ("body", "query", "path", "header")
# A field that takes a number or text is refused once for each of them; their names end the path.
_TAGS = {"int_type": "int", "float_type": "float", "string_type": "str"}
_LISTS = ("positions", "flows")


def validation_errors(request: Request, error: RequestValidationError) -> list[Fault]:
    """In the shape of the importer's: row, column, code, message, value. At most `MAX_ISSUES`."""
    found: dict[Path, Fault] = {}
    for each in error.errors():
        path, number = _path(each)
        fault = _fault(path, each)
        if number:
            fault |= {"code": "number_type", "message": "Input should be a number, or text that holds one"}
        found.setdefault(path, fault)
        if len(found) == MAX_ISSUES:
            return list(found.values())
    faults = list(found.values())
    check = _check_of(request)
    if check is not None and isinstance(error.body, dict):
        faults += _rest(check, error.body, set(found), validation.rules_now(context_of(request).clock))
    return faults[:MAX_ISSUES]


def _path(found: Mapping[str, Any]) -> tuple[Path, bool]:
    """Where it is, and whether a number was wanted there."""
    path: Path = tuple(found["loc"])
    path = path[1:] if path and path[0] in _SOURCES else path
    if len(path) > 1 and path[-1] == _TAGS.get(str(found["type"])):
        return path[:-1], True
    return path, False


def _fault(path: Path, found: Mapping[str, Any]) -> Fault:
    at = next((index for index, part in enumerate(path) if isinstance(part, int)), None)
    value = found.get("input")
    cursor = tuple(found["loc"]) == ("query", "cursor")
    # Below an item of a list stands its field; the item itself goes by the list's name.
    named = path if at is None else path[at + 1 :] or path[:at]
    return {
        "row": None if at is None else int(path[at]) + 1,
        "column": ".".join(str(part) for part in named)[:200] or None,
        "code": CURSOR if cursor else str(found["type"]),
        # What a check of ours says stands behind the framework's own words.
        "message": UNKNOWN_CURSOR if cursor else str(found["msg"]).removeprefix("Value error, "),
        # A lone surrogate is a Python string and no UTF-8: the answer must still be one.
        "value": str(value)[:100].encode(errors="replace").decode() if isinstance(value, str | int | float) else None,
    }


Check = Callable[[dict[str, Any], Rules], Iterator[tuple[str | None, Issues]]]


def _check_of(request: Request) -> Check | None:
    """The importer's check of what this route takes. A PATCH is checked against what is stored, and so not here."""
    params = request.scope["route"].dependant.body_params if "route" in request.scope else []
    if request.method != "POST" or len(params) != 1:
        return None
    return _CHECKS.get(params[0].field_info.annotation)


def _portfolio(body: dict[str, Any], rules: Rules) -> Iterator[tuple[str | None, Issues]]:
    header, flows = Issues(), Issues()
    account.check(
        name_=parse.cell_text(body.get("name")),
        equity_=parse.cell_text(body.get("equity_balance")),
        type_=parse.cell_text(body.get("account_type")),
        currency_=parse.cell_text(body.get("currency")),
        issues=header,
    )
    yield None, header
    yield "positions", parse.parse_items(body.get("positions") or [], rules).issues
    parse.parse_flows(body.get("flows") or [], rules, flows)
    yield "flows", flows


def _position(body: dict[str, Any], rules: Rules) -> Iterator[tuple[str | None, Issues]]:
    yield None, parse.parse_items([body], rules).issues


def _flow(body: dict[str, Any], rules: Rules) -> Iterator[tuple[str | None, Issues]]:
    issues = Issues()
    parse.parse_flows([body], rules, issues)
    yield None, issues


_CHECKS: Mapping[Any, Check] = {PortfolioBody: _portfolio, PositionBody: _position, FlowBody: _flow}


def _rest(check: Check, body: Mapping[str, Any], refused: set[Path], rules: Rules) -> Iterator[Fault]:
    """The importer's errors about what the framework could read; of a field that it could not, nothing is said twice."""
    readable = {key: _without((key,), value, refused) for key, value in body.items() if (key,) not in refused}
    for section, issues in check(readable, rules):
        for issue in issues.errors:
            item: Path = () if section is None or issue.row is None else (section, issue.row - 1)
            if item not in refused and (*item, issue.column) not in refused:
                yield issue.document()


def _without(path: Path, value: Any, refused: set[Path]) -> Any:
    """The items of a list, each without what was refused in it. An item that is refused whole stays, empty: rows are counted."""
    if path[0] not in _LISTS or not isinstance(value, Sequence) or isinstance(value, str):
        return value
    return [
        {key: inner for key, inner in item.items() if (*path, row, key) not in refused}
        if isinstance(item, dict)
        else {}
        for row, item in enumerate(value)
    ]
