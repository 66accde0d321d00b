"""What an explanation says of a figure before any data is read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from services.coordinator.results.figures import Name


class Source(StrEnum):
    """What a figure was computed from."""

    LOTS = "lot"
    FLOWS = "flow"
    EQUITY = "equity"
    PRICES = "price"
    PROXIES = "proxy_price"
    JUMPS = "jump"
    ACTIONS = "action"
    FACTS = "fact"
    PROFILES = "profile"
    SNAPSHOT = "snapshot"
    """That of the figure's session."""
    EARLIER = "earlier"
    """Those of the window before the figure's session: what a recursion goes on from."""
    HISTORY = "history"
    """All of the window."""
    RESULTS = "result"
    BENCHMARK = "benchmark"
    FUND_LISTS = "fund_list"
    SCENARIO = "scenario"
    YIELDS = "yield_curve"
    BILLS = "bill"
    """The curves of all of the window, for the risk-free return of each session."""

    @property
    def kind(self) -> str:
        """As answered: which snapshots or curves they are is seen by their dates."""
        if self is Source.BILLS:
            return Source.YIELDS.value
        return Source.SNAPSHOT.value if self in (Source.EARLIER, Source.HISTORY) else self.value


# Said where a figure has no input at all.
NOTHING: Mapping[Source, str] = {
    Source.LOTS: "no lot",
    Source.FLOWS: "no flow in or out",
    Source.EQUITY: "no equity balance",
    Source.PRICES: "no price from a provider",
    Source.PROXIES: "no price of a proxy",
    Source.ACTIONS: "no split or dividend",
    Source.FACTS: "no exposures of its own",
    Source.PROFILES: "no word of a provider",
    Source.SNAPSHOT: "no snapshot",
    Source.EARLIER: "no snapshot before",
    Source.HISTORY: "no snapshot",
    Source.RESULTS: "no forecast",
    Source.BENCHMARK: "no table of benchmark weights",
    Source.FUND_LISTS: "no list of what a fund holds",
    Source.SCENARIO: "no scenario",
    Source.YIELDS: "no yield curve of the month before",
    Source.BILLS: "no yield curve",
}


class Span(Enum):
    """Windows that are no number of sessions. The session before the first one belongs to them: a return needs it."""

    CHAIN = "from the portfolio's first session"
    YEAR = "the calendar year"
    MONTH = "the month"


@dataclass(frozen=True, slots=True)
class Formula:
    """pattern : the name, `*` for what differs by symbol, factor or scenario, a last `**` for anything below
    window  : how many sessions of prices or snapshots enter, ending at the figure's
    steps   : figures of the same answer that lead to it, beside it or beside what it is part of; below that with a dot
    own     : the figure is about the lot or symbol in its name, and only that one's data enters
    proxies : the factors whose proxies enter; empty: all
    based   : the window begins at the base session of the horizon that the name ends with
    """

    pattern: Name
    text: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    window: int | Span = 1
    steps: tuple[str, ...] = ()
    own: bool = False
    proxies: tuple[str, ...] = ()
    based: bool = False


def formula(pattern: str, text: str, *sources: Source, **more: Any) -> Formula:
    """A formula whose pattern is written with slashes."""
    return Formula(tuple(pattern.split("/")), text, sources=sources, **more)


def fits(pattern: Name, name: Name) -> bool:
    if pattern[-1] == "**":
        return len(name) >= len(pattern) and fits(pattern[:-1], name[: len(pattern) - 1])
    return len(pattern) == len(name) and all(want in ("*", have) for want, have in zip(pattern, name, strict=True))
