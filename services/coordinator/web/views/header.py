"""The head of a portfolio's pages: what it is worth, how complete it is, which session is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from services.coordinator.web.texts import gettext as _
from services.coordinator.web.views.figures import Figure, Figures
from services.coordinator.web.views.state import State, of_status
from shared.market.calendar import Calendar

PARTS = (
    "performance", "returns", "attribution", "risk", "factors", "stress", "what-if", "correlations", "positions", "data",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    id: str
    name: str
    currency: str
    state: State
    session: str | None
    earlier: str | None
    later: str | None
    first: str | None
    last: str | None
    newest: bool
    stale: bool
    nav: Figure | None
    day: Figure | None
    day_return: Figure | None
    since_start: Figure | None
    total_return: Figure | None

    def link(self, part: str, session: str | None = None) -> str:
        """To a part, on the session that is looked at unless it is the newest anyway."""
        base = f"/p/{self.id}" if part == "performance" else f"/p/{self.id}/{part}"
        on = session or (None if self.newest else self.session)
        return f"{base}?session={on}" if on else base

    @property
    def parts(self) -> list[tuple[str, str, str]]:
        titles = (
            _("Performance"),
            _("Returns"),
            _("Attribution"),
            _("Risk"),
            _("Factors"),
            _("Stress"),
            _("What-if"),
            _("Correlations"),
            _("Positions"),
            _("Data"),
        )
        return [(part, title, self.link(part)) for part, title in zip(PARTS, titles, strict=True)]


def header(
    document: Mapping[str, Any], status: Mapping[str, Any], row: Mapping[str, Any] | None, calendar: Calendar
) -> Header:
    """document: the portfolio; row: its snapshot of the session that is looked at, None where there is none yet."""
    state = of_status(status)
    session = None if row is None else row["session"]
    first, last = status["first_session"], status["last_session"]
    of = Figures(document["id"], session)
    earlier = later = None
    if session is not None and first is not None and last is not None:
        day = date.fromisoformat(session)
        earlier = calendar.previous(day).isoformat() if session > first else None
        later = calendar.next(day).isoformat() if session < last else None
    return Header(
        id=document["id"],
        name=document["name"],
        currency=document["currency"],
        state=state,
        session=session,
        earlier=earlier,
        later=later,
        first=first,
        last=last,
        newest=later is None,
        stale=bool(row and row["stale"]),
        **_figures(of, row),
    )


def _figures(of: Figures, row: Mapping[str, Any] | None) -> dict[str, Figure | None]:
    if row is None:
        return dict.fromkeys(("nav", "day", "day_return", "since_start", "total_return"))
    return {
        "nav": of.money("snapshots.nav", row["nav"]),
        "day": of.money("snapshots.daily_pnl", row["daily_pnl"], signed=True, toned=True),
        "day_return": of.percent("snapshots.daily_return", row["daily_return"], signed=True, toned=True),
        "since_start": of.money("snapshots.cumulative_pnl", row["cumulative_pnl"], signed=True, toned=True),
        "total_return": of.percent("snapshots.cumulative_return", row["cumulative_return"], signed=True, toned=True),
    }
