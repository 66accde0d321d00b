"""The list of portfolios, what needs you first, and the one sentence above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.coordinator.web import formats
from services.coordinator.web.texts import gettext as _
from services.coordinator.web.texts import ngettext
from services.coordinator.web.views import charts
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.performance import summarize_day
from services.coordinator.web.views.state import BLOCKED, HEALING, State, of_line

Line = Mapping[str, Any]
TRAIL = (120.0, 24.0)


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    name: str
    currency: str
    positions: int
    state: State
    session: str | None
    nav: Figure
    day: Figure
    year: Figure
    volatility: Figure
    var: Figure
    trail: str
    trail_up: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the sentence: how many, what, and in which state."""

    state: str
    text: str


def rows(lines: Sequence[Line]) -> list[Row]:
    return sorted((_row(line) for line in lines), key=lambda row: (row.state.rank, row.name.casefold(), row.id))


def sentence(found: Sequence[Row]) -> list[Part]:
    """ "41 complete to 31 Dec · 2 healing (next try 18:40) · 1 needs you"."""
    needs = [row for row in found if row.state.needs_somebody]
    healing = [row for row in found if not row.state.needs_somebody and row.state.name == HEALING]
    done = [row for row in found if not row.state.needs_somebody and row.state.name != HEALING]
    parts = []
    if done:
        day = max((row.state.complete_to or "" for row in done), default="")
        text = ngettext("{n} complete to {day}", "{n} complete to {day}", len(done))
        parts.append(Part("complete", text.format(n=formats.whole(len(done)), day=formats.day(day or None))))
    if healing:
        waits = [row.state.next_at for row in healing if row.state.next_at]
        text = ngettext("{n} healing", "{n} healing", len(healing)).format(n=formats.whole(len(healing)))
        if waits:
            text += " " + _("(next try {time})").format(time=formats.clock(min(waits)))
        parts.append(Part("healing", text))
    if needs:
        text = ngettext("{n} needs you", "{n} need you", len(needs)).format(n=formats.whole(len(needs)))
        blocked = any(row.state.name == BLOCKED for row in needs)
        parts.append(Part("blocked" if blocked else "partial", text))
    return parts


def day_of(lines: Sequence[Line]) -> str:
    """What the day did to the one portfolio there is; of several the list says it."""
    if len(lines) != 1 or lines[0]["session"] is None:
        return ""
    return summarize_day(lines[0], lines[0]["var_95"])


def _row(line: Line) -> Row:
    of = Figures(line["id"], line["session"])
    trail = line["trail"] or []
    return Row(
        id=line["id"],
        name=line["name"],
        currency=line["currency"],
        positions=line["positions"],
        state=of_line(line),
        session=line["session"],
        nav=of.money("snapshots.nav", line["nav"]),
        day=of.percent("snapshots.daily_return", line["daily_return"], signed=True, toned=True),
        year=of.percent("snapshots.ytd_return", line["ytd_return"], 1, signed=True, toned=True),
        volatility=of.percent("risk.volatility.realized_252", line["volatility"], 1, session=line["risk_session"]),
        var=of.percent("risk.var.historical.0.95", line["var_95"], session=line["risk_session"]),
        trail=charts.path(trail, *TRAIL) if len(trail) > 1 else "",
        trail_up=len(trail) > 1 and (trail[-1] or 0.0) >= (trail[0] or 0.0),
    )
