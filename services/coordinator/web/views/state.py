"""How complete a portfolio is, in one word and one sentence. The one place that derives it from a status document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.texts import ngettext
from services.coordinator.web.views.reasons import reason

COMPLETE, PARTIAL, HEALING, BLOCKED = "complete", "partial", "healing", "blocked"
# What needs somebody stands first in every list.
ORDER = (BLOCKED, PARTIAL, HEALING, COMPLETE)
_NAMED = 3
_YEAR_DAYS = 365


@dataclass(frozen=True, slots=True)
class Need:
    """What only the user can heal: one symbol and what to do about it."""

    symbol: str | None
    code: str
    means: str
    remedy: str


@dataclass(frozen=True, slots=True)
class State:
    """processed: share of units whose work is done; coverage_min: the lowest of the last year; both decimals."""

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
    """From the status document. What it says itself counts; what an older one does not say is derived from its parts."""
    expected, completed = status["expected"], status["completed"]
    since = _year_before(status["last_session"])
    recent = [span for span in status["partials"] if span["to"] >= since]
    if "needs_you" in status:
        needs = tuple(_need(item["symbol"], item["reason"], item.get("remedy")) for item in status["needs_you"])
    else:
        needs = _needs(pair for span in (*status["holes"], *recent) for pair in _pairs(span))
    coverages = [span["coverage"] for span in recent if span.get("coverage") is not None]
    lowest = status.get("coverage_min", min(coverages, default=1.0 if completed else None))
    waits = [hole["next_at"] for hole in status["holes"] if hole["next_at"]]
    return State(
        name=_name(status["state"], needs),
        processed=status.get("processed", completed / expected if expected else 1.0),
        coverage_min=lowest,
        needs_you=needs,
        complete_to=status["last_session"] if completed == expected else None,
        next_at=min(waits, default=None),
        partial=status["partial"],
    )


def of_line(line: Mapping[str, Any]) -> State:
    """The same from a line of the list of portfolios."""
    expected, completed = line["expected"], line["completed"]
    needs = _needs((item.get("symbol"), item.get("reason")) for item in line["reasons"] or ())
    state = BLOCKED if line["blocked"] else HEALING if completed < expected else COMPLETE
    return State(
        name=_name(state, needs),
        processed=completed / expected if expected else 1.0,
        coverage_min=line["coverage_min"],
        needs_you=needs,
        complete_to=line["complete_to"],
        next_at=line["next_at"],
        partial=line["partial"],
    )


def _year_before(session: str | None) -> str:
    """What fell short before that is history, and asks nothing of anybody."""
    return "" if session is None else (date.fromisoformat(session) - timedelta(days=_YEAR_DAYS)).isoformat()


def _name(state: str, needs: Sequence[Need]) -> str:
    """Work that is done about a holding without a price is not complete to anybody who reads the word."""
    return PARTIAL if state == COMPLETE and needs else state


def _pairs(span: Mapping[str, Any]) -> Iterable[tuple[str | None, str | None]]:
    if "reasons" in span:
        return [(item.get("symbol"), item.get("reason")) for item in span["reasons"]]
    return [(symbol, span["reason"]) for symbol in span["symbols"]]


def _needs(pairs: Iterable[tuple[str | None, str | None]]) -> tuple[Need, ...]:
    return tuple(_need(symbol, code) for symbol, code in dict.fromkeys(pairs) if code and reason(code).needs_you)


def _need(symbol: str | None, code: str, remedy: str | None = None) -> Need:
    known = reason(code)
    return Need(symbol, code, known.means, remedy or known.remedy)
