"""A portfolio's completeness as a strip: four phases by session, in runs of equal state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.coordinator.web.views.names import label
from shared.work import Phase

WIDTH, ROW = 960.0, 18.0


@dataclass(frozen=True, slots=True)
class Strip:
    """rows: (phase, share done, [(x, width, state, words)])"""

    width: float
    row: float
    rows: list[tuple[str, float, list[tuple[float, float, str, str]]]]
    first: str | None
    last: str | None


def strip(grid: Mapping[str, Any]) -> Strip:
    """Of a completeness document of one portfolio."""
    sessions = grid["sessions"]
    runs = grid["portfolios"][0]["runs"] if grid["portfolios"] else []
    unit = WIDTH / max(1, len(sessions))
    rows = []
    for phase in Phase:
        own = [run for run in runs if run[0] == phase.value]
        done = sum(last - first + 1 for _phase, state, first, last in own if state in ("complete", "partial"))
        rows.append(
            (
                label(phase.value),
                done / len(sessions) if sessions else 0.0,
                [
                    (
                        round(first * unit, 2),
                        round((last - first + 1) * unit, 2),
                        state,
                        f"{sessions[first]} – {sessions[last]}: {state}",
                    )
                    for _phase, state, first, last in own
                ],
            )
        )
    return Strip(WIDTH, ROW, rows, sessions[0] if sessions else None, sessions[-1] if sessions else None)
