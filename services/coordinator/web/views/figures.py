"""One number on a page: its value in full, its text, and the address of its explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from services.coordinator.web import formats


@dataclass(frozen=True, slots=True)
class Figure:
    """value is what the API answers, to the last digit; text is what is read; without a value `reason` says why."""

    value: float | None
    text: str
    href: str | None = None
    reason: str | None = None
    tone: str = ""

    @property
    def known(self) -> bool:
        return self.value is not None


Format = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class Figures:
    """Makes the figures of one portfolio on one session.

    linked : whether the figures are explained; those of a range or a question that a reader chose are not
    """

    portfolio: str
    session: str | None
    linked: bool = True

    def link(self, name: str, session: str | None = None) -> str:
        of = session or self.session
        query = {"figure": name} | ({"session": of} if of else {})
        return f"/p/{self.portfolio}/explain?{urlencode(query)}"

    def of(
        self,
        name: str,
        value: Any,
        form: Format,
        *,
        reason: str | None = None,
        toned: bool = False,
        session: str | None = None,
    ) -> Figure:
        known = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        href = self.link(name, session) if self.linked else None
        return Figure(known, form(known), href, reason, tone(known) if toned else "")

    def money(self, name: str, value: Any, *, signed: bool = False, **more: Any) -> Figure:
        return self.of(name, value, lambda x: formats.money(x, signed=signed), **more)

    def percent(self, name: str, value: Any, digits: int = 2, *, signed: bool = False, **more: Any) -> Figure:
        return self.of(name, value, lambda x: formats.percent(x, digits, signed=signed), **more)

    def number(self, name: str, value: Any, digits: int = 2, *, signed: bool = False, **more: Any) -> Figure:
        return self.of(name, value, lambda x: formats.number(x, digits, signed=signed), **more)


def symbol_link(symbol: str, name: str, session: str | None) -> str:
    query = {"figure": name} | ({"session": session} if session else {})
    return f"/symbols/{quote(symbol, safe='')}/explain?{urlencode(query)}"


def tone(value: float | None) -> str:
    if value is None or value == 0:
        return ""
    return "up" if value > 0 else "down"


def at(document: Mapping[str, Any] | None, *path: str) -> Any:
    """A value deep in a document, None where any part of the way is missing: older results lack newer keys."""
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document
