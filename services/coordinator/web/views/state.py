"""How complete a portfolio is, in one word and one sentence, from what the status document says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.texts import ngettext
from services.coordinator.web.views.reasons import reason

COMPLETE, PARTIAL, HEALING, BLOCKED = "complete", "partial", "healing", "blocked"
# What needs somebody stands first in every list.
ORDER = (BLOCKED, PARTIAL, HEALING, COMPLETE)
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Need:
    """What only the user can heal: one symbol and what to do about it."""

    symbol: str | None
    code: str
    means: str
    remedy: str


@dataclass(frozen=True, slots=True)
class State:
    """processed: share of units whose work is done; coverage_min: the lowest of the last year; both decimals. partial: units with a
    remark, which a list does not count."""

    name: str
    processed: float
    coverage_min: float | None
    needs_you: tuple[Need, ...]
    complete_to: str | None
    next_at: str | None
    partial: int

    @property
    def needs_somebody(self) -> bool:
        return self.name == BLOCKED or bool(self.needs_you)

    @property
    def rank(self) -> int:
        return 0 if self.needs_somebody else 1 + ORDER.index(self.name)

    @property
    def label(self) -> str:
        names = {
            COMPLETE: _("complete"),
            PARTIAL: _("partial"),
            HEALING: _("healing"),
            BLOCKED: _("blocked"),
        }
        return names[self.name]

    @property
    def mark(self) -> str:
        """Told by shape as well as by colour."""
        return {COMPLETE: "●", PARTIAL: "◑", HEALING: "◐", BLOCKED: "▲"}[self.name]

    @property
    def sentence(self) -> str:
        said = [self._how_far()]
        if self.needs_you:
            said.append(self._needs())
        return " · ".join(said)

    def _how_far(self) -> str:
        if self.name == BLOCKED:
            return _("blocked: something failed again and again")
        if self.name == HEALING:
            done = formats.percent(int(self.processed * 1000) / 1000, 1)
            if self.next_at:
                return _("healing, {done} done, next try {time}").format(done=done, time=formats.clock(self.next_at))
            return _("healing, {done} done").format(done=done)
        if self.complete_to is None:
            return _("nothing to compute yet")
        return _("{state} to {day}").format(state=self.label, day=formats.day(self.complete_to))

    def _needs(self) -> str:
        symbols = list(dict.fromkeys(need.symbol for need in self.needs_you if need.symbol))
        if not symbols:
            return _("needs you")
        named = ", ".join(symbols[:_NAMED]) + ("…" if len(symbols) > _NAMED else "")
        return ngettext("{names} needs you", "{names} need you", len(symbols)).format(names=named)


def of_status(status: Mapping[str, Any]) -> State:
    """From the status document."""
    waits = [hole["next_at"] for hole in status["holes"] if hole["next_at"]]
    return _state(status, min(waits, default=None), status["partial"])


def of_line(line: Mapping[str, Any]) -> State:
    """The same from a line of the list of portfolios."""
    return _state(line, line["next_at"])


def _state(of: Mapping[str, Any], next_at: str | None, partial: int = 0) -> State:
    return State(
        name=of["state"],
        processed=of["processed"],
        coverage_min=of["coverage_min"],
        needs_you=tuple(_need(item["symbol"], item["reason"], item["remedy"]) for item in of["needs_you"]),
        complete_to=of["complete_to"],
        next_at=next_at,
        partial=partial,
    )


def _need(symbol: str | None, code: str, remedy: str) -> Need:
    return Need(symbol, code, reason(code).means, remedy)
