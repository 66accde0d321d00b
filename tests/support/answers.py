"""Whether answers are what the interface declares: each JSON answer of a test's client against the model of its operation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter

from services.coordinator.api import models

ENVELOPE = {
    "portfolio_id",
    "session",
    "revision",
    "model_version",
    "computed_at",
    "quality",
    "coverage",
    "provisional",
    "reasons",
    "stale",
}
"""What stands in each answer about a session, written out: the interface is a contract."""
MODELS: dict[str, type[BaseModel]] = {
    name: model
    for found in pkgutil.iter_modules(models.__path__, f"{models.__name__}.")
    for module in (importlib.import_module(found.name),)
    for name, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, BaseModel)
}
Hook = Callable[[httpx2.Response], Awaitable[None]]


def models_of(schema: dict[str, Any]) -> Any:
    names = [part["$ref"].rpartition("/")[2] for part in schema.get("anyOf", [schema]) if "$ref" in part]
    found: Any = None
    for name in names:
        found = MODELS[name] if found is None else found | MODELS[name]
    return found


Declared = list[tuple[str, re.Pattern[str], dict[str, TypeAdapter[Any] | None]]]
_declared: Declared = []


def declared(app: FastAPI) -> Declared:
    """Method, path and model by status of every operation. Made of the first application: all say the same."""
    if _declared:
        return _declared
    for path, item in app.openapi()["paths"].items():
        pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
        for method, operation in item.items():
            by_status: dict[str, TypeAdapter[Any] | None] = {}
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
                model = models_of(schema) if schema else None
                by_status[status] = None if model is None else TypeAdapter(model)
            _declared.append((method.upper(), pattern, by_status))
    return _declared


def undeclared(value: Any, path: str = "") -> Iterator[str]:
    """Where an answer that was read with its model has keys that the model does not know: clients may not fail at them, and cannot
    find them either."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or ())
        for name in type(value).model_fields:
            yield from undeclared(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from undeclared(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from undeclared(item, f"{path}[]")


def checker(app: FastAPI) -> Hook:
    """A hook of a client that fails where an answer does not fit the model of its operation, says what that does not declare, or is not
    declared at all."""
    known = declared(app)

    async def check(response: httpx2.Response) -> None:
        if response.request.extensions.get("unchecked"):
            # Who wants the bytes as they came: reading them here would take them away.
            return
        method, path = response.request.method, response.request.url.path
        # The longer template first where two fit: `/symbols/quarantined` is no symbol.
        fits = [by_status for of, pattern, by_status in known if of == method and pattern.fullmatch(path)]
        if (
            response.status_code >= 300
            or not fits
            or not response.headers.get("content-type", "").startswith("application/json")
        ):
            return
        await response.aread()
        problems = []
        for by_status in fits:
            assert str(response.status_code) in by_status, (method, path, response.status_code, sorted(by_status))
            model = by_status[str(response.status_code)]
            try:
                read = None if model is None else model.validate_json(response.content)
            except ValueError as error:
                problems.append(str(error))
                continue
            unknown = sorted(set(undeclared(read)))
            if not unknown:
                return
            problems.append(f"{type(read).__name__} does not declare {', '.join(unknown)}")
        raise AssertionError(f"{method} {path} answers what it does not declare: {problems[0]}")

    return check
